"""WriteDelta against `write_deltalake`: the same rows, from the same file, each run in a fresh process."""

from __future__ import annotations

import json
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

BATCH = 65_536


def run(rows: int = 4_000_000, repeats: int = 3) -> dict[str, float]:
    """Rows/s and peak memory (MB) of both writers, medians of `repeats`, and the ratio of their speeds."""
    with tempfile.TemporaryDirectory() as folder:
        source = f"{folder}/rows.arrow"
        with pa.OSFile(source, "wb") as sink, pa.ipc.new_file(sink, batch(0, 1).schema) as writer:
            for start in range(0, rows, BATCH):
                writer.write_batch(batch(start, min(BATCH, rows - start)))
        results: dict[str, list[dict[str, float]]] = {"beam": [], "deltalake": []}
        for _ in range(repeats):  # in turn, so that a slow spell of the machine hits both
            for name, measured in results.items():
                measured.append(_in_child(name, source, f"{folder}/{name}", rows))
    found: dict[str, float] = {"rows": rows}
    for name, measured in results.items():
        for figure in ("rows_per_second", "peak_mb"):
            found[f"{name}_{figure}"] = statistics.median(one[figure] for one in measured)
    found["ratio"] = round(found["beam_rows_per_second"] / found["deltalake_rows_per_second"], 2)
    return found


def batch(start: int, count: int) -> pa.RecordBatch:
    """Rows like CUSTOMER_TRANSACTIONS with an envelope: 20 columns, 10 of them text, sorted in time."""
    rng, keys = np.random.default_rng(start), np.arange(start, start + count)

    def pick(*words: str) -> pa.Array:
        return pa.array(np.array(words)[rng.integers(0, len(words), count)])

    seconds = 1_700_000_000_000_000 + keys * 1_000_000
    stamp = pa.timestamp("us", "UTC")
    return pa.RecordBatch.from_pydict(
        {
            "TRANSACTION_ID": np.char.add("T-", keys.astype(str)),
            "CUSTOMER_ID": np.char.add("C-", rng.integers(0, 200_000, count).astype(str)),
            "TRANSACTION_DATE": pa.array(seconds, stamp),
            "TRANSACTION_TYPE": pick("PURCHASE", "RETURN", "EXCHANGE"),
            "CHANNEL": pick("WEB", "STORE", "APP", "PHONE"),
            "STORE_ID": np.char.add("S-", rng.integers(0, 500, count).astype(str)),
            "PAYMENT_METHOD": pick("CARD", "CASH", "INVOICE"),
            "CURRENCY": pick("EUR", "GBP", "USD"),
            "COUNTRY": pick("Germany", "France", "United Kingdom"),
            "STATUS": pick("PAID", "OPEN"),
            "TOTAL_AMOUNT": rng.lognormal(3, 1, count).round(2),
            "TAX_AMOUNT": rng.lognormal(1, 1, count).round(2),
            "DISCOUNT_AMOUNT": rng.lognormal(1, 1, count).round(2),
            "SHIPPING_AMOUNT": rng.integers(0, 10, count) * 1.0,
            "ITEM_COUNT": rng.integers(1, 20, count),
            "LOYALTY_POINTS": rng.integers(0, 500, count),
            "IS_GIFT": rng.random(count) < 0.1,
            "_ingested_at": pa.array(np.full(count, 1_700_000_000_000_000), stamp),
            "_position": keys,
            "_quality": rng.integers(90, 101, count) / 100,
        }
    )


def read(path: str) -> Iterator[pa.RecordBatch]:
    reader = pa.ipc.open_file(pa.OSFile(path))  # not mapped: mapped pages would count as memory
    for number in range(reader.num_record_batches):
        yield reader.get_batch(number)


def _beam(source: str, target: str) -> Callable[[], None]:
    import apache_beam as beam
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner

    from transforms.io.delta import WriteDelta

    def write() -> None:
        with beam.Pipeline(FnApiRunner()) as root:
            rows = root | beam.Create([source]) | beam.FlatMap(read).with_output_types(pa.RecordBatch)
            rows | WriteDelta(target, next(read(source)).schema)

    return write


def _deltalake(source: str, target: str) -> Callable[[], None]:
    from deltalake import write_deltalake

    return lambda: write_deltalake(target, pa.RecordBatchReader.from_batches(next(read(source)).schema, read(source)))


def _in_child(name: str, source: str, target: str, rows: int) -> dict[str, float]:
    command = [sys.executable, "-m", "tests.benchmarks.delta", name, source, target]
    answer = subprocess.run(command, check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    found = json.loads(answer.stdout.splitlines()[-1])
    if found["rows"] != rows:
        raise RuntimeError(f"{name} wrote {found['rows']} of {rows} rows")
    shutil.rmtree(target)
    return found


def _child(name: str, source: str, target: str) -> None:
    from deltalake import DeltaTable

    write = {"beam": _beam, "deltalake": _deltalake}[name](source, target)
    began = time.perf_counter()
    write()
    seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    rows = DeltaTable(target).count()
    print(json.dumps({"rows": rows, "rows_per_second": round(rows / seconds), "peak_mb": round(peak)}))


if __name__ == "__main__":
    if len(sys.argv) == 4:
        _child(*sys.argv[1:])
    else:
        print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 4_000_000), indent=2))
