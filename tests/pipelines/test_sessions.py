"""Sessions of a lake: those of the kernel over silver's events, cut again only when the events changed."""

from __future__ import annotations

import pyarrow as pa

from pipelines import sessions
from pipelines.config import Run
from tests.pipelines.conftest import write_lines
from transforms.contracts import contract
from transforms.io.delta import read_table
from transforms.sessions.behaviour import behavioural_events
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import sessions_of

EVENTS = contract("CUSTOMER_BEHAVIORAL_EVENTS")


def events(numbers: range, minutes_apart: int = 7) -> list[dict[str, object]]:
    """Three visitors take turns; one of them has no name, only the tracker's session."""
    return [
        {
            "EVENT_ID": f"E{n}",
            "CUSTOMER_ID": None if n % 3 == 0 else f"C{n % 3}",
            "SESSION_ID": f"W{n // 30}",
            "EVENT_TYPE": "PAGE_VIEW",
            "EVENT_DATE": f"2010-03-{1 + n * minutes_apart // 1440:02}T{n * minutes_apart % 1440 // 60:02}"
            f":{n * minutes_apart % 60:02}:00Z",
            "PAGE_URL": f"https://shop.example/{n}",
        }
        for n in numbers
    ]


def ordered(table: pa.Table) -> list[dict[str, object]]:
    return table.sort_by([("visitor", "ascending"), ("started_at", "ascending")]).to_pylist()


def test_a_lakes_sessions_are_those_of_the_kernel_and_are_cut_again_when_events_come(shop):
    lake, folder = shop.lake, shop.root / "behavioral"
    write_lines(folder / "a.jsonl", events(range(0, 300, 2)))
    shop.bronze(behavioral=folder)
    shop.silver()
    first = sessions.cut(lake, Run("silver"))
    assert first is not None and sessions.cut(lake, Run("silver")) is None
    expected = sessions_of(behavioural_events(read_table(lake.silver(EVENTS))), SessionRules())
    assert first.counts.accepted == expected.num_rows > 5
    assert ordered(read_table(lake.sessions)) == ordered(expected)

    write_lines(folder / "b.jsonl", events(range(1, 300, 2)))  # between the others
    shop.bronze(behavioral=folder)
    shop.silver()
    again = sessions.cut(lake, Run("silver"))
    whole = sessions_of(behavioural_events(read_table(lake.silver(EVENTS))), SessionRules())
    assert again is not None and ordered(read_table(lake.sessions)) == ordered(whole)
    assert {row["visitor"] for row in whole.to_pylist()} >= {"C1", "C2", "anonymous:W0"}
