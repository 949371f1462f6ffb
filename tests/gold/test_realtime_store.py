"""The store of touches: however little is in memory, the state of a person is that of all that was added."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gold import plain_realtime as plain
from transforms.gold import realtime_store
from transforms.gold.realtime import Limits, fold
from transforms.gold.realtime_store import TouchStore
from transforms.gold.touches import TOUCHES

NONE = pl.DataFrame(schema=pl.DataFrame(schema=pl.from_arrow(TOUCHES.empty_table()).schema).schema)


def touches(seed: int, count: int, persons: int) -> pl.DataFrame:
    """Views of some persons over four days; every tenth again, some of them as a later version."""
    rng = np.random.default_rng(seed)
    who, key = rng.integers(0, persons, count), rng.integers(0, count * 9 // 10 + 1, count)
    rows = {
        "person_id": [f"C{key % persons}" for key in key.tolist()],
        "key": key,
        "at": [plain.NOON - timedelta(seconds=int(s)) for s in rng.integers(0, 345_600, count)],
        "ingested_at": [plain.NOON] * count,
        "type": ["ITEM_BOUGHT" if n % 5 == 0 else ("PAGE_VIEW", "CART_ADD")[n % 2] for n in key.tolist()],
        "customer_id": [f"C{n}" for n in who.tolist()],
    }
    return pl.concat([NONE, pl.DataFrame(rows).cast({n: NONE.schema[n] for n in rows})], how="diagonal")


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 999), most=st.sampled_from([1, 7, 60, 10_000]), parts=st.integers(1, 30))
def test_a_person_has_what_was_added_however_little_is_in_memory(seed: int, most: int, parts: int) -> None:
    limits, rows = Limits(last_events=3, touches=20), touches(seed, 300, 23)
    store = TouchStore(most, limits)
    for part in np.array_split(np.arange(rows.height), parts):
        store.add(rows[part])
        assert len(store) <= most
    asked = pl.Series("person_id", ["C1", "C7", "C22", "nobody"])
    wanted = fold(NONE, rows.filter(pl.col("person_id").is_in(asked.implode())), limits)
    assert fold(NONE, store.of(asked), limits).equals(wanted)


def test_merging_keeps_few_files_and_drops_what_cannot_count_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(realtime_store, "_SLICE", 150)
    monkeypatch.setattr(realtime_store, "_BATCH", 250)
    limits = Limits(last_events=2, touches=5)
    rows = touches(5, 4_000, 40)
    store = TouchStore(50, limits)
    for start in range(0, rows.height, 40):
        store.add(rows[start : start + 40])
        settle(store)
    assert store.on_disk < 1_000  # 40 persons, of whom a file has seven touches at most
    assert fold(NONE, store.of(rows["person_id"].unique()), limits).equals(fold(NONE, rows, limits))


def settle(store: TouchStore) -> None:
    if store._merging is not None:
        store._merging[1].result()


def test_two_persons_of_one_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pl.Series, "hash", lambda self: pl.Series([1] * len(self), dtype=pl.UInt64))
    monkeypatch.setattr(realtime_store, "_hashed", lambda rows: rows.with_columns(_hash=pl.lit(1, pl.UInt64)))
    rows, store = touches(1, 200, 9), TouchStore(10, Limits())
    store.add(rows)
    assert store.on_disk and set(store.of(pl.Series(["C3"]))["person_id"]) == {"C3"}


def test_an_error_of_a_merge_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(realtime_store, "_merged", full)
    store = TouchStore(10, Limits())
    with pytest.raises(OSError, match="disk full"):
        for seed in range(8):
            store.add(touches(seed, 100, 50))
