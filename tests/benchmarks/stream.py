"""The stream on Prism over the loopback: `python -m tests.benchmarks.stream latency|throughput|soak|chaos`.

Each figure is printed with its bar and the machine's load beside it; the loopback, the sender and the stream share the
machine, so the figures are those of the whole. Times of commits and of events are read from the Delta log and the rows.

"Share of the bare client" compares the rate at which a backlog gets into bronze, rejects, sessions and features on,
with that at which the unmodified client receives the same events and drops them: the same loopback on the same cores,
in the same run, before and after the stream. The client is one process, as it comes; the stream may use all cores.
Where others use the machine too, the microseconds of CPU an event are what can be compared.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from azure.eventhub import EventHubConsumerClient

from pipelines.config import Lake
from pipelines.prism import Prism
from pipelines.stream import StreamConfig
from pipelines.supervisor import Supervisor
from tests.event_hubs import GROUP, LoopbackProcess, loopback
from tests.stream_chaos import HUB, TABLE, Chaos, Plan, rows_from
from tests.streaming import count_rows, until
from transforms.contracts import contract
from transforms.io.delta import read_table
from transforms.io.event_hubs import HubConnection, HubSender

PARTITIONS = 2
WARM_UP_SECONDS = 10.0


@dataclass(frozen=True)
class Figure:
    """One measured figure; `bar` with its direction ("<= 2" or ">= 50000"), empty where there is none."""

    name: str
    value: float
    bar: str = ""

    def line(self) -> str:
        sign, _, limit = self.bar.partition(" ")
        met = self.value <= float(limit) if sign == "<=" else self.value >= float(limit) if sign else None
        verdict = "" if met is None else f"  bar {self.bar}: {'met' if met else 'NOT met'}"
        return f"{self.name:<58} {self.value:>12,.2f}{verdict}"


@dataclass(frozen=True)
class Commit:
    """One commit with rows: when it was readable, and when the hub took its events (microseconds)."""

    at: float
    enqueued: np.ndarray


def commits(lake: Path) -> list[Commit]:
    """The commits of bronze that added rows, oldest first."""
    found = added(Lake(str(lake)).bronze(contract(TABLE)), ["_enqueued_at"])
    return [Commit(at, rows["_enqueued_at"].cast("int64").to_numpy()) for at, rows in found]


def added(uri: str, columns: list[str]) -> Iterator[tuple[float, pa.Table]]:
    """The commits that added rows, oldest first: when each was readable, and its rows."""
    table = Path(uri)
    for path in sorted((table / "_delta_log").glob("*.json")):
        lines = [json.loads(line) for line in path.read_text().splitlines()]
        files = [table / unquote(line["add"]["path"]) for line in lines if "add" in line]
        if files:
            read = [pq.ParquetFile(file).read(columns=columns) for file in files]
            yield path.stat().st_mtime, pa.concat_tables(read)


@contextmanager
def streaming(server: LoopbackProcess, lake: Path) -> Iterator[Supervisor]:
    """The stream as `python -m pipelines stream` runs it, for the time of the block."""
    config = StreamConfig(str(lake), server.connection_string(), {HUB: (TABLE,)})
    supervisor = Supervisor(config, Prism(), said=lambda line: print(line, file=sys.stderr))
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()
        thread.join()


def visits_from(first: int, count: int) -> pa.RecordBatch:
    """`rows_from`, a second apart, whose 997 visitors of a time are others after eight views each."""
    rows, numbers = rows_from(first, count), np.arange(first, first + count)
    names = [f"C{n // (8 * 997)}-{n % 997}" for n in numbers.tolist()]
    return rows.set_column(rows.schema.get_field_index("CUSTOMER_ID"), "CUSTOMER_ID", pa.array(names))


def send_at(server: LoopbackProcess, rate: float, seconds: float, first: int = 0) -> tuple[int, float]:
    """Sends single rows at a rate, numbered from `first`; (rows, rows/s that it came to)."""
    sent, begun, step = 0, time.monotonic(), max(1, int(rate / 20))
    with HubSender(HubConnection(server.connection_string()), HUB, TABLE, "row", "CUSTOMER_ID") as sender:
        while time.monotonic() - begun < seconds:
            sender.send(visits_from(first + sent, step))
            sent += step
            time.sleep(max(0.0, sent / rate - (time.monotonic() - begun)))
    return sent, sent / (time.monotonic() - begun)


def latency(rate: float, seconds: float, root: Path) -> list[Figure]:
    """From the hub's taking an event to its row being readable in bronze, at a rate of single-row events."""
    lake = root / "lake"
    with loopback(root / "hub", {HUB: PARTITIONS}) as server, streaming(server, lake):
        first, _ = send_at(server, 100, 1)  # the stream is up when these are there
        until(lambda: count_rows(lake, TABLE) == first, 120)
        begun = time.time()
        sent, reached = send_at(server, rate, seconds + WARM_UP_SECONDS, first)
        until(lambda: count_rows(lake, TABLE) >= first + sent, 120)
        time.sleep(10)  # for the last sessions
    after = int((begun + WARM_UP_SECONDS) * 1e6)
    measured = [(c.at - c.enqueued[c.enqueued > after] / 1e6) for c in commits(lake)]
    waited = np.concatenate(measured)
    p50, p99 = np.percentile(waited, [50, 99])
    closed = closed_to_readable(lake, after)
    return [
        Figure("events/s sent", reached, f">= {rate * 0.98:.0f}"),
        Figure(f"seconds from closed to readable, p99 of {len(closed):,} sessions", np.percentile(closed, 99), "<= 10"),
        Figure("the same, the longest", float(closed.max()), "<= 10"),
        Figure("seconds from sent to readable, p50", float(p50), "<= 2"),
        Figure("seconds from sent to readable, p99", float(p99), "<= 10"),
    ]


