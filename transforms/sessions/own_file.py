"""Events from a person's own file: which columns they are, and what they hold."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.bronze.cells import cast_cells
from transforms.io.column_map import Target
from transforms.sessions.event import EARLIEST, EVENTS, LATEST
from transforms.sessions.moments import read_moments

TARGETS = (
    Target("visitor", True, ("visitorid", "userid", "user", "customerid", "customer", "clientid", "client", "memberid",
                             "anonymousid", "userpseudoid", "fullvisitorid", "cookieid", "cookie", "deviceid",
                             "kundennummer")),
    Target("event_time", True, ("eventtimestamp", "timestamp", "time", "ts", "datetime", "date", "eventdate",
                                "occurredat", "createdat", "servertime", "clienttimestamp")),
    Target("event_type", False, ("event", "eventname", "type", "action", "eventaction")),
    Target("event_id", False, ("id", "eventuuid", "messageid", "insertid")),
    Target("channel", False, ("platform",)),
    Target("source", False, ("trafficsource", "utmsource", "referrer", "referer", "referrerurl")),
    Target("campaign", False, ("campaignid", "utmcampaign", "campaignname")),
    Target("page", False, ("pageurl", "url", "pagepath", "path", "pagelocation", "screen", "screenname")),
    Target("order_id", False, ("order", "transactionid", "ordernumber", "invoice")),
    Target("value", False, ("amount", "revenue", "price", "total", "totalamount", "ordervalue")),
    Target("tracker_session", False, ("sessionid", "session", "gasessionid", "usersession")),
)  # fmt: skip
_REASONS = {
    "required": "{} is missing",
    "not_a_timestamp": "{} is no time: ISO 8601, or Unix seconds, milliseconds or microseconds",
    "time_out_of_range": "{} is not between the years 1 and 9999",
    "not_a_number": "{} is no number such as 12.50",
}


@dataclass(frozen=True)
class Typed:
    """`events`: the columns of EVENTS that the file has, typed; `faults`: (rule, reason, rows) of those left out."""

    events: pl.DataFrame
    faults: tuple[tuple[str, str, np.ndarray], ...]


def type_events(rows: pl.DataFrame) -> Typed:
    """Types rows whose columns are named as in EVENTS and hold text or typed values; each row once in the result.

    A row is at fault that has no visitor or no time, or a time or value that cannot be read. Empty text is null.
    """
    bad = np.zeros(rows.height, bool)
    faults: list[tuple[str, str, np.ndarray]] = []

    def fault(rule: str, column: str, where: pl.Series) -> None:
        mask = where.fill_null(False).to_numpy() & ~bad
        if mask.any():
            faults.append((rule, _REASONS[rule].format(column), np.flatnonzero(mask)))
            bad[mask] = True

    columns = {}
    for field in EVENTS:
        if field.name not in rows.columns:
            continue
        cells = rows[field.name]
        if field.name == "event_time":
            columns[field.name] = times = read_moments(cells)
            fault("required", "event_time", _blank(cells))
            fault("not_a_timestamp", "event_time", times.is_null())
            micros = times.to_physical()
            fault("time_out_of_range", "event_time", (micros < EARLIEST) | (micros >= LATEST))
        elif field.name == "value":
            cast = cast_cells(cells, field.type)
            columns[field.name] = cast.values
            fault("not_a_number", "value", cast.failed)
        else:
            columns[field.name] = text = _text(cells)
            if not field.nullable:
                fault("required", field.name, text.is_null())
    events = pl.DataFrame(columns)
    return Typed(events.filter(pl.Series(~bad)) if bad.any() else events, tuple(faults))


def _text(cells: pl.Series) -> pl.Series:
    text = cells if cells.dtype == pl.String else cast_cells(cells, pa.string()).values
    blank = _blank(text)
    return text.set(blank & text.is_not_null(), None) if blank.any() else text


def _blank(cells: pl.Series) -> pl.Series:
    if cells.dtype != pl.String:
        return cells.is_null()
    short = cells.str.len_bytes() < 8  # trimming every cell would cost more than all else
    if not short.any():
        return cells.is_null()
    return cells.is_null() | (short & (cells.str.strip_chars() == ""))
