"""The stream's figures for Prometheus, served at 127.0.0.1."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from pipelines.stream_status import Progress
from transforms.errors import UsageError

_OF_TABLES = {
    "rows": "rows committed since the start; those of `rejected` are dead letters",
    "commits": "commits since the start",
    "lost": "events that the hub dropped before they were read",
    "lag": "seconds from the hub's taking the newest committed event to its commit",
    "newest": "the hub's time of the newest committed event, seconds since 1970",
}
_OF_ALL = {
    "backlog": "events that wait in the hubs",
    "restarts": "times engine and worker were started again",
    "late": "rows that came too late for their session since the start",
    "watermark": "the sessions' clock of the partition that is furthest behind: event time, seconds since 1970",
}
# Of the worker's process, since its start; with workers in a pool of their own they are not told.
_OF_WORKER = {
    "sessions/state_rows": "events of open sessions in state",
    "sessions/state_bytes": "bytes of open sessions in state",
    "features/touches_in_memory": "events that features are counted from, in memory",
    "features/touches_on_disk": "events that features are counted from, in the worker's own files",
    "event_hubs/events": "events read since the worker's start",
    "event_hubs/bytes": "bytes of events read since the worker's start",
    "event_hubs/gaps": "times that the hub had dropped events since the worker's start",
    "event_hubs/lost_events": "events that the hub had dropped since the worker's start",
    "event_hubs/backlog_events": "events that wait behind the last one read",
    "event_hubs/lag_seconds": "seconds from the hub's taking the newest event to its being read",
}


class Gauges:
    """Prometheus's gauges, all named c360_stream_*."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, words: str, *labels: str) -> Gauge:
            return Gauge(f"c360_stream_{name.replace('/', '_')}", words, labels, registry=registry)

        self._tables = {name: gauge(name, words, "table") for name, words in _OF_TABLES.items()}
        self._worker = {name: gauge(name, words, "part") for name, words in _OF_WORKER.items()}
        self._all = {name: gauge(name, words) for name, words in _OF_ALL.items()}

    def set(self, name: str, value: float | None) -> None:
        """One of the figures of the whole stream; None is not known."""
        if value is not None:
            self._all[name].set(value)

    def set_tables(self, progress: Mapping[str, Progress]) -> None:
        """What the tables' logs say."""
        for table, p in progress.items():
            newest = None if p.newest_us is None else p.newest_us / 1e6
            told = {"rows": p.rows, "commits": p.commits, "lost": p.lost, "lag": p.lag_seconds, "newest": newest}
            for name, value in told.items():
                if value is not None:
                    self._tables[name].labels(table=table).set(value)

    def set_worker(self, levels: Mapping[str, Mapping[str, float]]) -> None:
        """What the worker says of itself; a new one has said nothing yet, and the old one's figures go."""
        for name, gauge in self._worker.items():
            if name not in levels:
                gauge.clear()
            for part, value in levels.get(name, {}).items():
                gauge.labels(part=part).set(value)


@contextmanager
def served(port: int | None) -> Iterator[Gauges | None]:
    """The gauges at http://127.0.0.1:port/metrics, for the time of the block; None without a port.

    Raises:
      UserError: the port is taken.
    """
    if port is None:
        yield None
        return
    registry = CollectorRegistry()
    gauges = Gauges(registry)
    try:
        server, _ = start_http_server(port, addr="127.0.0.1", registry=registry)
    except (OSError, OverflowError) as error:
        raise UsageError(f"port {port} cannot be used", "--metrics-port", "give another one") from error
    try:
        yield gauges
    finally:
        server.shutdown()
