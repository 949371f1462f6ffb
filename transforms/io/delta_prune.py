"""Conditions on rows, and which files, row groups and rows they leave."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import UserError

OPERATORS = ("=", "!=", "<", "<=", ">", ">=", "in", "is_null", "not_null")
_COMPARE = dict(zip(OPERATORS, ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal"), strict=False))
Condition = tuple[str, str, Any]


def check_where(where: Sequence[Condition], schema: pa.Schema, uri: str) -> None:
    """Raises `UserError` for a column or an operator there is not, or a value that is not of the column's type."""
    for column, operator, value in where:
        if column not in schema.names:
            raise UserError(f"column {column} is not in the table", uri, f"columns are {', '.join(schema.names)}")
        if operator not in OPERATORS:
            raise UserError(f"operator {operator!r} is not known", uri, f"use one of {', '.join(OPERATORS)}")
        try:
            literals(operator, value, schema.field(column).type)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OverflowError, TypeError):
            kind = schema.field(column).type
            raise UserError(f"the value compared with {column} is not a {kind}", uri, "give a fitting value") from None


def literals(operator: str, value: Any, kind: pa.DataType) -> pa.Array:
    """The value(s) of a condition as Arrow data of the column's type."""
    if operator in ("is_null", "not_null"):
        return pa.array([], kind)
    return pa.array(list(value) if operator == "in" else [value], kind)


def row_filter(
    where: Sequence[Condition], physical: pa.Schema, schema: pa.Schema, partition_by: tuple[str, ...]
) -> Any:
    """The conditions on a file's own columns as one Arrow expression: True if none is left, None if no row can pass.

    A null never passes a comparison, "!=" included; a NaN passes only "!=".
    """
    found: Any = True
    for column, operator, value in where:
        if column in partition_by:
            continue  # the partition values have decided already
        if column not in physical.names:  # an older file without the column: all null
            if operator != "is_null":
                return None
            continue
        kind = physical.field(column).type
        values = literals(operator, value, schema.field(column).type).cast(kind)
        test = _expression(pc.field(column), operator, values)
        found = test if found is True else found & test
    return found


def _expression(left: Any, operator: str, values: pa.Array) -> Any:
    if operator == "is_null":
        return left.is_null()
    if operator == "not_null":
        return left.is_valid()
    if operator == "in":
        return left.isin(values.drop_null())
    right = values[0]
    tests = {"=": "__eq__", "!=": "__ne__", "<": "__lt__", "<=": "__le__", ">": "__gt__", ">=": "__ge__"}
    return getattr(left, tests[operator])(pc.scalar(right))


def file_mask(
    files: pa.Table, where: Sequence[Condition], schema: pa.Schema, partition_by: tuple[str, ...]
) -> np.ndarray:
    """Which files can hold a row of `where`: exact for partition columns, never too few by statistics."""
    mask = np.ones(len(files), dtype=bool)
    for column, operator, value in where:
        kind = schema.field(column).type
        values = literals(operator, value, kind)
        if column in partition_by:
            left = pc.struct_field(files.column("partition").combine_chunks(), column).cast(kind)
            mask &= _holds(left, operator, values)
        else:
            mask &= _may_hold(files, column, operator, values, kind)
    return mask


def _holds(left: pa.Array, operator: str, values: pa.Array) -> np.ndarray:
    if operator == "is_null":
        result = pc.is_null(left)
    elif operator == "not_null":
        result = pc.is_valid(left)
    elif operator == "in":
        result = pc.is_in(left, value_set=values.drop_null(), skip_nulls=True)
    else:
        result = pc.call_function(_COMPARE[operator], [left, values[0]])
    return pc.fill_null(result, False).to_numpy(zero_copy_only=False)


def _may_hold(files: pa.Table, column: str, operator: str, values: pa.Array, kind: pa.DataType) -> np.ndarray:
    everything = np.ones(len(files), dtype=bool)
    if operator in ("is_null", "not_null"):
        nulls, rows = _statistic(files, "null_count", column), files.column("num_records").combine_chunks()
        if nulls is None or not pa.types.is_integer(nulls.type):
            return everything
        result = pc.greater(nulls, 0) if operator == "is_null" else pc.less(nulls, rows)
        return pc.fill_null(result, True).to_numpy(zero_copy_only=False)
    low, high = bounds(files, column, kind)
    if low is None or high is None or operator == "!=":
        return everything
    values = values.drop_null()
    if not len(values) or pa.types.is_boolean(kind):
        return everything if len(values) else ~everything
    least, most = pc.min(values), pc.max(values)
    if operator in ("=", "in"):
        result = pc.and_kleene(pc.less_equal(low, most), pc.greater_equal(high, least))
    elif operator in ("<", "<="):
        result = pc.less_equal(low, most)
    else:
        result = pc.greater_equal(high, least)
    return pc.fill_null(result, True).to_numpy(zero_copy_only=False)


def bounds(files: pa.Table, column: str, kind: pa.DataType) -> tuple[pa.Array | None, pa.Array | None]:
    """The least and greatest value of a column in each file, null where unknown; None if no file has any.

    One millisecond is added to the greatest timestamps: some writers cut them to milliseconds.
    """
    low, high = _statistic(files, "min", column), _statistic(files, "max", column)
    if low is None or high is None or pa.types.is_nested(low.type):
        return None, None
    try:
        low, high = low.cast(kind), high.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None, None
    if pa.types.is_timestamp(kind):
        try:
            high = pc.add_checked(high, pa.scalar(timedelta(milliseconds=1), pa.duration("us")))
        except pa.ArrowInvalid:
            return None, None
    return low, high


def _statistic(files: pa.Table, name: str, column: str) -> pa.Array | None:
    if name not in files.column_names:
        return None
    struct = files.column(name).combine_chunks()
    if not pa.types.is_struct(struct.type) or struct.type.get_field_index(column) < 0:
        return None
    return pc.struct_field(struct, column)
