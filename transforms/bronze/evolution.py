"""How a bronze table's columns follow its source: added, widened, missing; each change is a fact worth keeping."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import pyarrow as pa

from transforms.contracts import Contract


@dataclass(frozen=True)
class Change:
    """One change of one column; types are Arrow's names, "" where there was or is none."""

    column: str
    change: str
    old_type: str
    new_type: str


def business_schema(contract: Contract, stored: pa.Schema | None) -> pa.Schema:
    """The business columns of bronze now: the contract's first, then those that came later, as stored."""
    if stored is None:
        return contract.arrow
    fields = []
    for field in contract.arrow:
        kept = stored.field(field.name).type if field.name in stored.names else field.type
        fields.append(pa.field(field.name, kept, field.nullable))
    extra = [f for f in stored if f.name not in contract and not f.name.startswith("_")]
    return pa.schema(fields + [pa.field(f.name, f.type) for f in extra])


def evolve(current: pa.Schema, incoming: Iterable[pa.Schema]) -> tuple[pa.Schema, list[Change]]:
    """Widens `current` so that the typed files' schemas fit where their types are wider; adds their new columns.

    Wider means that each value keeps its meaning: more decimal digits, integer to float for columns that no contract
    declares (a declared integer stays one, and a cell with a fraction is rejected). The result does not depend on
    the order of `incoming`.
    """
    types = {field.name: field.type for field in current}
    for schema in incoming:
        for field in schema:
            if field.name.startswith("_"):
                continue
            seen = _canonical(field.type)
            known = types.get(field.name)
            types[field.name] = seen if known is None else _wider(known, seen, declared=field.name in current.names)
    changes = [
        Change(name, "widened", str(current.field(name).type), str(kind))
        for name, kind in types.items()
        if name in current.names and kind != current.field(name).type
    ]
    added = sorted(name for name in types if name not in current.names)
    changes += [Change(name, "added", "", str(types[name])) for name in added]
    fields = [pa.field(f.name, types[f.name], f.nullable) for f in current]
    return pa.schema(fields + [pa.field(name, types[name]) for name in added]), changes


def _canonical(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_dictionary(kind):
        return _canonical(kind.value_type)
    if pa.types.is_decimal(kind) or pa.types.is_boolean(kind):
        return kind
    if pa.types.is_integer(kind):
        return pa.int64()
    if pa.types.is_floating(kind):
        return pa.float64()
    if pa.types.is_date(kind):
        return pa.date32()
    if pa.types.is_timestamp(kind):
        return pa.timestamp("us", tz="UTC")
    return pa.string()


def _wider(known: pa.DataType, seen: pa.DataType, declared: bool) -> pa.DataType:
    if pa.types.is_decimal(known) and pa.types.is_decimal(seen):
        scale = max(known.scale, seen.scale)
        digits = max(known.precision - known.scale, seen.precision - seen.scale)
        return pa.decimal128(min(digits + scale, 38), scale)
    if known == seen or declared:
        return known
    if {known, seen} == {pa.int64(), pa.float64()}:
        return pa.float64()
    return pa.string()
