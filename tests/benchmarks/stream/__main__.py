"""`python -m tests.benchmarks.stream latency|throughput|soak|judge|chaos`; see `--help`."""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from tests.benchmarks import stream
from tests.benchmarks.stream.chaos import chaos
from tests.benchmarks.stream.figures import Figure, verdict
from tests.benchmarks.stream.latency import latency
from tests.benchmarks.stream.soak import judge, soak
from tests.benchmarks.stream.throughput import throughput


def main() -> int:
    given = _arguments()
    root, before = Path(tempfile.mkdtemp(prefix="stream_", dir=given.folder)), os.getloadavg()[0]
    print(f"{time.strftime('%H:%M:%S')}  {given.what} in {root}", flush=True)
    try:
        figures = _figures(given, root)
    except BaseException:
        print(f"broken off; what there is stays in {root}", file=sys.stderr)
        raise
    for figure in figures:
        print(figure.line())
    print(f"load average of the machine {before:.1f} before, {os.getloadavg()[0]:.1f} after; {os.cpu_count()} cores")
    print(f"verdict: {verdict(figures)}")
    failed = any(figure.met is False for figure in figures)
    if failed and given.what in ("soak", "chaos"):
        print(f"lake and hub stay in {root}")
    else:
        shutil.rmtree(root)
    return int(failed)


def _figures(given: argparse.Namespace, root: Path) -> list[Figure]:
    def say(line: str) -> None:
        print(f"{time.strftime('%H:%M:%S')}  {line}", file=sys.stderr, flush=True)

    samples = given.samples or Path(tempfile.gettempdir()) / "stream_soak.csv"
    if given.what in ("soak", "judge"):
        say(f"samples in {samples}")
    kinds: Mapping[str, Callable[[], list[Figure]]] = {
        "latency": lambda: latency(given.rate, given.seconds, root),
        "throughput": lambda: throughput(given.rows, root),
        "soak": lambda: soak(given.rate, given.seconds, root, samples, say),
        "judge": lambda: judge(samples),
        "chaos": lambda: chaos(given.kills, given.rows, given.seed, root, say),
    }
    return kinds[given.what]()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=stream.__doc__)
    parser.add_argument("what", choices=["latency", "throughput", "soak", "judge", "chaos"])
    parser.add_argument("--rate", type=float, default=5_000, help="events a second")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--samples", type=Path, help="where soak writes its samples, a row every 10 s, and judge reads")
    parser.add_argument("--folder", type=Path, help="where the lake and the hub are made, rather than with other such")
    return parser.parse_args()


if __name__ == "__main__":
    raise SystemExit(main())
