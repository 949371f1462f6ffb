"""Features from rows in any order, cut, repeated and restarted anywhere, against all rows at once in plain Python."""

from __future__ import annotations

import random
from datetime import timedelta

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.gold import plain_realtime as plain
from transforms.errors import UserError
from transforms.gold.realtime import (
    FEATURES,
    Limits,
    as_of,
    condense,
    features,
    fold,
    latest,
    regroup,
    touches_of,
    update,
)

NOON = plain.NOON
NOTHING = plain.table([])
TOUCHES = st.lists(plain.touches(), max_size=40)
LATER = st.integers(0, 60).map(lambda halves: NOON + timedelta(minutes=30 * halves))
LIMITS = Limits(last_events=3, touches=1_000)
fast = settings(max_examples=30, deadline=None)


def seen(rows: pa.Table) -> list[dict]:
    """Rows as `plain_features` gives them."""
    kept = rows.drop_columns(["updated_at", "_events", "is_truncated"]).to_pylist()
    return [row | {"spend_24h": int(row["spend_24h"] * 100)} for row in kept]


def stream(parts: list[list[dict]], restarts: set[int], limits: Limits) -> pa.Table:
    """The rows that a stream writes: after a restart it knows what the table holds, and no more."""
    known, written = NOTHING, FEATURES.empty_table()
    for number, part in enumerate(parts):
        if number in restarts:
            known = fold(NOTHING, touches_of(written), limits)
        fresh, rows = update(known, plain.table(part), NOON + timedelta(seconds=number), limits)
        known = pl.concat([known, fresh])
        written = pa.concat_tables([written, rows])
    return written


@st.composite
def deliveries(draw: st.DrawFn) -> tuple[list[dict], list[list[dict]], set[int]]:
    """All rows; the same ones shuffled, some repeated, in parts; and the parts before which the stream restarts."""
    rows = draw(TOUCHES)
    again = rows + draw(st.lists(st.sampled_from(rows), max_size=10)) if rows else rows
    random.Random(draw(st.integers(0, 99))).shuffle(again)
    cuts = sorted(draw(st.lists(st.integers(0, len(again)), max_size=5)))
    parts = [again[a:b] for a, b in zip([0, *cuts], [*cuts, len(again)], strict=True)]
    return rows, parts, draw(st.sets(st.integers(0, len(parts))))


@fast
@given(deliveries(), LATER)
def test_however_rows_come_the_features_are_those_of_all_rows(delivery, now):
    rows, parts, restarts = delivery
    table = latest(stream(parts, restarts, LIMITS), LIMITS)
    assert table.schema == FEATURES
    assert seen(table) == plain.plain_features(rows, last=3)
    assert seen(as_of(table, now, LIMITS)) == plain.plain_features(rows, now, last=3)


@fast
@given(deliveries())
def test_the_newest_row_of_a_person_is_complete_for_readers_of_plain_sql(delivery):
    rows, parts, restarts = delivery
    newest = {}
    for row in stream(parts, restarts, LIMITS).sort_by("updated_at").to_pylist():
        newest[row["person_id"]] = row
    table = pa.Table.from_pylist([newest[p] for p in sorted(newest)], schema=FEATURES)
    assert seen(table) == plain.plain_features(rows, last=3)


@fast
@given(TOUCHES, TOUCHES, TOUCHES)
def test_fold_is_a_union(some, more, rest):
    a, b, c = (fold(NOTHING, plain.table(rows), LIMITS) for rows in (some, more, rest))
    assert fold(fold(a, b, LIMITS), c, LIMITS).equals(fold(a, fold(b, c, LIMITS), LIMITS))
    assert fold(a, b, LIMITS).equals(fold(b, a, LIMITS))
    assert fold(a, a, LIMITS).equals(a)


@fast
@given(deliveries(), st.integers(1, 6))
def test_state_is_bounded_and_the_cap_keeps_the_latest_in_any_order(delivery, most):
    rows, parts, restarts = delivery
    limits = Limits(last_events=1, touches=most)
    table = latest(stream(parts, restarts, limits), limits)
    assert table.drop_columns(["updated_at"]).equals(
        features(fold(NOTHING, plain.table(rows), limits), NOON, None, limits).drop_columns(["updated_at"])
    )
    for person, expected in zip(table.to_pylist(), plain.plain_features(rows), strict=True):
        assert len(person["_events"]) <= most + 1
        if not person["is_truncated"]:
            assert person["page_views_24h"] == expected["page_views_24h"]
        assert person["page_views_24h"] <= expected["page_views_24h"]


