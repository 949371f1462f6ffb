"""The table of features: whatever order, repetition, death, eviction and upkeep, it holds each row once."""

from __future__ import annotations

import random
import threading
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from tests.gold import plain_realtime as plain
from transforms.batches import as_batch
from transforms.errors import UserError
from transforms.gold import realtime_table
from transforms.gold.realtime import FEATURES, Limits, as_of, latest
from transforms.gold.realtime_table import (
    BUCKET,
    REALTIME_FEATURES,
    FeatureShard,
    FeatureTable,
    merge_features,
    read_features,
)
from transforms.gold.touches import TOUCHES
from transforms.io.delta import open_table, read_table
from transforms.io.delta_committer import PositionCommitter, PositionGap
from transforms.io.delta_positions import Fenced, positions, take_over
from transforms.io.delta_ranges import StreamWrite
from transforms.positions import Piece

NOON = plain.NOON
LOGS = ("events/0", "events/1", "orders/0")
TYPES = ("PAGE_VIEW", "CART_ADD", "PURCHASE", "CLICK")


def touch(rng: random.Random, number: int) -> dict:
    kind = "ITEM_BOUGHT" if number % 5 == 0 else TYPES[number % 4]
    at = NOON + timedelta(seconds=rng.randrange(-200_000, 0))
    return {"person_id": f"C{rng.randrange(12)}", "key": number, "at": at, "ingested_at": NOON, "type": kind,
            "customer_id": "c", "product_id": f"P{rng.randrange(3)}", "page_url": None, "channel": "WEB",
            "amount_cents": number if kind == "PURCHASE" else None, "currency": "GBP"}  # fmt: skip


def logs_of(rng: random.Random, each: int = 60) -> dict[str, list[dict]]:
    return {log: [touch(rng, 1000 * n + i) for i in range(each)] for n, log in enumerate(LOGS)}


def piece(log: str, low: int, rows: list[dict]) -> Piece:
    batch = as_batch(pa.Table.from_pylist(rows, schema=TOUCHES))
    return Piece(log, low, low + len(rows) - 1, batch)


def write(tmp_path, **changes) -> StreamWrite:
    uri = str(tmp_path / "features")
    epoch = take_over(uri, REALTIME_FEATURES, (), "s")
    return StreamWrite(uri, REALTIME_FEATURES, "s", epoch=epoch, idle_seconds=0, **changes)


def stored(uri: str) -> pa.Table:
    return read_table(uri)


def features_of(uri: str, limits: Limits = Limits()) -> list[dict]:
    table = latest(stored(uri).select(FEATURES.names), limits)
    kept = table.drop_columns(["updated_at", "_events", "is_truncated"]).to_pylist()
    return [row | {"spend_24h": int(row["spend_24h"] * 100)} for row in kept]


@pytest.mark.parametrize("seed", range(4))
def test_each_row_counts_once_through_repeats_deaths_eviction_and_upkeep(tmp_path, seed):
    rng = random.Random(seed)
    content, to = logs_of(rng), write(tmp_path)
    table = FeatureTable(to, touches_in_memory=(1, 50, 10_000, 10_000)[seed], merge_every=(0, 5, 0, 9)[seed])
    shard, cursors = FeatureShard(table), dict.fromkeys(LOGS, 0)
    step = 0
    while any(at < len(content[log]) for log, at in cursors.items()):
        step += 1
        if rng.random() < 0.3:  # a death: what was not committed comes again, and more
            shard = FeatureShard(table)
            known = positions(to.uri, "s", LOGS)
            cursors = {log: max(0, known[log] + 1 - rng.randrange(8)) for log in LOGS}
        pieces = []
        for log in rng.sample(LOGS, rng.randint(1, 3)):
            for _ in range(rng.randint(1, 2)):
                size = rng.randint(1, 15)
                rows = content[log][cursors[log] : cursors[log] + size]
                pieces += [piece(log, cursors[log], rows)] * rng.randint(1, 2) if rows else []
                cursors[log] += len(rows)
        rng.shuffle(pieces)
        shard.offer(pieces, NOON + timedelta(seconds=step))
        assert shard.touches <= table.touches_in_memory
    everything = [row for rows in content.values() for row in rows]
    assert positions(to.uri, "s", LOGS) == {log: len(rows) - 1 for log, rows in content.items()}
    assert features_of(to.uri) == plain.plain_features(everything)
    assert newest(to.uri) == plain.plain_features(everything)
    rows = stored(to.uri).num_rows
    assert merge_features(table) or table.merge_every
    assert stored(to.uri).num_rows <= rows
    assert features_of(to.uri) == newest(to.uri) == plain.plain_features(everything)


