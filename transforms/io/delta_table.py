"""A Delta table's log, safely opened: existence, versions, transactions, protocol, schema changes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from transforms.errors import SchemaMismatch, Unreachable, UserError
from transforms.io import storage
from transforms.io.delta_landed import ATTEMPT, Outcome, landed, new_attempt
from transforms.io.delta_retry import pause
from transforms.io.delta_schema import check_partitions, storable_schema

READER_VERSION, WRITER_VERSION = 3, 7
READER_FEATURES = frozenset({"timestampNtz", "v2Checkpoint", "vacuumProtocolCheck"})
WRITER_FEATURES = READER_FEATURES | {"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "domainMetadata"}
CONFIGURATION = {"delta.checkpointInterval": "10"}  # 300 commits: 12 ms each; with the default of 100, up to 56 ms
_LOG_FILE = re.compile(r"\d{20}\..*(json|parquet)$|_last_checkpoint$")
# What object stores' clients say when nobody answers them (the `object_store` crate), in lower case.
_SILENT = ("error sending request", "timed out", "connection refused", "connection reset", "dns error", "503 service")
_CONSTRAINT = "delta.constraints."


def open_table(uri: str, version: int | datetime | None = None) -> DeltaTable | None:
    """The table at `uri`, now or as it was at a version or a moment; None if there is no table.

    Raises:
      UserError: not allowed to read, a broken log, an unknown version, or a table written by a newer Delta.
    """
    options = storage.storage_options(uri)
    if not storage.is_azure(uri) and not _has_log(uri):
        return None
    try:
        if isinstance(version, datetime):
            table = DeltaTable(storage.table_uri(uri), storage_options=options)
            table.load_as_version(_moment(version))
        else:
            table = DeltaTable(storage.table_uri(uri), version=version, storage_options=options)
    except TableNotFoundError as error:
        if storage.is_azure(uri):
            return None
        raise UserError("the table's log (_delta_log) has no commits", uri, _BROKEN_REMEDY) from error
    except (DeltaError, OSError, ValueError) as error:
        raise explain(error, uri, version) from error
    check_reader(table, uri)
    return table


def existing_table(uri: str, version: int | datetime | None = None) -> DeltaTable:
    """As `open_table`, but a missing table is a `UserError`."""
    table = open_table(uri, version)
    if table is None:
        raise UserError("there is no table", uri, "check the path, or run the step that writes it")
    return table


def create_table(
    uri: str, schema: pa.Schema, partition_by: Iterable[str] = (), configuration: Mapping[str, str] | None = None
) -> DeltaTable:
    """The table at `uri`, created empty if it is not there, with what `configuration` says besides CONFIGURATION; two
    creators at once both get it."""
    partitions = list(partition_by)
    storable = storable_schema(schema, uri)
    check_partitions(storable, partitions, uri)
    for _ in range(3):
        if (table := open_table(uri)) is not None:
            return table
        try:
            DeltaTable.create(
                storage.table_uri(uri),
                Schema.from_arrow(storable),
                partition_by=partitions,
                configuration={**CONFIGURATION, **(configuration or {})},
                storage_options=storage.storage_options(uri),
            )
        except (DeltaError, OSError) as error:
            if open_table(uri) is None:  # nobody was faster: the error is real
                raise explain(error, uri) from error
    return existing_table(uri)


def table_version(uri: str) -> int | None:
    """The newest version of the table, None if there is no table."""
    table = open_table(uri)
    return None if table is None else table.version()


def committed(uri: str, app_ids: Iterable[str]) -> dict[str, int]:
    """The newest committed version of each application id that has one."""
    table = open_table(uri)
    return {} if table is None else transactions_of(table, app_ids)


def transactions_of(table: DeltaTable, app_ids: Iterable[str]) -> dict[str, int]:
    """As `committed`, on one handle: only a commit on this same handle is then safe."""
    versions = ((app_id, table.transaction_version(app_id)) for app_id in app_ids)
    return {app_id: version for app_id, version in versions if version is not None}


def arrow_schema(table: DeltaTable) -> pa.Schema:
    """The table's schema, partition columns included, as pyarrow."""
    return pa.schema(table.schema().to_arrow())


def partition_columns(table: DeltaTable) -> tuple[str, ...]:
    """The columns the table's files are laid out by."""
    return tuple(table.metadata().partition_columns)


def constraints(table: DeltaTable) -> tuple[str, ...]:
    """The SQL of the table's CHECK constraints."""
    found = table.metadata().configuration
    return tuple(sorted(sql for name, sql in found.items() if name.startswith(_CONSTRAINT)))


