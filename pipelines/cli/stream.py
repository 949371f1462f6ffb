"""Commands of the stream."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import BEAM, Gap, Json, LakeOption, run_of

app = typer.Typer()
_FAULTS = "goes wrong on purpose: drop_every=1000 (events), lose_ack_every, busy_every, bytes_per_second, delay_seconds"


@app.command()
def events(
    hub: Annotated[
        list[str] | None, typer.Option("--hub", help="NAME:PARTITIONS; by default what the folder holds")
    ] = None,
    folder: Annotated[str, typer.Option("--folder", help="where the events are kept")] = "events",
    port: Annotated[int, typer.Option("--port", help="0 takes a free one")] = 5672,
    key_file: Annotated[
        str | None, typer.Option("--key-file", help="holds the key; by default $C360_EVENTS_KEY, or the folder's own")
    ] = None,
    retention_hours: Annotated[float | None, typer.Option(help="older events go; by default none")] = None,
    durable: Annotated[bool, typer.Option("--durable", help="acknowledge when the disk has it")] = False,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help=_FAULTS),
    ] = None,
    json: Json = False,
) -> None:
    """A stand-in for Azure Event Hubs on this machine, for trying the stream without Azure."""
    from pipelines.events import faults_of, hubs_of, key_of, run_events
    from transforms.io.event_hubs_loopback.namespace import LoopbackConfig

    seconds = None if retention_hours is None else retention_hours * 3600
    config = LoopbackConfig(
        Path(folder), hubs_of(hub or []), port, key_of(key_file), durable, seconds, faults=faults_of(fault or [])
    )
    run_events(config, json)


@app.command(context_settings=BEAM)
def stream(
    context: typer.Context,
    events: Annotated[
        str,
        typer.Option(
            "--events",
            help="Event Hubs: sb://NAMESPACE.servicebus.windows.net (Azure AD), or env:NAME or file:PATH of a "
            "connection string; or capture:FOLDER, the files of Event Hubs Capture, once",
        ),
    ] = "env:C360_EVENTS",
    lake: LakeOption = "lake",
    hub: Annotated[
        list[str] | None, typer.Option("--hub", help="NAME=TABLE[,TABLE]; by default a hub for each streamed table")
    ] = None,
    group: Annotated[str, typer.Option("--consumer-group")] = "$Default",
    name: Annotated[str, typer.Option("--name", help="tells several streams into one lake apart")] = "events",
    window: Annotated[float, typer.Option("--window", help="seconds of rows in one commit")] = 1.0,
    gap: Gap = "",
    lateness: Annotated[str, typer.Option("--lateness", help="how late a row may come for its session")] = "10m",
    features: Annotated[bool, typer.Option(help="keep features of each person, seconds behind")] = True,
    refine_every: Annotated[
        float,
        typer.Option("--refine-every", min=0.0, help="bring silver and its sessions up to date every so many seconds"),
    ] = 0.0,
    until_idle: Annotated[bool, typer.Option("--until-idle", help="end when the hubs have nothing more")] = False,
    metrics_port: Annotated[int | None, typer.Option("--metrics-port", help="serve Prometheus here")] = None,
    runner: Annotated[str, typer.Option("--runner", help="prism (Beam's local streaming engine) or flink")] = "prism",
    prism: Annotated[str, typer.Option("--prism", help="Prism's program; by default it is found or fetched")] = "",
    flink_master: Annotated[
        str, typer.Option("--flink-master", help="HOST:PORT of a Flink cluster, or [local], one of its own")
    ] = "[local]",
    flink_job_server: Annotated[
        str, typer.Option("--flink-job-server", help="Beam's job server for Flink: a jar or a folder; else Maven's")
    ] = "",
    json: Json = False,
) -> None:
    """Takes events from Event Hubs into bronze, each once, with sessions and features behind, until it is stopped."""
    from pipelines.backfill import run_backfill
    from pipelines.config import Lake
    from pipelines.live import hubs_of, run_stream
    from pipelines.session_gap import gap_for
    from pipelines.stream_config import default_hubs, stream_config
    from pipelines.supervisor import engine_of
    from transforms.io.capture import is_capture

    config = stream_config(
        lake,
        events,
        hubs_of(hub or []) or default_hubs(),
        group,
        name,
        window,
        until_idle,
        runner,
        context.args,
        gap_for(Lake(lake), gap),
        lateness,
        features,
    )
    if is_capture(events):
        return run_backfill(config, run_of("stream", None), json)
    engine = engine_of(config, prism, flink_master, flink_job_server)
    run_stream(config, engine, metrics_port, refine_every, json)
