"""The orders and lines of the last minutes, held by a worker and read back from bronze when it begins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from transforms.batches import as_table
from transforms.bronze.envelope import columns_for_silver
from transforms.contracts import CONTRACTS
from transforms.contracts.commerce import ITEMS, TRANSACTIONS
from transforms.gold.realtime_items import LINES, NOTHING, ORDERS, Recent, attach_buyers
from transforms.gold.touches import INGESTED
from transforms.io.delta import read_table
from transforms.positions import Piece
from transforms.silver.to_silver import to_silver

SCHEMAS = {TRANSACTIONS.name: ORDERS, ITEMS.name: LINES}


class Buyers:
    """Finds the buyers of lines, piece by piece. Not thread-safe.

    It may be lost at any moment: what came in the last `wait` before the first rows is read from bronze and told
    again, as it is when positions were passed over, since another worker had them meanwhile.
    """

    def __init__(self, bronze: Mapping[str, str], wait: timedelta, country: str) -> None:
        self._bronze, self._wait, self._country = dict(bronze), wait, country
        self._forget()

    def _forget(self) -> None:
        self._recent: Recent | None = None
        self._highs: dict[str, int] = {}

    def attach(self, pieces: Sequence[Piece]) -> pa.Table:
        """The lines that have a buyer because of these pieces; see `attach_buyers`.

        Args:
          pieces: silver rows, of the log "<table>/…".
        """
        rows = {table: [as_table(p.rows) for p in pieces if _is_of(p, table) and len(p.rows)] for table in SCHEMAS}
        self._follow(pieces)
        begins = self._recent is None
        if begins:
            if not any(rows.values()):
                return attach_buyers(NOTHING, ORDERS.empty_table(), LINES.empty_table(), self._wait)[1]
            first = min(pc.min(table[INGESTED]).as_py() for several in rows.values() for table in several)
            for table in self._bronze:
                rows[table].append(self._stored(table, first - self._wait))
        orders, lines = (_of(rows[table], schema) for table, schema in SCHEMAS.items())
        self._recent, attached = attach_buyers(self._recent or NOTHING, orders, lines, self._wait)
        return attached

    def _follow(self, pieces: Sequence[Piece]) -> None:
        for piece in sorted(pieces, key=lambda piece: piece.low):
            if piece.low > self._highs.get(piece.log, piece.low - 1) + 1:
                self._forget()
            self._highs[piece.log] = max(piece.high, self._highs.get(piece.log, -1))

    def _stored(self, table: str, since: datetime) -> pa.Table:
        where = ((INGESTED, ">=", since),)
        bronze = read_table(self._bronze[table], columns=columns_for_silver(CONTRACTS[table]), where=where)
        return to_silver(bronze, CONTRACTS[table], self._country).accepted


def _is_of(piece: Piece, table: str) -> bool:
    return piece.log.startswith(f"{table}/")


def _of(tables: list[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *(table.select(schema.names).cast(schema) for table in tables)])
