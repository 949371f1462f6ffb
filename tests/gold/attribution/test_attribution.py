"""Paths, rules, removal effects and Shapley values against plain versions, enumeration, walks and planted causes."""

from __future__ import annotations

import random
from math import comb

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gold.attribution import plain_attribution as plain
from transforms.errors import UsageError
from transforms.generator.touchpoints import CLOSERS, PlantedChannel, caused_conversions, plant_touchpoints
from transforms.gold.attribution.attribute import attribute, count_paths, merge_counts
from transforms.gold.attribution.chain import SEPARATOR, sum_sets
from transforms.gold.attribution.credits import PARTS, RULE_MODELS
from transforms.gold.attribution.markov import build_chain, removal_effects
from transforms.gold.attribution.shapley import channels_of, shapley_of_counts, shapley_of_rates, subset_sums
from transforms.gold.attribution.touchpoints import NO_TOUCH, TOUCHPOINTS, AttributionRules, cut_paths

HOUR = 3_600_000_000
RULES = AttributionRules(lookback_days=1.0, half_life_days=0.25)

rows_of_some = st.lists(
    st.fixed_dictionaries(
        {
            "person": st.sampled_from("pqr"),
            "channel": st.sampled_from(["A", "B", "C", "D", None]),
            "at": st.integers(0, 80).map(lambda hours: hours * HOUR),
            "conversion": st.sampled_from([True, False, False, None]),
            "value_units": st.sampled_from([None, 0, 1, 333_333, 10**13]),
        }
    ),
    max_size=30,
)


def table(rows: list[dict]) -> pa.Table:
    columns = {name: [row[name] for row in rows] for name in ("person", "channel", "conversion", "value_units")}
    return pa.table(columns | {"time": [row["at"] for row in rows]}).select(TOUCHPOINTS.names).cast(TOUCHPOINTS)


def credit(attribution: pa.Table, model: str, column: str = "conversions") -> dict[str, float]:
    return {row["channel"]: row[column] for row in attribution.to_pylist() if row["model"] == model}


def converting(some: list) -> int:
    return sum(converted for _, converted, _ in some)


@settings(deadline=None, max_examples=60)
@given(rows_of_some)
def test_paths_are_those_of_the_definition(rows):
    paths = cut_paths(table(rows), RULES)
    found = []
    for end in paths.ends.to_dicts():
        mine = paths.touches.filter(pl.col("path") == end["path"])
        assert mine["index"].to_list() == list(range(end["count"])) and set(mine["count"]) <= {end["count"]}
        found.append((tuple(mine.select("channel", "at").rows()), end["converted"], end["value_units"]))
    expected = [path for path in plain.paths(rows, RULES.lookback_us) if path[1] or path[0]]
    assert sorted(found) == sorted(expected)


@settings(deadline=None, max_examples=60)
@given(rows_of_some)
def test_rules_share_as_defined_and_add_up_exactly(rows):
    counts = count_paths(table(rows), RULES)
    expected = plain.paths(rows, RULES.lookback_us)
    credits = pl.DataFrame(counts.credits)
    for model in RULE_MODELS:
        shared: dict[str, float] = {}
        for touches, converted, _ in expected:
            if converted:
                parts = plain.shares(touches, model, RULES.half_life_us, RULES.ends_share)
                for (channel, _), part in zip(touches or [(NO_TOUCH, 0)], parts or [1.0], strict=True):
                    shared[channel] = shared.get(channel, 0.0) + part
        mine = credits.filter(pl.col("model") == model)
        assert dict(mine.select("channel", pl.col("conversion_parts") / PARTS).rows()) == pytest.approx(
            shared, abs=1e-6
        )
        assert mine["conversion_parts"].sum() == PARTS * converting(expected)
        assert mine["value_units"].sum() == sum(value for *_, value in expected)


@settings(deadline=None, max_examples=60)
@given(rows_of_some, st.randoms(use_true_random=False))
def test_order_and_grouping_of_the_rows_change_not_a_bit(rows, chance):
    whole = attribute(count_paths(table(rows), RULES), RULES)
    mixed = chance.sample(rows, len(rows))
    parts = [count_paths(table([r for r in mixed if r["person"] in who]), RULES) for who in ("r", "pq")]
    assert attribute(merge_counts(chance.sample(parts, 2)), RULES).equals(whole)


