"""What a person sees: a few lines a command, or one JSON object for machines."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn
from rich.table import Table
from rich.text import Text

from transforms.errors import UsageError, UserError
from transforms.progress import METER

_BAR_SECONDS, _LINE_SECONDS = 0.2, 10.0


@dataclass
class Output:
    """Prints lines for a person, or collects facts and prints them as one JSON object at the end."""

    as_json: bool = False
    facts: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._out = Console(highlight=False, soft_wrap=True)
        self._err = Console(stderr=True, highlight=False)

    def say(self, line: str, **facts: Any) -> None:
        self.facts |= facts
        if not self.as_json:
            self._out.print(Text(line))  # data is no markup

    def table(self, name: str, rows: Sequence[Mapping[str, Any]]) -> None:
        self.facts[name] = rows
        if self.as_json or not rows:
            return
        shown = Table(box=None, pad_edge=False, header_style="bold")
        numbers = {key for key in rows[0] if all(isinstance(r[key], int | float | type(None)) for r in rows)}
        for key in rows[0]:
            shown.add_column(Text(key), justify="right" if key in numbers else "left")
        for row in rows:
            shown.add_row(*(Text(_cell(value)) for value in row.values()))
        self._out.print(shown)

    @contextmanager
    def working(self, what: str) -> Iterator[None]:
        """Shows how far `METER` is while it lasts: a bar on a terminal, else a line now and then; no JSON."""
        METER.restart()
        if self.as_json:
            yield
            return
        over = threading.Event()
        show = self._bar if self._err.is_terminal else self._lines
        shown = threading.Thread(target=show, args=(what, over), daemon=True)
        shown.start()
        try:
            yield
        finally:
            over.set()
            shown.join()

    def _bar(self, what: str, over: threading.Event) -> None:
        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(24), TextColumn("{task.fields[words]}"))
        with Progress(*columns, console=self._err, transient=True, refresh_per_second=5) as progress:
            task = progress.add_task(what, total=None, words="")
            while not over.wait(_BAR_SECONDS):
                share = METER.share()
                total = None if share is None else 1.0
                progress.update(task, total=total, completed=share or 0.0, words=METER.words())

    def _lines(self, what: str, over: threading.Event) -> None:
        while not over.wait(_LINE_SECONDS):
            self._err.print(Text(f"{what}: {METER.words() or 'working'}"), soft_wrap=True)

    def close(self) -> None:
        if self.as_json:
            print(json.dumps(self.facts, default=str, ensure_ascii=False))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:,.4g}"
    return str(value)


def answer(command: Callable[[], None], as_json: bool = False) -> None:
    """Runs a command; what the user can mend is one line on the error stream (or one JSON object), no traceback.

    Exit codes: 2 for wrong use, 1 for anything else that failed.
    """
    try:
        command()
    except typer.TyperException as error:  # raised to us only where errors are to be JSON
        fail(UsageError(getattr(error, "format_message", error.__str__)(), remedy="see --help"), as_json)
    except UserError as error:
        fail(error, as_json)
    except Exception as error:  # Beam wraps what a worker raised; the user's part of it is what counts
        cause = user_cause(error)
        if cause is None and isinstance(error, OSError) and error.filename:  # a full disk, no permission
            cause = UserError(
                str(error.strerror), where=str(error.filename), remedy="check the path and its permissions"
            )
        if cause is None:
            raise
        fail(cause, as_json)


def user_cause(error: BaseException | None) -> UserError | None:
    """The `UserError` behind a chain of exceptions, if there is one."""
    seen = set()
    while error is not None and id(error) not in seen:
        if isinstance(error, UserError):
            return error
        seen.add(id(error))
        error = error.__cause__ or error.__context__
    return None


def fail(error: UserError, as_json: bool = False) -> None:
    what = re.sub(r" \[while running '.*'\]$", "", error.what)  # Beam says so; a person did not ask
    if as_json:
        told = {"what": what, "where": error.where, "remedy": error.remedy}
        print(json.dumps({"error": told}, ensure_ascii=False), file=sys.stderr)
    else:
        line = Text.assemble(("error: ", "bold red"), str(UserError(what, error.where, error.remedy)))
        Console(stderr=True, highlight=False, soft_wrap=True).print(line)
    sys.exit(2 if isinstance(error, UsageError) else 1)


def counted(count: int, thing: str) -> str:
    """ "1 row", "2 rows"."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"
