"""customer_360 once more, slowly: plain Python over rows, the oracle of test_customer_360."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from tests.gold.buckets import Rows, midnight
from transforms.contracts import CONTRACTS

_EVENT = {name: table.event_time for name, table in CONTRACTS.items()}
_ZERO = Decimal("0.00")


def _not_later(value: date | datetime | None, as_of: datetime) -> bool:
    return value is None or value <= (as_of if isinstance(value, datetime) else as_of.date())


def _share(part: int, whole: int) -> float | None:
    return min(1.0, part / whole) if whole else None


def _mean(values: list[Any], low: float, high: float) -> float | None:
    good = [value for value in values if value is not None and low <= value <= high]
    return float(sum(Decimal(value) for value in good) / len(good)) if good else None


def _favourite(weights: dict[str, tuple[int, ...]]) -> str | None:
    ranked = sorted(weights, key=lambda name: (*(-weight for weight in weights[name]), name))
    return ranked[0] if ranked else None


def summarise(rows: Rows, customer: str, as_of: datetime) -> dict[str, Any]:
    """The row of one customer, without identity columns and scores."""
    mine: Rows = {}
    for table, some in rows.items():
        time = _EVENT[table]
        mine[table] = [
            r for r in some if r.get("CUSTOMER_ID") == customer and (time is None or _not_later(r[time], as_of))
        ]
    return (
        _orders(mine["CUSTOMER_TRANSACTIONS"], rows["CUSTOMER_TRANSACTION_ITEMS"], as_of)
        | _digital(mine)
        | _service(mine)
        | _seen(mine, as_of)
    )


def _orders(transactions: list, items: list, as_of: datetime) -> dict[str, Any]:
    done = [t for t in transactions if t["TRANSACTION_STATUS"] in (None, "COMPLETED")]
    bought = [t for t in done if t["TRANSACTION_TYPE"] == "PURCHASE"]
    back = [t for t in done if t["TRANSACTION_TYPE"] in ("RETURN", "REFUND")]
    swapped = [t for t in done if t["TRANSACTION_TYPE"] == "EXCHANGE"]
    currencies = Counter(t["CURRENCY_CODE"] for t in done)
    currency = _favourite({name: (count,) for name, count in currencies.items() if name is not None})

    def total(some: list, column: str = "TOTAL_AMOUNT", absolute: bool = False) -> Decimal:
        values = [t[column] or _ZERO for t in some if t["CURRENCY_CODE"] == currency]
        return sum((abs(v) if absolute else v for v in values), _ZERO)

    gross, returned, exchanged = total(bought), total(back, absolute=True), total(swapped)
    paid = sum(t["CURRENCY_CODE"] == currency for t in bought)
    half_up = (gross / paid + Decimal("0.005")).quantize(Decimal("0.01"), ROUND_FLOOR) if paid else None
    channels = Counter(t["CHANNEL"] for t in bought if t["CHANNEL"])
    dates = [t["TRANSACTION_DATE"] for t in bought]
    numbers = {t["TRANSACTION_ID"] for t in bought}
    lines = [i for i in items if i["TRANSACTION_ID"] in numbers and i["ITEM_STATUS"] != "RETURNED"]
    categories: dict[str, tuple[int, ...]] = {}
    for line in lines:
        if line["CATEGORY"] is not None:
            count, units = categories.get(line["CATEGORY"], (0, 0))
            categories[line["CATEGORY"]] = (count + 1, units + line["QUANTITY"])
    return {
        "orders_count": len(bought),
        "returns_count": len(back),
        "exchanges_count": len(swapped),
        "revenue_currency": currency,
        "mixed_currency": len(currencies) > 1,
        "gross_revenue": gross,
        "returned_amount": returned,
        "exchanged_amount": exchanged,
        "net_revenue": gross - returned + exchanged,
        "average_order_amount": half_up,
        "discount_amount": total(bought, "DISCOUNT_AMOUNT"),
        "items_count": sum(line["QUANTITY"] for line in lines),
        "distinct_products_count": len({line["PRODUCT_ID"] for line in lines} - {None}),
        "favourite_category": _favourite(categories),
        "first_order_at": min(dates, default=None),
        "last_order_at": max(dates, default=None),
        "recency_days": (as_of - max(dates)).days if dates else None,
        "orders_count_30_days_ago": len(then := [d for d in dates if d <= as_of - timedelta(days=30)]),
        "recency_days_30_days_ago": (as_of - timedelta(days=30) - max(then)).days if then else None,
        **{
            f"share_{name.lower()}": _share(channels[name], channels.total())
            for name in ("POS", "ECOMMERCE", "MOBILE", "SOCIAL")
        },
        "favourite_order_channel": _favourite({name: (count,) for name, count in channels.items()}),
    }


def _digital(mine: Rows) -> dict[str, Any]:
    sessions, events = mine["CUSTOMER_SESSION_DATA"], mine["CUSTOMER_BEHAVIORAL_EVENTS"]
    return {
        "sessions_count": len(sessions),
        "converted_sessions_count": sum(s["CONVERSION_EVENT"] is True for s in sessions),
        "last_session_at": max((s["SESSION_START"] for s in sessions), default=None),
        "events_count": len(events),
        "page_views_count": sum(e["EVENT_TYPE"] == "PAGE_VIEW" for e in events),
        "cart_adds_count": sum(e["EVENT_TYPE"] == "CART_ADD" for e in events),
        "favourite_viewed_category": _favourite(
            {name: (n,) for name, n in Counter(e["CATEGORY_VIEWED"] for e in events).items() if name is not None}
        ),
        "active_preferences_count": sum(p["PREFERENCE_STATUS"] == "ACTIVE" for p in mine["CUSTOMER_PREFERENCE_DATA"]),
    }


def _service(mine: Rows) -> dict[str, Any]:
    tickets, contacts = mine["CUSTOMER_SERVICE_TICKETS"], mine["CUSTOMER_SERVICE_INTERACTIONS"]
    profiles, sentiment = mine["EXTERNAL_CUSTOMER_PROFILES"], mine["EXTERNAL_CUSTOMER_SENTIMENT"]
    scores = [t["CUSTOMER_SATISFACTION"] for t in tickets] + [c["SATISFACTION_SCORE"] for c in contacts]
    influence = [
        (midnight(p["LAST_UPDATED"] or p["PROFILE_DATE"] or date.min), p["INFLUENCE_SCORE"])
        for p in profiles
        if p["INFLUENCE_SCORE"] is not None and 0 <= p["INFLUENCE_SCORE"] <= 1
    ]
    return {
        "tickets_count": len(tickets),
        "open_tickets_count": sum(t["TICKET_STATUS"] in ("OPEN", "IN_PROGRESS") for t in tickets),
        "main_ticket_category": _favourite(
            {name: (n,) for name, n in Counter(t["TICKET_CATEGORY"] for t in tickets).items() if name is not None}
        ),
        "last_ticket_at": max((t["CREATION_DATE"] for t in tickets), default=None),
        "average_first_response_minutes": _mean([t["FIRST_RESPONSE_TIME"] for t in tickets], 0, 10**9),
        "interactions_count": len(contacts),
        "escalations_count": sum((c["ESCALATION_LEVEL"] or 0) > 0 for c in contacts),
        "average_satisfaction_score": _mean(scores, 1, 5),
        "average_resolution_minutes": _mean([t["TOTAL_RESOLUTION_TIME"] for t in tickets], 0, 10**9),
        "external_profiles_count": len(profiles),
        "average_sentiment_score": _mean([s["SENTIMENT_SCORE"] for s in sentiment], -1, 1),
        "last_sentiment_score": _last_sentiment(sentiment),
        "influence_score": float(max(influence)[1]) if influence else None,
    }


def _last_sentiment(rows: list) -> float | None:
    good = [r for r in rows if r["SENTIMENT_SCORE"] is not None and -1 <= r["SENTIMENT_SCORE"] <= 1]
    latest = max((r["SENTIMENT_DATE"] for r in good), default=None)
    return min((float(r["SENTIMENT_SCORE"]) for r in good if r["SENTIMENT_DATE"] == latest), default=None)


def _seen(mine: Rows, as_of: datetime) -> dict[str, Any]:
    acts = [row["REGISTRATION_DATE"] for row in mine["CUSTOMERS"]]
    acts += [row["LAST_LOGIN_DATE"] for row in mine["CUSTOMERS"]]
    acts += [row["TRANSACTION_DATE"] for row in mine["CUSTOMER_TRANSACTIONS"]]
    acts += [row["SESSION_START"] for row in mine["CUSTOMER_SESSION_DATA"]]
    acts += [row["EVENT_DATE"] for row in mine["CUSTOMER_BEHAVIORAL_EVENTS"]]
    acts += [
        row["ENGAGEMENT_DATE"]
        for row in mine["CUSTOMER_ENGAGEMENT_EVENTS"]
        if row["ENGAGEMENT_ACTION"] in ("OPENED", "CLICKED", "UNSUBSCRIBED")
    ]
    acts += [
        row["PREFERENCE_DATE"] for row in mine["CUSTOMER_PREFERENCE_DATA"] if row["PREFERENCE_SOURCE"] == "EXPLICIT"
    ]
    acts += [row["CREATION_DATE"] for row in mine["CUSTOMER_SERVICE_TICKETS"]]
    acts += [row["INTERACTION_DATE"] for row in mine["CUSTOMER_SERVICE_INTERACTIONS"]]
    times = [midnight(act) for act in acts if act is not None and _not_later(act, as_of)]
    first = min(times, default=None)
    return {
        "first_seen_at": first,
        "last_seen_at": max(times, default=None),
        "tenure_days": (as_of - first).days if first else None,
    }
