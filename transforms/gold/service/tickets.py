"""Support by month and category: issue mix, response and resolution times, satisfaction, escalations."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold.frames import frame, plausible, until
from transforms.gold.journeys.steps import quantile_of_counts, whole_seconds

_TICKETS, _CONTACTS = "CUSTOMER_SERVICE_TICKETS", "CUSTOMER_SERVICE_INTERACTIONS"
INPUTS: Mapping[str, tuple[str, ...]] = {
    _TICKETS: (
        "CREATION_DATE", "TICKET_STATUS", "TICKET_CATEGORY", "FIRST_RESPONSE_TIME", "TOTAL_RESOLUTION_TIME",
        "CUSTOMER_SATISFACTION",
    ),
    _CONTACTS: ("INTERACTION_DATE", "CATEGORY", "SATISFACTION_SCORE", "ESCALATION_LEVEL", "FOLLOW_UP_REQUIRED"),
}  # fmt: skip
# How often each value of a measure occurred; times in minutes, cut to three digits. Merged by adding.
SERVICE_COUNTS: pa.Schema = pa.schema(
    [
        pa.field("month", pa.date32(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("measure", pa.string(), nullable=False),
        pa.field("value", pa.int64(), nullable=False),
        pa.field("rows", pa.int64(), nullable=False),
    ]
)
_COUNTED = ("tickets", "open_tickets", "contacts", "escalated_contacts", "follow_ups")
SERVICE: pa.Schema = pa.schema(
    [
        pa.field("month", pa.date32(), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        *(pa.field(f"{name}_count", pa.int64(), nullable=False) for name in _COUNTED),
        pa.field("tickets_share", pa.float64()),  # of the month's tickets
        pa.field("escalated_share", pa.float64()),  # of the contacts
        *(
            pa.field(f"{which}_{what}_minutes", pa.float64())
            for what in ("first_response", "resolution")
            for which in ("median", "p90")
        ),
        pa.field("satisfaction_scores_count", pa.int64(), nullable=False),
        pa.field("average_satisfaction_score", pa.float64()),  # 1 to 5, of tickets and contacts
        pa.field("satisfied_share", pa.float64()),  # scores of 4 and 5
    ]
)


def count_service(bucket: Mapping[str, pa.Table], as_of: datetime) -> pa.Table:
    """What there is to count by month and category; schema SERVICE_COUNTS. Values outside their contract's range are
    left out; rows without a category are UNKNOWN."""
    tickets = _rows(bucket, _TICKETS, as_of, "CREATION_DATE", "TICKET_CATEGORY")
    contacts = _rows(bucket, _CONTACTS, as_of, "INTERACTION_DATE", "CATEGORY")
    is_open = pl.col("TICKET_STATUS").is_in(["OPEN", "IN_PROGRESS"])
    parts = [
        _measure(tickets, "tickets", pl.lit(0)),
        _measure(tickets.filter(is_open), "open_tickets", pl.lit(0)),
        _measure(contacts, "contacts", pl.lit(0)),
        _measure(contacts.filter(pl.col("ESCALATION_LEVEL") > 0), "escalated_contacts", pl.lit(0)),
        _measure(contacts.filter("FOLLOW_UP_REQUIRED"), "follow_ups", pl.lit(0)),
        _measure(tickets, "first_response", plausible(_TICKETS, "FIRST_RESPONSE_TIME")),
        _measure(tickets.filter(~is_open), "resolution", plausible(_TICKETS, "TOTAL_RESOLUTION_TIME")),
        _measure(tickets, "satisfaction", plausible(_TICKETS, "CUSTOMER_SATISFACTION")),
        _measure(contacts, "satisfaction", plausible(_CONTACTS, "SATISFACTION_SCORE")),
    ]
    return _sum(pl.concat(parts))


def merge_service(parts: Iterable[pa.Table]) -> pa.Table:
    """The counts of all customers; neither order nor grouping matters."""
    tables = [part.cast(SERVICE_COUNTS) for part in parts] or [SERVICE_COUNTS.empty_table()]
    return _sum(pl.DataFrame(pl.from_arrow(pa.concat_tables(tables))))


def summarise_service(counts: pa.Table) -> pa.Table:
    """One row a month and category; schema SERVICE, ordered by both."""
    rows = pl.DataFrame(pl.from_arrow(counts))
    found = []
    for (month, category), some in rows.group_by("month", "category"):
        by = {str(name): part for (name,), part in some.group_by("measure")}
        number = {name: int(by[name]["rows"].sum()) if name in by else 0 for name in (*_COUNTED, "satisfaction")}
        row = {"month": month, "category": category, "satisfaction_scores_count": number["satisfaction"]}
        row |= {f"{name}_count": number[name] for name in _COUNTED}
        row["escalated_share"] = number["escalated_contacts"] / number["contacts"] if number["contacts"] else None
        for what in ("first_response", "resolution"):
            some_times = by.get(what, rows.clear())
            values, counted = some_times["value"].to_numpy(), some_times["rows"].to_numpy()
            row[f"median_{what}_minutes"] = quantile_of_counts(values, counted, 0.5)
            row[f"p90_{what}_minutes"] = quantile_of_counts(values, counted, 0.9)
        scores = by.get("satisfaction")
        if scores is not None:
            row["average_satisfaction_score"] = float((scores["value"] * scores["rows"]).sum()) / number["satisfaction"]
            row["satisfied_share"] = int(scores.filter(pl.col("value") >= 4)["rows"].sum()) / number["satisfaction"]
        found.append(row)
    table = pl.DataFrame(pl.from_arrow(pa.Table.from_pylist(found, schema=SERVICE))).sort("month", "category")
    total = pl.col("tickets_count").sum().over("month")
    share = pl.when(total > 0).then(pl.col("tickets_count") / total).alias("tickets_share")
    return table.with_columns(share).select(SERVICE.names).to_arrow().cast(SERVICE)


def _rows(bucket: Mapping[str, pa.Table], name: str, as_of: datetime, time: str, category: str) -> pl.DataFrame:
    rows = until(frame(bucket.get(name), CONTRACTS[name].arrow, INPUTS[name]), time, as_of).drop_nulls(time)
    month = pl.col(time).dt.date().dt.truncate("1mo").alias("month")
    return rows.with_columns(month, pl.col(category).fill_null("UNKNOWN").alias("category"))


def _measure(rows: pl.DataFrame, name: str, value: pl.Expr) -> pl.DataFrame:
    valued = rows.with_columns(value.cast(pl.Int64).alias("value")).drop_nulls("value")
    # Cut as seconds are: three digits, so that there are few values to count.
    cut = pl.Series("value", whole_seconds(valued["value"].to_numpy() * 1_000_000), pl.Int64)
    counted = valued.with_columns(cut).group_by("month", "category", "value").agg(pl.len().cast(pl.Int64).alias("rows"))
    return counted.with_columns(pl.lit(name).alias("measure")).select(SERVICE_COUNTS.names)


def _sum(rows: pl.DataFrame) -> pa.Table:
    keys = SERVICE_COUNTS.names[:-1]
    return rows.group_by(keys).agg(pl.col("rows").sum()).sort(keys).to_arrow().cast(SERVICE_COUNTS)