@settings(deadline=None, max_examples=60)
@given(rows_of_some)
def test_every_model_adds_up_to_all_conversions_and_their_value(rows):
    attribution = attribute(count_paths(table(rows), RULES), RULES)
    expected = plain.paths(rows, RULES.lookback_us)
    models = {*RULE_MODELS, "markov_1", "markov_2", "markov_3", "shapley", "shapley_rate"}
    assert set(attribution["model"].to_pylist()) == models or not converting(expected)
    for model in models:
        assert sum(credit(attribution, model).values()) == pytest.approx(converting(expected))
        value = sum(value for *_, value in expected) / 10_000
        assert sum(credit(attribution, model, "value").values()) == pytest.approx(value)


@settings(deadline=None, max_examples=60)
@given(rows_of_some)
def test_shapley_is_that_of_every_order_of_coming(rows):
    sets = count_paths(table(rows), RULES).sets
    kept = [(frozenset(r["channels"].split(SEPARATOR)), r) for r in sets.to_pylist() if r["channels"]]
    players = list(channels_of(sets))

    def brought(coalition: frozenset) -> float:
        return sum(row["conversions"] for members, row in kept if members <= coalition)

    def rate(coalition: frozenset) -> float:
        own = [row for members, row in kept if members == coalition]
        own = own or [row for members, row in kept if members <= coalition]
        return sum(row["conversions"] for row in own) / sum(row["paths"] for row in own) if own else 0.0

    def left(coalition: frozenset) -> float:
        return sum(row["paths"] * rate(members & coalition) for members, row in kept)

    by_rate = shapley_of_rates(sets)
    assert by_rate is not None
    assert shapley_of_counts(sets)[:, 0] == pytest.approx(list(plain.shapley(players, brought).values()))
    assert by_rate[:, 0] == pytest.approx(list(plain.shapley(players, left).values()))


def test_fifteen_channels_by_enumerated_coalitions():
    draw = random.Random(5)
    names = [f"c{n:02d}" for n in range(15)]
    rows = [
        {"channels": SEPARATOR.join(sorted(draw.sample(names, draw.randint(1, 8)))), "paths": draw.randint(3, 9),
         "conversions": draw.randint(0, 3), "value_units": draw.randint(0, 999)} for _ in range(300)
    ]  # fmt: skip
    sets = sum_sets(pl.DataFrame(rows))
    brought = np.zeros(1 << 15)
    for row in sets.to_pylist():
        brought[sum(1 << names.index(name) for name in row["channels"].split(SEPARATOR))] = row["conversions"]
    worth = np.array([brought[plain.subsets(mask)].sum() for mask in range(1 << 10)])  # of the first ten channels
    assert subset_sums(brought, 15)[: 1 << 10] == pytest.approx(worth)
    every, player = np.array(plain.subsets((1 << 15) - 1 - (1 << 6))), 6
    worth = subset_sums(brought, 15)
    gains, members = worth[every | 1 << player] - worth[every], np.bitwise_count(every)
    means = [gains[members == n].sum() / comb(14, n) for n in range(15)]
    assert channels_of(sets) == tuple(names)
    assert shapley_of_counts(sets)[player, 0] == pytest.approx(sum(means) / 15)
    by_rate = shapley_of_rates(sets)
    assert by_rate is not None and by_rate[:, 0].sum() == pytest.approx(sum(brought))


def test_too_many_channels_for_rates_leave_the_others():
    rows = [{"person": str(n), "channel": f"c{n}", "at": 0, "conversion": True, "value_units": 1} for n in range(21)]
    attribution = attribute(count_paths(table(rows)))
    assert "shapley_rate" not in attribution["model"].to_pylist()
    assert credit(attribution, "shapley") == {f"c{n}": 1.0 for n in range(21)}


