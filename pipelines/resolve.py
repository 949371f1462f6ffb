"""The command `resolve`: who is who, in the lake or in a person's own files."""

from __future__ import annotations

from pipelines.config import Run
from pipelines.resolve_files import FilesRequest, run_resolve_files


def run_resolve(request: FilesRequest, run: Run, as_json: bool) -> None:
    """On own files; see `resolve_files`."""
    run_resolve_files(request, run, as_json)
