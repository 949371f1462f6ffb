"""A stream that is killed again and again while events come in: bronze has each once, what follows is exact."""

from __future__ import annotations

import pytest

from tests.stream_chaos import HUB, Chaos, Plan

pytestmark = pytest.mark.slow


def test_whatever_is_killed_bronze_has_each_event_once_and_sessions_and_features_are_exact(
    prism, tmp_path, start_loopback
):
    plan, told = Plan(kills=20), list[str]()
    outcome = Chaos(start_loopback({HUB: plan.partitions}), tmp_path / "lake", prism, plan, told.append).run()
    assert not outcome.wrong, (outcome, told)
    killed = {name: outcome.done[name] for name in ("worker", "engine", "loopback", "zombie")}
    assert sum(killed.values()) == 20 and min(killed.values()) >= 3
    assert outcome.restarts >= killed["worker"] + killed["engine"]  # they did die
    assert outcome.rows >= outcome.rows_sent > 0
    assert outcome.events == outcome.rows  # an event a row: each has a sequence number of its own
    assert outcome.sessions > 50 and outcome.late > 10 and outcome.persons > 50
