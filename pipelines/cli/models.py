"""Commands around a model: made, served."""

from __future__ import annotations

from typing import Annotated

import typer

from pipelines.cli.options import Format, InteractionMap, Json, LakeOption, Rejects, Repeats, Seed

app = typer.Typer()


@app.command()
def train(
    model: Annotated[str, typer.Option("--model", help="a folder; the next version is written into it")],
    interactions: Annotated[
        str | None, typer.Option("--interactions", help="a file, a folder or a glob; by default silver of the lake")
    ] = None,
    items: Annotated[
        str | None, typer.Option("--items", help="all items there are: name, and category, price, in_stock if known")
    ] = None,
    evaluate: Annotated[
        str, typer.Option("--evaluate", help="what it is judged by: leave-last-out, or time:DATE")
    ] = "leave-last-out",
    k: Annotated[int, typer.Option("--k", help="how long the lists are that it is judged by")] = 10,
    repeats: Repeats = None,
    seed: Seed = 7,
    map: InteractionMap = None,
    rejects: Rejects = None,
    format: Format = None,
    lake: LakeOption = "lake",
    json: Json = False,
) -> None:
    """Learns a model for the model server from your own file or the lake; one that loses to a baseline is not kept."""
    from pipelines.recommend import Wish
    from pipelines.train import run_train, run_train_of_lake

    if interactions is None:
        return run_train_of_lake(lake, model, Wish(k, evaluate, repeats, seed), json)
    run_train(interactions, items, model, Wish(k, evaluate, repeats, seed), map or [], rejects, format, json)


@app.command()
def serve(
    model: Annotated[str, typer.Option("--model", help="a folder of numbered versions, or of such folders")],
    name: Annotated[
        str | None, typer.Option("--name", help="what requests call it; by default the folder's name")
    ] = None,
    host: Annotated[str, typer.Option("--host", help="who may ask: by default this machine only")] = "127.0.0.1",
    grpc_port: Annotated[int, typer.Option("--grpc-port", help="0 for a free one")] = 8500,
    rest_port: Annotated[int, typer.Option("--rest-port", help="0 for a free one")] = 8501,
    poll: Annotated[float, typer.Option("--poll", help="seconds between looks for a new version")] = 1.0,
    grace: Annotated[float, typer.Option("--grace", help="seconds that requests have left when it ends")] = 20.0,
    batch: Annotated[int, typer.Option("--batch", help="rows that are answered at once")] = 32,
    pad: Annotated[bool, typer.Option("--pad/--no-pad", help="may histories of other lengths go together?")] = True,
    threads: Annotated[int, typer.Option("--threads", help="batches that run at once")] = 2,
    json: Json = False,
) -> None:
    """Answers over TensorFlow Serving's gRPC and REST API with the newest version of a model."""
    from pipelines.serve import run_serve

    settings = {"host": host, "grpc_port": grpc_port, "rest_port": rest_port, "poll_seconds": poll}
    run_serve(model, name, settings | {"grace_seconds": grace, "batch": batch, "pad": pad, "threads": threads}, json)
