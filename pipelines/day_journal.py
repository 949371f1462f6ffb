"""What was done of each day, by step and attempt: the table `ops/days`, only ever added to."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, date, datetime

import pyarrow as pa

from pipelines.config import Lake
from transforms.errors import UserError
from transforms.io.delta import append_rows, open_table, read_table

_TIME = pa.timestamp("us", tz="UTC")
DAYS = pa.schema(
    [
        pa.field("day", pa.date32(), nullable=False),
        pa.field("attempt", pa.int64(), nullable=False),
        pa.field("step", pa.string(), nullable=False),
        pa.field("status", pa.string(), nullable=False),  # started, done or failed
        pa.field("run_time", _TIME, nullable=False),  # of the step's runs in ops/runs
        pa.field("asked", pa.string(), nullable=False),  # the options, as JSON
        pa.field("said", pa.string(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("at", _TIME, nullable=False),
        pa.field("number", pa.int64(), nullable=False),  # of the line, within its day
    ]
)


@dataclass(frozen=True)
class Entry:
    """One line: a step of an attempt began, or ended well or not, and what it said."""

    day: date
    attempt: int
    step: str
    status: str
    run_time: datetime
    asked: str = ""
    said: str = ""
    seconds: float = 0.0


class Journal:
    """The lines of one day. Of two processes at once, the one that added a line last goes on, the other stops."""

    def __init__(self, lake: Lake, day: date) -> None:
        self._uri, self._day, self._number = lake.days, day, 0

    def read(self) -> list[Entry]:
        """All lines so far, in order."""
        if open_table(self._uri) is None:
            return []
        rows = read_table(self._uri, where=(("day", "=", self._day),)).to_pylist()
        rows.sort(key=lambda row: row["number"])
        self._number = max((row["number"] for row in rows), default=0)
        return list(_entries(rows))

    def add(self, entry: Entry) -> None:
        """Adds the next line.

        Raises:
          UserError: another process has added one since this one read.
        """
        number = self._number + 1
        row = asdict(entry) | {"at": datetime.now(UTC), "number": number}
        done = append_rows(self._uri, pa.Table.from_pylist([row], DAYS), ((f"day/{self._day}", number),))
        if done.status != "committed":
            what = f"another process has taken over the day {self._day}"
            raise UserError(what, self._uri, "leave it to that one, or run the day again when it has ended")
        self._number = number


def _entries(rows: list[dict[str, object]]) -> Iterator[Entry]:
    names = [field.name for field in fields(Entry)]
    for row in rows:
        yield Entry(**{name: row[name] for name in names})  # type: ignore[arg-type]
