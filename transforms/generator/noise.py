"""Rows that arrive twice, in an older version, or late: planted into clean tables, and written down."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS, Arrival, Contract
from transforms.contracts.schema import DATE, TIMESTAMP
from transforms.generator.frames import HOUR, MINUTE, SECOND
from transforms.generator.spec import GeneratorSpec

CLEAN, EXACT, OLDER, LATE = range(4)
KINDS = ("clean", "exact", "older_version", "late")
_PENDING = {
    "CUSTOMER_TRANSACTIONS": ("TRANSACTION_STATUS", "PENDING"),
    "CUSTOMER_SERVICE_TICKETS": ("TICKET_STATUS", "OPEN"),
}
_RESOLUTION = ("RESOLUTION_DATE", "TOTAL_RESOLUTION_TIME", "CUSTOMER_SATISFACTION")


@dataclass(frozen=True)
class Planted:
    """Rows in order of arrival.

    Attributes:
      table: the rows, contract columns.
      kind: what each row is: CLEAN, EXACT (a copy), OLDER (an earlier version under the same key) or LATE.
      fixed: rows that must stay as they are: copies, late rows, and rows that have a copy.
      arrived: microseconds for tables with an event time, else the row's place.
    """

    table: pa.Table
    kind: np.ndarray
    fixed: np.ndarray
    arrived: np.ndarray


def plant_rows(name: str, table: pa.Table, spec: GeneratorSpec, rng: np.random.Generator) -> Planted:
    """Adds copies and older versions of rows, and delays some, of a table that is in order of event time.

    Taking of each key the latest version (as silver does) gives back the clean rows. Rows other than
    copies and late ones stay in order of event time. A copy arrives within ten minutes (or fifty rows), an older
    version before its row, a late row (only in tables that stream) hours to days after its time.
    """
    contract, size = CONTRACTS[name], table.num_rows
    times = event_micros(contract, table)
    if not spec.duplicate_share and not spec.late_share:
        return Planted(table, np.zeros(size, np.int64), np.zeros(size, bool), times)
    twice = rng.random(size) < spec.duplicate_share
    streams = contract.arrival is Arrival.STREAM and contract.event_time is not None
    late = (rng.random(size) < spec.late_share) & ~twice & streams
    delay = np.where(late, (rng.uniform(2, 72, size) * HOUR).astype(np.int64), 0)
    copied = np.flatnonzero(twice)
    older = (rng.random(len(copied)) < 0.5) & _versionable(contract, table)[copied]
    timed = contract.event_time is not None
    wait = rng.integers(SECOND, 10 * MINUTE, len(copied)) if timed else rng.integers(1, 50, len(copied))
    back = rng.integers(1, 60, len(copied)) * MINUTE
    copies = table.take(pa.array(copied))
    versions = _make_older(contract, copies, np.where(older, back, 0))
    kind = np.concatenate([np.where(late, LATE, CLEAN), np.where(older, OLDER, EXACT)])
    before = event_micros(contract, versions) if timed else times[copied]
    arrived = np.concatenate([times + delay, np.where(older, before, times[copied] + wait)])
    order = np.argsort(arrived, kind="stable")
    rows = pa.concat_tables([table, versions]).take(pa.array(order)).combine_chunks()
    fixed = np.concatenate([twice | late, np.ones(len(copied), bool)])
    return Planted(rows, kind[order], fixed[order], arrived[order])


def event_micros(contract: Contract, table: pa.Table) -> np.ndarray:
    """Event times in microseconds; without an event time, the places of the rows."""
    if contract.event_time is None:
        return np.arange(table.num_rows)
    return _micros(table[contract.event_time])


def _micros(column: pa.ChunkedArray) -> np.ndarray:
    series = pl.Series(pl.from_arrow(column))
    return series.cast(pl.Datetime("us")).cast(pl.Int64).fill_null(0).to_numpy()


def _versionable(contract: Contract, table: pa.Table) -> np.ndarray:
    """Rows that can have had an earlier version that the contract tells apart: tickets those that were resolved."""
    if not contract.order_by:
        return np.zeros(table.num_rows, bool)
    column = _RESOLUTION[0] if contract.name == "CUSTOMER_SERVICE_TICKETS" else contract.order_by[0]
    return table[column].is_valid().to_numpy()


def _make_older(contract: Contract, rows: pa.Table, back: np.ndarray) -> pa.Table:
    """`rows` as they stood `back` microseconds (or a day) before; rows with 0 stay as they are."""
    changed = pl.Series(back > 0)
    if not contract.order_by or not changed.any():
        return rows
    frame = pl.from_arrow(rows)
    assert isinstance(frame, pl.DataFrame)
    column = contract.order_by[0]
    if contract[column].type == DATE:
        earlier = pl.col(column) - pl.duration(days=1)
    else:
        assert contract[column].type == TIMESTAMP
        earlier = pl.col(column) - pl.Series(back).cast(pl.Duration("us"))
    if contract.name == "CUSTOMER_SERVICE_TICKETS":  # before it was resolved
        new = [pl.lit(None, frame.schema[name]).alias(name) for name in _RESOLUTION]
    else:
        new = [earlier.alias(column)]
    if contract.name in _PENDING:
        status, value = _PENDING[contract.name]
        new.append(pl.lit(value).alias(status))
    older = frame.with_columns(new)
    mixed = frame.with_columns(
        pl.when(changed).then(older[name]).otherwise(pl.col(name)).alias(name) for name in frame.columns
    )
    return mixed.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(rows.schema)
