"""The features of a person in plain Python, from all touches at once; and random touches."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

from transforms.gold.touches import TOUCHES

NOON = datetime(2010, 12, 1, 12, tzinfo=UTC)
COUNTED = {
    "page_views": "PAGE_VIEW",
    "clicks": "CLICK",
    "searches": "SEARCH",
    "cart_adds": "CART_ADD",
    "purchases": "PURCHASE",
    "messages_opened": "MESSAGE_OPENED",
    "messages_clicked": "MESSAGE_CLICKED",
}
WINDOWS = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "24h": timedelta(hours=24)}
DAY = timedelta(hours=24)
# What a key is of is fixed, as a row's table is; times are coarse, so that ties and window bounds are common.
_LISTED = ["PAGE_VIEW", "CLICK", "SEARCH", "CART_ADD", "PURCHASE", "ORDER_PENDING", "MESSAGE_OPENED", "MESSAGE_CLICKED"]
_UNLISTED = ["ITEM_BOUGHT", "ITEM_OTHER"]
_MOMENTS = st.one_of(
    st.integers(-12, 12).map(lambda five: timedelta(minutes=5 * five)),
    st.integers(-40, 4).map(lambda six: timedelta(hours=6 * six)),
)


@st.composite
def touches(draw: st.DrawFn) -> dict[str, Any]:
    key = draw(st.integers(0, 30))
    kind = draw(st.sampled_from(_UNLISTED if key % 4 == 0 else _LISTED))
    return {
        "person_id": draw(st.sampled_from("AB")),
        "key": key,
        "at": NOON + draw(_MOMENTS),
        "ingested_at": NOON + timedelta(days=9, seconds=draw(st.integers(0, 2))),
        "type": kind,
        "customer_id": "c",
        "product_id": draw(st.sampled_from(["P1", "P2", None])),
        "page_url": draw(st.sampled_from(["/", None])),
        "channel": "WEB",
        "amount_cents": draw(st.integers(0, 999)) if kind == "PURCHASE" else None,
        "currency": draw(st.sampled_from(["GBP", "EUR", None])),
    }


def table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    return pl.DataFrame(pl.from_arrow(pa.Table.from_pylist(rows, schema=TOUCHES)))


def _version(row: dict[str, Any]) -> tuple:
    content = [row[name] for name in TOUCHES.names if name not in ("person_id", "key")]
    return tuple((value is not None, value) if value is not None else (False,) for value in content)


def plain_features(rows: list[dict[str, Any]], now: datetime | None = None, last: int = 20) -> list[dict[str, Any]]:
    """One dict a person, sorted by it, without `updated_at`, `_events` and `is_truncated`."""
    newest: dict[tuple, dict[str, Any]] = {}
    for row in rows:
        name = (row["person_id"], row["key"])
        if name not in newest or _version(row) > _version(newest[name]):
            newest[name] = row
    people = sorted({person for person, _ in newest})
    return [_person(p, [row for (owner, _), row in newest.items() if owner == p], now, last) for p in people]


def _person(person: str, mine: list[dict[str, Any]], now: datetime | None, last: int) -> dict[str, Any]:
    mine = sorted(mine, key=lambda row: (row["at"], row["key"]), reverse=True)
    at = mine[0]["at"]
    until = max(at, now or at)
    row = {"person_id": person, "last_event_at": at, "counted_until": until}
    for name, kind in COUNTED.items():
        for window, length in WINDOWS.items():
            row[f"{name}_{window}"] = sum(e["type"] == kind and e["at"] > until - length for e in mine)
    day = [e for e in mine if e["at"] > until - DAY]
    row |= _spend([e for e in day if e["type"] == "PURCHASE"])
    row["cart"] = _cart(day)
    listed = [e for e in mine if not e["type"].startswith("ITEM_")][:last]
    shown = ("at", "type", "product_id", "page_url", "channel")
    return row | {"last_events": [{name: e[name] for name in shown} for e in listed]}


def _spend(bought: list[dict[str, Any]]) -> dict[str, Any]:
    if not bought:
        return {"spend_24h": 0, "spend_currency_24h": None}
    counts = Counter(e["currency"] for e in bought)
    code = min(counts, key=lambda c: (c is None, -counts[c], c or ""))
    return {"spend_24h": sum(e["amount_cents"] for e in bought if e["currency"] == code), "spend_currency_24h": code}


def _cart(day: list[dict[str, Any]]) -> list[dict[str, Any]]:
    lines = []
    for product in {e["product_id"] for e in day} - {None}:
        bought = [e["at"] for e in day if e["type"] == "ITEM_BOUGHT" and e["product_id"] == product]
        adds = [e["at"] for e in day if e["type"] == "CART_ADD" and e["product_id"] == product]
        left = [at for at in adds if not bought or at > max(bought)]
        if left:
            lines.append({"product_id": product, "quantity": len(left), "added_at": max(left)})
    return sorted(sorted(lines, key=lambda line: line["product_id"]), key=lambda line: line["added_at"], reverse=True)
