"""Who a record is, or was on a day, by which evidence; who was behind a session or a device."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from typing import Any

import polars as pl

from pipelines.config import Lake
from pipelines.console import Output, counted
from transforms.errors import UsageError, UserError
from transforms.identity.customers import customer_key
from transforms.identity.persons import IDENTITY_EVENTS, persons_on
from transforms.io.delta import open_table, read_table

_TOLD = ("at", "kind", "person_id", "previous_person_id", "because", "of", "probability")


def moment_of(text: str | None) -> datetime | None:
    """A moment, or the end of a day, UTC.

    Raises:
      UsageError: it is neither.
    """
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text)
        if len(text) <= 10:
            found = datetime.combine(date.fromisoformat(text), time.max)
    except ValueError:
        raise UsageError(f"{text!r} is no date", "--on", "write it as 2010-12-31, or 2010-12-31T09:00:00Z") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def who_is(lake: Lake, id: str, on: datetime | None = None) -> dict[str, Any]:
    """`person_id` of a CUSTOMER_ID, or of a person who is one no more, at a moment; `records` of the person then;
    `history`: what happened to the record up to then, and the evidence.

    Raises:
      UserError: identities were never resolved, or nothing of this name was there.
    """
    if open_table(lake.identity_events) is None:
        raise UserError("identities are not resolved yet", lake.uri, "run the command resolve first")
    record, at = customer_key(id), on or datetime.max.replace(tzinfo=UTC)
    mine = _events(lake, "record", [record], at)
    person = id.strip()
    if mine.height:
        person = mine["person_id"][-1]
    elif not _events(lake, "person_id", [person], at).height:
        return _visitor(lake, id, on)
    return {"asked": id, "person_id": person, "records": _records(lake, person, at),
            "history": [_told(row) for row in mine.iter_rows(named=True)]}  # fmt: skip


def _events(lake: Lake, column: str, values: list[str], at: datetime) -> pl.DataFrame:
    where = ((column, "in", values), ("at", "<=", at))
    rows = read_table(lake.identity_events, columns=IDENTITY_EVENTS.names, where=where)
    return pl.DataFrame(pl.from_arrow(rows)).sort("at", "record")


def _records(lake: Lake, person: str | None, at: datetime) -> list[str]:
    """The records that the person had at a moment: of those that ever came to them, those that had not left."""
    if person is None:
        return []
    ever = _events(lake, "person_id", [person], at)["record"].unique().to_list()
    then = pl.DataFrame(persons_on(_events(lake, "record", ever, at).to_arrow(), at))
    return then.filter(pl.col("person_id") == person)["record"].str.replace("^customers:", "").sort().to_list()


def _told(row: dict[str, Any]) -> dict[str, Any]:
    ends = [row["evidence_left"], row["evidence_right"]]
    between = " and ".join(end.partition(":")[2] for end in ends if end)
    values = (row["at"], row["kind"], row["person_id"], row["previous_person_id"], row["evidence_rule"], between,
              row["evidence_probability"])  # fmt: skip
    return dict(zip(_TOLD, values, strict=True))


def _visitor(lake: Lake, id: str, on: datetime | None) -> dict[str, Any]:
    """Whose the visits of a session or a device are."""
    runs: list[dict[str, Any]] = []
    if open_table(lake.visitors) is not None:
        for column in ("SESSION_ID", "device"):
            runs = runs or read_table(lake.visitors, where=((column, "=", id.strip().upper()),)).to_pylist()
            runs = runs or read_table(lake.visitors, where=((column, "=", id.strip()),)).to_pylist()
    runs = [run for run in runs if on is None or run["first_at"] <= on]
    if not runs:
        when = "" if on is None else f" on {on:%Y-%m-%d}"
        raise UserError(f"there was no customer, person, session or device {id!r}{when}", lake.uri,
                        "give a CUSTOMER_ID or SESSION_ID of silver, or a person_id")  # fmt: skip
    return {"asked": id, "visits": sorted(runs, key=lambda run: (run["first_at"], str(run["CUSTOMER_ID"])))}


def say_who(found: dict[str, Any], out: Output) -> None:
    """Prints what `who_is` found."""
    out.facts |= found
    if "visits" in found:
        out.table("visits", found["visits"])
        return
    if found["person_id"] is None:
        out.say(f"{found['asked']} was no longer there")
    elif not found["records"]:
        out.say(f"{found['asked']} was nobody's id: its records had gone to others")
    else:
        out.say(f"{found['asked']} is person {found['person_id']}, with {counted(len(found['records']), 'record')}:"
                f" {', '.join(found['records'][:20])}")  # fmt: skip
    if found["history"]:
        out.table("history", found["history"])
