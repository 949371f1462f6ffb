"""One row a key: the latest."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import Contract

_INGESTED_AT = "_ingested_at"


class Deduped(NamedTuple):
    """`kept`: one row a key, in the order they came.

    `duplicates`: rows dropped, `conflicts`: those that said something else.
    """

    kept: pa.Table
    duplicates: int
    conflicts: int


class Latest(NamedTuple):
    """`kept`: the numbers of the rows that stay, ascending. `differs`: for each row, whether it said something else."""

    kept: np.ndarray
    differs: np.ndarray


def latest_by_key(table: pa.Table, contract: Contract) -> Deduped:
    """The rows that `latest_rows` keeps, and how many it does not."""
    kept, differs = latest_rows(table, contract)
    if kept.size == table.num_rows:
        return Deduped(table, 0, 0)
    return Deduped(table.take(pa.array(kept)), table.num_rows - kept.size, int(differs.sum()))


def latest_rows(table: pa.Table, contract: Contract) -> Latest:
    """Keeps of the rows with one key the latest: by `order_by`, `_ingested_at`, `precedence`, and then content.

    Null counts as earliest. Content is compared in full: the business columns in declared order, those that evolution
    added by name, then the rest of the envelope, the greater value first; so the result depends neither on row order
    nor on chunking. Of rows equal in all this the first stays. A dropped row is a conflict when a business column
    differs from the kept row's.

    Args:
      table: silver rows before deduplication, all rows of each key that it has; the key is never null.
    """
    keys = pl.DataFrame(pl.from_arrow(table.select(list(contract.key))))
    shared = keys.is_duplicated().to_numpy()
    again = np.flatnonzero(shared)
    differs = np.zeros(table.num_rows, bool)
    if not again.size:
        return Latest(np.arange(table.num_rows), differs)
    rows = _comparable(table.take(pa.array(again)), contract)
    stages = _stages(contract)
    rows = rows.with_columns(stages)
    latest_first = [*contract.order_by, _INGESTED_AT, *(stage.meta.output_name() for stage in stages)]
    latest_first += _business(table, contract)
    latest_first += sorted(set(rows.columns) - set(latest_first) - set(contract.key))
    by = [
        *contract.key,
        *dict.fromkeys(name for name in latest_first if name in rows.columns and name not in contract.key),
    ]
    order = rows.with_row_index("#").sort(
        by, descending=[name not in contract.key for name in by], nulls_last=True, maintain_order=True
    )
    first = order.select(pl.struct(list(contract.key)).rle_id().cast(pl.Int64).alias("group"))["group"]
    heads = np.flatnonzero(np.diff(first.to_numpy(), prepend=-1))
    starts = np.repeat(heads, np.diff(heads, append=len(first)))
    business = order.select(_business(table, contract))
    numbers = again[order["#"].to_numpy()]
    differs[numbers] = _any_differs(business, business[starts])
    return Latest(np.sort(np.concatenate([np.flatnonzero(~shared), numbers[heads]])), differs)


def _business(table: pa.Table, contract: Contract) -> list[str]:
    added = sorted(name for name in table.column_names if name not in contract and not name.startswith("_"))
    return [*contract.names, *added]


def _stages(contract: Contract) -> list[pl.Expr]:
    """How far a row has come by each of the contract's precedences, as columns."""
    found = []
    for stages in contract.precedence:
        value = pl.col(stages.column)
        rank = value.replace_strict(list(stages.values), range(len(stages.values)), default=None)
        found.append((rank if stages.values else value).alias(f"stage:{stages.column}"))
    return found


def _comparable(table: pa.Table, contract: Contract) -> pl.DataFrame:
    """The rows with lists as text, which can be sorted."""
    frame = pl.DataFrame(pl.from_arrow(table))
    lists = [name for name, kind in frame.schema.items() if kind == pl.List(pl.String)]
    return frame.with_columns(pl.col(name).list.join(",") for name in lists)


def _any_differs(rows: pl.DataFrame, others: pl.DataFrame) -> np.ndarray:
    differ = [rows[name].ne_missing(others[name]) for name in rows.columns]
    return np.logical_or.reduce([series.to_numpy() for series in differ])
