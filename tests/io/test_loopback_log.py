"""A partition's log against a plain list: any appends, any position, any trim, cut anywhere."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from azure.eventhub._pyamqp._decode import decode_payload
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.io.event_hubs_loopback.hub import Hub, key_hash
from transforms.io.event_hubs_loopback.log import LogReader, PartitionLog, Position
from transforms.io.event_hubs_loopback.messages import Event, read_event

BATCHES = st.lists(
    st.tuples(st.lists(st.binary(max_size=40), min_size=1, max_size=5), st.integers(0, 3)), min_size=1, max_size=12
)


def event(body: bytes) -> Event:
    return Event(b"", 0, b"\x00\x53\x75\xa0" + bytes((len(body),)) + body)


@contextmanager
def folder():
    path = Path(tempfile.mkdtemp())
    try:
        yield path / "0"
    finally:
        shutil.rmtree(path)


def append(log: PartitionLog, batches) -> list[tuple[int, int, bytes]]:
    """Appends and gives what the log must hold: (enqueued ms, offset, stored message) by sequence number."""
    held, now, offset = [], 1000, 0
    for bodies, pause in batches:
        now += pause
        log.stage([event(body) for body in bodies], now)
        log.flush()
        for body in bodies:
            message = event(body).stamped(len(held), offset, now)
            held.append((now, offset, message))
            offset += len(message)
    return held


def read_all(log: PartitionLog, sequence: int = 0) -> dict[int, bytes]:
    reader, got = LogReader(log, sequence), {}
    while True:
        first, events = reader.chunk()
        if not events:
            return got
        got |= dict(enumerate(events, first))


@given(BATCHES, st.integers(1, 200), st.data())
@settings(max_examples=60)
def test_every_position_finds_what_a_plain_scan_finds(batches, segment_bytes, data):
    with folder() as path:
        log = PartitionLog.open(path, segment_bytes)
        held = append(log, batches)
        if data.draw(st.booleans()):
            log.close()
            log = PartitionLog.open(path, segment_bytes)
        trimmed = data.draw(st.integers(0, len(held)))
        log.trim(trimmed)
        inclusive = data.draw(st.booleans())
        for kind, column in (("enqueued-time", 0), ("offset", 1), ("sequence-number", None)):
            values = [row[column] for row in held] if column is not None else list(range(len(held)))
            wanted = data.draw(st.sampled_from(values)) + data.draw(st.integers(-1, 1))
            if column is None:
                wanted = max(-1, wanted)
            hits = [i for i, v in enumerate(values) if (v >= wanted if inclusive else v > wanted) and i >= trimmed]
            expected = min(hits, default=len(held))
            assert log.find(Position(kind, str(wanted), inclusive)) == expected, kind
        assert log.find(Position("offset", "-1")) == trimmed
        assert log.find(Position("offset", "@latest")) == len(held)
        assert read_all(log) == {i: held[i][2] for i in range(trimmed, len(held))}
        start = data.draw(st.integers(0, len(held)))
        assert read_all(log, start) == {i: held[i][2] for i in range(max(start, trimmed), len(held))}
        log.close()


@given(BATCHES, st.data())
@settings(max_examples=60)
def test_a_log_cut_anywhere_keeps_whole_batches_and_goes_on(batches, data):
    with folder() as path:
        log = PartitionLog.open(path)
        held = append(log, batches)
        log.close()
        (file,) = path.glob("*.log")
        whole = file.read_bytes()
        cut = data.draw(st.integers(0, len(whole)))
        garbage = data.draw(st.binary(max_size=60))
        file.write_bytes(whole[:cut] + garbage)
        again = PartitionLog.open(path)
        ends, total = [0], 0
        for bodies, _ in batches:
            total += len(bodies)
            ends.append(total)
        assert again.end in ends
        assert read_all(again) == {i: held[i][2] for i in range(again.end)}
        if cut == len(whole):
            assert again.end == len(held)
        again.stage([event(b"after")], 5000)
        again.flush()
        assert read_all(again)[again.end - 1].endswith(b"after")
        again.close()


def test_a_flipped_bit_ends_the_log_there(tmp_path):
    log = PartitionLog.open(tmp_path / "0")
    append(log, [([b"a"], 0), ([b"b"], 0), ([b"c"], 0)])
    log.close()
    (file,) = (tmp_path / "0").glob("*.log")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    assert PartitionLog.open(tmp_path / "0").end == 1


def test_numbers_offsets_and_times_never_go_back(tmp_path):
    log = PartitionLog.open(tmp_path / "0", segment_bytes=1)
    append(log, [([b"a", b"b"], 5)])
    log.trim(2)
    before = (log.first, log.end, log.last_offset, log.last_ms)
    log.close()
    again = PartitionLog.open(tmp_path / "0", segment_bytes=1)
    assert (again.first, again.end, again.last_offset, again.last_ms) == before == (2, 2, before[2], 1005)
    again.stage([event(b"c")], 3)  # a clock put back
    again.flush()
    assert (again.end, again.last_ms) == (3, 1005) and again.last_offset > before[2]
    again.retain(oldest_ms=None, most_bytes=0)
    assert (again.first, again.end) == (2, 3), "the newest file stays, however large"
    assert len(list((tmp_path / "0").glob("*.log"))) == 1


def test_retention_forgets_whole_files_from_the_oldest(tmp_path):
    log = PartitionLog.open(tmp_path / "0", segment_bytes=1)
    append(log, [([b"x"], 10) for _ in range(5)])  # one file a batch, at 1010, 1020 ... 1050 ms
    log.retain(oldest_ms=1025, most_bytes=None)
    assert (log.first, log.end) == (2, 5)
    assert len(list((tmp_path / "0").glob("*.log"))) == 3
    log.retain(oldest_ms=None, most_bytes=2 * (tmp_path / "0" / f"{4:020d}.log").stat().st_size)
    assert (log.first, log.end) == (3, 5)


def test_a_full_disk_stores_nothing_and_frees_the_numbers(tmp_path, monkeypatch):
    log = PartitionLog.open(tmp_path / "0")
    append(log, [([b"a"], 0)])
    with monkeypatch.context() as patch:
        patch.setattr("transforms.io.event_hubs_loopback.log._write_all", _fail)
        log.stage([event(b"lost")], 2000)
        with pytest.raises(OSError):
            log.flush()
    log.stage([event(b"b")], 2000)
    log.flush()
    assert [message[-1:] for message in read_all(log).values()] == [b"a", b"b"]


def _fail(*_):
    raise OSError(28, "no space left")


@given(st.binary(max_size=50), st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**42))
def test_the_client_reads_the_stamp(body, sequence, offset, enqueued_ms):
    message = event(body).stamped(sequence, offset, enqueued_ms)
    read = decode_payload(memoryview(message))
    assert read.message_annotations == {
        b"x-opt-sequence-number": sequence,
        b"x-opt-enqueued-time": enqueued_ms,
        b"x-opt-offset": str(offset).encode(),
    }
    assert read.data == [body]
    again = read_event(message)
    assert again == event(body), "the hub's own annotations are not the sender's"


@given(st.text(st.characters(min_codepoint=1, max_codepoint=127), max_size=64))
def test_partition_keys_hash_as_the_client_says(key):
    assert key_hash(key) == generate_hash_code(key)


def test_without_a_key_partitions_take_turns(tmp_path):
    hub = Hub.open("h", tmp_path, 3)
    assert [hub.partition_for(None) for _ in range(5)] == [0, 1, 2, 0, 1]
    hub.resize(5)
    assert [log.end for log in hub.partitions] == [0] * 5
    hub.close()
