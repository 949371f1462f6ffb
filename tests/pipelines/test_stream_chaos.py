"""A stream that is killed again and again while events come in: bronze has each once, what follows is exact."""

from __future__ import annotations

import pytest

from tests.stream_chaos import Chaos, Plan
from tests.stream_views import HUB

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
    compared = outcome.compared
    assert compared.rows >= outcome.rows_sent > 1_000
    assert compared.events == compared.rows  # an event a row: each has a sequence number of its own
    assert compared.sessions > 50 and compared.late > 10 and compared.persons > 50
