"""What an example knows around it: a plain reading, and nothing from its moment or after."""

from datetime import timedelta

import numpy as np
import polars as pl
import pytest

from recsys.preprocessing.columns import LISTED, RAW, as_lists
from recsys.preprocessing.context import Known, add_context
from recsys.preprocessing.examples import examples
from tests.recsys.test_candidates import log_of
from tests.recsys.test_interactions import START

USERS, ITEMS, DAYS = 6, 5, 20


@pytest.fixture(scope="module")
def log():
    random = np.random.default_rng(2)
    rows = [
        (f"u{random.integers(USERS)}", f"i{random.integers(ITEMS)}", int(random.integers(DAYS)), None)
        for _ in range(80)
    ]
    return log_of(rows)


@pytest.fixture(scope="module")
def known():
    random = np.random.default_rng(3)

    def days(count):
        return pl.Series([START + timedelta(days=int(day)) for day in random.integers(0, DAYS, count)], dtype=TIME)

    prices = {"item": [f"i{n}" for n in random.integers(0, ITEMS - 1, 30)], "time": days(30)}
    features = {"user": [f"u{n}" for n in random.integers(0, USERS - 1, 30)], "time": days(30)}
    requests = {
        "user": [f"u{n}" for n in random.integers(0, USERS, 60)],
        "item": [f"i{n}" for n in random.integers(0, ITEMS, 60)],
    }
    return Known(
        pl.DataFrame({"item": ["i0", "i1"], "name": ["red cup", "plate"], "category": ["c", "d"]}),
        pl.DataFrame(prices).with_columns(price=pl.Series(random.random(30).astype(np.float32))),
        pl.DataFrame(requests).with_columns(time=days(60), channel=pl.lit("web"), device=pl.lit("phone")),
        pl.DataFrame(features).with_columns(clv=pl.Series(random.random(30)), orders=pl.Series(np.arange(30))),
    )


TIME = pl.Datetime("us", "UTC")


def rows_of(log, known):
    batch = next(examples(log))
    return add_context(batch, known).to_pylist(), batch.to_pylist()


def latest(frame, key, value, moment):
    before = [row for row in frame.iter_rows(named=True) if row[key] == value and row["time"] < moment]
    newest = max((row["time"] for row in before), default=None)
    return [row for row in before if row["time"] == newest][-1] if before else None


def test_it_is_what_a_plain_reading_finds(log, known):
    made, before = rows_of(log, known)
    assert len(made) == len(log) == len(before)
    about = {row["item"]: row for row in known.items.iter_rows(named=True)}
    asked = {(row["user"], row["item"], row["time"]) for row in known.requests.iter_rows(named=True)}
    for row, plain in zip(made, before, strict=True):
        assert {name: row[name] for name in ("user", "item", "time", "history_items")} == {
            name: plain[name] for name in ("user", "item", "time", "history_items")
        }
        price = latest(known.prices, "item", row["item"], row["time"])
        assert row["price"] == (price["price"] if price else 0)
        person = latest(known.features, "user", row["user"], row["time"])
        assert (row["person_clv"], row["person_orders"]) == (
            (person["clv"], person["orders"]) if person else (None, None)
        )
        assert row["name"] == about.get(row["item"], {"name": ""})["name"]
        here = (row["user"], row["item"], row["time"]) in asked
        assert (row["channel"], row["device"]) == (("web", "phone") if here else ("", ""))
        assert row["hour"] == row["time"].hour
    assert any(row["price"] for row in made) and any(row["person_clv"] is not None for row in made)


def test_nothing_from_the_moment_or_after_leaks(log, known):
    made, _ = rows_of(log, known)
    for day in (0, 7, 13):
        moment = START + timedelta(days=day)
        later = pl.col("time") >= moment
        changed = Known(
            known.items,
            known.prices.with_columns(price=pl.when(later).then(pl.lit(99.0)).otherwise("price").cast(pl.Float32)),
            known.requests,
            known.features.with_columns(clv=pl.when(later).then(pl.lit(-1.0)).otherwise("clv")),
        )
        again, _ = rows_of(log, changed)
        until = [number for number, row in enumerate(made) if row["time"] <= moment]
        assert [made[n] for n in until] == [again[n] for n in until]
        assert made != again


def test_with_nothing_known_it_says_so_and_fits_the_transform(log):
    table = add_context(next(examples(log)), Known())
    rows = table.select(RAW.names).combine_chunks().to_batches()[0]
    assert set(table["name"].to_pylist()) == {""} and set(table["price"].to_pylist()) == {0}
    listed = as_lists(rows)
    assert listed.schema == LISTED
    assert listed["hour"].to_pylist() == [[hour] for hour in table["hour"].to_pylist()]
    assert listed["history_items"].to_pylist() == [
        [i.encode() for i in one] for one in table["history_items"].to_pylist()
    ]
