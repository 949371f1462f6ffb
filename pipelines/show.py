"""A look at any table, or at one customer as a person would want to read it."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.panel import Panel
from rich.text import Text

from pipelines.config import Lake
from pipelines.console import Output, counted
from pipelines.gold import CUSTOMER_360
from transforms.contracts import CONTRACTS, contract
from transforms.errors import UsageError, UserError
from transforms.io.delta import head, open_table, read_table


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


def show_table(lake: Lake, name: str, layer: str | None, limit: int, out: Output, version: int | None = None) -> None:
    """Prints the number of rows, the version and some rows of a table."""
    uri = uri_of(lake, name, layer)
    table = open_table(uri)
    if table is None:
        raise UserError(
            f"there is no table {name}", where=uri, remedy="run bronze, silver and gold first, or give --lake"
        )
    total = table.count() if version is None else open_table(uri, version).count()  # type: ignore[union-attr]
    out.say(
        f"{name}: {counted(total, 'row')}, version {version if version is not None else table.version()}", total=total
    )
    rows = head(uri, limit, version).to_pylist()
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


def show_customer(lake: Lake, customer_id: str, out: Output) -> None:
    """Prints one customer: who, worth, habits, last purchases."""
    if open_table(lake.gold(CUSTOMER_360)) is None:
        raise UserError(
            "there is no customer_360 yet", where=lake.uri, remedy="run the commands bronze, silver and gold"
        )
    customer_id = customer_id.strip().upper()  # as silver writes codes
    rows = read_table(lake.gold(CUSTOMER_360), where=(("customer_id", "=", customer_id),)).to_pylist()
    if not rows:
        raise UserError(f"no customer {customer_id!r}", where=lake.uri, remedy="`show customer_360` lists some")
    orders = _last_orders(lake, customer_id)
    out.facts |= {"customer": rows[0], "last_orders": orders}
    if out.as_json:
        return
    Console(highlight=False).print(
        Panel(Text("\n".join(_portrait(rows[0]))), title=Text(f"customer {customer_id}"), expand=False)
    )
    out.table("last_orders", orders)


def _last_orders(lake: Lake, customer_id: str) -> list[dict[str, Any]]:
    table = CONTRACTS["CUSTOMER_TRANSACTIONS"]
    if open_table(lake.silver(table)) is None:
        return []
    columns = ("TRANSACTION_DATE", "TRANSACTION_ID", "TRANSACTION_TYPE", "CHANNEL", "TOTAL_AMOUNT", "CURRENCY_CODE")
    rows = read_table(lake.silver(table), columns=columns, where=(("CUSTOMER_ID", "=", customer_id),))
    newest = rows.sort_by([("TRANSACTION_DATE", "descending")]).slice(0, 5).to_pylist()
    return [{key: str(value) if value is not None else "" for key, value in row.items()} for row in newest]


def _portrait(row: dict[str, Any]) -> list[str]:
    def day(value: Any) -> str:
        return f"{value:%Y-%m-%d}" if value else "never"

    def share(value: float | None) -> str:
        return "-" if value is None else f"{value:.0%}"

    money = row.get("revenue_currency") or ""
    name = " ".join(part for part in (row["first_name"], row["last_name"]) if part) or "name unknown"
    return [
        f"{name} · {row['city'] or '-'}, {row['country_code'] or '-'} · {row['customer_status'] or '-'}",
        f"person: {row['person_id'] or 'not resolved yet'} · loyalty: {row['loyalty_tier'] or '-'}",
        f"worth: {row['net_revenue']:,} {money} net in {counted(row['orders_count'], 'order')}, average "
        f"{row['average_order_amount'] or 0:,} {money}",
        f"returned: {row['returned_amount']:,} {money} in {counted(row['returns_count'], 'return')}",
        f"first order {day(row['first_order_at'])}, last order {day(row['last_order_at'])}, "
        f"last seen {day(row['last_seen_at'])}",
        f"RFM {row['recency_score'] or '-'}/{row['frequency_score'] or '-'}/{row['monetary_score'] or '-'}: "
        f"{row['rfm_segment'] or 'no orders'} · likes {row['favourite_category'] or '-'}",
        f"orders by channel: POS {share(row['share_pos'])}, web {share(row['share_ecommerce'])}, "
        f"app {share(row['share_mobile'])}, social {share(row['share_social'])}",
        f"messages: opens {share(row['open_rate'])} of delivered, clicks {share(row['click_rate'])} of opened",
        f"service: {counted(row['tickets_count'], 'ticket')} ({row['open_tickets_count']} open), "
        f"{counted(row['interactions_count'], 'contact')}",
    ]
