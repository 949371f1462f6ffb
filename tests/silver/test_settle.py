import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from tests.silver.tables import NOW, rows_of
from tests.silver.test_dedupe import by_lateness, compare, keyed, table_of
from transforms.contracts import contract
from transforms.silver.flags import add_flags
from transforms.silver.keys import ORPHAN, KeySet
from transforms.silver.outliers import Bounds
from transforms.silver.schema import as_silver
from transforms.silver.settle import flag_late, newest, restated

TRANSACTIONS = contract("transactions")


def by_key(table, table_contract):
    names = [*table_contract.names, "NEW_COLUMN"]
    return {tuple(row[n] for n in table_contract.key): [row[n] for n in names] for row in table.to_pylist()}


def upserted(stored, fresh, table_contract):
    """What a table holds after an upsert, row by row: the new one unless the stored is greater in the order."""
    places = [[*table_contract.names].index(name) for name in table_contract.order_by]
    for key, row in fresh.items():
        old = stored.get(key)
        later = old is not None and compare([old[p] for p in places], [row[p] for p in places]) > 0
        stored[key] = old if later else row
    return stored


@given(keyed, st.data())
def test_runs_cut_anywhere_end_like_one(case, data):
    """Rows come in any order of ingestion times; each run knows of the earlier rows those that are not older."""
    table_contract, rows = case
    rows = data.draw(st.permutations(rows))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(rows)), max_size=3)))
    stored, read = {}, 0
    for start, end in zip([0, *cuts], [*cuts, len(rows)], strict=True):
        part = rows[start:end]
        since = min((row["_ingested_at"] for row in part), default=NOW)
        known = [row for row in rows[:start] if row["_ingested_at"] >= since]
        fresh, _, duplicates, conflicts = newest(
            table_of(part, table_contract), table_contract, table_of(known, table_contract)
        )
        assert fresh.num_rows + duplicates == len(part) and conflicts <= duplicates
        stored, read = upserted(stored, by_key(fresh, table_contract), table_contract), read + len(part)
    whole = newest(table_of(rows, table_contract), table_contract)
    assert stored == by_key(whole.fresh, table_contract)
    best = {}
    for row in sorted(rows, key=by_lateness(table_contract)):
        best[tuple(row[n] for n in table_contract.key)] = [row[n] for n in [*table_contract.names, "NEW_COLUMN"]]
    assert stored == best


def orders(*rows):
    found = rows_of(TRANSACTIONS, *rows)
    return add_flags(found, {})


def test_a_stored_row_stays_for_judging_unless_a_new_one_replaces_it():
    old = as_silver(orders({"TRANSACTION_ID": "A"}, {"TRANSACTION_ID": "B"}, {"TRANSACTION_ID": "A"}), TRANSACTIONS)
    fresh, stored, duplicates, _ = newest(orders({"TRANSACTION_ID": "B"}), TRANSACTIONS, None, old)
    assert (fresh["TRANSACTION_ID"].to_pylist(), stored["TRANSACTION_ID"].to_pylist(), duplicates) == (["B"], ["A"], 0)
    late = orders({"TRANSACTION_ID": "B", "TRANSACTION_DATE": NOW.replace(year=2001)})
    fresh, stored, duplicates, conflicts = newest(late, TRANSACTIONS, None, old)
    assert (fresh.num_rows, sorted(stored["TRANSACTION_ID"].to_pylist())) == (0, ["A", "B"])
    assert (duplicates, conflicts) == (1, 1)


def test_only_rows_whose_flags_change_are_restated():
    rows = orders(*({"TRANSACTION_ID": f"T{i}", "CUSTOMER_ID": f"C{i % 2}", "TOTAL_AMOUNT": 10**i} for i in range(6)))
    parents = {"CUSTOMERS": KeySet(np.empty(0, np.uint64))}
    before = flag_late(rows, TRANSACTIONS, Bounds((("TOTAL_AMOUNT", 50.0),)), parents)
    stored = as_silver(before, TRANSACTIONS)
    known = {"CUSTOMERS": KeySet.of(pa.table({"CUSTOMER_ID": ["C1"]}), ["CUSTOMER_ID"])}
    again = restated(stored, TRANSACTIONS, Bounds((("TOTAL_AMOUNT", 5000.0),)), known)
    flags = {row["TRANSACTION_ID"]: (row["_flags"], row[ORPHAN]) for row in again.to_pylist()}
    assert flags == {
        "T1": ([], False),
        "T2": (["orphan:CUSTOMER_ID"], True),
        "T3": ([], False),
        "T5": (["outlier:TOTAL_AMOUNT"], False),
    }
    assert restated(stored, TRANSACTIONS, Bounds((("TOTAL_AMOUNT", 50.0),)), {}).num_rows == 0
