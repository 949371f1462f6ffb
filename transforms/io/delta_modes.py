"""What a write does to the rows that are there already."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Append:
    """Adds the rows."""


@dataclass(frozen=True)
class Upsert:
    """Replaces the stored rows that have the same `key`, adds the others.

    The incoming row wins unless the stored one is greater in `order_by`, compared left to right with null the least.
    Null keys equal each other. The incoming rows must be unique by `key`, or the write fails.
    """

    key: tuple[str, ...]
    order_by: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("Upsert needs at least one key column")


@dataclass(frozen=True)
class Overwrite:
    """Replaces the partitions that occur in the input, or with `whole_table` (or no partitions) all rows.

    Without `whole_table`, an empty input leaves a partitioned table as it is.
    """

    whole_table: bool = False


@dataclass(frozen=True)
class Amend:
    """Replaces all rows, as `Overwrite(whole_table=True)` does, but leaves those that are there already in their files.

    So a table that is always computed as a whole is rewritten only where it changed. Memory: some 40 bytes a row.
    """


Mode = Append | Upsert | Overwrite | Amend
