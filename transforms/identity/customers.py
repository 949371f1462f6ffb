"""The customers of the lake as records about persons."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.contracts.commerce import CUSTOMERS
from transforms.identity.fields import RECORD_KEY

SOURCE = "customers"
# Column of CUSTOMERS -> what it says about a person (`fields.FIELDS`).
SAID = {
    "FIRST_NAME": "given_name",
    "LAST_NAME": "surname",
    "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone",
    "DATE_OF_BIRTH": "birth_date",
    "GENDER": "gender",
    "ADDRESS_LINE_1": "street",
    "CITY": "city",
    "STATE_CODE": "state",
    "ZIP_CODE": "postcode",
    "COUNTRY_CODE": "country",
}
READ = ("CUSTOMER_ID", *SAID, "REGISTRATION_DATE", "LAST_LOGIN_DATE")
GOLDEN_TYPES = {said: CUSTOMERS[column].type.arrow for column, said in SAID.items()}


def customer_key(customer: str) -> str:
    """The record key of a CUSTOMER_ID, however it was typed: silver writes codes in capitals."""
    return f"{SOURCE}:{customer.strip().upper()}"


def customer_records(customers: pa.Table) -> pa.Table:
    """Silver CUSTOMERS -> records: `record_key` ("customers:" and the id), `source`, `first_seen` and `updated_at` (the
    days of registration and of the last login, or else of registration), and the columns of SAID; ordered by key."""
    frame = pl.DataFrame(pl.from_arrow(customers.select(READ)))
    moment = pl.Datetime("us", "UTC")
    records = frame.select(
        (pl.lit(f"{SOURCE}:") + pl.col("CUSTOMER_ID")).alias(RECORD_KEY),
        pl.lit(SOURCE).alias("source"),
        pl.col("REGISTRATION_DATE").cast(moment).alias("first_seen"),
        pl.coalesce("LAST_LOGIN_DATE", "REGISTRATION_DATE").cast(moment).alias("updated_at"),
        *(pl.col(column).alias(said) for column, said in SAID.items()),
    )
    return records.sort(RECORD_KEY).to_arrow(compat_level=pl.CompatLevel.oldest())


def customers_of(map: pa.Table) -> pa.Table:
    """The customers among the records of a map: `CUSTOMER_ID`, `person_id`."""
    frame = pl.DataFrame(pl.from_arrow(map.select(["record", "person_id"])))
    mine = frame.filter(pl.col("record").str.starts_with(f"{SOURCE}:"))
    return mine.select(
        pl.col("record").str.strip_prefix(f"{SOURCE}:").alias("CUSTOMER_ID"), "person_id"
    ).to_arrow(compat_level=pl.CompatLevel.oldest())  # fmt: skip
