"""What makes a stream into a Delta table exact: the table itself knows how far each partition of the log got."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence

import pyarrow as pa
from deltalake import DeltaTable
from deltalake.exceptions import CommitFailedError, DeltaError

from transforms.errors import UserError
from transforms.io.delta_commit import Plan, try_commit
from transforms.io.delta_log import TableLog
from transforms.io.delta_retry import attempts
from transforms.io.delta_table import create_table, existing_table, explain, open_table, transactions_of

# Each commit is an entry, and to open the table all of them are listed: Delta's 30 days would be 2.6 million of them.
_LOG = {"delta.logRetentionDuration": "interval 3 days"}


class Fenced(UserError):
    """A newer stream took the table over; this one must stop."""


def position_app(stream: str, log: str) -> str:
    """The Delta transaction whose version is the last position of `log` that `stream` has put into a table."""
    return f"stream/{stream}/{log}"


def owner_app(stream: str) -> str:
    """The Delta transaction whose version is the epoch of the stream's one writer."""
    return f"stream/{stream}/owner"


def positions(uri: str, stream: str, logs: Iterable[str]) -> dict[str, int]:
    """The last committed position of each log; -1 where there is none."""
    table, logs = open_table(uri), list(logs)
    known = {} if table is None else transactions_of(table, (position_app(stream, log) for log in logs))
    return {log: known.get(position_app(stream, log), -1) for log in logs}


def mark_app(stream: str, log: str, name: str) -> str:
    """The Delta transaction whose version is a number that goes with the position of `log`; see `Piece.marks`."""
    return f"{position_app(stream, log)}#{name}"


def marks(uri: str, stream: str, log: str, names: Sequence[str]) -> dict[str, int]:
    """The last committed marks of a log; those that are not there are left out."""
    apps = {mark_app(stream, log, name): name for name in names}
    table = open_table(uri)
    known = {} if table is None else transactions_of(table, apps)
    return {apps[app]: value for app, value in known.items()}


def marks_of(uri: str, stream: str, logs: Iterable[str], name: str) -> dict[str, int]:
    """The last committed mark of that name of each log; logs without one are left out."""
    apps = {mark_app(stream, log, name): log for log in logs}
    table = open_table(uri)
    known = {} if table is None else transactions_of(table, apps)
    return {apps[app]: value for app, value in known.items()}


def fixed_app(stream: str, name: str) -> str:
    """The Delta transaction whose version is a number that holds for as long as the table has rows of `stream`."""
    return f"stream/{stream}#{name}"


def fixed(uri: str, stream: str, name: str, unknown: int) -> int | None:
    """What `take_over` fixed: `unknown` for a table from before it fixed anything, None where the stream never was."""
    table = open_table(uri)
    known = {} if table is None else transactions_of(table, [owner_app(stream), fixed_app(stream, name)])
    return known.get(fixed_app(stream, name), unknown if known else None)


def take_over(
    uri: str,
    schema: pa.Schema,
    partition_by: Sequence[str],
    stream: str,
    begin: dict[str, int] | None = None,
    fix: Mapping[str, int] | None = None,
) -> int:
    """Makes the caller the only writer of `stream` to the table, created if absent; gives the epoch that fences others.

    Args:
      begin: log -> the first position wanted, for logs that the table does not know yet.
      fix: name -> number, for names that the table does not know yet; see `fixed`.
    """
    create_table(uri, schema, partition_by, _LOG)
    first = {position_app(stream, log): low - 1 for log, low in (begin or {}).items()}
    first |= {fixed_app(stream, name): number for name, number in (fix or {}).items()}
    for _ in attempts(uri):
        table = existing_table(uri)
        known = transactions_of(table, [owner_app(stream), *first])
        epoch = known.get(owner_app(stream), 0) + 1
        new = [(app, at) for app, at in first.items() if app not in known and at >= 0]
        facts = json.dumps({"stream": stream, "epoch": epoch})
        try:
            try_commit(uri, table, Plan([]), [(owner_app(stream), epoch), *new], facts)
        except CommitFailedError:
            continue
        except (DeltaError, OSError) as error:
            raise explain(error, uri) from error
        return epoch
    raise AssertionError("attempts() raises")


def check_owner(table: DeltaTable | TableLog, uri: str, stream: str, epoch: int | None) -> None:
    """Raises:
    Fenced: the stream's writer has another epoch by now; None is a writer that nobody fences.
    """
    if epoch is not None and table.transaction_version(owner_app(stream)) != epoch:
        remedy = "stop one of the two; the newer one goes on where the table stands"
        raise Fenced("another stream has taken this table over", uri, remedy)


class OwnerWatch:
    """Looks whether a stream's tables are still its own; for when it has nothing to commit, and so would not notice.

    Args:
      owned: (table, stream, epoch) triples.
    """

    def __init__(self, owned: Iterable[tuple[str, str, int | None]]) -> None:
        self._owned = [(TableLog(uri), uri, stream, epoch) for uri, stream, epoch in owned]

    def check(self) -> None:
        """Raises:
        Fenced: another one took over.
        """
        for log, uri, stream, epoch in self._owned:
            with contextlib.suppress(UserError):  # the next commit says what is wrong, or all is well again
                log.refresh()
            check_owner(log, uri, stream, epoch)