def random_rows(seed: int, count: int) -> list[dict]:
    draw = random.Random(seed)
    return [
        {"person": str(draw.randrange(count // 6)), "channel": draw.choice("ABCDE"), "at": draw.randrange(200) * HOUR,
         "conversion": draw.random() < 0.15, "value_units": draw.randrange(10**6)}
        for _ in range(count)
    ]  # fmt: skip


def check_walks(order: int, walks: int) -> None:
    chain = build_chain(count_paths(table(random_rows(order, 3000)), RULES).steps, order)
    sold, sold_without = plain.simulate(chain, walks, seed=order)
    effects = removal_effects(chain)[:, 0]
    simulated = 1 - sold_without / sold
    error = np.sqrt(simulated * (1 - simulated) / (sold * walks))  # of a share of the walks that sold
    assert (np.abs(effects - simulated) < 4.5 * error).all()


@pytest.mark.parametrize("order", [1, 2, 3])
def test_removal_effects_are_those_of_walks_at_random(order):
    check_walks(order, 100_000)


@pytest.mark.slow
def test_removal_effects_are_those_of_ten_million_walks():
    check_walks(1, 10_000_000)


def test_removal_by_hand():
    """start -A-> B -> sold; start -B-> sold; start -A-> nothing, once each: without A half of the sales are left."""
    rows = [{"person": p, "channel": c, "at": at * HOUR, "conversion": False, "value_units": None}
            for p, c, at in (("1", "A", 0), ("1", "B", 1), ("2", "B", 0), ("3", "A", 0))]  # fmt: skip
    sold = [{"person": p, "channel": None, "at": 2 * HOUR, "conversion": True, "value_units": 10} for p in "12"]
    effects = removal_effects(build_chain(count_paths(table(rows + sold), RULES).steps, 1))
    assert effects == pytest.approx(np.array([[0.5, 0.5], [1.0, 1.0]]))


def test_planted_causes_are_found_where_the_last_touch_is_fooled():
    attribution = attribute(count_paths(plant_touchpoints(3, 20_000)))
    truth = caused_conversions(20_000)
    causes = ["DISPLAY", "EMAIL"]
    assert sorted(truth, key=truth.get, reverse=True)[:2] == causes  # type: ignore[arg-type]
    for model in ("markov_1", "markov_2", "markov_3", "shapley", "shapley_rate"):
        found = credit(attribution, model)
        found.pop(NO_TOUCH, None)
        assert sorted(found, key=found.get, reverse=True)[:2] == causes, model  # type: ignore[arg-type]
    rates = credit(attribution, "shapley_rate")
    assert rates["DISPLAY"] / rates["EMAIL"] == pytest.approx(truth["DISPLAY"] / truth["EMAIL"], rel=0.1)
    assert max(abs(rates["COUPON_SITE"]), abs(rates["BRAND_SEARCH"])) < 0.05 * rates["EMAIL"]
    last = credit(attribution, "last")
    assert max(last, key=last.get) == "BRAND_SEARCH"  # type: ignore[arg-type]


def test_only_rates_see_through_a_channel_that_nearly_everybody_meets():
    everywhere = (*CLOSERS[:2], PlantedChannel("BRAND_SEARCH", 0.9, 0.0, 27))
    attribution = attribute(count_paths(plant_touchpoints(3, 20_000, everywhere)))
    rates = credit(attribution, "shapley_rate")
    assert rates["DISPLAY"] > rates["EMAIL"] > rates["BRAND_SEARCH"]
    for fooled in ("last", "markov_1", "shapley"):
        assert max(credit(attribution, fooled).items(), key=lambda item: item[1])[0] == "BRAND_SEARCH"


def test_a_channel_never_met_without_another_and_nothing_at_all():
    assert attribute(count_paths(TOUCHPOINTS.empty_table())).num_rows == 0
    alone = [{"person": "1", "channel": None, "at": 0, "conversion": True, "value_units": 5}]
    attribution = attribute(count_paths(table(alone)))
    assert set(attribution["channel"].to_pylist()) == {NO_TOUCH}
    assert set(attribution["conversions"].to_pylist()) == {1.0}


def test_one_person_with_a_million_touches():
    size = 1_000_000
    sold = np.arange(size) == size - 1
    columns = [["1"] * size, ["A", "B"] * (size // 2), np.arange(size) * 1000, sold, [7] * size]
    rows = pa.table(dict(zip(TOUCHPOINTS.names, columns, strict=True))).cast(TOUCHPOINTS)
    attribution = attribute(count_paths(rows))
    assert credit(attribution, "linear") == pytest.approx({"A": 0.5, "B": 0.5}, abs=0.01)
    assert credit(attribution, "last", "value") == {"A": 0.0, "B": 0.0007}


@pytest.mark.parametrize("wrong", [{"lookback_days": 0}, {"half_life_days": -1}, {"ends_share": 0.6}, {"orders": (4,)}])
def test_rules_out_of_range_are_wrong_use(wrong):
    with pytest.raises(UsageError):
        AttributionRules(**wrong)
