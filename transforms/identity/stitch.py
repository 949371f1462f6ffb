"""Who was behind visits in which nobody had logged in: the customer who logs in after, within a declared look-back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import polars as pl
import pyarrow as pa

_OLDEST = pl.CompatLevel.oldest()
_US = 1_000_000
OWN, AFTER_LOGIN, BEFORE_LOGIN = "own", "after_login", "before_login"
_TIME = pa.timestamp("us", tz="UTC")
VISITORS = pa.schema(
    [
        pa.field("device", pa.string(), nullable=False),  # where the tracker gives none, its session
        pa.field("SESSION_ID", pa.string()),
        pa.field("CUSTOMER_ID", pa.string()),  # null: nobody is known
        pa.field("stitch_rule", pa.string()),
        pa.field("login_at", _TIME),  # when who it is was seen on the device: the evidence
        pa.field("visits", pa.int64(), nullable=False),
        pa.field("first_at", _TIME),
        pa.field("last_at", _TIME),
    ]
)
STITCHED = ("stitched_customer", "stitch_rule", "login_at")
# Columns, by their letters, that say which device or browser it was; no source declares one, many send one.
DEVICES = ("deviceid", "anonymousid", "cookieid", "visitorid", "clientid", "userpseudoid", "fullvisitorid")


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
    """The visits, in their order, with STITCHED: whose they are, why, and when that customer was seen there.

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
        pl.when(carried).then("before").when(reached).then("next").alias("stitched"),
        rule=pl.when(carried).then(pl.lit(AFTER_LOGIN)).when(reached).then(pl.lit(BEFORE_LOGIN)),
        login=pl.when(carried).then("before_at").when(reached).then("next_at"),
    )
    own = pl.col("customer").is_not_null()
    told = frame.join(found, on="row", how="left", maintain_order="left").select(
        stitched_customer=pl.coalesce("customer", "stitched"),
        stitch_rule=pl.when(own).then(pl.lit(OWN)).otherwise("rule"),
        login_at=pl.when(own).then("at").otherwise("login").cast(pl.Datetime("us", "UTC")),
    )
    columns = told.to_arrow(compat_level=_OLDEST)
    for name in STITCHED:
        visits = visits.append_column(name, columns[name].cast(_TIME if name == "login_at" else pa.string()))
    return visits


def device_column(names: Iterable[str]) -> str | None:
    """The column of a source table that names the device, or browser, if it has one."""
    plain = {name.lower().replace("_", "").replace("-", ""): name for name in sorted(names, reverse=True)}
    return next((plain[said] for said in DEVICES if said in plain), None)


def place_visits(visits: pa.Table) -> pa.Table:
    """The visits with the `device` of their session, the least of several, where they name none; else the session.

    Args:
      visits: all visits of some sessions; `device`, `SESSION_ID` string, and any others.
    """
    frame = pl.DataFrame(pl.from_arrow(visits.select(["device", "SESSION_ID"])))
    told = pl.when(pl.col("SESSION_ID").is_not_null()).then(pl.col("device").min().over("SESSION_ID"))
    column = frame.select(pl.coalesce("device", told, "SESSION_ID").cast(pl.String)).to_series()
    place = visits.column_names.index("device")
    return visits.set_column(place, "device", column.to_arrow(compat_level=_OLDEST).cast(pa.string()))


def summarise_visits(visits: pa.Table) -> pa.Table:
    """Stitched visits -> VISITORS: a row for each run of visits on a device that have session, customer and rule in
    common, so that the runs of a session never overlap where it changes hands; visits without a device are left out."""
    names = ["device", "SESSION_ID", "at", *STITCHED]
    frame = pl.DataFrame(pl.from_arrow(visits.select(names))).drop_nulls("device")
    same = ["device", "SESSION_ID", "stitched_customer", "stitch_rule"]
    later = pl.col("stitch_rule").ne_missing(OWN)  # a login comes before what else happened at its moment
    rows = frame.sort(
        "device", "SESSION_ID", "at", later, "stitched_customer", "stitch_rule", "login_at", nulls_last=True
    )
    found = rows.group_by(*same, pl.struct(same).rle_id().alias("run"), maintain_order=True).agg(
        pl.col("login_at").min(),
        pl.len().cast(pl.Int64).alias("visits"),
        pl.col("at").min().alias("first_at"),
        pl.col("at").max().alias("last_at"),
    )
    table = found.rename({"stitched_customer": "CUSTOMER_ID"}).select(VISITORS.names)
    return table.to_arrow(compat_level=_OLDEST).cast(VISITORS)


def attribute_visits(rows: pa.Table, visitors: pa.Table, time: str) -> pa.Table:
    """The rows, in their order, with the CUSTOMER_ID of their visitor where they have none themselves.

    Args:
      rows: SESSION_ID, CUSTOMER_ID and the column `time`.
      visitors: VISITORS of these sessions; a row belongs to the run of its session that its time lies in.
    """
    runs = pl.DataFrame(
        pl.from_arrow(visitors.select(["SESSION_ID", "CUSTOMER_ID", "stitch_rule", "first_at", "last_at"]))
    )
    reached = runs.filter(pl.col("stitch_rule").is_in([AFTER_LOGIN, BEFORE_LOGIN])).drop_nulls("SESSION_ID")
    keys = rows.select(["SESSION_ID", "CUSTOMER_ID", time]).rename_columns(["SESSION_ID", "own", "at"])
    frame = (
        pl.DataFrame(pl.from_arrow(keys))
        .with_row_index("row")
        .with_columns(pl.col("at").cast(pl.Datetime("us", "UTC")))
    )
    within = (pl.col("at") >= pl.col("first_at")) & (pl.col("at") <= pl.col("last_at"))
    asked = frame.filter(pl.col("own").is_null()).join(reached, on="SESSION_ID").filter(within)
    found = asked.group_by("row").agg(pl.col("CUSTOMER_ID").min())
    told = frame.join(found, on="row", how="left", maintain_order="left").select(pl.coalesce("own", "CUSTOMER_ID"))
    column = told.to_series().to_arrow(compat_level=_OLDEST).cast(pa.string())
    return rows.set_column(rows.column_names.index("CUSTOMER_ID"), "CUSTOMER_ID", column)


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
