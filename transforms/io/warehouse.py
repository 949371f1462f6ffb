"""A warehouse of star schemas behind one interface: made, loaded, checked and asked, whatever database it is."""

from __future__ import annotations

import json
import uuid
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from transforms.errors import UserError
from transforms.io.storage import join
from transforms.io.warehouse_rows import Version, rows_of, version_of
from transforms.warehouse import statements
from transforms.warehouse.ddl import Migration, migrations
from transforms.warehouse.results import Checked, Loaded
from transforms.warehouse.sources import SOURCES
from transforms.warehouse.targets import Target, targets

Row = tuple[Any, ...]
_MIGRATION, _LEDGER, _LOCK = "OPS.MIGRATION", "OPS.LOAD_LEDGER", "OPS.LOAD_LOCK"


@dataclass(frozen=True)
class _Entry:
    """The latest line of the ledger about one table."""

    load_id: str
    sequence: int
    sources: Mapping[str, list[Any] | None]


class Warehouse(ABC):
    """Made and closed by `with`; statements are Snowflake's SQL, which a backend runs or rewrites.

    Everything that a load changes is one transaction, together with its line in the ledger: a load that dies leaves
    nothing, one that is repeated changes nothing, and of two at once the older never undoes the newer.
    """

    where: str  # for messages
    on_step: Callable[[str], None] = staticmethod(lambda step: None)  # called before and after each step of a load

    @abstractmethod
    def run(self, statement: str) -> list[Row]:
        """Runs one statement and gives its rows."""

    @abstractmethod
    def stage(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        """Makes a temporary table of the rows."""

    @abstractmethod
    def query(self, sql: str, limit: int | None = None) -> pa.Table:
        """The rows of a SELECT that a person wrote in the database's own SQL; it can change nothing."""

    @abstractmethod
    def close(self) -> None:
        """Ends the session; temporary tables go with it."""

    def migrate(self, migration: Migration) -> None:
        """Runs the statements of a migration; each can be repeated."""
        for statement in migration.statements:
            self.run(statement)

    def __enter__(self) -> Warehouse:
        return self

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        try:
            self.close()
        except UserError:
            if failure is None:  # else a person is told what went wrong first
                raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing."""
        self.run("BEGIN")
        try:
            yield
        except BaseException:
            with suppress(UserError):  # a session that is lost is rolled back by the warehouse itself
                self.run("ROLLBACK")
            raise
        self.run("COMMIT")

    def init(self) -> list[str]:
        """Applies the migrations that the warehouse lacks, in order, and names them.

        Raises:
          UserError: a file that was applied has changed since.
        """
        done = self._applied()
        applied = []
        for migration in migrations():
            if migration.version in done:
                if done[migration.version] != migration.checksum:
                    raise UserError(
                        f"{migration.name} was changed after it was applied", self.where, "put it back, add a new one"
                    )
                continue
            self.migrate(migration)
            self.run(
                f"INSERT INTO {_MIGRATION} SELECT '{migration.version}', '{migration.name}', '{migration.checksum}',"
                f" {_moment(datetime.now(UTC))}"
            )
            applied.append(migration.name)
        self.run(
            f"INSERT INTO {_LOCK} SELECT 'LOAD', NULL WHERE NOT EXISTS (SELECT 1 FROM {_LOCK} WHERE NAME = 'LOAD')"
        )
        return applied

    def _applied(self) -> dict[str, str]:
        there = self.run(
            "SELECT COUNT(*) FROM INFORMATION_SCHEMA.TABLES"
            " WHERE UPPER(TABLE_SCHEMA) = 'OPS' AND UPPER(TABLE_NAME) = 'MIGRATION'"
        )
        return dict(self.run(f"SELECT VERSION, CHECKSUM FROM {_MIGRATION}")) if there[0][0] else {}

    def load(self, lake: str, at: datetime) -> list[Loaded]:
        """Brings every table up to the lake as it is now.

        Args:
          lake: the lake's address.
          at: the load's time (UTC); versions of customers that change begin here.

        Raises:
          UserError: the warehouse lacks a migration; a table of the lake that was loaded is gone; rows do not fit.
        """
        self._check_migrated()
        versions = {name: version_of(join(lake, source.path)) for name, source in SOURCES.items()}
        if not any(versions.values()):
            raise UserError(
                "there is nothing to load", lake, "run the commands bronze, silver and gold, or give --lake"
            )
        entries = self._entries()
        self._check_there(versions, entries)
        wanted = [target for target in targets() if _status(target, versions, entries.get(target.name)) == "loaded"]
        self._stage(lake, wanted, versions)
        self.on_step("staged")
        loaded = self._commit(wanted, versions, at)
        before = {target.name: _status(target, versions, entries.get(target.name)) for target in targets()}
        return [loaded.get(t.name) or Loaded(t.name, before[t.name], self._rows(t)) for t in targets()]

    def _stage(self, lake: str, wanted: list[Target], versions: Mapping[str, Version]) -> None:
        """Temporary tables: of the sources, and from them one of the rows that each target should have."""
        read = {name: [t.sources[name] for t in wanted if name in t.sources] for name in SOURCES}
        sources = {name: frozenset().union(*columns) for name, columns in read.items() if columns}
        for name, columns in sources.items():
            schema, batches = rows_of(lake, name, columns, versions[name])
            self.on_step(f"stage {name}")
            self.stage(statements.staged(name), schema, batches)
        for target in wanted:
            self.on_step(f"make {target.name}")
            self.run(statements.make_rows(target))
            self._check_fits(target)
        for name in sources:
            self.run(f"DROP TABLE {statements.staged(name)}")

    def _commit(self, wanted: list[Target], versions: Mapping[str, Version], at: datetime) -> dict[str, Loaded]:
        if not wanted:
            return {}
        loaded = {}
        with self.transaction():
            self.run(f"UPDATE {_LOCK} SET HOLDER = '{uuid.uuid4().hex}' WHERE NAME = 'LOAD'")
            entries = self._entries()  # again: another load may have come first
            for target in wanted:
                entry = entries.get(target.name)
                status = _status(target, versions, entry)
                if status == "loaded":
                    self.on_step(f"apply {target.name}")
                    for statement in statements.apply_rows(target, self._after(target, at), not self._rows(target)):
                        self.run(statement)
                    self._note(target, versions, entry, at)
                loaded[target.name] = Loaded(target.name, status, self._rows(target))
            self.on_step("commit")
        self.on_step("committed")
        self._drop(wanted)
        return loaded

    def _drop(self, made: list[Target]) -> None:
        for target in made:
            self.run(f"DROP TABLE {statements.new_rows(target)}")

    def _note(self, target: Target, versions: Mapping[str, Version], entry: _Entry | None, at: datetime) -> None:
        sources = json.dumps({name: versions[name] for name in sorted(target.sources)})
        self.run(
            f"INSERT INTO {_LEDGER} SELECT '{target.name}', '{target.load_id(versions)}',"
            f" {entry.sequence + 1 if entry else 1}, '{sources}', (SELECT COUNT(*) FROM {target.name}), {_moment(at)}"
        )

    def _after(self, target: Target, at: datetime) -> datetime:
        """The load's time, or just after the newest version there is, if a clock went back."""
        naive = at.astimezone(UTC).replace(tzinfo=None)
        if not target.spec.has_history:
            return naive
        [[newest]] = self.run(f"SELECT TO_CHAR(MAX(VALID_FROM), 'YYYY-MM-DD HH24:MI:SS.FF6') FROM {target.name}")
        return max(naive, datetime.fromisoformat(newest) + timedelta(microseconds=1)) if newest else naive

    def _check_fits(self, target: Target) -> None:
        required, limited = statements.required(target), statements.limited(target)
        twice, *counts = self.run(statements.faults(target))[0]
        if twice:
            raise UserError(f"{twice:,} rows have a key that another has", target.name, "run silver with --rebuild")
        for name, count in zip(required, counts[: len(required)], strict=True):
            if count:
                raise UserError(f"{count:,} rows have no {name}", target.name, "the column takes no null")
        for name, count in zip(limited, counts[len(required) :], strict=True):
            if count:
                what = f"{count:,} rows have a {name} of more than {limited[name]} characters"
                raise UserError(what, target.name, "widen the column by a migration")

    def check(self, lake: str) -> list[Checked]:
        """Compares every table with the lake's rows it was loaded from, and looks at keys, references and history."""
        self._check_migrated()
        entries = self._entries()
        if not entries:
            raise UserError("nothing was loaded yet", self.where, "run `warehouse load`")
        compared: dict[str, tuple[int, int, int]] = {}
        for versions, group in _together(entries):
            self._stage(lake, group, versions)
            for target in group:
                missing, extra, changed = self.run(statements.compare_rows(target))[0]
                compared[target.name] = (int(missing or 0), int(extra or 0), int(changed or 0))
            self._drop(group)
        return [self._checked(target, compared.get(target.name)) for target in targets()]

    def _checked(self, target: Target, compared: tuple[int, int, int] | None) -> Checked:
        rows = self._rows(target)
        history = self.run(statements.broken_history(target))[0][0] if target.spec.has_history else 0
        orphans = {column: int(self.run(sql)[0][0]) for column, sql in statements.orphans(target).items()}
        doubled = self.run(statements.doubled_keys(target))[0][0]
        return Checked(target.name, rows, *(compared or (0, rows, 0)), int(doubled), int(history), orphans)

    def _check_migrated(self) -> None:
        if missing := [migration.name for migration in migrations() if migration.version not in self._applied()]:
            raise UserError(f"the warehouse lacks {', '.join(missing)}", self.where, "run `warehouse init`")

    def _check_there(self, versions: Mapping[str, Version], entries: Mapping[str, _Entry]) -> None:
        before = {name for entry in entries.values() for name, version in entry.sources.items() if version}
        if gone := sorted(name for name in before if versions[name] is None):
            path = SOURCES[gone[0]].path
            raise UserError(
                f"{path} was loaded before and is gone", self.where, "bring it back, or give the right --lake"
            )

    def _entries(self) -> dict[str, _Entry]:
        rows = self.run(
            f"SELECT TARGET, LOAD_ID, SEQUENCE, SOURCES FROM {_LEDGER}"
            " QUALIFY ROW_NUMBER() OVER (PARTITION BY TARGET ORDER BY SEQUENCE DESC) = 1"
        )
        return {row[0]: _Entry(row[1], int(row[2]), json.loads(row[3])) for row in rows}

    def _rows(self, target: Target) -> int:
        return int(self.run(f"SELECT COUNT(*) FROM {target.name}")[0][0])


def _status(target: Target, versions: Mapping[str, Version], entry: _Entry | None) -> str:
    if entry is None:
        return "loaded"
    if entry.load_id == target.load_id(versions):
        return "unchanged"
    for name in target.sources:
        before, now = entry.sources.get(name), versions[name]
        if before and now and before[0] == now[0] and before[1] > now[1]:
            return "newer"
    return "loaded"


def _together(entries: Mapping[str, _Entry]) -> list[tuple[dict[str, Version], list[Target]]]:
    """The loaded tables in groups that were loaded from the same versions of the sources that they share."""
    groups: list[tuple[dict[str, Version], list[Target]]] = []
    for target in targets():
        if target.name not in entries:
            continue
        wanted = dict(entries[target.name].sources)
        for versions, group in groups:
            if all(versions.get(name, version) == version for name, version in wanted.items()):
                versions.update(wanted)
                group.append(target)
                break
        else:
            groups.append((wanted, [target]))
    return groups


def _moment(at: datetime) -> str:
    return f"CAST('{at.astimezone(UTC):%Y-%m-%d %H:%M:%S.%f}' AS TIMESTAMP_NTZ)"
