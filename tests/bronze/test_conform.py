"""Bronze kernels: no row lost, types against slow plain readings, scores against their definition."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation

import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.bronze.cells import AS_USUAL, Spelling, cast_cells
from transforms.bronze.conform import conform
from transforms.bronze.envelope import Origin, bronze_schema, partition_values, wrap
from transforms.bronze.evolution import Change, business_schema, evolve
from transforms.bronze.quality import score_quality
from transforms.contracts import CONTRACTS

TRANSACTIONS = CONTRACTS["CUSTOMER_TRANSACTIONS"]
CUSTOMERS = CONTRACTS["CUSTOMERS"]
DAY = datetime(2010, 1, 2)
ORIGIN = Origin("test", "f.jsonl", "run", datetime(2011, 1, 1, tzinfo=UTC), 1)

texts = st.one_of(
    st.none(),
    st.text(max_size=6),
    st.integers(-(10**20), 10**20).map(str),
    st.decimals(allow_nan=False, allow_infinity=False, places=3).map(str),
    st.datetimes(min_value=datetime(1900, 1, 1)).map(lambda t: t.isoformat(sep=" ")),
    st.dates().map(str),
    st.sampled_from(["true", "FALSE", "1e3", " 7 ", "", "2010-02-30", "12345678901.5", "PURCHASE", "POS"]),
)
rows_of_text = st.lists(st.dictionaries(st.sampled_from([*TRANSACTIONS.names, "NEW"]), texts, max_size=8), max_size=12)


def source(rows, names=None):
    names = names or sorted({name for row in rows for name in row} | {"TRANSACTION_ID"})
    raw = [json.dumps(row).encode() for row in rows]
    columns = {name: pa.array([row.get(name) for row in rows], pa.string()) for name in names}
    columns["_position"] = pa.array([100 + i for i in range(len(rows))], pa.int64())
    columns["_raw"] = pa.array(raw, pa.binary())
    return pa.RecordBatch.from_pydict(columns)


@settings(max_examples=150, deadline=None)
@given(rows_of_text)
def test_no_row_is_lost_and_each_reject_is_found_by_its_position(rows):
    batch = source(rows)
    found = conform(batch, TRANSACTIONS, TRANSACTIONS.arrow)
    places = found.accepted["_position"].to_pylist() + found.rejected["_position"].to_pylist()
    assert sorted(places) == batch["_position"].to_pylist()
    for reject in found.rejected.to_pylist():
        raw = batch["_raw"][reject["_position"] - 100].as_py()
        assert (reject["_raw"], reject["_raw_bytes"]) == (raw, len(raw))
        assert reject["rule"] and reject["reason"]


@settings(max_examples=100, deadline=None)
@given(rows_of_text, st.integers(0, 12))
def test_the_size_of_a_batch_does_not_matter(rows, cut):
    names = [*TRANSACTIONS.names, "NEW"]
    whole = conform(source(rows, names), TRANSACTIONS, TRANSACTIONS.arrow)
    batch = source(rows, names)
    parts = [conform(part, TRANSACTIONS, TRANSACTIONS.arrow) for part in (batch.slice(0, cut), batch.slice(cut))]
    for side in ("accepted", "rejected"):
        together = pa.concat_tables([getattr(part, side) for part in parts])
        assert together.to_pylist() == getattr(whole, side).to_pylist()


def plain_integer(text):
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    return int(value) if value.is_finite() and value == value.to_integral_value() and abs(value) < 2**53 else None


def plain_decimal(text):
    try:
        value = Decimal(text)
    except InvalidOperation:
        return None
    if not value.is_finite() or abs(value) >= 10**15:
        return None
    rounded = value.quantize(Decimal("0.01"), rounding=ROUND_HALF_EVEN)
    return rounded if abs(rounded) < 10**8 else None


@settings(max_examples=300, deadline=None)
@given(st.integers(-(2**52), 2**52) | st.sampled_from(["5.0", "1e3", "abc", "5.5", "", "+3", "99999999999999999999"]))
def test_integers_are_read_as_a_person_would(value):
    cells = cast_cells(pl.Series(["7", str(value)]), pa.int64())
    text = str(value)
    assert cells.values[1] == (plain_integer(text) if text else None)
    assert cells.failed[1] == bool(text and plain_integer(text) is None)


@settings(max_examples=300, deadline=None)
@given(st.decimals(min_value=-(10**9), max_value=10**9, places=2))
def test_decimals_of_the_declared_scale_are_exact_and_longer_ones_fail(value):
    cells = cast_cells(pl.Series([f"{value:f}"]), pa.decimal128(10, 2))
    assert cells.values[0] == plain_decimal(str(value))
    assert cells.failed[0] == (plain_decimal(str(value)) is None)


@settings(max_examples=200, deadline=None)
@given(st.datetimes(min_value=datetime(1800, 1, 1), max_value=datetime(2200, 1, 1)), st.integers(-12, 12))
def test_every_spelling_of_a_moment_is_the_same_moment(moment, hours):
    whole = moment.replace(microsecond=0)
    spellings = [
        whole.isoformat(),
        whole.isoformat(sep=" "),
        whole.isoformat() + "Z",
        whole.isoformat(sep=" ") + ".000",
        whole.isoformat() + "+00:00",
    ]
    cells = cast_cells(pl.Series(spellings), pa.timestamp("us", tz="UTC"))
    assert cells.values.to_list() == [whole.replace(tzinfo=UTC)] * len(spellings) and not cells.failed.any()
    shifted = cast_cells(pl.Series([f"{whole.isoformat()}{hours:+03d}:00"]), pa.timestamp("us", tz="UTC"))
    expected = whole.replace(tzinfo=UTC).timestamp() - hours * 3600
    assert shifted.values[0].timestamp() == expected


def test_epochs_days_and_impossible_dates():
    text = pl.Series(["1291000000", "1291000000123", "2010-11-29", "2010-02-30", "29/11/2010", None, " "])
    cells = cast_cells(text, pa.timestamp("us", tz="UTC"))
    assert [None if v is None else v.isoformat() for v in cells.values] == [
        "2010-11-29T03:06:40+00:00",
        "2010-11-29T03:06:40.123000+00:00",
        "2010-11-29T00:00:00+00:00",
        None,
        None,
        None,
        None,
    ]
    assert cells.failed.to_list() == [False, False, False, True, True, False, False]


@pytest.mark.parametrize(
    ("values", "kind", "wanted", "expected", "failed"),
    [
        ([13085.0, 1.5, None], pa.float64(), pa.string(), ["13085", "1.5", None], [False] * 3),
        ([13085.0, 1.5, None], pa.float64(), pa.int64(), [13085, None, None], [False, True, False]),
        ([10.25, 1e12, None], pa.float64(), pa.decimal128(10, 2), [Decimal("10.25"), None, None], [False, True, False]),
        ([date(2010, 1, 2)], pa.date32(), pa.timestamp("us", "UTC"), [datetime(2010, 1, 2, tzinfo=UTC)], [False]),
        ([DAY], pa.timestamp("ns"), pa.timestamp("us", "UTC"), [DAY.replace(tzinfo=UTC)], [False]),
        ([[1, 2]], pa.list_(pa.int64()), pa.string(), ["[1, 2]"], [False]),
        ([True, None], pa.bool_(), pa.string(), ["true", None], [False, False]),
    ],
)  # fmt: skip
def test_typed_cells_of_parquet_files(values, kind, wanted, expected, failed):
    cells = cast_cells(pl.Series(pl.from_arrow(pa.array(values, kind))), wanted)
    assert cells.values.to_list() == expected
    assert cells.failed.to_list() == failed


def test_a_column_the_file_lacks_is_null_and_a_required_one_rejects():
    batch = source([{"TRANSACTION_ID": "T1"}])
    found = conform(batch, TRANSACTIONS, TRANSACTIONS.arrow)
    assert found.rejected["rule"].to_pylist() == ["required"]
    assert "TRANSACTION_DATE is missing" in found.rejected["reason"][0].as_py()


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.fixed_dictionaries({}, optional=dict.fromkeys(("CHANNEL", "CARD_TYPE", "PAYMENT_METHOD"), texts)), max_size=8
    )
)
def test_scores_follow_their_definition(rows):
    full = [
        row
        | {"TRANSACTION_ID": "T", "TRANSACTION_DATE": "2010-01-01", "TRANSACTION_TYPE": "PURCHASE", "TOTAL_AMOUNT": "5"}
        for row in rows
    ]
    conformed = conform(source(full), TRANSACTIONS, TRANSACTIONS.arrow).accepted
    scored = score_quality(conformed, TRANSACTIONS)
    columns = len(TRANSACTIONS.columns)
    for row in scored.to_pylist():
        missing = [c.name for c in TRANSACTIONS.columns if row[c.name] is None]
        given_values = [c for c in TRANSACTIONS.columns if row[c.name] is not None]
        checkable = [c for c in given_values if c.allowed or c.low is not None or c.type.max_length]
        invalid = [
            c.name
            for c in checkable
            if (c.allowed and row[c.name] not in c.allowed)
            or (c.type.max_length and len(str(row[c.name])) > c.type.max_length)
        ]
        broken = ["card_type_without_card"] * bool(row["CARD_TYPE"] and row["PAYMENT_METHOD"] not in (None, "CARD"))
        if row["CARD_TYPE"] is not None and not row["CARD_TYPE"] and row["PAYMENT_METHOD"] not in (None, "CARD"):
            broken = ["card_type_without_card"]  # an empty text is a value
        score = (
            (1 - len(missing) / columns)
            + (1 - len(invalid) / max(len(checkable), 1))
            + (1 - len(broken) / len(TRANSACTIONS.rules))
        ) / 3
        assert row["_quality_score"] == pytest.approx(score, abs=1e-4)
        issues = [f"missing:{n}" for n in missing] + [f"invalid:{n}" for n in invalid] + [f"rule:{n}" for n in broken]
        assert sorted(row["_quality_issues"]) == sorted(issues)


FULL = {"TRANSACTION_ID": "T", "TRANSACTION_DATE": "2010-01-01", "TRANSACTION_TYPE": "X", "TOTAL_AMOUNT": "1"}


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.decimals(-(10**7), 10**7, places=4).map(lambda d: f"{d:f}") | st.sampled_from(["1e-3", "12.50", "3"]))
)
def test_a_decimal_that_loses_digits_is_said_and_lowers_the_score(amounts):
    rows = [FULL | {"TOTAL_AMOUNT": amount} for amount in amounts]
    found = conform(source(rows), TRANSACTIONS, TRANSACTIONS.arrow)
    scored = score_quality(found.accepted, TRANSACTIONS, found.rounded).to_pylist()
    whole = score_quality(found.accepted, TRANSACTIONS).to_pylist()
    for amount, row, before in zip(amounts, scored, whole, strict=True):
        lost = Decimal(amount) != row["TOTAL_AMOUNT"]
        assert ("rounded:TOTAL_AMOUNT" in row["_quality_issues"]) == lost
        assert (row["_quality_score"] < before["_quality_score"]) == lost


def test_binary_noise_in_parquet_is_no_rounding():
    amounts = pa.array([0.1 + 0.2, 12.505, 1e7 + 0.01], pa.float64())
    assert cast_cells(pl.Series(pl.from_arrow(amounts)), pa.decimal128(10, 2)).rounded.to_list() == [False, True, False]
    single = pl.Series([12.34, 99999.99], dtype=pl.Float32)
    assert cast_cells(single, pa.decimal128(10, 2)).rounded is None


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        (pa.array([5, None]), ["5", None]),
        (pa.array([b"ok", b"\xff!"]), ["ok", "\\xff!"]),
        (pa.array([[1], None], pa.list_(pa.int8())), ["[1]", None]),
        (pa.array(["many", "5"]), ["many", "5"]),
    ],
)
def test_a_column_that_nobody_declared_never_costs_a_row(column, expected):
    rows = source([FULL, FULL]).append_column("NEW", column)
    seen_as_number = pa.schema([*TRANSACTIONS.arrow, pa.field("NEW", pa.string())])
    for schema in (TRANSACTIONS.arrow, seen_as_number):
        found = conform(rows, TRANSACTIONS, schema)
        assert found.accepted["NEW"].to_pylist() == expected and not found.rejected.num_rows
    assert business_schema(TRANSACTIONS, pa.schema([("NEW", pa.int64())])).field("NEW").type == pa.string()


def test_rows_that_bring_a_column_have_the_next_schema_version():
    rows = source([FULL | {"NEW": "x"}, FULL])
    accepted = conform(rows, TRANSACTIONS, TRANSACTIONS.arrow).accepted
    origin = replace(ORIGIN, schema_version=3, next_version=4)
    wrapped = wrap(score_quality(accepted, TRANSACTIONS), TRANSACTIONS, origin, TRANSACTIONS.names)
    assert wrapped["_schema_version"].to_pylist() == [4, 3]


def test_the_envelope_has_the_declared_schema():
    rows = [
        {
            "TRANSACTION_ID": "T1",
            "TRANSACTION_DATE": "2010-03-31 23:59:59",
            "TRANSACTION_TYPE": "X",
            "TOTAL_AMOUNT": "1",
        }
    ]
    accepted = conform(source(rows), TRANSACTIONS, TRANSACTIONS.arrow).accepted
    table = wrap(score_quality(accepted, TRANSACTIONS), TRANSACTIONS, ORIGIN)
    assert table.schema.names == bronze_schema(TRANSACTIONS).names
    assert (table["_position"][0].as_py(), table["_month"][0].as_py()) == (100, "2010-03")
    assert partition_values(table, TRANSACTIONS).to_pylist() == ["2010-03"]


def test_evolution_widens_and_adds_whatever_the_order_of_files():
    current = business_schema(TRANSACTIONS, None)
    files = [
        pa.schema([("TOTAL_AMOUNT", pa.decimal128(14, 2)), ("NEW", pa.int32())]),
        pa.schema([("TOTAL_AMOUNT", pa.decimal128(12, 4)), ("NEW", pa.float32())]),
        pa.schema([("LOYALTY_POINTS_EARNED", pa.float64()), ("OTHER", pa.dictionary(pa.int8(), pa.string()))]),
    ]
    schema, changes = evolve(current, files)
    assert schema.field("TOTAL_AMOUNT").type == pa.decimal128(16, 4)
    assert (schema.field("NEW").type, schema.field("OTHER").type) == (pa.string(), pa.string())
    assert schema.field("LOYALTY_POINTS_EARNED").type == pa.int64()  # declared: a fraction is a reject
    assert Change("NEW", "added", "", "string") in changes and len(changes) == 3
    assert evolve(current, files[::-1]) == (schema, changes)
    assert evolve(schema, files) == (schema, [])


@pytest.mark.parametrize(
    ("text", "spelling", "rule"),
    [
        ("99.95", Spelling(","), "not_a_number"),  # a person's number, but not written as was told
        ("99,95", Spelling("."), "not_a_number"),
        ("99,95", AS_USUAL, "not_a_number"),
        ("12.345.678.901.234.567,89", Spelling(","), "decimal_overflow"),
        (" 12,345,678,901,234,567.89", Spelling("."), "decimal_overflow"),
        ("12345678901234567.89", AS_USUAL, "decimal_overflow"),
        ("-1e400", AS_USUAL, "decimal_overflow"),  # more than a float holds
        ("Infinity", AS_USUAL, "not_a_number"),
    ],
)
def test_too_many_digits_are_told_from_a_number_written_otherwise(text, spelling, rule):
    rows = source([FULL | {"TOTAL_AMOUNT": text}])
    assert conform(rows, TRANSACTIONS, TRANSACTIONS.arrow, spelling).rejected["rule"].to_pylist() == [rule]
