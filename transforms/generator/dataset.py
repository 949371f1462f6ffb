"""Data sets as files: the synthetic retailer, or the real orders with everything around them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.errors import UserError
from transforms.generator.around import build_around_real_orders
from transforms.generator.arrival import Format, arrive, located
from transforms.generator.parts import PartWriter
from transforms.generator.retail import customer_countries, map_online_retail
from transforms.generator.retailer import build_shard
from transforms.generator.shard import Shard
from transforms.generator.spec import GeneratorSpec
from transforms.generator.truth import SCHEMAS
from transforms.progress import METER

Progress = Callable[[int, int], None]
REAL_TABLES = ("CUSTOMER_TRANSACTIONS", "CUSTOMER_TRANSACTION_ITEMS")


def tables(spec: GeneratorSpec, shards: Sequence[int] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """Yields (table name, rows) of the synthetic retailer, shard by shard; the same spec gives the same rows.

    Contract columns and types. A chunk holds one shard's rows of a table, whose number does not grow with the size of
    the retailer. Rows are in order of arrival, with the spec's shares of copies, late rows and (as far as typed rows
    can be broken) broken ones; `spec.clean` has none.

    Args:
      shards: only these, in this order; by default all.
    """
    for number in range(spec.shards) if shards is None else shards:
        for arrived in arrive(build_shard(spec, number), number, spec, "parquet"):
            assert arrived.table is not None
            yield arrived.name, arrived.table


def truth(spec: GeneratorSpec, shards: Sequence[int] | None = None) -> Iterator[tuple[str, pa.Table]]:
    """Yields (truth table, rows) about `tables(spec)`; positions are row numbers within a chunk, `file` names it."""
    for number in range(spec.shards) if shards is None else shards:
        shard = build_shard(spec, number)
        for arrived in arrive(shard, number, spec, "parquet"):
            for name, rows in located(arrived.planted, f"{folder(arrived.name)}/{number}", 0).items():
                shard.truth[name] = pa.concat_tables([shard.truth[name], rows])
        yield from shard.truth.items()


def write_dataset(
    spec: GeneratorSpec, out_dir: str | Path, format: Format = "jsonl", progress: Progress | None = None
) -> dict[str, int]:
    """Writes the synthetic retailer to `<out_dir>/<folder of the table>/part-…` and `<out_dir>/truth/*.parquet`.

    Memory is bounded by one shard. The folder appears whole or not at all.

    Args:
      progress: called with the shards done and their number.

    Returns:
      Rows written by table name, planted ones included; a table that nothing is made for is left out.
    """
    shards = ((number, build_shard(spec, number)) for number in range(spec.shards))
    return _write(shards, spec.shards, spec, Path(out_dir), format, progress, ())


def write_real_dataset(
    lines: pa.Table,
    spec: GeneratorSpec,
    out_dir: str | Path,
    format: Format = "jsonl",
    progress: Progress | None = None,
) -> dict[str, int]:
    """Writes Online Retail II lines as transactions and items, untouched, and the other ten tables around them."""

    def shards() -> Iterator[tuple[int, Shard]]:
        real = map_online_retail(lines)
        orders, items = (real[name] for name in REAL_TABLES)
        made = build_around_real_orders(orders, items, spec, customer_countries(lines))
        whole = {**real, **made.tables}
        yield 0, Shard({name: whole[name] for name in CONTRACTS if name in whole}, made.truth)

    return _write(shards(), 1, spec, Path(out_dir), format, progress, REAL_TABLES)


def folder(name: str) -> str:
    """The folder of a table within a data set, the last part of its path in the lake ("transactions")."""
    return CONTRACTS[name].path.rsplit("/", 1)[-1]


def _write(
    shards: Iterable[tuple[int, Shard]], total: int, spec: GeneratorSpec, out: Path, form: Format,
    progress: Progress | None, spared: Collection[str],
) -> dict[str, int]:  # fmt: skip
    if form not in ("jsonl", "parquet"):
        raise UserError(f"unknown format {form!r}", "generator", "take jsonl or parquet")
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError("the folder is not empty", str(out), "name a new folder, or remove this one")
    unfinished = out.with_name(out.name + ".unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    writers = {name: PartWriter(unfinished, folder(name), form) for name in CONTRACTS}
    answers = {name: PartWriter(unfinished, f"truth/{name}", "parquet") for name in SCHEMAS}
    counts: dict[str, int] = {}
    try:
        for done, (number, shard) in enumerate(shards, 1):
            _write_shard(number, shard, spec, form, spared, writers, answers, counts)
            if progress:
                progress(done, total)
    finally:
        for writer in (*writers.values(), *answers.values()):
            writer.close()
    if out.exists():
        out.rmdir()
    unfinished.rename(out)
    return counts


def _write_shard(
    number: int, shard: Shard, spec: GeneratorSpec, form: Format, spared: Collection[str],
    writers: dict[str, PartWriter], answers: dict[str, PartWriter], counts: dict[str, int],
) -> None:  # fmt: skip
    for name in shard.tables:
        counts.setdefault(name, 0)
    for arrived in arrive(shard, number, spec, form, spared):
        writer = writers[arrived.name]
        where = writer.append_lines(arrived.lines) if arrived.table is None else writer.append_rows(arrived.table)
        counts[arrived.name] += arrived.rows
        METER.advance(rows=arrived.rows)
        for name, rows in located(arrived.planted, *where).items():
            answers[name].append_rows(rows)
    for name, rows in shard.truth.items():
        answers[name].append_rows(rows)
