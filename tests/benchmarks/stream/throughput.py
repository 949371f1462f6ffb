"""How fast a backlog gets into the lake, beside how fast the bare client receives it.

"Share of the bare client" compares the rate at which a backlog gets into bronze, rejects, sessions and features on,
with that at which the unmodified client receives the same events and drops them: the same loopback on the same cores,
in the same run, before and after the stream. The client is one process, as it comes; the stream may use all cores.
Where others use the machine too, the microseconds of CPU an event are what can be compared.
"""

from __future__ import annotations

import time
from pathlib import Path

import pyarrow.compute as pc
from azure.eventhub import EventHubConsumerClient

from pipelines.config import Lake
from tests.benchmarks.stream.commits import commits
from tests.benchmarks.stream.figures import Figure
from tests.benchmarks.stream.processes import cpu_seconds, processes
from tests.benchmarks.stream.traffic import PARTITIONS, streaming
from tests.event_hubs import GROUP, LoopbackProcess, loopback
from tests.stream_views import HUB, TABLE, rows_from
from tests.streaming import count_rows, until
from transforms.contracts import contract
from transforms.io.delta import read_table
from transforms.io.event_hubs import HubConnection, HubSender


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
