"""A clean shard as it arrives: with rows twice, late and broken, and the truth about each of them."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.generator.faults import Fault, plant_in_cells, plant_in_lines
from transforms.generator.jsonl import to_json_lines
from transforms.generator.noise import EXACT, KINDS, LATE, OLDER, Planted, event_micros, plant_rows
from transforms.generator.randomness import stream
from transforms.generator.shard import Shard
from transforms.generator.spec import GeneratorSpec
from transforms.generator.truth import typed

SLICE_ROWS = 65_536
Format = Literal["jsonl", "parquet"]


@dataclass(frozen=True)
class Arrived:
    """One table of a shard, or a slice of it, as it is delivered.

    Attributes:
      name: the table; rows: how many, planted ones included.
      lines or table: the content, by the format asked for.
      planted: the truth tables broken, duplicates and late, without `file`, positions counted from the content's start.
    """

    name: str
    rows: int
    lines: bytes
    table: pa.Table | None
    planted: dict[str, pl.DataFrame]


def arrive(
    shard: Shard, number: int, spec: GeneratorSpec, form: Format, spared: Collection[str] = ()
) -> Iterator[Arrived]:
    """Delivers each table of a shard; tables named in `spared` get nothing planted."""
    for name, table in shard.tables.items():
        wanted = spec.clean if name in spared else spec
        rng = stream(spec.seed, "noise", name, number)
        planted = plant_rows(name, table, wanted, rng)
        if form == "jsonl":
            yield from _as_lines(name, planted, wanted.broken_share, rng)
        else:
            rows, faults = plant_in_cells(name, planted.table, ~planted.fixed, wanted.broken_share, rng)
            answers = _truth(name, planted, np.arange(rows.num_rows), faults)
            yield Arrived(name, rows.num_rows, b"", rows, answers)


def _as_lines(name: str, planted: Planted, share: float, rng: np.random.Generator) -> Iterator[Arrived]:
    """In slices, since text takes many times the memory of the columns it is made from."""
    for start in range(0, planted.table.num_rows, SLICE_ROWS):
        part = Planted(*(values[start : start + SLICE_ROWS] for values in (
            planted.table, planted.kind, planted.fixed, planted.arrived)))  # fmt: skip
        lines, positions, faults = plant_in_lines(name, to_json_lines(part.table), ~part.fixed, share, rng)
        yield Arrived(name, part.table.num_rows, lines, None, _truth(name, part, positions, faults))


def _truth(name: str, planted: Planted, positions: np.ndarray, faults: list[Fault]) -> dict[str, pl.DataFrame]:
    contract = CONTRACTS[name]
    keys = pl.Series(pl.from_arrow(planted.table[contract.key[0]]))
    times = event_micros(contract, planted.table)
    rows = np.array([fault.row for fault in faults], np.int64)
    twice = np.flatnonzero((planted.kind == EXACT) | (planted.kind == OLDER))
    late = np.flatnonzero(planted.kind == LATE)
    moment = pl.Datetime("us", "UTC")

    def at(rows: np.ndarray) -> dict[str, object]:
        return {"table": [name] * len(rows), "key": keys[rows], "position": positions[rows].astype(np.int64)}

    return {
        "broken": pl.DataFrame({
            **at(rows),
            "fault": pl.Series([fault.fault for fault in faults], dtype=pl.String),
            "column": pl.Series([fault.column for fault in faults], dtype=pl.String),
            "stage": pl.Series([fault.stage for fault in faults], dtype=pl.String),
        }),
        "duplicates": pl.DataFrame({
            **at(twice), "kind": pl.Series([KINDS[kind] for kind in planted.kind[twice]], dtype=pl.String)
        }),
        "late": pl.DataFrame({
            **at(late),
            "event_at": pl.Series(times[late]).cast(moment),
            "arrived_at": pl.Series(planted.arrived[late]).cast(moment),
        }),
    }  # fmt: skip


def located(planted: dict[str, pl.DataFrame], file: str, start: int) -> dict[str, pa.Table]:
    """The truth about planted rows whose content begins at `start` of `file`."""
    return {
        name: typed(name, frame.with_columns(pl.col("table").cast(pl.String), pl.lit(file).alias("file"),
                                             position=pl.col("position") + start))
        for name, frame in planted.items()
    }  # fmt: skip