def newest(uri: str) -> list[dict]:
    """What a reader of plain SQL sees: the row of each person that was updated last."""
    found = {row["person_id"]: row for row in stored(uri).sort_by("updated_at").to_pylist()}
    hidden = ("updated_at", "_events", "is_truncated", BUCKET.name)
    rows = [{k: v for k, v in found[person].items() if k not in hidden} for person in sorted(found)]
    return [row | {"spend_24h": int(row["spend_24h"] * 100)} for row in rows]


def test_a_commit_that_fails_leaves_nothing_behind_in_memory(tmp_path, monkeypatch):
    content, to = logs_of(random.Random(1), 20), write(tmp_path)
    shard, pieces = FeatureShard(FeatureTable(to)), [piece(log, 0, rows) for log, rows in content.items()]
    with monkeypatch.context() as patch, pytest.raises(OSError):
        patch.setattr(PositionCommitter, "offer", lambda self, ranges: (_ for _ in ()).throw(OSError("disk full")))
        shard.offer(pieces, NOON)
    assert open_table(to.uri).version() == 1
    shard.offer(pieces, NOON)
    assert features_of(to.uri) == plain.plain_features([row for rows in content.values() for row in rows])


def test_another_worker_that_had_the_shard_is_noticed(tmp_path):
    content, to = logs_of(random.Random(2), 40), write(tmp_path)
    mine, others = FeatureShard(FeatureTable(to)), FeatureShard(FeatureTable(to))
    log, rows = LOGS[0], content[LOGS[0]]
    mine.offer([piece(log, 0, rows[:10])], NOON)
    others.offer([piece(log, 10, rows[10:20])], NOON + timedelta(seconds=1))
    mine.offer([piece(log, 10, rows[10:20]), piece(log, 20, rows[20:])], NOON + timedelta(seconds=2))
    assert newest(to.uri) == features_of(to.uri) == plain.plain_features(rows)


def test_pieces_ahead_wait_without_holding_up_other_logs(tmp_path):
    content, to = logs_of(random.Random(3), 30), write(tmp_path)
    shard = FeatureShard(FeatureTable(to))
    (one, rows), (two, more) = list(content.items())[:2]
    shard.offer([piece(one, 10, rows[10:]), piece(two, 0, more)], NOON)
    assert positions(to.uri, "s", (one, two)) == {one: -1, two: 29}
    assert features_of(to.uri) == plain.plain_features(more)
    shard.offer([piece(one, 0, rows[:10])], NOON)
    assert features_of(to.uri) == plain.plain_features(rows + more)


def test_a_position_that_never_comes_ends_the_stream(tmp_path):
    rows = logs_of(random.Random(3), 9)[LOGS[0]]
    shard = FeatureShard(FeatureTable(write(tmp_path, hold_seconds=0)))
    shard.offer([piece(LOGS[0], 0, rows[:3])], NOON)
    with pytest.raises(PositionGap, match="positions 3 to 5 of events/0"):
        for _ in range(2):
            shard.offer([piece(LOGS[0], 6, rows[6:])], NOON)


