"""What is kept with a Delta table as a whole: a name and a text in its metadata, which outlive the notes of commits."""

from __future__ import annotations

import pyarrow as pa
from deltalake.exceptions import DeltaError

from transforms.io.delta_table import create_table, explain, open_table


def table_property(uri: str, name: str) -> str | None:
    """The text kept under a name; None if there is none, or no table."""
    table = open_table(uri)
    return None if table is None else table.metadata().configuration.get(name)


def keep_property(uri: str, schema: pa.Schema, name: str, text: str) -> None:
    """Keeps a text with the table, which is created empty if it is not there.

    Raises:
      UserError: the table cannot be written, or another process changed its metadata just then.
    """
    table = create_table(uri, schema)
    if table.metadata().configuration.get(name) == text:
        return
    try:
        table.alter.set_table_properties({name: text}, raise_if_not_exists=False)
    except (DeltaError, OSError) as error:
        raise explain(error, uri) from error
