"""Benchmark of lists for all: `python -m tests.benchmarks.offers [--persons 200000] [--items 20000] [--model FOLDER]`.

The whole chain with arrays of full size drawn by chance, on Beam in this process, histories of a length drawn about 20,
into a Delta table. Prints one JSON line: seconds, persons a second, peak memory.
"""

from __future__ import annotations

import argparse
import json
import resource
import shutil
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import apache_beam as beam
import numpy as np
import pyarrow as pa

from pipelines.options import Engine
from recsys.batch.schemas import HISTORIES, RECOMMENDATIONS
from transforms.io.delta import Overwrite, WriteDelta

_BATCH = 4_096


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--persons", type=int, default=200_000)
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--model", help="kept for the next run, and for the benchmark of the server (--keep)")
    asked = parser.parse_args()

    from recsys.batch.lists import WrittenModel
    from recsys.batch.offer import OfferLists
    from tests.benchmarks.serving import write_model

    home = Path(tempfile.mkdtemp())
    folder = Path(asked.model or home) / "recommend"
    if not folder.exists():
        write_model(folder, asked.items)
    start = time.perf_counter()
    with Engine().pipeline() as root:
        starts = root | beam.Create(list(range(0, asked.persons, _BATCH)))
        people = starts | beam.Map(histories, asked.persons, asked.items).with_output_types(pa.RecordBatch)
        rows = people | OfferLists(WrittenModel.newest(folder), datetime(2021, 9, 1, tzinfo=UTC), 10)
        rows | WriteDelta(str(home / "recommendations"), RECOMMENDATIONS, Overwrite(whole_table=True))
    seconds = time.perf_counter() - start
    told = {"persons": asked.persons, "items": asked.items, "seconds": round(seconds, 1)}
    told |= {"persons_per_second": round(asked.persons / seconds, 1)}
    told |= {"peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024}
    print(json.dumps(told), flush=True)
    shutil.rmtree(home)


def histories(first: int, persons: int, items: int) -> pa.RecordBatch:
    random, count = np.random.default_rng(first), min(_BATCH, persons - first)
    lengths = np.minimum(random.geometric(1 / 20, count), 200)
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32))
    codes = random.integers(0, items, int(lengths.sum()))
    seconds = np.sort(random.integers(1_600_000_000, 1_630_000_000, len(codes)))
    names = pa.array([f"item-{code:06}" for code in codes.tolist()])
    ids = pa.array([f"P{first + n}" for n in range(count)])
    lists = [names, pa.array(seconds), pa.array(np.ones(len(codes), np.float32))]
    columns = [ids, ids, *(pa.ListArray.from_arrays(offsets, values) for values in lists)]
    return pa.RecordBatch.from_arrays(columns, schema=HISTORIES)


if __name__ == "__main__":
    main()
