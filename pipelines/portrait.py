"""One person as somebody who serves them would want to read it: who, worth, risk, habits, last touches, and why."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

from pipelines.console import counted

_ALIKE = 0.1  # rates that differ by less are told as one
Row = Mapping[str, Any]


def portrait(row: Row, as_of: datetime | None) -> Iterator[tuple[str, list[str]]]:
    """(heading, lines) of a row of customer_360; what there is nothing to say of is left out."""
    yield "who", list(filter(None, _who(row)))
    yield "worth", list(filter(None, _worth(row)))
    yield "risk", list(filter(None, _risk(row)))
    for heading, lines in (("habits", _habits(row)), ("messages", _messages(row)), ("service", _service(row))):
        told = list(filter(None, lines))
        if told:
            yield heading, told
    if as_of is not None:
        yield "as of", [f"{as_of:%Y-%m-%d}"]


def _who(row: Row) -> list[str]:
    name = " ".join(part for part in (row["first_name"], row["last_name"]) if part) or "name unknown"
    place = ", ".join(part for part in (row["city"], row["country_code"]) if part)
    born = f"born {row['date_of_birth']}" if row["date_of_birth"] else ""
    loyal = f"loyalty {row['loyalty_tier'].lower()}" if row["loyalty_tier"] else ""
    status = (row["customer_status"] or "").lower()
    since = f"known for {_span(row['tenure_days'])}" if row["tenure_days"] is not None else ""
    records = f"records {row['customer_ids']}" if row["customer_records_count"] > 1 else ""
    seen = f"last seen {_day(row['last_seen_at'])}" if row["last_seen_at"] else ""
    reached = " · ".join(part for part in (row["email_address"], row["phone_number"]) if part)
    return [_joined(name, place, born), _joined(status, loyal, since, seen), reached, records]


def _worth(row: Row) -> list[str]:
    if not row["orders_count"]:
        returned = _money(row["returned_amount"], row["revenue_currency"])
        return [f"no orders; returned {returned}" if row["returns_count"] else "no orders"]
    currency = row["revenue_currency"]
    sold = (
        f"{_money(row['net_revenue'], currency)} in {counted(row['orders_count'], 'order')},"
        f" {_money(row['average_order_amount'], currency)} each"
    )
    back = f"{_money(row['returned_amount'], currency)} came back in {counted(row['returns_count'], 'return')}"
    other = "orders in other currencies are not in these sums" if row["mixed_currency"] else ""
    last = f"first order {_day(row['first_order_at'])}, last {_day(row['last_order_at'])}"
    last += f", {_span(row['recency_days'])} ago" if row["recency_days"] else ", just now"
    scores = "/".join(str(row[f"{name}_score"]) for name in ("recency", "frequency", "monetary"))
    then = row["rfm_segment_30_days_ago"]
    moved = {"rose": f"up from {then}", "fell": f"down from {then}", "stayed": "as 30 days ago", "new": "new"}
    segment = f"{row['rfm_segment']} (RFM {scores}, {moved.get(row['rfm_move'], '')})"
    return [sold, back if row["returns_count"] else "", other, last, segment, *_outlook(row)]


def _outlook(row: Row) -> Iterator[str]:
    if row["alive_probability"] is not None:
        yield f"still buys with a probability of {row['alive_probability']:.0%}"
    for days in (30, 90, 365):
        orders, value = row[f"expected_orders_{days}_days"], row[f"expected_value_{days}_days"]
        if orders is not None:
            low, high = row[f"expected_value_{days}_days_low"], row[f"expected_value_{days}_days_high"]
            between = "" if low is None else f" (four in five: {low:,.0f} to {high:,.0f})"
            yield f"next {days} days: {orders:.1f} orders, {_money(value, row['value_currency'])}{between}"


def _risk(row: Row) -> Iterator[str]:
    if row["churn_probability"] is not None:
        yield f"churn {row['churn_probability']:.0%} (no order within {row['churn_horizon_days']} days)"
        reasons = [reason for n in (1, 2, 3) if (reason := row[f"churn_reason_{n}"])]
        if reasons:
            yield "because of " + ", ".join(_reason(text) for text in reasons)
    elif row["churn_status"] == "lapsed":
        yield f"lapsed: no order for {_span(row['recency_days'])}"
    for name in ("payment", "return"):
        if row[f"{name}_risk_level"] not in (None, "low"):
            why = (row[f"{name}_risk_reasons"] or "").replace("_", " ")
            yield f"{name} risk {row[f'{name}_risk_level']} ({row[f'{name}_risk_score']} of 100): {why}"
    if row["payment_risk_level"] == row["return_risk_level"] == "low":
        yield "payment and return risk low"


def _reason(text: str) -> str:
    """ "days_since_last_order 120.0 (+0.84)" -> "days since last order 120 (+0.84)"."""
    return re.sub(r"(\d)\.0(?!\d)", r"\1", text).replace(" -0 ", " 0 ").replace("_", " ")


def _habits(row: Row) -> Iterator[str]:
    likes = [part for part in (row["favourite_category"], row["favourite_viewed_category"]) if part]
    if likes:
        yield f"buys {likes[0]}" if len(set(likes)) == 1 else f"buys {likes[0]}, looks at {likes[1]}"
    shares = {name: row[f"share_{name}"] for name in ("pos", "ecommerce", "mobile", "social") if row[f"share_{name}"]}
    if shares:
        ranked = sorted(shares.items(), key=lambda share: -share[1])
        yield "orders by " + ", ".join(f"{name} {part:.0%}" for name, part in ranked)
    if row["activity_trend"]:
        now, then = row["active_days_last_90_days_count"], row["active_days_previous_90_days_count"]
        yield f"activity {row['activity_trend']}: {counted(now, 'day')} in the last 90, {then} in the 90 before"
    if row["attribution_first_channel"]:
        first, last = row["attribution_first_channel"], row["attribution_last_channel"]
        yield f"came to the first order by {first}, to the last by {last}"


def _messages(row: Row) -> Iterator[str]:
    if row["message_channel"]:
        hour = row["best_hour_local"]
        best = "" if hour is None else f", best at {hour}:00 ({row['time_zone']})"
        yield f"{row['message_channel_source']} channel {row['message_channel']}{best}"
    if row["messages_delivered_count"]:
        lately, before = row["open_rate_last_60_days"], row["open_rate_earlier"]
        change = ""
        if lately is not None and before is not None and abs(lately - before) >= _ALIKE:
            change = f", {lately:.0%} lately against {before:.0%} before"
        clicked = "" if row["click_rate"] is None else f", clicks {row['click_rate']:.0%} of these"
        yield f"opens {row['open_rate']:.0%} of {row['messages_delivered_count']}{clicked}{change}"
    if row["unsubscribed"] or row["fatigued"]:
        yield "unsubscribed" if row["unsubscribed"] else "tired of messages: fewer would do better"


def _service(row: Row) -> Iterator[str]:
    if row["tickets_count"] or row["interactions_count"]:
        about = f", most about {row['main_ticket_category'].lower()}" if row["main_ticket_category"] else ""
        yield (
            f"{counted(row['tickets_count'], 'ticket')} ({row['open_tickets_count']} open){about},"
            f" {counted(row['interactions_count'], 'contact')}, {counted(row['escalations_count'], 'escalation')}"
        )
    if row["average_satisfaction_score"] is not None:
        yield f"satisfaction {row['average_satisfaction_score']:.1f} of 5"
    if row["average_sentiment_score"] is not None:
        mean, last = row["average_sentiment_score"], row["last_sentiment_score"]
        yield f"sentiment elsewhere {mean:+.2f}, last {last:+.2f} (-1 to 1)"


def _joined(*parts: str) -> str:
    return " · ".join(part for part in parts if part)


def _day(value: datetime | None) -> str:
    return f"{value:%Y-%m-%d}" if value else "never"


def _span(days: int) -> str:
    if days < 120:
        return counted(days, "day")
    return f"{days / 30.44:.0f} months" if days < 730 else f"{days / 365.25:.1f} years"


def _money(value: Any, currency: str | None) -> str:
    return f"{value:,.2f} {currency or ''}".strip()
