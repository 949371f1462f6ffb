"""The features table is a log of changes; what is shown is the newest row of a person."""

from __future__ import annotations

from datetime import timedelta

import pytest
from typer.testing import CliRunner

from pipelines.__main__ import app
from pipelines.config import Lake
from pipelines.console import Output
from pipelines.show import show_features
from tests.gold.plain_realtime import NOON, table
from transforms.batches import as_batch
from transforms.errors import UserError
from transforms.gold.realtime_table import REALTIME_FEATURES, FeatureShard, FeatureTable
from transforms.gold.touches import TOUCHES
from transforms.io.delta import open_table
from transforms.io.delta_positions import take_over
from transforms.io.delta_ranges import StreamWrite
from transforms.positions import Piece


def view(person: str, minute: int) -> dict:
    at = NOON + timedelta(minutes=minute)
    empty = dict.fromkeys(TOUCHES.names)
    return empty | {"person_id": person, "key": minute, "at": at, "ingested_at": at, "type": "PAGE_VIEW",
                    "customer_id": "c", "channel": "WEB"}  # fmt: skip


@pytest.fixture
def lake(tmp_path) -> Lake:
    """C1 changes three times, C2 and C3 once, C3 last."""
    lake = Lake(str(tmp_path / "lake"))
    epoch = take_over(lake.realtime_features, REALTIME_FEATURES, (), "s")
    shard = FeatureShard(FeatureTable(StreamWrite(lake.realtime_features, REALTIME_FEATURES, "s", epoch=epoch)))
    steps = [[view("C1", 0), view("C2", 1)], [view("C1", 2)], [view("C1", 3)], [view("C3", 4)]]
    place = 0
    for minute, rows in enumerate(steps):
        batch = as_batch(table(rows).to_arrow().cast(TOUCHES))
        shard.offer([Piece("events/0", place, place + len(rows) - 1, batch)], NOON + timedelta(hours=1, minutes=minute))
        place += len(rows)
    return lake


def shown(lake: Lake, person: str | None = None, limit: int = 10) -> list[tuple]:
    out = Output(as_json=True)
    show_features(lake, person, limit, out)
    return [(row["person_id"], row["page_views_24h"], row["last_event_at"]) for row in out.facts["rows"]]


def test_each_person_is_shown_once_as_they_are_now(lake):
    newest = [("C3", 1, 4), ("C1", 3, 3), ("C2", 1, 1)]
    expected = [(person, count, NOON + timedelta(minutes=minute)) for person, count, minute in newest]
    assert open_table(lake.realtime_features).count() == 5  # changes
    assert shown(lake) == expected
    assert shown(lake, limit=2) == expected[:2]
    assert shown(lake, "C1") == expected[1:2]


def test_who_is_not_there_and_what_is_not_there_are_said(lake, tmp_path):
    with pytest.raises(UserError, match="no features of 'C9'"):
        shown(lake, "C9")
    with pytest.raises(UserError, match="there are no near-real-time features"):
        shown(Lake(str(tmp_path / "other")))


def test_the_command_shows_them_and_the_log_by_version(lake):
    def said(*words: str) -> str:
        done = CliRunner().invoke(app, ["show", "realtime_features", *words, "--lake", lake.uri])
        assert done.exit_code == 0
        return done.stdout

    assert "3 persons, the newest row of each, of 5 changes" in said()
    assert "1 person, the newest row of each" in said("C1")
    assert "realtime_features: 5 rows" in said("--version", str(open_table(lake.realtime_features).version()))
