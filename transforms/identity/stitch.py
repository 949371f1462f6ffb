"""Who was behind visits in which nobody had logged in: the customer who logs in after, within a declared look-back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl
import pyarrow as pa

_OLDEST = pl.CompatLevel.oldest()
_US = 1_000_000
OWN, AFTER_LOGIN, BEFORE_LOGIN = "own", "after_login", "before_login"
VISITORS = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),  # or the tracker's session
        pa.field("CUSTOMER_ID", pa.string()),  # null: nobody is known
        pa.field("stitch_rule", pa.string()),
        pa.field("visits", pa.int64(), nullable=False),
        pa.field("first_at", pa.timestamp("us", tz="UTC")),
        pa.field("last_at", pa.timestamp("us", tz="UTC")),
    ]
)
STITCHED = ("stitched_customer", "stitch_rule")


@dataclass(frozen=True)
class StitchRules:
    """How far a login reaches on its device.

    Attributes:
      look_back_seconds: what happened before a login, as long as nobody else was logged in since.
      carry_seconds: what happens after one without a customer, until somebody else logs in.
    """

    look_back_seconds: float = 30 * 86_400.0
    carry_seconds: float = 30 * 86_400.0

    def __post_init__(self) -> None:
        if min(self.look_back_seconds, self.carry_seconds) < 0:
            raise ValueError(f"look_back {self.look_back_seconds}, carry {self.carry_seconds}: give seconds, 0 or more")


def stitch_visits(visits: pa.Table, rules: StitchRules = StitchRules()) -> pa.Table:
    """The visits, in their order, with `stitched_customer` and `stitch_rule`: whose they are and why.

    A visit with a customer is theirs ("own"). One without is of the customer seen last on the device ("after_login"),
    which cuts a shared device at the switch; else of the one seen next ("before_login"). A limit is part of its reach.
    Of two customers at one moment on one device the smaller id counts. Visits without device or time stay nobody's.

    Args:
      visits: `device` and `customer` string, `at` timestamp, and any others.
    """
    frame = pl.DataFrame(pl.from_arrow(visits.select(["device", "customer", "at"]))).with_row_index("row")
    placed = frame.with_columns(pl.col("at").cast(pl.Datetime("us", "UTC"))).drop_nulls(["device", "at"])
    logins = placed.drop_nulls("customer").group_by("device", "at").agg(pl.col("customer").min())
    open_visits = placed.filter(pl.col("customer").is_null()).sort("at", "row").drop("customer")
    around = _asof(_asof(open_visits, logins, "before", "backward"), logins, "next", "forward")
    since = (pl.col("at") - pl.col("before_at")).dt.total_microseconds()
    until = (pl.col("next_at") - pl.col("at")).dt.total_microseconds()
    carried, reached = since <= rules.carry_seconds * _US, until <= rules.look_back_seconds * _US
    found = around.select(
        "row",
        stitched_customer=pl.when(carried).then("before").when(reached).then("next"),
        stitch_rule=pl.when(carried).then(pl.lit(AFTER_LOGIN)).when(reached).then(pl.lit(BEFORE_LOGIN)),
    )
    told = frame.join(found, on="row", how="left", maintain_order="left").select(
        stitched_customer=pl.coalesce("customer", "stitched_customer"),
        stitch_rule=pl.when(pl.col("customer").is_not_null()).then(pl.lit(OWN)).otherwise("stitch_rule"),
    )
    columns = told.to_arrow(compat_level=_OLDEST)
    for name in STITCHED:
        visits = visits.append_column(name, columns[name].cast(pa.string()))
    return visits


def summarise_visits(visits: pa.Table) -> pa.Table:
    """Stitched visits -> VISITORS: a row for each device, customer and rule; visits without a device are left out."""
    frame = pl.DataFrame(pl.from_arrow(visits.select(["device", "at", *STITCHED]))).drop_nulls("device")
    found = frame.group_by("device", pl.col("stitched_customer").alias("CUSTOMER_ID"), "stitch_rule").agg(
        pl.len().cast(pl.Int64).alias("visits"),
        pl.col("at").min().alias("first_at"),
        pl.col("at").max().alias("last_at"),
    )
    rows = found.sort("device", "first_at", "CUSTOMER_ID", "stitch_rule", nulls_last=True)
    return rows.to_arrow(compat_level=_OLDEST).cast(VISITORS)


def _asof(
    visits: pl.DataFrame, logins: pl.DataFrame, name: str, strategy: Literal["backward", "forward"]
) -> pl.DataFrame:
    """The visits with the login on their device that is nearest in one direction, and its time."""
    named = logins.select("device", pl.col("customer").alias(name), pl.col("at").alias(f"{name}_at")).sort(f"{name}_at")
    return visits.join_asof(
        named, left_on="at", right_on=f"{name}_at", by="device", strategy=strategy, check_sortedness=False
    )


def follow_persons(rows: pa.Table, map: pa.Table, record: str) -> pa.Table:
    """The rows, in their order, with the `person_id` of the record in column `record`; null for an unknown record.

    Args:
      map: `record`, `person_id`.
    """
    keys = pl.DataFrame({"record": pl.Series(rows[record]).cast(pl.String)})
    known = pl.DataFrame(pl.from_arrow(map.select(["record", "person_id"])))
    found = keys.join(known, on="record", how="left", maintain_order="left")["person_id"]
    column = found.to_arrow(compat_level=_OLDEST).cast(pa.string())
    if "person_id" in rows.column_names:
        rows = rows.drop_columns(["person_id"])
    return rows.append_column("person_id", column)
