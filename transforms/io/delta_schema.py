"""Arrow schemas as Delta can hold them, and rows brought into such a schema."""

from __future__ import annotations

from collections.abc import Iterable

import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import SchemaMismatch, UserError

_PARTITION_TYPES = (
    pa.types.is_string,
    pa.types.is_integer,
    pa.types.is_date32,
    pa.types.is_boolean,
    pa.types.is_decimal,
    pa.types.is_timestamp,
)
_UNSIGNED = {pa.uint8(): pa.int16(), pa.uint16(): pa.int32(), pa.uint32(): pa.int64(), pa.uint64(): pa.decimal128(20)}
_ORDER = [pa.int8(), pa.int16(), pa.int32(), pa.int64()]


def storable_schema(schema: pa.Schema, where: str = "") -> pa.Schema:
    """The schema a Delta table keeps for `schema`: microsecond timestamps, plain strings, signed integers.

    Raises:
      SchemaMismatch: a column has a type Delta has no room for (time of day, duration, null ...), or occurs twice.
    """
    if len(set(schema.names)) != len(schema.names):
        twice = sorted({name for name in schema.names if schema.names.count(name) > 1})
        raise SchemaMismatch(f"column {twice[0]} occurs twice", where, "give each column a name of its own")
    return pa.schema([pa.field(f.name, _storable(f.type, f.name, where), f.nullable) for f in schema])


def _storable(kind: pa.DataType, name: str, where: str) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _storable(kind.value_type, name, where)
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _storable(f.type, f"{name}.{f.name}", where), f.nullable) for f in kind])
    if pa.types.is_map(kind):
        return pa.map_(_storable(kind.key_type, name, where), _storable(kind.item_type, name, where))
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return pa.list_(_storable(kind.value_type, f"{name}[]", where))
    if kind in _UNSIGNED:
        return _UNSIGNED[kind]
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", "UTC" if kind.tz else None)
    if pa.types.is_large_string(kind) or kind == pa.string_view():
        return pa.string()
    if pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind) or kind == pa.binary_view():
        return pa.binary()
    if pa.types.is_float16(kind):
        return pa.float32()
    if pa.types.is_date64(kind):
        return pa.date32()
    plain = (pa.types.is_boolean, pa.types.is_signed_integer, pa.types.is_floating, pa.types.is_string)
    if any(test(kind) for test in plain) or kind in (pa.binary(), pa.date32()) or pa.types.is_decimal128(kind):
        return kind
    raise SchemaMismatch(f"column {name} has type {kind}, which Delta cannot store", where, "cast it before writing")


def check_partitions(schema: pa.Schema, partition_by: Iterable[str], where: str) -> None:
    """Raises `UserError` unless every partition column is in `schema` with a type that works as a folder name."""
    for name in partition_by:
        if name not in schema.names:
            raise SchemaMismatch(f"partition column {name} is missing", where, f"columns are {', '.join(schema.names)}")
        kind = schema.field(name).type
        if not any(test(kind) for test in _PARTITION_TYPES):
            raise UserError(f"partition column {name} has type {kind}", where, "use text, a date, an integer or a flag")


def widens(old: pa.DataType, new: pa.DataType) -> bool:
    """Whether every value of `old` is also one of `new` (int32 in int64, float in double, decimal(8,2) in (10,2))."""
    if old == new:
        return True
    if old in _ORDER and new in _ORDER:
        return _ORDER.index(new) > _ORDER.index(old)
    if pa.types.is_floating(old) and new == pa.float64():
        return True
    if old in _ORDER[:3] and new == pa.float64():
        return True
    if pa.types.is_decimal(old) and pa.types.is_decimal(new):
        return new.scale >= old.scale and new.precision - new.scale >= old.precision - old.scale
    if old in _ORDER and pa.types.is_decimal(new):
        return new.precision - new.scale >= (3, 5, 10, 19)[_ORDER.index(old)]
    return old == pa.date32() and pa.types.is_timestamp(new) and new.tz is None


def agree(declared: pa.Schema, stored: pa.Schema, where: str, evolve: bool = False) -> pa.Schema:
    """The schema to write rows of `declared` with: the types and order of the table's `stored`, new columns last.

    Raises:
      SchemaMismatch: a type that does not fit, an undeclared NOT NULL column, or a new column without `evolve`.
    """
    for field in stored:
        index = declared.get_field_index(field.name)
        if index < 0:
            if not field.nullable:
                raise SchemaMismatch(f"column {field.name} must not be null and is missing", where, "write it")
        elif not widens(declared.field(index).type, field.type):
            raise SchemaMismatch(
                f"column {field.name} is {declared.field(index).type}, the table has {field.type}",
                where,
                "cast it before writing, or widen the table with evolve_schema",
            )
    new = [pa.field(f.name, f.type, True) for f in declared if f.name not in stored.names]
    if new and not evolve:
        raise SchemaMismatch(
            f"column {new[0].name} ({new[0].type}) is not in the table", where, "write with evolve=True to add it"
        )
    return pa.schema([*stored, *new])


def conform(rows: pa.Table, schema: pa.Schema, where: str, evolve: bool = False) -> pa.Table:
    """`rows` with the columns, order and types of `schema`; with `evolve`, unknown columns follow at the end.

    Missing nullable columns become null. Nothing is cast with loss.

    Raises:
      SchemaMismatch: an unknown column without `evolve`, a type that does not fit, or a null where none may be.
    """
    extra = [name for name in rows.column_names if name not in schema.names]
    if extra:
        if not evolve:
            kind = rows.schema.field(extra[0]).type
            raise SchemaMismatch(
                f"column {extra[0]} ({kind}) is not in the table", where, "write with evolve=True to add it"
            )
        added = storable_schema(rows.select(extra).schema, where)
        schema = pa.schema([*schema, *(pa.field(f.name, f.type, True) for f in added)])
    if rows.schema.equals(schema):
        _refuse_nulls(rows, schema, where)
        return rows
    present = set(rows.column_names)
    columns = [
        _cast(rows.column(f.name), f, where) if f.name in present else pa.chunked_array([pa.nulls(len(rows), f.type)])
        for f in schema
    ]
    conformed = pa.Table.from_arrays(columns, schema=schema)
    _refuse_nulls(conformed, schema, where)
    return conformed


def _cast(column: pa.ChunkedArray, field: pa.Field, where: str) -> pa.ChunkedArray:
    if column.type == field.type:
        return column
    try:
        return pc.cast(column, field.type, safe=True)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):  # the Arrow message would quote a value
        raise SchemaMismatch(
            f"column {field.name} is {column.type} and does not fit {field.type}", where, "cast it before writing"
        ) from None


def _refuse_nulls(rows: pa.Table, schema: pa.Schema, where: str) -> None:
    for field in schema:
        if not field.nullable and (nulls := rows.column(field.name).null_count):
            raise SchemaMismatch(
                f"column {field.name} has {nulls} null(s) but must not be null",
                where,
                "reject such rows first",
            )
