"""What a load did and what a check found, a table each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Loaded:
    """What became of one table: status "loaded", "unchanged" (same sources as before) or "newer" (than these)."""

    table: str
    status: str
    rows: int


@dataclass(frozen=True)
class Checked:
    """What a look at one table found; everything but `rows` should be 0.

    Attributes:
      missing, extra, changed: against the lake's rows that the table was loaded from.
      doubled: rows with the key of another one; history: keys whose versions do not follow each other.
      orphans: column -> rows that refer to nothing.
    """

    table: str
    rows: int
    missing: int = 0
    extra: int = 0
    changed: int = 0
    doubled: int = 0
    history: int = 0
    orphans: Mapping[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        counts = (self.missing, self.extra, self.changed, self.doubled, self.history)
        return not any(counts) and not any(self.orphans.values())
