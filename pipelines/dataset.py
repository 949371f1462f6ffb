"""Which folder of a data set holds which table."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pipelines.bronze import TableInput
from transforms.contracts import CONTRACTS, contract
from transforms.errors import UserError
from transforms.generator.dataset import folder
from transforms.io.column_map import Target, parse_map, recognise
from transforms.io.files import discover, header


def inputs_of(location: str, tables: Sequence[str] = ()) -> list[TableInput]:
    """One input for each table folder below `location`; tables without a folder are left out.

    Raises:
      UserError: the folder is missing, or holds none of the tables.
    """
    wanted = [contract(name) for name in tables] or list(CONTRACTS.values())
    remote = "://" in location
    if not remote and not os.path.exists(location):
        raise UserError("there is no such folder", where=location, remedy="give the folder with --input")
    found = [
        TableInput(table, f"{location.rstrip('/')}/{folder(table.name)}")
        for table in wanted
        if remote or os.path.isdir(os.path.join(location, folder(table.name)))
    ]
    if not found:
        folders = ", ".join(sorted(folder(table.name) for table in wanted))
        raise UserError(
            "no table folder found",
            where=location,
            remedy=f"expected folders such as {folders}; for a single file add --table NAME",
        )
    return found


def mapped_input(table: str, location: str, maps: Sequence[str], format: str | None = None) -> tuple[TableInput, str]:
    """One table from a person's own file, its columns recognised or given: (input, what was recognised)."""
    target = contract(table)
    given = parse_map(list(maps))
    files = discover(location, format)
    seen = next((found for found in map(header, files) if found is None or len(found)), [])
    if files[0].format == "jsonl":  # JSON lines name their columns row by row: names match as they are, or as mapped
        renames = tuple((source, name) for name, source in given.items())
        return TableInput(target, location, format, renames), "columns are matched by name"
    names = list(getattr(seen, "names", seen))
    if not names:
        return TableInput(target, location, format), "no file has a header, so there is nothing to recognise"
    # Optional columns are matched by name only where the file has them; the key and other required ones must be there.
    targets = [Target(column.name, required=not column.nullable) for column in target.columns]
    found = recognise(names, targets, given)
    renames = tuple((source, name) for name, source in found.columns.items())
    return TableInput(target, location, format, renames), found.describe()
