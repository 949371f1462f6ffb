"""Events from a person's own file: times in all usual spellings, and what cannot be used, by its rule."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.own_rows import type_rows
from transforms.sessions.event import EVENTS
from transforms.sessions.moments import read_moments

MOMENT = datetime(2010, 6, 1, 12, 30, 15, 250_000, tzinfo=UTC)


@pytest.mark.parametrize("written", [
    "2010-06-01T12:30:15.25Z", "2010-06-01 12:30:15.250", "2010-06-01T14:30:15.25+02:00", "1275395415250",
    " 1275395415.25 ", "1275395415250000", "1275395415250000000",
])  # fmt: skip
def test_text_times(written):
    assert read_moments(pl.Series([written, None, "soon"])).to_list() == [MOMENT, None, None]


@pytest.mark.parametrize("number", [1275395415250, 1275395415250000, 1275395415250000000, 1275395415.25])
def test_numbers_are_unix_time_in_the_unit_their_size_tells(number):
    assert read_moments(pl.Series([number, None])).to_list() == [MOMENT, None]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.integers(0, 99_999_999_999), min_size=1))
def test_unix_seconds_are_exact_as_text_and_as_numbers(seconds):
    numbers = pl.Series(seconds, dtype=pl.Int64)
    expected = [second * 1_000_000 for second in seconds]
    assert read_moments(numbers).to_physical().to_list() == expected
    assert read_moments(numbers.cast(pl.String)).to_physical().to_list() == expected


def test_seconds_before_1970_are_negative():
    assert read_moments(pl.Series([-86_400, 0])).to_list() == [
        datetime(1969, 12, 31, tzinfo=UTC),
        datetime.fromtimestamp(0, UTC),
    ]


def test_typed_times_of_any_zone_become_utc():
    local = pl.Series([datetime(2010, 6, 1, 14, 30)]).dt.replace_time_zone("Europe/Berlin")
    assert read_moments(local).to_list() == [datetime(2010, 6, 1, 12, 30, tzinfo=UTC)]
    assert read_moments(pl.Series([datetime(2010, 6, 1, 14, 30)])).to_list() == [
        datetime(2010, 6, 1, 14, 30, tzinfo=UTC)
    ]
    assert read_moments(pl.Series([datetime(2010, 6, 1).date()])).to_list() == [datetime(2010, 6, 1, tzinfo=UTC)]


def test_each_row_is_an_event_or_at_fault_once_by_its_first_rule():
    rows = pl.DataFrame(
        {
            "visitor": ["a", None, "  ", "b", "c", "d", None],
            "event_time": ["2010-06-01", "2010-06-01", "2010-06-01", "soon", None, "2010-06-01", "soon"],
            "value": ["1.25", "1", "1", "1", "1", "much", "much"],
            "page": ["", "/", "/", "/", "/", "/", "/"],
        }
    )
    typed = type_rows(rows, EVENTS)
    assert typed.rows.rows() == [("a", datetime(2010, 6, 1, tzinfo=UTC), None, Decimal("1.25"))]
    found = {(rule, place) for rule, _, places in typed.faults for place in places.tolist()}
    assert found == {
        ("required", 1), ("required", 2), ("not_a_timestamp", 3), ("required", 4), ("not_a_number", 5), ("required", 6),
    }  # fmt: skip
    assert not any("much" in reason or "soon" in reason for _, reason, _ in typed.faults)


def test_numbers_as_visitors_are_text_without_a_point():
    rows = pl.DataFrame({"visitor": [13085.0, None, 7.0], "event_time": [1275395415] * 3})
    assert type_rows(rows, EVENTS).rows["visitor"].to_list() == ["13085", "7"]
