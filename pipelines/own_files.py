"""A person's own files: which columns are which, their rows typed, and those that cannot be used counted and kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime

import polars as pl
import pyarrow as pa

from pipelines.console import Output
from transforms.bronze.conform import raw_bytes
from transforms.errors import UserError
from transforms.io.column_map import ColumnMap, Target, named, parse_map, recognise
from transforms.io.files import discover, header, keys, read_split, split
from transforms.io.source import Parsed, SourceFile
from transforms.io.table_file import TableFile, format_of
from transforms.own_rows import type_rows

BATCH_ROWS = 262_144
REFUSED = pa.schema([(name, pa.string()) for name in ("file", "position", "rule", "reason", "raw")])


@dataclass(frozen=True)
class Source:
    """A file and which of its columns are which."""

    file: SourceFile
    columns: ColumnMap


def plan(
    location: str, targets: Sequence[Target], explicit: Mapping[str, str], format: str | None = None
) -> list[Source]:
    """The files of a file name, a folder or a glob, each with its own columns recognised; empty ones are left out.

    Raises:
      UserError: nothing is there, or a required column of a file cannot be told.
    """
    sources, files = [], discover(location, format)
    for file in files:
        names = column_names(file)
        if not names and (file.size == 0 or len(files) > 1):
            continue
        try:
            sources.append(Source(file, recognise(names, targets, explicit, file.format != "csv")))
        except UserError as error:
            raise UserError(error.what, f"{file.path}; {error.where}".removesuffix("; "), error.remedy) from None
    if not sources:
        raise UserError("the files are empty", where=location, remedy="give a file with rows")
    return sources


def open_sources(
    location: str,
    targets: Sequence[Target],
    maps: Sequence[str],
    format: str | None,
    out: Output,
    *written: str | None,
) -> list[Source]:
    """How a command begins: `plan`, its columns said, once the files to be `written` have names that will do.

    Raises:
      UserError: as `plan` and `check_paths`.
      UsageError: the name of a file to be written says no known format.
    """
    for path in filter(None, written):
        format_of(path)
    sources = plan(location, targets, parse_map(maps), format)
    check_paths(sources, *written)
    say_columns(sources, out)
    return sources


def column_names(file: SourceFile) -> list[str]:
    """The columns of a file, none where it has no readable line."""
    schema = header(file)
    return keys(file) if schema is None and file.format == "jsonl" else list(getattr(schema, "names", schema or ()))


def text_bytes(sources: Sequence[Source]) -> int:
    """About how large the rows are as text."""
    factor = {"parquet": 4, "csv": 1, "jsonl": 1}
    return sum(s.file.size * factor[s.file.format] * (5 if s.file.compression == "gzip" else 1) for s in sources)


@dataclass
class Refusals:
    """Rows that cannot be used: `counts` by rule; with `file` also kept there (REFUSED), with place and reason."""

    file: TableFile | None = None
    counts: dict[str, int] = field(default_factory=dict)

    def unreadable(self, parsed: Parsed, path: str) -> None:
        for row in parsed.rejects.to_pylist():
            raw = (row["_raw"] or b"").decode("utf-8", "replace")
            self._add(path, [row["_position"]], row["rule"], row["reason"], [raw])

    def unusable(self, rows: pa.RecordBatch, rule: str, reason: str, path: str) -> None:
        raws = [raw.decode("utf-8", "replace") for raw in raw_bytes(rows)] if self.file else []
        self._add(path, rows["_position"].to_pylist(), rule, reason, raws)

    def _add(self, path: str, positions: list[int], rule: str, reason: str, raws: list[str]) -> None:
        self.counts[rule] = self.counts.get(rule, 0) + len(positions)
        if self.file:
            rows = [
                {"file": path, "position": str(at), "rule": rule, "reason": reason, "raw": raw}
                for at, raw in zip(positions, raws, strict=True)
            ]
            self.file.write(pa.Table.from_pylist(rows, schema=REFUSED))


@contextmanager
def open_refusals(path: str | None) -> Iterator[Refusals]:
    """Refusals that are kept in the file `path`, if one is given."""
    with TableFile(path, REFUSED) if path else nullcontext() as file:
        yield Refusals(file)


def typed_batches(
    sources: Sequence[Source],
    schema: pa.Schema,
    refusals: Refusals,
    fill: Callable[[pl.DataFrame], pl.DataFrame] = lambda rows: rows,
    until: datetime | None = None,
) -> Iterator[pl.DataFrame]:
    """The rows of all files with the columns of `schema` that each has, typed; see `type_rows`.

    Args:
      fill: what is done with rows as they were read, before they are judged.
      until: rows of a later time are refused.
    """
    for source in sources:
        renames = tuple((column, target) for target, column in source.columns.columns.items())
        for part in split(replace(source.file, renames=renames)):
            for parsed in read_split(part, schema.names, BATCH_ROWS, [column for column, _ in renames]):
                refusals.unreadable(parsed, source.file.path)
                rows = parsed.rows.select([n for n in parsed.rows.schema.names if n in schema.names])
                if rows.num_columns:
                    typed = type_rows(fill(pl.DataFrame(pl.from_arrow(rows))), schema, until)
                    for rule, reason, places in typed.faults:
                        refusals.unusable(parsed.rows.take(pa.array(places)), rule, reason, source.file.path)
                    yield typed.rows


def check_paths(sources: Sequence[Source], *paths: str | None) -> None:
    """Raises: UserError: a file is to be written that is read, or two are the same."""
    taken = {os.path.abspath(source.file.path) for source in sources}
    for path in filter(None, paths):
        if os.path.abspath(path) in taken:
            raise UserError("this file is read or written already", where=path, remedy="write to another file")
        taken.add(os.path.abspath(path))


def say_columns(sources: Sequence[Source], out: Output) -> None:
    for told in dict.fromkeys(_told(source.columns) for source in sources):
        out.say(f"columns: {told}", columns=told)


def _told(columns: ColumnMap) -> str:
    described = ColumnMap(columns.columns, columns.how, ()).describe()
    return described + (f"; not used: {named(columns.left_over)}" if columns.left_over else "")


def say_rejected(rejected: Mapping[str, int], path: str | None, out: Output) -> None:
    if rejected:
        kinds = ", ".join(f"{count:,} {rule}" for rule, count in sorted(rejected.items()))
        where = f"they are in {path}" if path else "see them with --rejects FILE"
        out.say(f"{sum(rejected.values()):,} rows cannot be used ({kinds}); {where}")
