"""Which rows a run adds to silver, and which of the stored rows it states anew."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.contracts import Contract
from transforms.silver.dedupe import latest_rows
from transforms.silver.flags import FLAGS
from transforms.silver.keys import KeySet, flag_orphans
from transforms.silver.outliers import Bounds, flag_outliers

_INGESTED = "_ingested_at"
_OLDEST = pa.scalar(0, pa.timestamp("us", tz="UTC"))


class Newest(NamedTuple):
    """`fresh`: the new rows that silver takes up. `stored`: the rows of silver that none of them replaces.

    `duplicates`: new rows not taken up, `conflicts`: those that said something else.
    """

    fresh: pa.Table
    stored: pa.Table
    duplicates: int
    conflicts: int


def newest(rows: pa.Table, contract: Contract, known: pa.Table | None = None, stored: pa.Table | None = None) -> Newest:
    """The latest of `rows` for each key, unless a row of `known` or `stored` is later.

    Args:
      rows: cleaned bronze rows that silver has not taken up yet, with `_ingested_at`.
      known: those it has; they only stand in the way of rows that are not later.
      stored: rows of silver, perhaps the same one twice. Of a new row that ties with one of them the new one wins,
        as it was ingested later or is compared with the `known` row that the stored one was made from.
    """
    fresh, _, conflicts = _against(rows, known, contract)
    left = rows.slice(0, 0)
    if stored is not None:
        fresh, left, more = _against(fresh, stored.append_column(_INGESTED, _oldest(stored)), contract)
        left, conflicts = left.drop_columns(_INGESTED), conflicts + more
    return Newest(fresh, left, rows.num_rows - fresh.num_rows, conflicts)


def _against(rows: pa.Table, others: pa.Table | None, contract: Contract) -> tuple[pa.Table, pa.Table, int]:
    """The rows and the others that stay when all are compared, and the conflicts among the rows."""
    together = rows if others is None else pa.concat_tables([rows, others], promote_options="default")
    kept, differs = latest_rows(together, contract)
    ours = kept[kept < rows.num_rows]
    fresh = rows if ours.size == rows.num_rows else rows.take(pa.array(ours))
    theirs = others.take(pa.array(kept[ours.size :] - rows.num_rows)) if others is not None else rows.slice(0, 0)
    return fresh, theirs, int(np.count_nonzero(differs[: rows.num_rows]))


def _oldest(stored: pa.Table) -> pa.Array:
    """As if ingested before all others: silver does not keep when a row was ingested."""
    return pa.repeat(_OLDEST, stored.num_rows)


def flag_late(table: pa.Table, contract: Contract, bounds: Bounds, parents: Mapping[str, KeySet]) -> pa.Table:
    """Sets the flags that need more than the row itself: outliers, and orphans for the parents that are given."""
    return flag_orphans(flag_outliers(table, bounds, contract), contract, parents)


def restated(stored: pa.Table, contract: Contract, bounds: Bounds, parents: Mapping[str, KeySet]) -> pa.Table:
    """The rows of silver whose flags are others by now, with these."""
    flagged = flag_late(stored, contract, bounds, parents)
    return flagged.filter(pc.not_equal(pc.binary_join(flagged[FLAGS], ","), pc.binary_join(stored[FLAGS], ",")))
