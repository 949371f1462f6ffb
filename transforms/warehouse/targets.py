"""How each table of the warehouse is made: one SELECT over `SRC.*` in `templates/snowflake/load/SCHEMA.TABLE.sql`.

Another table is a CREATE TABLE in a migration and such a file; loading, checking and the ledger follow from them.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

import sqlglot
from sqlglot import exp

from transforms.errors import UserError
from transforms.warehouse.ddl import FOLDER, TableSpec, tables
from transforms.warehouse.sources import SOURCES

HISTORY = ("VALID_FROM", "VALID_TO", "IS_CURRENT")  # the loader's own columns of a table with history


@dataclass(frozen=True, eq=False)
class Target:
    """One table to load: its declaration, the SELECT that makes its rows, and the columns that reads of each source."""

    spec: TableSpec
    text: str
    select: exp.Query
    sources: Mapping[str, frozenset[str]]

    @property
    def name(self) -> str:
        return self.spec.name

    @property
    def columns(self) -> tuple[str, ...]:
        """Those the SELECT makes."""
        own = HISTORY if self.spec.has_history else ()
        return tuple(name for name in self.spec.names if name not in own)

    @property
    def key(self) -> tuple[str, ...]:
        """Those that tell its rows apart."""
        return tuple(name for name in self.spec.key if name not in HISTORY)

    @property
    def attributes(self) -> tuple[str, ...]:
        return tuple(name for name in self.columns if name not in self.key)

    def load_id(self, versions: Mapping[str, object]) -> str:
        """What a load of these versions of the sources by this SQL into these columns is called."""
        said = [sorted((name, str(versions[name])) for name in self.sources), self.text]
        return hashlib.sha256(repr((said, self.spec.names)).encode()).hexdigest()


@cache
def targets(folder: Path = FOLDER) -> tuple[Target, ...]:
    """Every table that is loaded, dimensions before facts, as the migrations order them.

    Raises:
      UserError: a load makes other columns than its table has, or reads a source that is not declared.
    """
    files = {path.name.removesuffix(".sql"): path for path in (folder / "load").glob("*.sql")}
    known = tables(folder)
    if unknown := sorted(set(files) - set(known)):
        raise UserError(f"no migration makes {unknown[0]}", str(files[unknown[0]]), "add one with its CREATE TABLE")
    made = [_target(known[name], files[name]) for name in known if name in files]
    return tuple(sorted(made, key=lambda target: ".DIM_" not in target.name))


def _target(spec: TableSpec, path: Path) -> Target:
    text = path.read_text()
    select = sqlglot.parse_one(text, read="snowflake")
    assert isinstance(select, exp.Query)
    target = Target(spec, text, select, MappingProxyType(_sources(select, path)))
    made = tuple(select.named_selects)
    if sorted(made) != sorted(target.columns):
        differing = ", ".join(sorted(set(made) ^ set(target.columns)))
        raise UserError(f"the load makes other columns than {spec.name} has: {differing}", str(path), "make them agree")
    return target


def _sources(select: exp.Query, path: Path) -> dict[str, frozenset[str]]:
    names = {table.name for table in select.find_all(exp.Table) if table.db == "SRC"}
    if unknown := sorted(names - set(SOURCES)):
        raise UserError(f"SRC.{unknown[0]} is no source", str(path), f"the sources are {', '.join(SOURCES)}")
    read = {column.name.upper() for column in select.find_all(exp.Column)}
    return {name: frozenset(read & {column.upper() for column in SOURCES[name].schema.names}) for name in names}
