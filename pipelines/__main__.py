"""The command line: `python -m pipelines COMMAND`, installed as `c360`."""

from __future__ import annotations

import logging
import os
import sys

import typer

from pipelines.cli import lake, models, own_files, stream, warehouse

app = typer.Typer(
    help="Customer 360 on Apache Beam: raw files to bronze, silver and gold Delta tables. "
    "With --verbose, a command also shows what Beam logs.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for family in (lake, own_files, models, stream):
    app.add_typer(family.app)
app.add_typer(warehouse.app, name="warehouse")


def main() -> None:
    """Entry point of `c360`."""
    from pipelines.console import answer

    verbose = "--verbose" in sys.argv
    logging.basicConfig(level=os.environ.get("C360_LOG", "INFO" if verbose else "ERROR"))
    if not verbose:  # these log what they raise to us anyway
        for name in ("apache_beam.runners.common", "snowflake.connector"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    as_json = "--json" in sys.argv
    arguments = [argument for argument in sys.argv[1:] if argument != "--verbose"]
    answer(lambda: app(arguments, standalone_mode=not as_json), as_json)


if __name__ == "__main__":
    main()
