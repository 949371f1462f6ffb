"""Sessions as the definition says them, one event at a time: the slow oracle."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow as pa
from hypothesis import strategies as st

from transforms.sessions.event import EVENTS
from transforms.sessions.rules import SessionRules

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
NAMES = EVENTS.names


def micros(moment: datetime) -> int:
    span = moment - EPOCH
    return (span.days * 86_400 + span.seconds) * 1_000_000 + span.microseconds


def table(events: Iterable[dict]) -> pa.Table:
    return pa.Table.from_pylist([{name: event.get(name) for name in NAMES} for event in events], schema=EVENTS)


def order(event: dict) -> tuple:
    rest = ["event_id", *(name for name in NAMES if name not in ("visitor", "event_time", "event_id"))]
    values = [event.get(name) for name in rest]
    ties = tuple((value is not None, value if value is not None else "") for value in values)
    return event["visitor"].encode(), event["event_time"], ties


def once(events: Iterable[dict]) -> list[dict]:
    kept, seen = [], set()
    for event in sorted(events, key=order):
        key = (event["visitor"], event["event_time"], event.get("event_id"))
        if key[2] is None or key not in seen:
            kept.append(event)
        seen.add(key)
    return kept


def cut(events: Iterable[dict], rules: SessionRules) -> Iterator[list[dict]]:
    """The sessions as lists of events."""
    gaps = {channel.strip().upper(): round(gap * 1e6) for channel, gap in rules.channel_gap_seconds}
    zone = ZoneInfo(rules.midnight_zone) if rules.midnight_zone else None
    session: list[dict] = []
    reach = 0
    for event in once(events):
        at = micros(event["event_time"])
        deadline = at + gaps.get((event.get("channel") or "").strip().upper(), round(rules.gap_seconds * 1e6))
        if session:
            start = session[0]
            other = rules.campaign_cuts and event.get("campaign") is not None
            named = next((e["campaign"] for e in session if e.get("campaign") is not None), None)
            if (
                event["visitor"] != start["visitor"]
                or at >= reach
                or at - micros(start["event_time"]) >= round(rules.max_seconds * 1e6)
                or (zone and event["event_time"].astimezone(zone).date() != start["event_time"].astimezone(zone).date())
                or (other and event["campaign"] != named)
            ):
                yield session
                session = []
        reach = max(reach, deadline) if session else deadline
        session.append(event)
    if session:
        yield session


def summary(session: list[dict], rules: SessionRules) -> dict:
    """The row of a session, without its id."""

    def key(event: dict) -> str:
        return (event.get("event_type") or "").strip().replace(" ", "_").replace("-", "_").upper()

    def values(name: str) -> list:
        return [event[name] for event in session if event.get(name) is not None]

    orders, valued, conversions, total, any_value = set(), set(), 0, Decimal(0), False
    for event in session:
        number, value = event.get("order_id"), event.get("value")
        if number is None:
            conversions += key(event) in rules.conversions
        elif number not in orders:
            conversions += 1
            orders.add(number)
        if value is not None:
            any_value = True
            if number is None or number not in valued:
                total += value
            if number is not None:
                valued.add(number)
    begin, end = session[0]["event_time"], session[-1]["event_time"]
    return {
        "visitor": session[0]["visitor"],
        "started_at": begin,
        "ended_at": end,
        "duration_seconds": (micros(end) - micros(begin)) / 1e6,
        "events": len(session),
        "page_views": sum(
            key(e) in rules.page_views or (e.get("event_type") is None and e.get("page") is not None) for e in session
        ),
        "is_bounce": len(session) == 1 and conversions == 0,
        "conversions": conversions,
        "value": total if any_value else None,
        "channel": next(iter(values("channel")), None),
        "source": next(iter(values("source")), None),
        "campaign": next(iter(values("campaign")), None),
        "entry_page": next(iter(values("page")), None),
        "exit_page": next(iter(values("page")[::-1]), None),
        "tracker_session": next(iter(values("tracker_session")), None),
    }


def sessions(events: Iterable[dict], rules: SessionRules) -> list[dict]:
    return [summary(session, rules) for session in cut(events, rules)]


def without_ids(rows: pa.Table) -> list[dict]:
    return rows.drop_columns(["session_id"]).to_pylist()


BASE = datetime(2010, 3, 27, 21, 0, tzinfo=UTC)  # the night in which Europe's clocks go forward
moments = st.integers(0, 400).map(lambda minutes: datetime.fromtimestamp(BASE.timestamp() + minutes * 60, UTC))


def maybe(*values: object) -> st.SearchStrategy:
    return st.sampled_from((None, *values))


def events(max_size: int = 40) -> st.SearchStrategy[list[dict]]:
    """Events with ties, duplicates, several channels and campaigns, nulls everywhere they may be."""
    event = st.fixed_dictionaries(
        {
            "visitor": st.sampled_from(("a", "b", "ä")),
            "event_time": moments,
            "event_id": maybe("1", "2", "3"),
            "event_type": maybe("PAGE_VIEW", "page view", "CLICK", "purchase"),
            "channel": maybe("web", "APP ", "tv"),
            "source": maybe("EMAIL", "ADS"),
            "campaign": maybe("c1", "c2"),
            "page": maybe("/", "/p"),
            "order_id": maybe("o1", "o2"),
            "value": maybe(Decimal("1.2500"), Decimal("-3.0001")),
            "tracker_session": maybe("t1"),
        }
    )
    return st.lists(event, max_size=max_size)


rules = st.builds(
    SessionRules,
    gap_seconds=st.sampled_from((600, 1800, 3600)),
    channel_gap_seconds=st.sampled_from(((), (("Web", 1200.0), ("app", 300.0)))),
    max_seconds=st.sampled_from((3600, 5400, 86_400)),
    midnight_zone=maybe("UTC", "Europe/Berlin", "Asia/Kathmandu"),
    campaign_cuts=st.booleans(),
)


KEPT: dict[str, list] = {}


def keep(name: str, element: object) -> None:
    """Keeps an element of a pipeline in this process. `assert_that` would not do behind a timer at the stream's end:
    the runner of `TestStream` closes its window before the timer's elements arrive."""
    KEPT.setdefault(name, []).append(element)