def closed_to_readable(lake: Path, after_us: int) -> np.ndarray:
    """Seconds from the hub's taking the first event that is gap and lateness behind a session to the session's row."""
    where, config = Lake(str(lake)), StreamConfig("", "", {HUB: (TABLE,)})
    rows = read_table(where.bronze(contract(TABLE)), columns=["_file", "EVENT_DATE", "_enqueued_at"])
    open_us, waited = config.rules.longest_gap_us + int(config.lateness_seconds * 1e6), []
    clocks = {}
    for log in rows["_file"].unique().to_pylist():
        mine = rows.filter(pc.field("_file") == log).sort_by("EVENT_DATE")
        clocks[log] = (micros(mine["EVENT_DATE"]), micros(mine["_enqueued_at"]))
    for at, sessions in added(where.live_sessions, ["_log", "ended_at"]):
        for log, (events, enqueued) in clocks.items():
            mine = sessions.filter(pc.starts_with(sessions["_log"], f"{log}/"))
            closing = np.searchsorted(events, micros(mine["ended_at"]) + open_us, side="right")
            taken = enqueued[closing[closing < len(events)]]
            waited.append(at - taken[taken > after_us] / 1e6)
    return np.concatenate(waited)


def micros(times: pa.ChunkedArray) -> np.ndarray:
    """Timestamps as microseconds since 1970."""
    return times.cast(pa.timestamp("us", "UTC")).cast("int64").to_numpy()


