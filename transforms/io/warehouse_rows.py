"""The lake's tables as the warehouse stages them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from transforms.errors import UserError
from transforms.io.delta import arrow_schema, open_table, read_batches
from transforms.io.storage import join
from transforms.progress import METER
from transforms.warehouse.sources import SOURCES
from transforms.warehouse.targets import targets

Version = list[Any] | None  # [Delta table id, version]; None: there is no such table


def version_of(uri: str) -> Version:
    """Which table is there, at which version."""
    table = open_table(uri)
    return None if table is None else [str(table.metadata().id), table.version()]


def rows_of(
    lake: str, name: str, columns: frozenset[str], version: Version
) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    """The schema (names in capitals, times without zone) and rows of a source; without a version there are none."""
    source = SOURCES[name]
    declared = [field for field in source.schema if field.name.upper() in columns]
    uri = join(lake, source.path)
    table = open_table(uri, version[1]) if version else None
    there = {field.name: field.type for field in arrow_schema(table)} if table is not None else {}
    loaded = frozenset().union(*(target.sources.get(name, frozenset()) for target in targets()))
    lost = [column for column in there if column.upper() not in loaded]
    if source.whole and lost:
        raise UserError(
            f"{source.path} has columns that the warehouse lacks: {', '.join(lost)}",
            lake,
            "add them by a migration and to the load",
        )
    schema = pa.schema([(f.name.upper(), _zoneless(there.get(f.name, f.type))) for f in declared])
    if table is None:
        return schema, iter(())
    assert version is not None
    read = [field.name for field in declared if field.name in there]
    return schema, (_staged(batch, schema) for batch in read_batches(uri, version=version[1], columns=read))


def _staged(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    METER.advance(rows=batch.num_rows)
    by_name = {name.upper(): batch.column(name) for name in batch.schema.names}
    columns = [
        by_name[field.name].cast(field.type) if field.name in by_name else pa.nulls(batch.num_rows, field.type)
        for field in schema
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _zoneless(kind: pa.DataType) -> pa.DataType:
    return pa.timestamp("us") if pa.types.is_timestamp(kind) else kind
