"""Options that several commands have, and what is made of them."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from transforms.errors import UsageError

if TYPE_CHECKING:
    from pipelines.config import Run
    from pipelines.options import Engine

LakeOption = Annotated[str, typer.Option("--lake", help="a folder, abfss://... or az://...", envvar="C360_LAKE")]
Json = Annotated[bool, typer.Option("--json", help="one JSON object instead of lines")]
Runner = Annotated[str, typer.Option("--runner", help="a Beam runner; by default in this process")]
RunTime = Annotated[str | None, typer.Option("--run-time", help="the run's time (ISO, UTC); by default now")]
Country = Annotated[str, typer.Option("--country", help="alpha-2 country of phone numbers without one")]
Gap = Annotated[
    str,
    typer.Option("--gap", help="silence that ends a session: 30m, or mobile=10m,desktop=30m; by default the lake's"),
]
Require = Annotated[list[str] | None, typer.Option("--require", help="a table that must have come; may be given again")]
MaxRejected = Annotated[float, typer.Option("--max-rejected", help="share of a table's rows that may be refused")]
MaxShrink = Annotated[float, typer.Option("--max-shrink", help="share of its customers that gold may lose")]
BEAM = {"allow_extra_args": True, "ignore_unknown_options": True}


def run_of(command: str, at: str | None = None) -> Run:
    """One run of a command, as of `--run-time`."""
    from pipelines.config import Run

    return Run(command, started_at=moment_of(at) or datetime.now(UTC))


def moment_of(text: str | None) -> datetime | None:
    """A time that was given, in UTC where it has no zone.

    Raises:
      UsageError: it is no time.
    """
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise UsageError(f"{text!r} is no time", remedy="write it as 2010-12-10T00:00:00Z") from None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def engine_of(runner: str, context: typer.Context) -> Engine:
    """The runner that was asked for, with the options that were not ours."""
    from pipelines.options import Engine

    return Engine(runner, tuple(context.args))


Repeats = Annotated[
    bool | None, typer.Option("--repeats/--new-only", help="may items come again? by default as in the file")
]
Seed = Annotated[int, typer.Option("--seed", help="of what is drawn by chance")]
Rejects = Annotated[str | None, typer.Option("--rejects", help="a file for the rows that cannot be used")]
Format = Annotated[str | None, typer.Option("--format", help="jsonl, csv or parquet; by default by name")]
InteractionMap = Annotated[list[str] | None, typer.Option("--map", help="user=COLUMN, item=COLUMN, time= ...")]