def throughput(rows: int, root: Path) -> list[Figure]:
    """Rows/s of a backlog into bronze, beside what the bare client receives of the same events in the same run."""
    figures = []
    arrow, single = ("Arrow bodies", "arrow", rows, 50_000), ("a JSON row an event", "row", rows // 10, 10_000)
    for name, form, count, bar in (arrow, single):
        folder = root / form
        with loopback(folder / "hub", {HUB: PARTITIONS}) as server:
            with HubSender(HubConnection(server.connection_string()), HUB, TABLE, form) as sender:  # type: ignore[arg-type]
                for first in range(0, count, 10_000):
                    sender.send(rows_from(first, 10_000))
            bare = [bare_client(server)]
            with streaming(server, folder / "lake") as stream:
                until(lambda lake=folder / "lake", all=count: count_rows(lake, TABLE) == all, 600, 0.2)
                spent = sum(cpu_seconds(pid) for pid in processes(stream, server).values()) - cpu_seconds(server.pid)
            bare.append(bare_client(server))
        found, made = drained(folder / "lake")
        received = 2 * count / sum(seconds for seconds, _ in bare)
        figures += [
            Figure(f"rows/s, {name} ({count:,} rows, {made} commits)", found, f">= {bar}"),
            Figure(f"rows/s of the bare client, {name}", received),
            Figure(f"share of the bare client, {name}", found / received, ">= 0.6"),
            Figure("microseconds of CPU a row, stream with start, and engine", spent / count * 1e6),
            Figure("microseconds of CPU a row, bare client", sum(cpu for _, cpu in bare) / 2 / count * 1e6),
        ]
    return figures


def drained(lake: Path) -> tuple[float, int]:
    """Rows/s from the first row's arrival in the worker to the last commit, and the commits.

    The first piece of each partition does not count: it was read before.
    """
    made = commits(lake)
    read = read_table(Lake(str(lake)).bronze(contract(TABLE)), columns=["_file", "_ingested_at"])
    firsts = read.group_by("_file").aggregate([("_ingested_at", "min")]).rename_columns({"_ingested_at_min": "first"})
    joined = read.join(firsts, "_file")
    after = pc.sum(pc.greater(joined["_ingested_at"], joined["first"])).as_py()
    return after / (made[-1].at - pc.min(read["_ingested_at"]).as_py().timestamp()), len(made)


def bare_client(server: LoopbackProcess) -> tuple[float, float]:
    """Seconds the unmodified client takes to receive all events, one partition after the other, and those of CPU."""
    spent, cpu = 0.0, time.process_time()
    for number, log in enumerate(server.control.state()["hubs"][HUB]):
        got: list[object] = []
        client = EventHubConsumerClient.from_connection_string(server.connection_string(HUB), GROUP)
        consumer = client._create_consumer(GROUP, str(number), "-1", got.extend, prefetch=1000)
        consumer._keep_alive = None
        while not consumer._open():
            pass
        begun = time.perf_counter()
        while len(got) < log["end"]:
            consumer.receive(batch=True, max_batch_size=1000, max_wait_time=1)
        spent += time.perf_counter() - begun
        consumer.close()
        client.close()
    return spent, time.process_time() - cpu


def processes(stream: Supervisor, server: LoopbackProcess) -> dict[str, int]:
    """Name -> id of all that run now."""
    found = {**stream.pids, "loopback": server.pid}
    for task in Path(f"/proc/{found.get('worker', 0)}/task").glob("*/children"):
        found |= {f"reader {number}": int(pid) for number, pid in enumerate(task.read_text().split())}
    return found


def cpu_seconds(pid: int) -> float:
    """What a process has used; 0 where it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def soak(rate: float, seconds: float, root: Path) -> list[Figure]:
    """Memory of every process and the lag of commits over time, last third against the one after the warm-up."""
    lake, samples = root / "lake", dict[str, list[float]]()
    over = threading.Event()
    with loopback(root / "hub", {HUB: PARTITIONS}, retention_seconds=60) as server, streaming(server, lake) as stream:

        def sample() -> None:
            while not over.wait(max(1.0, seconds / 200)):
                for name, pid in processes(stream, server).items():
                    samples.setdefault(name, []).append(resident_mb(pid))

        first, _ = send_at(server, 100, 1)
        until(lambda: count_rows(lake, TABLE) == first, 120)
        time.sleep(WARM_UP_SECONDS)
        sampler = threading.Thread(target=sample)
        sampler.start()
        begun = time.time()
        sent, reached = send_at(server, rate, seconds, first)
        over.set()
        sampler.join()
        until(lambda: count_rows(lake, TABLE) >= first + sent, 120)
    figures = [Figure("events/s sent", reached, f">= {rate * 0.98:.0f}")]
    for name, sizes in samples.items():
        figures.append(Figure(f"MB of the {name}, last third (median)", float(np.median(sizes[-len(sizes) // 3 :]))))
        figures.append(Figure(f"MB of the {name}, last third to middle third", ratio(sizes), "<= 1.1"))
    lags = [c.at - float(c.enqueued.max()) / 1e6 for c in commits(lake) if c.at > begun]
    figures.append(Figure("seconds from a commit's newest event to the commit (median)", float(np.median(lags))))
    figures.append(Figure("the same, last third to middle third", ratio(lags), "<= 1.5"))
    return figures


def ratio(values: list[float]) -> float:
    """The median of the last third to that of the middle one."""
    third = max(1, len(values) // 3)
    return float(np.median(values[-third:]) / np.median(values[third : 2 * third] or values[:1]))


def resident_mb(pid: int) -> float:
    """Resident memory of a process; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS")), 0.0)


def chaos(kills: int, rows: int, seed: int, root: Path) -> list[Figure]:
    """A plan of many kills over many events of one JSON row; what is wrong at the end, place by place."""
    step = max(200, rows // (kills * 20))
    plan = Plan(kills, rows_a_send=step, total_rows=rows, seed=seed)
    with loopback(root / "hub", {HUB: plan.partitions}) as server:
        run = Chaos(server, root / "lake", "", plan, lambda line: print(line, file=sys.stderr))
        found = run.run()
    for wrong in found.wrong:
        print(f"WRONG: {wrong}")
    return [
        *(Figure(f"done: {what}", count) for what, count in sorted(found.done.items())),
        Figure("rows sent", found.rows_sent, f">= {rows}"),
        Figure("rows in bronze, those the sender had to repeat among them", found.rows),
        Figure("sequence numbers in bronze", found.events, f">= {rows}"),
        Figure("sessions, and their ids, compared", found.sessions),
        Figure("late rows compared", found.late),
        Figure("persons whose features were compared", found.persons),
        Figure("engine and worker started again", found.restarts),
        Figure("seconds", found.seconds),
        Figure("things wrong", len(found.wrong), "<= 0"),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["latency", "throughput", "soak", "chaos"])
    parser.add_argument("--rate", type=float, default=5_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root, before = Path(folder), os.getloadavg()[0]
        figures = {
            "latency": lambda: latency(given.rate, given.seconds, root),
            "throughput": lambda: throughput(given.rows, root),
            "soak": lambda: soak(given.rate, given.seconds, root),
            "chaos": lambda: chaos(given.kills, given.rows, given.seed, root),
        }[given.what]()
    for figure in figures:
        print(figure.line())
    print(f"load average of the machine {before:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
