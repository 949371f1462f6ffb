"""Whose rows are whose: rows of a customer record become rows of its person, and a person's records one."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.gold.frames import ID
from transforms.gold.realtime_persons import person_of
from transforms.identity.customers import SAID, SOURCE, customer_records
from transforms.identity.survive import PERSON_RULES, survive_attributes

RECORD = "_record_id"  # the CUSTOMER_ID that the source gave
LEAD, RECORDS = "_lead_id", "_record_ids"
_OLDEST = pl.CompatLevel.oldest()
_USED = pl.max_horizontal("LAST_LOGIN_DATE", "REGISTRATION_DATE")


def key_by_person(rows: pa.Table, persons: pa.Table) -> pa.Table:
    """The rows with their person in CUSTOMER_ID; in their order.

    Where identity has set no person, the record stands for itself.

    Args:
      rows: with CUSTOMER_ID, null for nobody known.
      persons: `customer_id` (unique) and `person_id`.
    """
    known = pl.DataFrame(pl.from_arrow(persons.select(["customer_id", "person_id"])))
    given = pl.DataFrame({"customer_id": pl.Series(rows[ID], dtype=pl.String)})
    found = given.join(known, on="customer_id", how="left", maintain_order="left")
    key = found.select(pl.coalesce("person_id", "customer_id")).to_series().to_arrow(compat_level=_OLDEST)
    return rows.set_column(rows.column_names.index(ID), ID, key.cast(pa.string()))


class PersonMap:
    """The identity map at one version, read when it is first asked for; None: there is none, and a record is a person.

    Memory: two strings a customer.
    """

    def __init__(self, uri: str, version: int | None) -> None:
        self._uri, self._version = uri, version
        self._persons: pa.Table | None = None

    def key(self, rows: pa.Table) -> pa.Table:
        """See `key_by_person`."""
        if self._version is None:
            return rows
        if self._persons is None:
            self._persons = person_of(self._uri, self._version)
        return key_by_person(rows, self._persons)


def join_records(customers: pa.Table) -> pa.Table:
    """CUSTOMERS with one row a CUSTOMER_ID, and LEAD and RECORDS: the record that leads, and all, joined by ", ".

    Who a person is, is what survives of their records (`PERSON_RULES`); they registered first when any record did and
    logged in last when any did; the rest is of the record that was used last and has it. The lead is the record that
    registered first, of several the smaller.

    Args:
      customers: CUSTOMERS keyed by person; RECORD may be absent: each row is then its own record.
    """
    frame = pl.DataFrame(pl.from_arrow(customers)).drop_nulls(ID)
    if RECORD not in frame.columns:
        frame = frame.with_columns(pl.col(ID).alias(RECORD))
    one = frame.filter(pl.len().over(ID) == 1).with_columns(pl.col(RECORD).alias(LEAD), pl.col(RECORD).alias(RECORDS))
    several = frame.filter(pl.len().over(ID) > 1)
    parts = [one] if not several.height else [one, _joined(several).select(one.columns)]
    return pl.concat(parts).drop(RECORD).sort(ID).to_arrow(compat_level=_OLDEST)


def _joined(frame: pl.DataFrame) -> pl.DataFrame:
    ordered = frame.sort(ID, _USED, RECORD, descending=[False, True, False], nulls_last=True)
    who = {column: said for column, said in SAID.items() if column in frame.columns}
    rest = [name for name in frame.columns if name not in (ID, RECORD, "REGISTRATION_DATE", "LAST_LOGIN_DATE", *who)]
    first = pl.col(RECORD).sort_by("REGISTRATION_DATE", RECORD, nulls_last=True).first()
    persons = ordered.group_by(ID, maintain_order=True).agg(
        pl.col("REGISTRATION_DATE").min(),
        pl.col("LAST_LOGIN_DATE").max(),
        *(pl.col(name).drop_nulls().first() for name in rest),
        first.alias(LEAD),
        pl.col(RECORD).unique().sort().str.join(", ").alias(RECORDS),
        first.alias(RECORD),
    )
    return persons.join(_survivors(frame, who), on=ID, how="left")


def _survivors(frame: pl.DataFrame, who: dict[str, str]) -> pl.DataFrame:
    """CUSTOMER_ID and the columns of `who`."""
    missing = [pl.lit(None, pl.String).alias(name) for name in SAID if name not in frame.columns]
    records = frame.with_columns(missing).with_columns(pl.col(RECORD).alias(ID)).to_arrow(compat_level=_OLDEST)
    told = customer_records(records)
    table = told.rename_columns(["record" if name == "record_key" else name for name in told.column_names])
    map = frame.select((pl.lit(f"{SOURCE}:") + pl.col(RECORD)).alias("record"), pl.col(ID).alias("person_id"))
    found = pl.DataFrame(pl.from_arrow(survive_attributes(table, map.to_arrow(compat_level=_OLDEST), PERSON_RULES)))
    return found.select(pl.col("person_id").alias(ID), *(pl.col(said).alias(name) for name, said in who.items()))
