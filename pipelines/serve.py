"""The command `serve`: a folder of model versions answers over gRPC and REST until it is told to stop."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pipelines.console import Output
from transforms.errors import UsageError, UserError

if TYPE_CHECKING:
    from recsys.serve.server import ServeSpec


def model_folders(model: str, name: str | None) -> dict[str, Path]:
    """Models by name: the folder itself where it holds numbered versions or nothing, else each folder in it.

    Raises:
      UserError: the folder is not there.
    """
    home = Path(model)
    if not home.is_dir():
        raise UserError("there is no such folder of models", model, "make one with the command train")
    inside = sorted(one for one in home.iterdir() if one.is_dir() and not one.name.startswith("."))
    if not inside or any(one.name.isdigit() for one in inside):
        return {name or home.resolve().name: home}
    if name:
        raise UsageError(f"--name {name} is for one model", model, "give its folder, which holds its versions")
    return {one.name: one for one in inside}


def run_serve(model: str, name: str | None, settings: dict[str, Any], as_json: bool) -> None:
    """Serves until SIGINT or SIGTERM, then answers what has come and ends."""
    folders = model_folders(model, name)
    try:
        from recsys.serve.server import ModelServer  # TensorFlow takes seconds to import
    except ImportError as error:
        raise UserError(f"{error.name} is not installed", remedy="install the extra recsys") from None
    server = ModelServer(folders, _spec(settings))
    over = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: over.set())
    server.start()
    _say(server.spec, server.grpc_port, server.rest_port, folders, server.models.models, as_json)
    over.wait()
    server.stop()


def _spec(settings: dict[str, Any]) -> ServeSpec:
    from recsys.serve.batches import BatchRules
    from recsys.serve.server import ServeSpec

    try:
        rules = BatchRules(rows=settings.pop("batch"), pad=settings.pop("pad"), threads=settings.pop("threads"))
        return ServeSpec(**settings, batches=rules)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _say(spec: ServeSpec, grpc_port: int, rest_port: int, folders: Any, models: Any, as_json: bool) -> None:
    out = Output(as_json)
    for name, folder in folders.items():
        version = models[name].current
        told = f"version {version.number}" if version else "no version that can be loaded yet; it is waited for"
        out.say(f"model {name}: {told} ({folder})")
    out.say(f"gRPC on {spec.host}:{grpc_port}, REST on http://{spec.host}:{rest_port}/v1/models; Ctrl-C ends it",
            grpc_port=grpc_port, rest_port=rest_port,
            models={name: one.current.number if one.current else None for name, one in models.items()})  # fmt: skip
    out.close()
    print(end="", flush=True)
