"""A look at any table, or at one customer as a person would want to read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import polars as pl
from rich.console import Console
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from pipelines.config import Lake
from pipelines.console import Output, counted
from pipelines.gold import CUSTOMER_360, check_release
from pipelines.masking import is_personal, masked
from pipelines.notes import made_from
from pipelines.portrait import portrait
from transforms.contracts import CONTRACTS, contract
from transforms.errors import UsageError, UserError
from transforms.gold.realtime import EVENTS, UPDATED
from transforms.gold.realtime_table import read_features
from transforms.identity.customers import customer_key
from transforms.io.delta import head, open_table, read_batches, read_table

_MASKED = "personal values are masked; --personal shows them"
_PASSING = ("PAGE_VIEW", "SEARCH")


def uri_of(lake: Lake, name: str, layer: str | None) -> str:
    """The address of a table by name; the layer defaults to the one a reader most likely means."""
    named = {path.rpartition("/")[2]: uri for path, uri in lake.named.items()}
    if name.lower() in named and layer is None:
        return named[name.lower()]
    try:
        table = contract(name)
    except UsageError as error:
        others = ", ".join(("customer ID", *(name for name in named if name not in error.remedy)))
        raise UsageError(error.what, remedy=f"{error.remedy}, {others}") from None
    if layer not in (None, "bronze", "silver"):
        raise UsageError(f"there is no layer {layer!r} for {table.name}", remedy="use --layer bronze or silver")
    return lake.bronze(table) if layer == "bronze" else lake.silver(table)


def show_table(
    lake: Lake,
    name: str,
    layer: str | None,
    limit: int,
    out: Output,
    version: int | None = None,
    personal: bool = False,
) -> None:
    """Prints the number of rows, the version and some rows of a table.

    Args:
      personal: show personal values, and rejects as they came; else a trace of each.
    """
    uri = uri_of(lake, name, layer)
    table = open_table(uri)
    if table is None:
        raise UserError(f"there is no table {name}", where=uri, remedy=_remedy(lake, name, layer))
    if version is not None and not 0 <= version <= table.version():
        raise UsageError(f"{name} has no version {version}", remedy=f"it has 0 to {table.version()}")
    total = table.count() if version is None else open_table(uri, version).count()  # type: ignore[union-attr]
    out.say(
        f"{name}: {counted(total, 'row')}, version {version if version is not None else table.version()}", total=total
    )
    rows = head(uri, limit, version).to_pylist()
    _show_rows(rows if personal else [masked(row) for row in rows], out)
    if not personal and rows and any(map(is_personal, rows[0])):
        out.say(_MASKED)


def _remedy(lake: Lake, name: str, layer: str | None) -> str:
    """What to do where a table is not there; a stream fills bronze, and silver is another command's."""
    is_source = name.lower() not in {path.rpartition("/")[2] for path in lake.named}
    if layer is None and is_source and open_table(uri_of(lake, name, "bronze")) is not None:
        return "see its rows in bronze with --layer bronze, or run the command silver"
    return "run bronze, silver and gold first, or give --lake"


def show_features(lake: Lake, person: str | None, limit: int, out: Output) -> None:
    """Prints the newest near-real-time features of a person, or of those whose features changed last.

    The table has a row for each change; here a person has one, as of their last event.
    """
    uri = lake.realtime_features
    table = open_table(uri)
    if table is None:
        raise UserError(
            "there are no near-real-time features", where=uri, remedy="run the command stream, or give --lake"
        )
    persons = [person] if person else _changed_last(uri, limit)
    rows = read_features(uri, persons=persons).drop_columns([EVENTS])
    if person and not rows.num_rows:
        raise UserError(f"no features of {person!r}", where=uri, remedy="`show realtime_features` lists some persons")
    total = table.count()
    out.say(
        f"realtime_features: {counted(rows.num_rows, 'person')}, the newest row of each, of {counted(total, 'change')}",
        total=total,
    )
    _show_rows(rows.sort_by([(UPDATED, "descending"), ("person_id", "ascending")]).to_pylist(), out)


def _changed_last(uri: str, limit: int) -> list[str]:
    """The persons with the newest changes; memory is that of a batch."""
    newest = pl.DataFrame(schema={"person_id": pl.String, UPDATED: pl.Datetime("us", "UTC")})
    for batch in read_batches(uri, columns=("person_id", UPDATED)):
        both = pl.concat([newest, pl.DataFrame(batch)])
        last = both.group_by("person_id").agg(pl.col(UPDATED).max())
        newest = last.sort(UPDATED, "person_id", descending=[True, False]).head(limit)
    return newest["person_id"].to_list()


