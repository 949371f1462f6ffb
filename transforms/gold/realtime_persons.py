"""Who each customer is, for what goes on while others resolve identities."""

from __future__ import annotations

import time

import pyarrow as pa

from transforms.identity.customers import customers_of
from transforms.io.delta import open_table, read_table

REFRESH_SECONDS = 30.0


class Persons:
    """The identity map as it is now: its version is looked at once `refresh_seconds` have passed since the last look,
    and the map read when it is another one. Memory: two strings a customer."""

    def __init__(self, uri: str | None, refresh_seconds: float = REFRESH_SECONDS) -> None:
        self._uri, self._refresh_seconds = uri, refresh_seconds
        self._looked: float | None = None
        self._map: pa.Table | None = None
        self.version: int | None = None

    def now(self) -> pa.Table | None:
        """Columns customer_id (unique; of several persons the least) and person_id; None where there is no table."""
        if self._uri is None:
            return None
        if self._looked is None or time.monotonic() - self._looked >= self._refresh_seconds:
            self._looked = time.monotonic()
            table = open_table(self._uri)
            if table is not None and table.version() != self.version:
                self._map, self.version = person_of(self._uri, table.version()), table.version()
        return self._map


def person_of(uri: str, version: int) -> pa.Table:
    """`customer_id` (unique; of several persons the least) and `person_id`, of a version of the identity map."""
    rows = customers_of(read_table(uri, columns=("record", "person_id"), version=version))
    found = rows.group_by("CUSTOMER_ID").aggregate([("person_id", "min")])
    return found.select(["CUSTOMER_ID", "person_id_min"]).rename_columns(["customer_id", "person_id"])
