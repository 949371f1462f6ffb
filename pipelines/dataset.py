"""Which folder of a data set holds which table."""

from __future__ import annotations

import os
from collections.abc import Sequence

from pipelines.bronze import TableInput
from transforms.contracts import CONTRACTS, contract
from transforms.errors import UserError
from transforms.generator.dataset import folder


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
