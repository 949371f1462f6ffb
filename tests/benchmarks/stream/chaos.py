"""Many random kills over many events: what is done is in `tests.stream_chaos`, the oracle in `tests.stream_oracle`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tests.benchmarks.stream.figures import Figure
from tests.event_hubs import loopback
from tests.stream_chaos import KILLS, Chaos, Plan
from tests.stream_views import HUB


def chaos(kills: int, rows: int, seed: int, root: Path, say: Callable[[str], None]) -> list[Figure]:
    """A plan of many kills over many events of one JSON row; what is wrong at the end, place by place."""
    step = max(200, rows // (kills * 20))
    plan = Plan(kills, rows_a_send=step, total_rows=rows, seed=seed)
    with loopback(root / "hub", {HUB: plan.partitions}) as server:
        found = Chaos(server, root / "lake", "", plan, say).run()
    for wrong in found.wrong:
        say(f"WRONG: {wrong}")
    killed = sum(found.done[what] for what in set(KILLS))
    return [
        Figure("kills", killed, f">= {kills}"),
        *(Figure(f"done: {what}", count) for what, count in sorted(found.done.items())),
        Figure("rows sent", found.rows_sent, f">= {rows}"),
        Figure("rows in bronze, those the sender had to repeat among them", found.compared.rows),
        Figure("sequence numbers in bronze", found.compared.events, f">= {rows}"),
        Figure("sessions, and their ids, compared", found.compared.sessions, ">= 1"),
        Figure("late rows compared", found.compared.late, ">= 1"),
        Figure("persons whose features were compared", found.compared.persons, ">= 1"),
        Figure("engine and worker started again", found.restarts),
        Figure("seconds until the last row was in bronze", found.seconds),
        Figure("seconds to compare all of it", found.compared_seconds),
        Figure("things wrong", len(found.wrong), "<= 0"),
    ]
