"""Which stream brings a hub into the lake: one only, since each counts by itself how far it has read."""

from __future__ import annotations

from pipelines.config import Lake
from pipelines.stream_config import StreamConfig
from transforms.contracts import Contract, contract
from transforms.errors import UserError
from transforms.io.delta import arrow_schema, open_table
from transforms.io.delta_property import keep_property, table_property

_KEPT = "c360.stream_of_hub"


def check_hub_owners(config: StreamConfig) -> None:
    """That no stream of another name brings one of the hubs into one of its tables: each event would be there twice.

    Raises:
      UserError: one does.
    """
    for hub, table in _pairs(config):
        kept = table_property(Lake(config.lake).bronze(table), f"{_KEPT}.{hub}")
        if kept not in (None, config.name):
            what = f"the stream {kept!r} brings {hub} into {table.name.lower()}, by {config.name!r} it would come twice"
            raise UserError(what, config.lake, f"give --name {kept}, or another lake")


def keep_hub_owners(config: StreamConfig) -> None:
    """Keeps with each table, which is there, which stream brings which hub into it."""
    for hub, table in _pairs(config):
        uri = Lake(config.lake).bronze(table)
        stored = open_table(uri)
        if stored is not None:
            keep_property(uri, arrow_schema(stored), f"{_KEPT}.{hub}", config.name)


def _pairs(config: StreamConfig) -> list[tuple[str, Contract]]:
    return [(hub, contract(table)) for hub, tables in config.hubs.items() for table in tables]
