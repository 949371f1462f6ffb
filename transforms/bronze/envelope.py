"""The envelope around a bronze row: where it came from, when, and in which run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.bronze.quality import ISSUES, SCORE
from transforms.contracts import Contract

INGESTED, ENQUEUED = "_ingested_at", "_enqueued_at"
ENVELOPE = pa.schema(
    [
        pa.field(INGESTED, pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("_source", pa.string(), nullable=False),
        pa.field("_file", pa.string(), nullable=False),
        pa.field("_position", pa.int64(), nullable=False),
        pa.field("_run_id", pa.string(), nullable=False),
        pa.field("_schema_version", pa.int32(), nullable=False),
        pa.field(SCORE, pa.float64(), nullable=False),
        pa.field(ISSUES, pa.list_(pa.string())),
        pa.field("_row", pa.int32()),  # of an event that holds several rows; null in files
        pa.field(ENQUEUED, pa.timestamp("us", tz="UTC")),  # when the hub took the event; null in files
    ]
)
FOR_SILVER = (INGESTED, "_file", "_position", "_run_id", SCORE)  # what silver is made with


def columns_for_silver(contract: Contract) -> tuple[str, ...]:
    """What `to_silver` needs of a bronze row, and when an event arrived."""
    return (*contract.names, *FOR_SILVER, ENQUEUED)


@dataclass(frozen=True)
class Origin:
    """What all rows of one file share in one run.

    Attributes:
      ingested_at: the start of the run.
      schema_version: of bronze's columns as the run begins to write.
      next_version: of rows that bring columns which bronze does not have by then.
    """

    source: str
    file: str
    run_id: str
    ingested_at: datetime
    schema_version: int
    next_version: int | None = None


def bronze_schema(contract: Contract, business: pa.Schema | None = None) -> pa.Schema:
    """Business columns (the contract's, or those that bronze has by now), envelope, partition column."""
    fields = list(business or contract.arrow) + list(ENVELOPE)
    return pa.schema(fields + [pa.field(name, pa.string()) for name in contract.partition_by])


def wrap(scored: pa.Table, contract: Contract, origin: Origin, known: Sequence[str] | None = None) -> pa.Table:
    """Adds the envelope and the partition column (`_day` "2010-12-01" or `_month` "2010-12", null without a date).

    Args:
      scored: business columns, `_position`, `_quality_score` and `_quality_issues`.
      known: the business columns that `origin.schema_version` has; by default all.
    """
    rows = scored.num_rows
    constants = {
        "_ingested_at": pa.scalar(origin.ingested_at, ENVELOPE.field("_ingested_at").type),
        "_source": pa.scalar(origin.source),
        "_file": pa.scalar(origin.file),
        "_run_id": pa.scalar(origin.run_id),
    }
    business = [name for name in scored.column_names if name not in ENVELOPE.names]
    columns = {name: scored[name] for name in business}
    made = {name: pa.repeat(value, rows) for name, value in constants.items()}
    made["_schema_version"] = _versions(scored, origin, set(business) - set(known or business))
    for name in ("_row", "_enqueued_at"):
        if name not in scored.column_names:
            made[name] = pa.nulls(rows, ENVELOPE.field(name).type)
    columns |= {name: made[name] if name in made else scored[name] for name in ENVELOPE.names}
    if contract.partition:
        columns[contract.partition.name] = partition_values(scored, contract)
    return pa.table(columns)


def _versions(rows: pa.Table, origin: Origin, new: Iterable[str]) -> pa.Array:
    """The schema version of each row: the next one where it has a value in a new column."""
    now = pa.scalar(origin.schema_version, pa.int32())
    if origin.next_version in (None, origin.schema_version):
        return pa.repeat(now, rows.num_rows)
    brings = np.zeros(rows.num_rows, bool)
    for name in new:
        brings |= rows[name].is_valid().to_numpy()
    return pc.if_else(pa.array(brings), pa.scalar(origin.next_version, pa.int32()), now)


def partition_values(table: pa.Table, contract: Contract) -> pa.Array:
    """The text of the partition column for each row, cut from the date its contract names, in UTC."""
    assert contract.partition is not None
    when = pl.Series(pl.from_arrow(table[contract.partition.column])).cast(pl.Date)
    first = when if contract.partition.by == "day" else when.dt.truncate("1mo")
    days = first.unique()  # a few hundred days in a batch: format each once
    form = "%Y-%m-%d" if contract.partition.by == "day" else "%Y-%m"
    names = first.replace_strict(days, days.dt.strftime(form), default=None, return_dtype=pl.String)
    return names.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(pa.string())
