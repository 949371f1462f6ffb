"""Sessions of one log of events as they come, one event at a time: the slow oracle of what a stream lets go of."""

from __future__ import annotations

from collections.abc import Iterable

from tests.sessions import plain_sessions as plain
from transforms.sessions.rules import SessionRules


def cut_log(events: Iterable[dict], rules: SessionRules, late_seconds: float) -> tuple[list[dict], list[dict]]:
    """Events in the log's order -> (the sessions that nothing in time can change any more, the late events).

    One gap for all channels, and no event ahead of its arrival. An event is late where the clock, the latest event
    time that two visitors have reached so far, is further on than that.
    """
    late_us, clock = round(late_seconds * 1e6), -(2**62)
    latest, leader = clock, ""  # the clock follows from the others
    taken, late = list[dict](), list[dict]()
    for event in events:
        at, visitor = plain.micros(event["event_time"]), event["visitor"]
        if visitor != leader:
            clock = max(clock, min(at, latest))
        if at > latest:
            latest, leader = at, visitor
        (taken if at >= clock - late_us else late).append(event)
    cut = [plain.summary(session, rules) for session in plain.cut(taken, rules)]
    final = clock - late_us
    return [one for one in cut if plain.micros(one["ended_at"]) + rules.gap_us <= final], late