def test_an_older_stream_is_fenced(tmp_path):
    to = write(tmp_path)
    shard = FeatureShard(FeatureTable(to))
    write(tmp_path)
    with pytest.raises(Fenced):
        shard.offer([piece(LOGS[0], 0, logs_of(random.Random(0))[LOGS[0]])], NOON)


def test_positions_without_rows_are_committed_too(tmp_path):
    to = write(tmp_path)
    nothing = Piece(LOGS[0], 0, 99, as_batch(TOUCHES.empty_table()))
    done = FeatureShard(FeatureTable(to)).offer([nothing], NOON)
    assert done is not None and done.rows == 0
    assert positions(to.uri, "s", LOGS[:1]) == {LOGS[0]: 99}


def test_many_small_files_become_few_while_others_append(tmp_path):
    rng, to = random.Random(5), write(tmp_path)
    rows = [touch(rng, n) for n in range(300)]
    table = FeatureTable(to, merge_every=0)
    shard = FeatureShard(table)
    for low in range(0, 300, 10):
        shard.offer([piece(LOGS[0], low, rows[low : low + 10])], NOON + timedelta(seconds=low))
    before = len(open_table(to.uri).file_uris())
    assert before == 30
    assert merge_features(table) == 30
    assert len(open_table(to.uri).file_uris()) == 1
    assert stored(to.uri).num_rows == len({row["person_id"] for row in rows})
    assert merge_features(table) == 0
    assert newest(to.uri) == plain.plain_features(rows)


def test_readers_get_some_persons_or_all_now_or_then(tmp_path):
    rng, to = random.Random(6), write(tmp_path)
    rows = [touch(rng, n) for n in range(90)]
    shard = FeatureShard(FeatureTable(to))
    for low in range(0, 90, 30):
        shard.offer([piece(LOGS[0], low, rows[low : low + 30])], NOON + timedelta(seconds=low))
    later = NOON + timedelta(hours=3)
    everybody = read_features(to.uri)
    assert everybody["person_id"].to_pylist() == sorted({row["person_id"] for row in rows})
    some = read_features(to.uri, later, ["C3", "C1", "nobody"])
    assert some["person_id"].to_pylist() == ["C1", "C3"]
    assert some.equals(as_of(everybody.filter(pc.is_in(everybody["person_id"], pa.array(["C1", "C3"]))), later))
    assert read_features(to.uri, later, []).num_rows == 0
    assert read_features(to.uri, persons=["nobody"]).num_rows == 0


def test_upkeep_runs_beside_the_stream_and_its_error_is_not_lost(tmp_path, monkeypatch):
    rows = logs_of(random.Random(7), 60)[LOGS[0]]
    to = write(tmp_path)
    shard = FeatureShard(FeatureTable(to, merge_every=10))
    for at, row in enumerate(rows[:40]):
        shard.offer([piece(LOGS[0], at, [row])], NOON + timedelta(seconds=at))
        if at % 10 == 9:  # windows are seconds apart, and a merge takes less
            wait_for_upkeep()
    assert len(open_table(to.uri).file_uris()) < 30
    assert newest(to.uri) == features_of(to.uri) == plain.plain_features(rows[:40])
    monkeypatch.setattr(realtime_table, "merge_features", lambda table: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        for at, row in enumerate(rows[40:], 40):
            shard.offer([piece(LOGS[0], at, [row])], NOON + timedelta(seconds=at))
            wait_for_upkeep()


def wait_for_upkeep() -> None:
    for thread in threading.enumerate():
        if thread.name == "merge-features":
            thread.join(20)


def test_configuration_is_checked(tmp_path):
    to = write(tmp_path)
    with pytest.raises(UserError, match="0 touches"):
        FeatureTable(to, touches_in_memory=0)
    with pytest.raises(ValueError, match="REALTIME_FEATURES"):
        FeatureTable(StreamWrite(to.uri, FEATURES, "s"))