def _show_rows(rows: list[dict[str, Any]], out: Output) -> None:
    out.facts["rows"] = rows
    if out.as_json or not rows:
        return
    # Source tables have some twenty columns: they read better downwards, one row of the table a column here.
    fitting = max(1, (Console().width - 26) // 27)
    shown = [
        {"column": column} | {f"row {i}": _short(row[column]) for i, row in enumerate(rows[:fitting], 1)}
        for column in rows[0]
    ]
    out.table("shown", shown)
    if len(rows) > fitting:
        out.say(f"{fitting} of {counted(len(rows), 'row')} fit this terminal; --json shows them all")


def _short(value: Any) -> str:
    text = "" if value is None else str(value)
    return text if len(text) <= 24 else text[:23] + "…"


def show_customer(lake: Lake, id: str, out: Output, personal: bool = False) -> None:
    """Prints one person: who, worth, risk, habits, last touches, last orders.

    Args:
      id: a CUSTOMER_ID, any of the person's, or their person_id.
      personal: show names and other personal values; else a trace of each.
    """
    if open_table(lake.gold(CUSTOMER_360)) is None:
        raise UserError(
            "there is no customer_360 yet", where=lake.uri, remedy="run the commands bronze, silver and gold"
        )
    check_release(lake, [CUSTOMER_360])
    row = _find(lake, id)
    row = row if personal else masked(row)
    orders, touches = _last_orders(lake, row["customer_ids"].split(", ")), _last_touches(lake, row["person_id"])
    out.facts |= {"customer": row, "last_touches": touches, "last_orders": orders}
    if out.as_json:
        return
    grid = Table.grid(padding=(0, 2))
    for heading, lines in portrait(row, _as_of(lake)):
        grid.add_row(Text(heading, style="bold"), Text("\n".join(lines)))
    same = row["person_id"] == row["customer_id"]
    title = f"customer {row['customer_id']}" + ("" if same else f" · person {row['person_id']}")
    Console(highlight=False).print(Panel(grid, title=Text(title), expand=False))
    out.table("last_touches", touches)
    if touches and orders:
        out.say("")
    out.table("last_orders", orders)
    if not personal:
        out.say(_MASKED)


def _as_of(lake: Lake) -> datetime | None:
    """The day of reference that customer_360 names among its inputs."""
    days = [name for name in made_from(lake.gold(CUSTOMER_360)) or () if name.startswith("as_of@")]
    return datetime.fromisoformat(days[-1].removeprefix("as_of@")) if days else None


def _find(lake: Lake, id: str) -> dict[str, Any]:
    """The row of a person, by a record of theirs or by their id."""
    record, uri = id.strip().upper(), lake.gold(CUSTOMER_360)  # silver writes codes in capitals
    persons = [("customer_id", "=", record), ("person_id", "=", id.strip()), ("person_id", "=", record)]
    if open_table(lake.identity_map) is not None:
        known = read_table(lake.identity_map, where=(("record", "=", customer_key(record)),))["person_id"].to_pylist()
        persons += [("person_id", "=", person) for person in known]
    for condition in persons:
        rows = read_table(uri, where=(condition,)).to_pylist()
        if rows:
            return rows[0]
    raise UserError(f"no customer {record!r}", where=lake.uri, remedy="`show customer_360` lists some")


def _last_orders(lake: Lake, customers: list[str]) -> list[dict[str, Any]]:
    table = CONTRACTS["CUSTOMER_TRANSACTIONS"]
    if open_table(lake.silver(table)) is None:
        return []
    columns = ("TRANSACTION_DATE", "TRANSACTION_ID", "TRANSACTION_TYPE", "CHANNEL", "TOTAL_AMOUNT", "CURRENCY_CODE")
    rows = read_table(lake.silver(table), columns=columns, where=(("CUSTOMER_ID", "in", customers),))
    newest = rows.sort_by([("TRANSACTION_DATE", "descending")]).slice(0, 5).to_pylist()
    return [
        {
            "last orders": f"{row['TRANSACTION_DATE']:%Y-%m-%d %H:%M}",
            "type": row["TRANSACTION_TYPE"],
            "channel": row["CHANNEL"] or "",
            "amount": f"{row['TOTAL_AMOUNT']:,}",
            "currency": row["CURRENCY_CODE"] or "",
            "id": row["TRANSACTION_ID"],
        }
        for row in newest
    ]


def _last_touches(lake: Lake, person: str, most: int = 8) -> list[dict[str, Any]]:
    """The latest touchpoints, without pages looked at; the same step in the same channel in a row is one line."""
    uri = lake.gold("touchpoints")
    if open_table(uri) is None:
        return []
    columns = ("position", "started_at", "step", "channel", "campaign_id", "repeats_count", "value", "currency")
    rows = read_table(uri, columns=columns, where=(("person_id", "=", person),)).sort_by([("position", "descending")])
    told: list[dict[str, Any]] = []
    for row in (row for row in rows.to_pylist() if row["step"] not in _PASSING):
        same = told and all(told[-1][name] == row[name] for name in ("step", "channel", "campaign_id"))
        if same and row["value"] is None:
            told[-1]["repeats_count"] += row["repeats_count"]
        elif len(told) == most:
            break
        else:
            told.append(row)
    return [
        {
            "last touches": f"{row['started_at']:%Y-%m-%d %H:%M}",
            "step": row["step"] + (f" x{row['repeats_count']}" if row["repeats_count"] > 1 else ""),
            "channel": row["channel"] or "",
            "campaign": row["campaign_id"] or "",
            "value": "" if row["value"] is None else f"{row['value']:,} {row['currency'] or ''}".strip(),
        }
        for row in told
    ]
