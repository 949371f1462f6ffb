import datetime as dt
from functools import cmp_to_key

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.silver.tables import NOW, any_tables, bronze, rows_of, stages_of
from transforms.contracts import contract
from transforms.silver.dedupe import latest_by_key
from transforms.silver.standardise import standardise

TICKETS, TRANSACTIONS, CUSTOMERS = contract("tickets"), contract("transactions"), contract("customers")


def compare(a, b):
    """Null lowest, then the values' own order; text by its bytes."""
    for x, y in zip(a, b, strict=True):
        if x == y:
            continue
        if x is None or y is None:
            return -1 if x is None else 1
        if isinstance(x, str):
            x, y = x.encode(), y.encode()
        return -1 if x < y else 1
    return 0


def by_lateness(table_contract):
    """A sort key that puts the latest row of a key last."""
    names = [*table_contract.names, "NEW_COLUMN"]

    def order(row):
        said = [row[n] for n in (*table_contract.order_by, "_ingested_at")]
        return [*said, *stages_of(row, table_contract), *(row[n] for n in names)]

    return cmp_to_key(lambda a, b: compare(order(a), order(b)))


def plain_latest(rows, table_contract):
    """The kept rows by key, and the number of conflicts, one row after the other."""
    business = [*table_contract.names, "NEW_COLUMN"]
    groups = {}
    for row in rows:
        groups.setdefault(tuple(row[name] for name in table_contract.key), []).append(row)
    best = {key: max(group, key=by_lateness(table_contract)) for key, group in groups.items()}
    conflicts = sum(
        any(row[name] != best[key][name] for name in business) for key, group in groups.items() for row in group
    )
    return best, conflicts


def with_few_keys(case):
    table_contract, table = case
    rows = standardise(table, table_contract).to_pylist()
    for index, row in enumerate(rows):
        for name in table_contract.key:
            row[name] = f"K{index % 3}"
        row["_position"] = index
    return table_contract, rows


keyed = any_tables(max_size=9).map(with_few_keys)


def table_of(rows, table_contract):
    schema = standardise(bronze([], table_contract), table_contract).schema
    return pa.Table.from_pylist(rows, schema=schema)


@given(keyed)
def test_latest_is_that_of_a_plain_reading(case):
    table_contract, rows = case
    kept, duplicates, conflicts = latest_by_key(table_of(rows, table_contract), table_contract)
    best, expected_conflicts = plain_latest(rows, table_contract)
    names = [*table_contract.names, "NEW_COLUMN", "_ingested_at"]
    found = {tuple(row[name] for name in table_contract.key): row for row in kept.to_pylist()}
    assert {key: [row[n] for n in names] for key, row in found.items()} == {
        key: [row[n] for n in names] for key, row in best.items()
    }
    assert kept.num_rows == len(best)
    assert duplicates == len(rows) - len(best)
    assert conflicts == expected_conflicts


@given(keyed, st.data())
def test_neither_order_nor_chunks_matter(case, data):
    table_contract, rows = case
    whole = latest_by_key(table_of(rows, table_contract), table_contract)
    shuffled = data.draw(st.permutations(rows))
    cut = data.draw(st.integers(0, len(rows)))
    parts = [table_of(shuffled[:cut], table_contract), table_of(shuffled[cut:], table_contract)]
    again = latest_by_key(pa.concat_tables(parts), table_contract)
    assert by_key(again.kept, table_contract) == by_key(whole.kept, table_contract)
    assert again[1:] == whole[1:]


@given(keyed, st.integers(0, 9))
def test_first_in_parts_then_together_is_the_same(case, cut):
    table_contract, rows = case
    whole = latest_by_key(table_of(rows, table_contract), table_contract).kept
    parts = [latest_by_key(table_of(part, table_contract), table_contract).kept for part in (rows[:cut], rows[cut:])]
    together = latest_by_key(pa.concat_tables(parts), table_contract).kept
    assert by_key(together, table_contract) == by_key(whole, table_contract)


def by_key(table, table_contract):
    return sorted(table.to_pylist(), key=lambda row: [row[name] for name in table_contract.key])


def ticket(status, resolved=None, ingested=NOW, **more):
    return {"TICKET_ID": "T1", "TICKET_STATUS": status, "RESOLUTION_DATE": resolved, "_ingested_at": ingested} | more


def order_of(status, day=1, ingested=NOW, **more):
    when = dt.datetime(2010, 12, day, tzinfo=dt.UTC)
    return {
        "TRANSACTION_ID": "T1",
        "TRANSACTION_STATUS": status,
        "TRANSACTION_DATE": when,
        "_ingested_at": ingested,
    } | more


EARLIER = NOW - dt.timedelta(days=3)


@pytest.mark.parametrize(
    ("table", "later", "earlier"),
    [
        (TRANSACTIONS, order_of("PENDING", day=2, ingested=EARLIER), order_of("COMPLETED")),  # the version says so
        (TRANSACTIONS, order_of("PENDING"), order_of("COMPLETED", ingested=EARLIER)),  # a later run says so
        (TRANSACTIONS, order_of("COMPLETED"), order_of("PENDING", CUSTOMER_ID="Z")),  # of one run, the further stage
        (TRANSACTIONS, order_of("COMPLETED", CUSTOMER_ID="B"), order_of("COMPLETED", CUSTOMER_ID="A")),  # content
        (TICKETS, ticket("IN_PROGRESS"), ticket("RESOLVED", NOW, EARLIER)),  # reopened
        (TICKETS, ticket("RESOLVED", NOW), ticket("OPEN")),
        (TICKETS, ticket("CLOSED", NOW), ticket("RESOLVED", NOW)),
        (TICKETS, ticket("RESOLVED", NOW, TICKET_PRIORITY="HIGH"), ticket("RESOLVED", EARLIER, TICKET_PRIORITY="LOW")),
        (TICKETS, ticket("OPEN"), ticket(None, NOW)),
    ],
)
def test_version_then_ingestion_then_stage_then_content(table, later, earlier):
    for rows in ([later, earlier], [earlier, later]):
        kept, duplicates, conflicts = latest_by_key(rows_of(table, *rows), table)
        assert kept.select(table.names).equals(rows_of(table, later).select(table.names))
        assert (duplicates, conflicts) == (1, 1)


def test_the_same_row_read_twice_is_a_duplicate_and_no_conflict():
    rows = [ticket("OPEN"), ticket("OPEN", ingested=NOW - dt.timedelta(1), _file="g.csv", _quality_score=0.5)]
    kept, duplicates, conflicts = latest_by_key(rows_of(TICKETS, *rows), TICKETS)
    assert (duplicates, conflicts) == (1, 0)
    assert kept["_file"].to_pylist() == ["f.csv"]


def test_kept_rows_stay_in_the_order_they_came():
    kept = latest_by_key(rows_of(CUSTOMERS, *({"CUSTOMER_ID": f"C{i * 7 % 10}"} for i in range(20))), CUSTOMERS).kept
    assert sorted(kept["CUSTOMER_ID"].to_pylist()) == [f"C{i}" for i in range(10)]
    alone = latest_by_key(rows_of(CUSTOMERS, *({"CUSTOMER_ID": f"C{i * 7 % 10}"} for i in range(10))), CUSTOMERS).kept
    assert alone["CUSTOMER_ID"].to_pylist() == [f"C{i * 7 % 10}" for i in range(10)]


def test_nothing_in_nothing_out():
    kept, duplicates, conflicts = latest_by_key(rows_of(TRANSACTIONS), TRANSACTIONS)
    assert (kept.num_rows, duplicates, conflicts) == (0, 0, 0)
