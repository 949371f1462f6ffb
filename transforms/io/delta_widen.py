"""Widening the columns of a table: every file is written again with the wider type, in one commit."""

from __future__ import annotations

import time

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Schema, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from transforms.errors import SchemaMismatch, UserError
from transforms.io import storage
from transforms.io.delta_landed import ATTEMPT, Outcome, landed, new_attempt
from transforms.io.delta_read import SAME_ROWS, Scan, current_files, read_file, scan_files
from transforms.io.delta_schema import widens
from transforms.io.delta_table import arrow_schema, check_writer, existing_table, explain, partition_columns

ATTEMPTS = 5


def plan_widening(table: DeltaTable, declared: pa.Schema, uri: str) -> dict[str, pa.DataType]:
    """The columns of the table whose type must grow to hold the declared one.

    Raises:
      SchemaMismatch: neither type holds the other, or the column is a partition column.
    """
    wider: dict[str, pa.DataType] = {}
    for field in arrow_schema(table):
        index = declared.get_field_index(field.name)
        if index < 0 or widens(declared.field(index).type, field.type):
            continue
        kind = declared.field(index).type
        if not (widens(field.type, kind) or (pa.types.is_string(kind) and not pa.types.is_nested(field.type))):
            raise SchemaMismatch(f"column {field.name} is {field.type} and cannot become {kind}", uri, "cast it")
        if field.name in partition_columns(table):
            raise SchemaMismatch(f"partition column {field.name} cannot become {kind}", uri, "rebuild the table")
        wider[field.name] = kind
    return wider


def widen(uri: str, wider: dict[str, pa.DataType]) -> list[str]:
    """Rewrites the table with wider columns as a stream and says what changed; other commits meanwhile start it over.

    Old versions stay readable until a vacuum. Transactions in the table are kept.
    """
    for attempt in range(ATTEMPTS):
        table = existing_table(uri)
        check_writer(table, uri)
        old = arrow_schema(table)
        todo = {name: kind for name, kind in wider.items() if old.field(name).type != kind}
        if not todo:
            return []
        new = pa.schema([pa.field(f.name, todo.get(f.name, f.type), f.nullable) for f in old])
        Schema.from_arrow(new)
        version, name = int(table.version()) + 1, new_attempt()
        try:
            _rewrite(table, uri, new, name)
        except (DeltaError, OSError) as error:
            if landed(uri, version, name, error) is not Outcome.LANDED:
                if not isinstance(error, CommitFailedError):
                    raise explain(error, uri) from error
                time.sleep(0.05 * 2**attempt)
                continue
        return [f"{name}: {old.field(name).type} to {kind}" for name, kind in todo.items()]
    raise UserError("gave up widening, other writers were always faster", uri, "run again when they are done")


def _rewrite(table: DeltaTable, uri: str, schema: pa.Schema, attempt: str) -> None:
    opened = storage.filesystem(uri)
    partition_by = partition_columns(table)
    scan = Scan(uri, schema, arrow_schema(table), partition_by, ())
    files = scan_files(current_files(table), arrow_schema(table), partition_by)
    batches = (batch for file in files for batch in read_file(scan, file, files=opened))
    write_deltalake(
        table,
        pa.RecordBatchReader.from_batches(schema, batches),
        mode="overwrite",
        schema_mode="overwrite",
        partition_by=list(partition_by) or None,
        commit_properties=CommitProperties(
            custom_metadata={"userMetadata": SAME_ROWS, ATTEMPT: attempt}, max_commit_retries=0
        ),
    )