@fast
@given(TOUCHES)
def test_what_was_met_before_gives_no_row(rows):
    fresh, first = update(NOTHING, plain.table(rows), NOON)
    again = update(fresh, plain.table(rows), NOON)
    assert again.rows.num_rows == again.fresh.height == 0
    assert first.num_rows == len({row["person_id"] for row in rows})


@fast
@given(deliveries(), st.randoms())
def test_any_rows_may_be_condensed_at_any_time(delivery, rng):
    table = stream(delivery[1], set(), LIMITS)
    some = pa.array([rng.random() < 0.6 for _ in range(table.num_rows)], pa.bool_())
    less = condense(table.filter(some), LIMITS)
    assert less.num_rows == len(set(less["person_id"].to_pylist()))
    both = pa.concat_tables([table.filter(pc.invert(some)), less])
    assert latest(both, LIMITS).equals(latest(table, LIMITS))
    newest = {row["person_id"]: row["counted_until"] for row in table.sort_by("updated_at").to_pylist()}
    assert newest == {row["person_id"]: row["counted_until"] for row in both.sort_by("updated_at").to_pylist()}


@fast
@given(deliveries(), st.sampled_from([("P", "P"), ("P", "B"), ("B", "A")]))
def test_joined_persons_are_as_if_they_had_been_one_from_the_start(delivery, persons):
    rows, parts = (
        [[r | {"customer_id": r["person_id"]} for r in part] for part in p] for p in ([delivery[0]], delivery[1])
    )
    person_of = pa.table({"customer_id": ["A", "B"], "person_id": list(persons)})
    joined = regroup(latest(stream(parts, set(), LIMITS), LIMITS), person_of, LIMITS)
    names = dict(zip("AB", persons, strict=True))
    assert seen(joined) == plain.plain_features([r | {"person_id": names[r["person_id"]]} for r in rows[0]], last=3)


@fast
@given(deliveries())
def test_a_change_row_tells_only_what_is_new(delivery):
    _, parts, _ = delivery
    written = touches_of(stream(parts, set(), LIMITS))
    assert not written.is_duplicated().any()


def test_windows_slide_to_the_microsecond():
    rows = [plain_touch(1, NOON, "PAGE_VIEW")]
    _, table = update(NOTHING, plain.table(rows), NOON)
    tick = timedelta(microseconds=1)
    for name, length in plain.WINDOWS.items():
        assert as_of(table, NOON + length - tick)[f"page_views_{name}"].to_pylist() == [1]
        assert as_of(table, NOON + length)[f"page_views_{name}"].to_pylist() == [0]


def test_a_product_leaves_the_cart_when_bought_or_after_a_day():
    hour = timedelta(hours=1)
    adds = [plain_touch(1, NOON, "CART_ADD"), plain_touch(2, NOON + hour, "CART_ADD")]
    bought = plain_touch(3, NOON + hour / 2, "ITEM_BOUGHT")
    _, table = update(NOTHING, plain.table(adds), NOON)
    assert table["cart"].to_pylist() == [[{"product_id": "P1", "quantity": 2, "added_at": NOON + hour}]]
    assert as_of(table, NOON + 24 * hour)["cart"][0].as_py()[0]["quantity"] == 1
    assert as_of(table, NOON + 25 * hour)["cart"].to_pylist() == [[]]
    _, table = update(NOTHING, plain.table([*adds, bought]), NOON)
    assert table["cart"][0].as_py() == [{"product_id": "P1", "quantity": 1, "added_at": NOON + hour}]
    _, table = update(NOTHING, plain.table([*adds, bought | {"at": NOON + hour}]), NOON)
    assert table["cart"].to_pylist() == [[]]


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(UserError, match="last events"):
        Limits(last_events=30, touches=20)


def plain_touch(key: int, at, kind: str) -> dict:
    return {"person_id": "A", "key": key, "at": at, "ingested_at": NOON, "type": kind, "customer_id": "A",
            "product_id": "P1", "page_url": None, "channel": "WEB", "amount_cents": None, "currency": None}  # fmt: skip
