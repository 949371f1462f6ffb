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
    """The business columns of bronze: the contract's as stored, then those that came later, which are text."""
    if stored is None:
        return contract.arrow
    fields = []
    for field in contract.arrow:
        kept = stored.field(field.name).type if field.name in stored.names else field.type
        fields.append(pa.field(field.name, kept, field.nullable))
    extra = [f for f in stored if f.name not in contract and not f.name.startswith("_")]
    return pa.schema(fields + [pa.field(f.name, pa.string()) for f in extra])


def evolve(current: pa.Schema, incoming: Iterable[pa.Schema]) -> tuple[pa.Schema, list[Change]]:
    """The columns of bronze once it holds the typed files, too: more decimal digits where they have them, new columns.

    Wider means that each value keeps its meaning; a declared integer stays one, and a cell with a fraction is
    rejected. Columns that no contract declares are text: whatever a later file holds there, it costs no row. The
    result does not depend on the order of `incoming`.
    """
    types = {field.name: field.type for field in current}
    for field in (field for schema in incoming for field in schema if not field.name.startswith("_")):
        types[field.name] = _wider(types.get(field.name, pa.string()), field.type)
    changes = [
        Change(name, "widened", str(current.field(name).type), str(kind))
        for name, kind in types.items()
        if name in current.names and kind != current.field(name).type
    ]
    added = sorted(name for name in types if name not in current.names)
    changes += [Change(name, "added", "", str(types[name])) for name in added]
    fields = [pa.field(f.name, types[f.name], f.nullable) for f in current]
    return pa.schema(fields + [pa.field(name, types[name]) for name in added]), changes


def _wider(known: pa.DataType, seen: pa.DataType) -> pa.DataType:
    if not (pa.types.is_decimal(known) and pa.types.is_decimal(seen)):
        return known
    scale = max(known.scale, seen.scale)
    digits = max(known.precision - known.scale, seen.precision - seen.scale)
    return pa.decimal128(min(digits + scale, 38), scale)
