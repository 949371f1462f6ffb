"""The columns of a silver table."""

from __future__ import annotations

import pyarrow as pa

from transforms.bronze.envelope import partition_values
from transforms.bronze.quality import SCORE
from transforms.contracts import Contract
from transforms.silver.flags import FLAGS
from transforms.silver.keys import ORPHAN


def silver_schema(contract: Contract, extra: pa.Schema | None = None) -> pa.Schema:
    """Business columns, `_flags` list<string>, `_quality_score` double, `_orphan` bool, and the partition column.

    No ingestion time, file or run: the same rows, in any order, split or run, make the same silver.

    Args:
      extra: columns that evolution added to the source, or declared columns with the wider type they have by now.
    """
    widened = {field.name: field.type for field in extra or () if not field.name.startswith("_")}
    fields = [pa.field(f.name, widened.pop(f.name, f.type), f.nullable) for f in contract.arrow]
    fields += [pa.field(name, kind) for name, kind in sorted(widened.items())]
    fields += [pa.field(FLAGS, pa.list_(pa.string()), nullable=False), pa.field(SCORE, pa.float64())]
    fields += [pa.field(ORPHAN, pa.bool_())]  # its file statistics lead to the orphans without reading the rest
    return pa.schema(fields + [pa.field(name, pa.string()) for name in contract.partition_by])


def as_silver(table: pa.Table, contract: Contract, extra: pa.Schema | None = None) -> pa.Table:
    """The rows with exactly the columns of `silver_schema`; a column the rows lack is null."""
    columns = []
    schema = silver_schema(contract, extra)
    for field in schema:
        if field.name in contract.partition_by:
            columns.append(partition_values(table, contract))
        elif field.name in table.column_names:
            columns.append(table[field.name].cast(field.type))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=schema)