def check_reader(table: DeltaTable, uri: str) -> None:
    """Raises `UserError` for a table that needs a reader we are not."""
    protocol = table.protocol()
    unknown = set(protocol.reader_features or ()) - READER_FEATURES
    if protocol.min_reader_version > READER_VERSION or unknown:
        raise _newer(uri, f"reader version {protocol.min_reader_version}", unknown)
    if table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none":
        raise _newer(uri, "reader", {"columnMapping"})


def check_writer(table: DeltaTable, uri: str) -> None:
    """Raises `UserError` for a table we must not write: newer protocol, or computed columns we would get wrong."""
    protocol = table.protocol()
    unknown = set(protocol.writer_features or ()) - WRITER_FEATURES
    if protocol.min_writer_version > WRITER_VERSION or unknown:
        raise _newer(uri, f"writer version {protocol.min_writer_version}", unknown)
    for field in table.schema().fields:
        special = [key for key in field.metadata if re.match(r"delta\.(generationExpression|identity|invariants)", key)]
        if special:
            raise UserError(
                f"column {field.name} is computed by the table ({special[0]})", uri, "write it with Spark instead"
            )


def evolve_schema(uri: str, schema: pa.Schema) -> list[str]:
    """Adds the columns of `schema` the table lacks (nullable) and widens types that grew; says what it changed.

    Widening rewrites the table's files as a stream. Types that already hold the declared one stay.

    Raises:
      SchemaMismatch: a type that neither holds the other, or a partition column that would have to widen.
    """
    table = existing_table(uri)
    from transforms.io.delta_widen import plan_widening, widen  # the rewriting path needs reader and writer

    wider = plan_widening(table, storable_schema(schema, uri), uri)
    changes = widen(uri, wider) if wider else []
    return changes + add_columns(uri, schema)


def add_columns(uri: str, schema: pa.Schema) -> list[str]:
    """Adds the columns of `schema` the table lacks, as nullable ones; two at once both succeed."""
    storable = storable_schema(schema, uri)
    for number in range(10):
        table = existing_table(uri)
        check_writer(table, uri)
        stored = arrow_schema(table)
        new = [f for f in storable if f.name not in stored.names]
        if not new:
            return []
        delta = Schema.from_arrow(pa.schema([pa.field(f.name, f.type, True) for f in new]))
        version, attempt = int(table.version()) + 1, new_attempt()
        properties = CommitProperties(custom_metadata={ATTEMPT: attempt}, max_commit_retries=0)
        try:
            table.alter.add_columns(list(delta.fields), commit_properties=properties)
        except (DeltaError, OSError) as error:
            if landed(uri, version, attempt, error) is not Outcome.LANDED:
                if not isinstance(error, CommitFailedError):
                    raise explain(error, uri) from error
                pause(number)
                continue
        return [f"{f.name}: added ({f.type})" for f in new]
    raise SchemaMismatch("columns could not be added, other writers kept changing the table", uri, "run again")


_BROKEN_REMEDY = "restore the folder, or move it away and run again to rebuild the table"


def explain(error: Exception, uri: str, version: object = None) -> UserError:
    """A storage or Delta error as one line with a remedy."""
    text = str(error).split("\n")[0]
    lower = str(error).lower()
    if "permission" in lower or "denied" in lower or "authoriz" in lower or "read-only file system" in lower:
        return UserError("no permission for the table", uri, "check the access rights of this user or key")
    if "unsupported" in lower and ("feature" in lower or "version" in lower or "protocol" in lower):
        return _newer(uri, text[:200], set())
    if storage.is_azure(uri) and any(words in lower for words in _SILENT):
        return Unreachable("the storage does not answer", uri, "check the network and the firewall of the account")
    if version is not None:
        return UserError(f"the table has no version {version}", uri, "see the versions with `show`")
    if isinstance(error, DeltaError):
        return UserError(f"the table's log (_delta_log) cannot be read: {text[:200]}", uri, _BROKEN_REMEDY)
    return UserError(f"the storage answered: {text[:200]}", uri, "check the path and the network")


def _newer(uri: str, what: str, features: set[str]) -> UserError:
    named = f", features {', '.join(sorted(features))}" if features else ""
    return UserError(
        f"the lake was written by a newer version of Delta than this one knows ({what}{named})",
        uri,
        "upgrade this package, or rewrite the table without these features",
    )


def _has_log(uri: str) -> bool:
    path = storage.local_path(uri) / "_delta_log"
    try:
        path.stat()
        # A creation that was killed leaves a file that was not named yet (".tmp", "#1"): that is no table.
        return any(_LOG_FILE.match(file.name) for file in path.iterdir())
    except FileNotFoundError:
        return False
    except PermissionError as error:
        raise explain(error, uri) from error
    except NotADirectoryError as error:
        raise UserError("the path is not a folder", uri, "name a folder for the table") from error


def _moment(moment: datetime) -> datetime:
    return moment.astimezone(UTC)
