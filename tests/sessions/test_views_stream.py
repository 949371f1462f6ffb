"""The oracle in columns is the plain one: page views late, doubled, out of order, and at the same moment."""

from __future__ import annotations

import random
from datetime import timedelta

import pyarrow as pa
import pytest

from tests.sessions import plain_sessions as plain
from tests.sessions.plain_stream import cut_log
from tests.sessions.views_stream import cut_views
from transforms.sessions.event import EVENTS
from transforms.sessions.fold import POSITION
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import sessions_of

RULES = SessionRules()


def events_of_a_log(seed: int) -> list[dict]:
    draw, made = random.Random(seed), list[dict]()
    for number in range(draw.choice((0, 1, 30, 400))):
        behind = draw.choice((0, 0, 0, draw.randint(0, 300), draw.randint(0, 9000)))
        at = plain.BASE + timedelta(seconds=60 * number - behind)
        seen = {"event_id": f"E{draw.randint(0, 300)}", "event_type": "PAGE_VIEW", "page": f"/{draw.randint(0, 9)}"}
        event = {"visitor": f"v{draw.randint(number // 60, number // 60 + 4)}", "event_time": at} | seen
        made += [event] * draw.choice((1, 1, 1, 2))
    return [event | {"position": place} for place, event in enumerate(made)]


@pytest.mark.parametrize("seed", range(30))
def test_it_gives_what_the_plain_oracle_gives(seed):
    events = events_of_a_log(seed)
    schema = pa.schema([*EVENTS, POSITION])
    rows = pa.Table.from_pylist([{name: event.get(name) for name in schema.names} for event in events], schema=schema)
    left = cut_views(rows, RULES, 600)
    expected, late = cut_log([{**dict.fromkeys(schema.names), **event} for event in events], RULES, 600)
    assert left.late.to_list() == [event["position"] for event in late]
    found = left.sessions.drop("session_id").to_dicts()
    wanted = [{name: row[name] for name in left.sessions.columns if name in row} for row in expected]
    assert sorted(found, key=_start) == sorted(wanted, key=_start)
    in_time = rows.filter(pa.array([event["position"] not in left.late for event in events], pa.bool_()))
    batch = {row["session_id"]: row for row in sessions_of(in_time.drop_columns(["position"]), RULES).to_pylist()}
    for row in left.sessions.to_dicts():
        assert row == {name: batch[row["session_id"]][name] for name in row}


def _start(row: dict) -> tuple:
    return row["visitor"], row["started_at"]
