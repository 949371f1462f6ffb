"""Which column of each new file is which: every file has a header of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa

from transforms.contracts import Contract
from transforms.errors import UsageError, UserError
from transforms.io.column_map import ColumnMap, Target, has, named, recognise
from transforms.io.source import Naming, SourceFile

Header = pa.Schema | list[str] | None  # see `transforms.io.files.header`


@dataclass(frozen=True)
class Recognised:
    """What was recognised in some files, alike in all of them, in words."""

    said: str
    files: tuple[str, ...]

    def describe(self, alone: bool) -> str:
        """One line; `alone`: there are no files in which it is otherwise."""
        if alone:
            return f"columns: {self.said}"
        shown = [os.path.basename(path) for path in self.files[:3]]
        more = f" and {len(self.files) - 3} more" if len(self.files) > 3 else ""
        return f"columns of {', '.join(shown)}{more}: {self.said}"


def columns_of(seen: Header) -> list[str]:
    """The column names of a header, none for an unreadable file."""
    return list(seen.names if isinstance(seen, pa.Schema) else seen or [])


def check_by_name(headers: Mapping[SourceFile, Header], table: Contract) -> None:
    """Raises: UserError: a file with a header has none of the table's columns."""
    naming = Naming(table.names)
    for file, columns in ((file, columns_of(seen)) for file, seen in headers.items() if file.format != "jsonl"):
        if columns and not set(map(naming, columns)) & set(table.names):
            raise UserError(
                f"the file has none of the columns of {table.name.lower()}",
                where=f"{file.path}: {has('the file', columns, _targets(table), file.format != 'csv')}",
                remedy=f"expected columns such as {', '.join(table.names[:6])}; name others with "
                "--table and --map COLUMN=column",
            )


def name_columns(
    headers: Mapping[SourceFile, Header], table: Contract, given: Mapping[str, str]
) -> tuple[list[SourceFile], list[Recognised]]:
    """Recognises each file's columns: (the files with their renames, what was recognised, grouped).

    Raises:
      UserError: a column of `given` is in no file, two columns could be one, or a required one is missing: in a file
        with a header, or in the first lines of all JSON files together, whose records may differ.
    """
    seen = {file: columns_of(header) for file, header in headers.items()}
    filled = {file: columns for file, columns in seen.items() if columns}
    _check_given(filled, table, given)
    maps = {file: _recognise(file, columns, table, given) for file, columns in filled.items()}
    _check_keys({file: found for file, found in maps.items() if file.format == "jsonl"}, table)
    groups: dict[str, list[str]] = {}
    for file in seen:
        said = maps[file].describe() if file in maps else "none, since there is no readable first line"
        groups.setdefault(said, []).append(file.path)
    files = [replace(file, renames=_renames(maps[file], table)) if file in maps else file for file in seen]
    return files, [Recognised(said, tuple(paths)) for said, paths in groups.items()]


def _targets(table: Contract) -> list[Target]:
    return [Target(column.name) for column in table.columns]


def _check_given(seen: Mapping[SourceFile, Sequence[str]], table: Contract, given: Mapping[str, str]) -> None:
    everywhere = list(dict.fromkeys(name for columns in seen.values() for name in columns))
    for column in given.values():
        if everywhere and not _among(column, everywhere):
            raise UsageError(
                f"--map wants the column {column!r}",
                where=has("the input", everywhere, _targets(table), all(file.format != "csv" for file in seen)),
                remedy="check its name",
            )


def _among(column: str, columns: Sequence[str]) -> bool:
    return column in columns or column.lower() in [name.strip().lower() for name in columns]


def _recognise(file: SourceFile, columns: list[str], table: Contract, given: Mapping[str, str]) -> ColumnMap:
    by_name: dict[str, str] = {}
    if file.format == "jsonl":  # keys written differently ("id", "ID") fill one column, record by record
        naming, wanted = Naming(table.names), set(given.values())
        by_name = {naming(key): key for key in columns if naming(key) in table and key not in wanted}
        by_name = {name: key for name, key in by_name.items() if name not in given}
        columns = [key for key in columns if naming(key) not in by_name]
    needed = file.format != "jsonl"
    targets = [Target(c.name, needed and not c.nullable) for c in table.columns if c.name not in by_name]
    here = {target: column for target, column in given.items() if _among(column, columns)}
    try:
        found = recognise(columns, targets, here, file.format != "csv")
    except UserError as error:
        where = f"{file.path}: {error.where}" if error.where else file.path
        raise UserError(error.what, where=where, remedy=error.remedy) from None
    how = dict.fromkeys(by_name, "same name") | found.how
    return ColumnMap(by_name | found.columns, how, found.left_over)


def _check_keys(maps: Mapping[SourceFile, ColumnMap], table: Contract) -> None:
    found = {name for one in maps.values() for name in one.columns}
    missing = [column.name for column in table.columns if not column.nullable and column.name not in found]
    if maps and missing:
        keys = dict.fromkeys(key for one in maps.values() for key in (*one.columns.values(), *one.left_over))
        raise UserError(
            f"no key for {named(missing)} in the first lines",
            where=f"{next(iter(maps)).path}: the keys are {named(keys)}",
            remedy=f"name it with --map {missing[0]}=key",
        )


def _renames(found: ColumnMap, table: Contract) -> tuple[tuple[str, str], ...]:
    """source column -> column, where the reader would not go by the name alone."""
    naming = Naming(table.names)
    return tuple((source, name) for name, source in found.columns.items() if naming(source) != name)
