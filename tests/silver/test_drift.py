from decimal import Decimal

import numpy as np
import pytest

from tests.silver.tables import NOW, rows_of
from transforms.contracts import contract
from transforms.silver.drift import DRIFT_SCHEMA, drift, psi
from transforms.silver.profile import PROFILE_SCHEMA, profile

TRANSACTIONS = contract("transactions")


def table(seed, rows=2_000, mean=3.0, mobile=0.2, null_share=0.1, channels=("POS", "ECOMMERCE", "MOBILE")):
    rng = np.random.default_rng(seed)
    amounts = np.exp(rng.normal(mean, 0.7, rows)).round(2)
    rest = (1 - mobile) / 2
    picked = rng.choice(channels, rows, p=[rest, rest, mobile])
    stores = np.where(rng.random(rows) < null_share, None, "S1")
    found = rows_of(
        TRANSACTIONS,
        *(
            {"TOTAL_AMOUNT": Decimal(str(a)), "CHANNEL": str(c), "STORE_ID": s}
            for a, c, s in zip(amounts, picked, stores, strict=True)
        ),
    )
    return found.select(["TRANSACTION_ID", "TOTAL_AMOUNT", "CHANNEL", "STORE_ID", "NEW_COLUMN"])


def profiled(run, *args, **options):
    return profile(table(*args, **options), TRANSACTIONS).to_table(run, "CUSTOMER_TRANSACTIONS", NOW)


def verdicts(previous, current):
    return {row["column_name"]: row["verdict"] for row in drift(previous, current).to_pylist()}


def test_psi_by_hand():
    """Two groups, 50:50 against 80:20: (0.8-0.5) ln(0.8/0.5) + (0.2-0.5) ln(0.2/0.5) = 0.4159."""
    many = 10**9
    assert psi(np.array([many, many]), np.array([8 * many, 2 * many])) == pytest.approx(
        0.3 * np.log(1.6) - 0.3 * np.log(0.4)
    )
    assert psi(np.array([3, 7]), np.array([3, 7])) == 0
    assert psi(np.array([0, 7]), np.array([7, 0])) > 0.25


@pytest.mark.parametrize("seed", range(5))
def test_two_draws_from_one_population_are_stable(seed):
    found = verdicts(profiled("a", seed), profiled("b", seed + 100))
    assert set(found.values()) == {"stable"}


@pytest.mark.parametrize("seed", range(5))
def test_small_draws_are_stable_too(seed):
    """Of 30 rows ten groups differ a lot by chance: an index above 0.25 that says nothing."""
    found = drift(profiled("a", seed, rows=30), profiled("b", seed + 100, rows=30)).to_pylist()
    assert {row["verdict"] for row in found} == {"stable"}


def test_chance_alone_would_alarm_without_the_noise_level():
    pairs = [(profiled("a", seed, rows=30), profiled("b", seed + 100, rows=30)) for seed in range(5)]
    indices = [
        row["value_psi"] for a, b in pairs for row in drift(a, b).to_pylist() if row["column_name"] == "TOTAL_AMOUNT"
    ]
    assert max(indices) > 0.25


@pytest.mark.parametrize(
    ("change", "column", "verdict"),
    [
        ({"mean": 3.3}, "TOTAL_AMOUNT", "moderate"),
        ({"mean": 4.0}, "TOTAL_AMOUNT", "major"),
        ({"mobile": 0.36}, "CHANNEL", "moderate"),
        ({"mobile": 0.6}, "CHANNEL", "major"),
        ({"null_share": 0.22}, "STORE_ID", "moderate"),
        ({"null_share": 0.5}, "STORE_ID", "major"),
        ({"mobile": 0.0}, "CHANNEL", "major"),
    ],
)
def test_planted_drift_is_found_in_its_column_alone(change, column, verdict):
    found = verdicts(profiled("a", 1), profiled("b", 2, **change))
    assert found[column] == verdict
    assert {name for name, kind in found.items() if kind != "stable"} == {column}


def test_values_that_come_and_go_are_named():
    before, now = profiled("a", 1, mobile=0.02), profiled("b", 2, mobile=0.02, channels=("POS", "ECOMMERCE", "SOCIAL"))
    [row] = [row for row in drift(before, now).to_pylist() if row["column_name"] == "CHANNEL"]
    assert (row["new_values"], row["missing_values"]) == (["SOCIAL"], ["MOBILE"])
    assert row["verdict"] in ("moderate", "major")
    assert row["reason"]


def test_a_rare_value_that_is_not_met_says_nothing():
    before, now = profiled("a", 1, mobile=0.002), profiled("b", 2, rows=200, mobile=0.0)
    [row] = [row for row in drift(before, now).to_pylist() if row["column_name"] == "CHANNEL"]
    assert (row["missing_values"], row["verdict"]) == (["MOBILE"], "stable")


def test_columns_that_one_run_lacks_are_new_or_gone():
    before, now = profiled("a", 1), profiled("b", 1)
    some = now.slice(1)
    first = now["column_name"][0].as_py()
    assert verdicts(before, some)[first] == "gone"
    assert verdicts(some, now)[first] == "new"


def test_rows_are_sorted_and_carry_both_runs():
    found = drift(profiled("a", 1), profiled("b", 1, rows=1_000))
    assert found.schema == DRIFT_SCHEMA
    assert found["column_name"].to_pylist() == sorted(found["column_name"].to_pylist())
    assert {
        (r["previous_run_id"], r["run_id"], r["previous_rows_count"], r["rows_count"]) for r in found.to_pylist()
    } == {("a", "b", 2_000, 1_000)}


def test_empty_tables_and_no_profiles_do_not_drift():
    empty = profiled("a", 1, rows=0)
    assert set(verdicts(empty, empty).values()) == {"stable"}
    assert set(verdicts(empty, profiled("b", 1)).values()) == {"stable"}
    assert drift(PROFILE_SCHEMA.empty_table(), PROFILE_SCHEMA.empty_table()).num_rows == 0
