"""Numbers and dates as other people write them, against Python's own formatting."""

from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.bronze.cells import Spelling, cast_cells
from transforms.errors import UserError

AMOUNT, TIME = pa.decimal128(18, 2), pa.timestamp("us", tz="UTC")


@settings(max_examples=200, deadline=None)
@given(st.decimals(-(10**12), 10**12, places=2), st.sampled_from([".", " ", "'", "\u00a0", "\u202f", ""]))
def test_a_number_with_a_comma_is_the_number(value, group):
    text = f"{value:,.2f}".replace(",", "\0").replace(".", ",").replace("\0", group)
    cells = cast_cells(pl.Series([text]), AMOUNT, Spelling(","))
    assert cells.values.to_list() == [value] and not cells.failed.any() and cells.rounded is None
    point = cast_cells(pl.Series([f"{value:,.2f}"]), AMOUNT, Spelling("."))
    assert point.values.to_list() == [value]


@pytest.mark.parametrize("text", ["12.50", "1.23,5", "1,2,3", "1.2345,6", "abc", "1.234.56", ",", "-"])
def test_what_is_not_written_so_is_refused_and_never_guessed(text):
    assert cast_cells(pl.Series([text]), AMOUNT, Spelling(",")).failed.to_list() == [True]


@pytest.mark.parametrize("text", ["1,5", "1.234,50", "1,234.50"])
def test_as_usual_a_comma_is_refused(text):
    assert cast_cells(pl.Series([text]), AMOUNT).failed.to_list() == [True]


@settings(max_examples=200, deadline=None)
@given(
    st.datetimes(datetime(1970, 1, 1), datetime(2068, 12, 31)),
    st.sampled_from(["day-first", "month-first"]),
    st.sampled_from(["/", ".", "-"]),
    st.sampled_from(["%Y", "%y"]),
    st.sampled_from(["", " %H:%M", " %H:%M:%S", " %I:%M %p", ", %H:%M:%S"]),
)
def test_a_date_is_read_in_the_order_that_was_told(moment, order, mark, year, clock):
    first = "%d{0}%m{0}" if order == "day-first" else "%m{0}%d{0}"
    form = first.format(mark) + year + clock
    text = moment.strftime(form)
    expected = datetime.strptime(text, form).replace(tzinfo=UTC)
    times = cast_cells(pl.Series([text, None, "2010-02-03T04:05:06Z", "31/31/2010"]), TIME, Spelling("", order))
    assert times.values.to_list() == [expected, None, datetime(2010, 2, 3, 4, 5, 6, tzinfo=UTC), None]
    assert times.failed.to_list() == [False, False, False, True]
    days = cast_cells(pl.Series([text, "2010-02-03"]), pa.date32(), Spelling("", order))
    assert days.values.to_list() == [expected.date(), datetime(2010, 2, 3).date()]


@pytest.mark.parametrize("text", ["1-2-03", "01-12-10", "03/04/2010", "0001-01-01"])
def test_without_being_told_a_date_of_unclear_order_is_no_date(text):
    failed = cast_cells(pl.Series([text]), pa.date32()).failed[0]
    assert failed == (text != "0001-01-01")


def test_rounding_is_seen_in_other_spellings():
    cells = cast_cells(pl.Series(["1.234,567", "1,50"]), AMOUNT, Spelling(","))
    assert cells.values.to_list() == [Decimal("1234.57"), Decimal("1.50")] and cells.rounded.to_list() == [True, False]


@pytest.mark.parametrize("wrong", [{"decimal": ";"}, {"dates": "year-first"}])
def test_a_spelling_nobody_has_is_refused(wrong):
    with pytest.raises(UserError, match=r"use --d"):
        Spelling(**wrong)
