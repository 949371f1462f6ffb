"""One commit per write: files, removals and transactions become visible together, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError, DeltaError
from deltalake.transaction import AddAction, RemoveAction

from transforms.errors import PartlyCommitted, SchemaMismatch, UserError
from transforms.io import storage
from transforms.io.delta_amend import plan_amend
from transforms.io.delta_files import DataFile
from transforms.io.delta_landed import ATTEMPT, Outcome, landed, new_attempt
from transforms.io.delta_modes import Amend, Append, Mode, Overwrite, Upsert
from transforms.io.delta_read import ScanFile, current_files, scan_files
from transforms.io.delta_retry import attempts
from transforms.io.delta_schema import agree, check_partitions, storable_schema
from transforms.io.delta_table import (
    add_columns,
    arrow_schema,
    check_writer,
    constraints,
    create_table,
    explain,
    open_table,
    partition_columns,
    transactions_of,
)
from transforms.io.delta_upsert import plan_upsert

Transactions = Sequence[tuple[str, int]]
NoteOf = Callable[["CommitResult"], str]


@dataclass(frozen=True)
class CommitResult:
    """What one commit did; `rows` are the rows given, `version` is the table's after it.

    `status` is "committed", or "skipped" when all its transactions were in the table already. An upsert splits `rows`
    into `inserted`, `updated` and `stale` (the stored row was newer, and stays).
    """

    uri: str
    status: str
    version: int
    rows: int = 0
    files: int = 0
    removed_files: int = 0
    inserted: int = 0
    updated: int = 0
    stale: int = 0


@dataclass
class Plan:
    """The actions of one attempt; `scratch` are files this attempt wrote and one that surely failed deletes.

    `in_doubt` says that an attempt failed and may still land.
    """

    adds: list[DataFile]
    removes: list[ScanFile] = field(default_factory=list)
    scratch: list[DataFile] = field(default_factory=list)
    inserted: int = 0
    updated: int = 0
    stale: int = 0
    attempt: str = field(default_factory=new_attempt)
    in_doubt: bool = False


@dataclass(frozen=True)
class TableWrite:
    """How a table is written: the target, its schema and layout, and the mode."""

    uri: str
    schema: pa.Schema
    mode: Mode
    partition_by: tuple[str, ...] = ()
    evolve: bool = False

    def __post_init__(self) -> None:
        storable = storable_schema(self.schema, self.uri)
        check_partitions(storable, self.partition_by, self.uri)
        if isinstance(self.mode, Upsert):
            for name in (*self.mode.key, *self.mode.order_by):
                if name not in storable.names:
                    raise SchemaMismatch(f"key or order column {name} is missing", self.uri, "add it to the schema")

    @property
    def storable(self) -> pa.Schema:
        return storable_schema(self.schema, self.uri)


def commit(
    write: TableWrite, files: Iterable[DataFile], transactions: Transactions = (), note: NoteOf | None = None
) -> CommitResult:
    """Commits `files` and `transactions` in one version of the table, created if absent.

    Without `transactions` the files' own names serve as one, so that delivering them twice adds them once. The check
    and the commit share one table handle; any other commit in between makes this one start over. `note` is asked for
    the commit's `userMetadata` once the result is known but for the commit itself; what it raises stops the commit.

    Raises:
      PartlyCommitted: some of the transactions, not all, are in the table.
      SchemaMismatch, UserError: the table changed in a way these files do not fit; no permission; too many conflicts.
    """
    unique = {file.path: file for file in files}
    ordered = [unique[path] for path in sorted(unique)]
    wanted = tuple(transactions) or _own_transaction(ordered)
    for _ in attempts(write.uri):
        table = prepare(write, ordered)
        if (seen := _seen(table, wanted, write.uri)) is not None:
            return seen
        plan = _plan(write, table, ordered)
        if not (plan.adds or plan.removes or transactions or note):
            return _result(write, "committed", table.version(), ordered, plan)
        result = _result(write, "committed", table.version() + 1, ordered, plan)
        try:
            try_commit(write.uri, table, plan, wanted, note(result) if note else "")
        except CommitFailedError:
            continue
        except (DeltaError, OSError) as error:
            raise explain(error, write.uri) from error
        return result
    raise AssertionError("attempts() raises")


def skipped(table: DeltaTable, transactions: Transactions) -> bool:
    """Whether every one of the transactions is in the table already."""
    have = transactions_of(table, (app_id for app_id, _ in transactions))
    return bool(transactions) and all(have.get(app_id, version - 1) >= version for app_id, version in transactions)


def agreed_schema(write: TableWrite, table: DeltaTable | None) -> pa.Schema:
    """The schema for the files of `write`, checked against the table; what both writers and committer use."""
    if table is None:
        return write.storable
    check_writer(table, write.uri)
    stored = partition_columns(table)
    if stored != write.partition_by:
        raise SchemaMismatch(
            f"the table is laid out by ({', '.join(stored)}), not ({', '.join(write.partition_by)})",
            write.uri,
            "write with the table's partition columns",
        )
    return agree(write.storable, arrow_schema(table), write.uri, write.evolve)


def _own_transaction(files: list[DataFile]) -> tuple[tuple[str, int], ...]:
    if not files:
        return ()
    digest = hashlib.sha256("\n".join(file.path for file in files).encode()).hexdigest()
    return ((f"files/{digest[:32]}", 1),)


def prepare(write: TableWrite, files: Sequence[DataFile], table: DeltaTable | None = None) -> DeltaTable:
    """A handle on the table, created and widened as the files need, whose metadata the files are known to fit.

    It is `table` itself, if given, unless the table had to change.
    """
    table = table or open_table(write.uri)
    if table is None:
        table = create_table(write.uri, write.schema, write.partition_by)
    schema = agreed_schema(write, table)
    for file_schema in {file.schema: file.arrow_schema for file in files}.values():
        schema = _unified(schema, file_schema, write)
    if len(schema) > len(arrow_schema(table)):
        add_columns(write.uri, schema)
        table = open_table(write.uri) or table
    current = set(constraints(table))
    for checks in {file.checked for file in files}:
        if unchecked := current - set(checks):
            raise UserError(
                f"the constraint {min(unchecked)} was added while the rows were written", write.uri, "run again"
            )
    return table


def _unified(schema: pa.Schema, other: pa.Schema, write: TableWrite) -> pa.Schema:
    for column in other:
        index = schema.get_field_index(column.name)
        if index < 0:
            if not write.evolve:
                raise SchemaMismatch(f"column {column.name} is not in the table", write.uri, "use evolve=True")
            schema = schema.append(pa.field(column.name, column.type, True))
        elif schema.field(index).type != column.type:
            raise SchemaMismatch(
                f"column {column.name} is {column.type} in one batch and {schema.field(index).type} elsewhere",
                write.uri,
                "give it one type; if the table was widened meanwhile, run again",
            )
    return schema


def _seen(table: DeltaTable, transactions: Transactions, uri: str) -> CommitResult | None:
    if not transactions:
        return None
    have = transactions_of(table, (app_id for app_id, _ in transactions))
    done = [app_id for app_id, version in transactions if have.get(app_id, version - 1) >= version]
    if not done:
        return None
    if len(done) < len(transactions):
        raise PartlyCommitted(
            f"{len(done)} of {len(transactions)} inputs were committed by another run meanwhile", uri, "run again"
        )
    return CommitResult(uri, "skipped", table.version())


def _plan(write: TableWrite, table: DeltaTable, files: list[DataFile]) -> Plan:
    if isinstance(write.mode, Append):
        return Plan(files, inserted=sum(file.rows for file in files))
    if isinstance(write.mode, Overwrite):
        return Plan(files, _overwritten(write.mode, table, files), inserted=sum(file.rows for file in files))
    mode = write.mode
    upsert = (
        plan_amend(write.uri, table, files) if isinstance(mode, Amend) else plan_upsert(write.uri, table, files, mode)
    )
    return Plan(upsert.adds, upsert.removes, upsert.scratch, upsert.inserted, upsert.updated, upsert.stale)


def _overwritten(mode: Overwrite, table: DeltaTable, files: list[DataFile]) -> list[ScanFile]:
    names = partition_columns(table)
    stored = scan_files(current_files(table), arrow_schema(table), names)
    if mode.whole_table or not names:
        return stored
    replaced = {tuple(file.partition[name] for name in names) for file in files}
    return [file for file in stored if tuple(file.partition_texts()[name] for name in names) in replaced]


def _commit_once(table: DeltaTable, plan: Plan, transactions: Transactions, note: str) -> None:
    now = int(time.time() * 1000)
    adds = [AddAction(f.path, f.size, dict(f.partition), f.modified_ms, True, f.statistics) for f in plan.adds]
    removes = [RemoveAction(f.path, True, now, f.size, f.partition_texts()) for f in plan.removes]
    table.create_write_transaction(
        [*removes, *adds],
        "append",
        table.schema(),
        partition_by=list(partition_columns(table)),
        commit_properties=CommitProperties(
            custom_metadata={ATTEMPT: plan.attempt, **({"userMetadata": note} if note else {})},
            max_commit_retries=0,  # any commit in between sends us back to look again
            app_transactions=[Transaction(app_id, version) for app_id, version in transactions],
        ),
    )


def try_commit(uri: str, table: DeltaTable, plan: Plan, transactions: Transactions = (), note: str = "") -> int:
    """One attempt, on this handle; gives the version, also when an error came after the commit was in the log.

    Raises:
      CommitFailedError: another commit came in between.
      DeltaError, OSError: the storage or the log failed; `plan.in_doubt` where that is not the end of it.
    """
    version = int(table.version()) + 1
    try:
        _commit_once(table, plan, transactions, note)
    except (DeltaError, OSError) as error:
        outcome = landed(uri, version, plan.attempt, error)
        if outcome is Outcome.LANDED:
            return version
        if outcome is Outcome.LOST:
            discard(uri, plan.scratch)
        plan.in_doubt |= outcome is Outcome.UNKNOWN
        raise
    return version


def discard(uri: str, files: Iterable[DataFile]) -> None:
    """Deletes files that no commit will name."""
    opened = storage.filesystem(uri)
    for file in files:
        with contextlib.suppress(OSError):  # an orphan costs disk only, and vacuum finds it
            opened.delete_file(file.path)


def _result(write: TableWrite, status: str, version: int, files: list[DataFile], plan: Plan) -> CommitResult:
    return CommitResult(
        write.uri,
        status,
        version,
        sum(file.rows for file in files),
        len(plan.adds),
        len(plan.removes),
        plan.inserted,
        plan.updated,
        plan.stale,
    )
