"""The layers, held by reading the imports: kernels <- transforms on Beam <- pipelines; storage in transforms/io."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
STORAGE = {"deltalake", "duckdb", "snowflake", "azure", "adlfs", "fsspec"}
# Wiring: the files that may import Beam. Everything else in transforms is a kernel, usable alone.
WIRING = {
    "transforms/batches.py",
    "transforms/counts.py",
    "transforms/shuffle.py",
    "transforms/sessions/sink.py",
    "transforms/bronze/ingest.py",
    "transforms/bronze/stream.py",
    "transforms/sessions/reconciliation.py",
    "transforms/sessions/sessionize.py",
    "transforms/sessions/stream.py",
    "transforms/identity/connect.py",
    "transforms/identity/follow.py",
    "transforms/identity/match.py",
    "transforms/identity/resolve.py",
    "transforms/silver/refine.py",
    "transforms/gold/assemble.py",
    "transforms/gold/publish.py",
    "transforms/gold/realtime_stream.py",
    "transforms/io/capture.py",
    "transforms/io/delta.py",
    "transforms/io/delta_backfill.py",
    "transforms/io/delta_stream.py",
    "transforms/io/event_hubs.py",
    "transforms/io/event_hubs_write.py",
    "transforms/io/files.py",
}
FILES = sorted(
    p.relative_to(ROOT).as_posix() for d in ("transforms", "pipelines", "recsys") for p in (ROOT / d).rglob("*.py")
)


def imports(path: str) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return found


def tops(path: str) -> set[str]:
    return {name.split(".")[0] for name in imports(path)}


@pytest.mark.parametrize("path", [p for p in FILES if p.startswith("transforms/")])
def test_transforms_never_import_pipelines_or_recsys(path):
    assert not tops(path) & {"pipelines", "recsys", "tests"}


@pytest.mark.parametrize("path", [p for p in FILES if p.startswith("transforms/") and p not in WIRING])
def test_kernels_never_import_beam(path):
    assert "apache_beam" not in tops(path), f"{path} is a kernel; wiring is {sorted(WIRING)}"


@pytest.mark.parametrize("path", [p for p in FILES if not p.startswith("transforms/io/")])
def test_only_io_knows_a_storage_system(path):
    assert not tops(path) & STORAGE


def test_nothing_outside_recsys_imports_tensorflow():
    assert not [p for p in FILES if not p.startswith("recsys/") and tops(p) & {"tensorflow", "tensorflow_transform"}]


def test_the_top_level_is_the_agreed_one():
    allowed = {"pipelines", "transforms", "recsys", "templates", "tests", "setup.py", "requirements.txt", "README.md"}
    # Only what git tracks counts; a checkout may hold environments and lakes.
    import subprocess

    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True)
    if tracked.returncode:  # an exported tree without git: look at the folder itself
        names = {p.name for p in ROOT.iterdir()} & {"src", "lib", "docs"}
    else:
        names = {line.split("/")[0] for line in tracked.stdout.splitlines()} - allowed
    assert not {name for name in names if not name.startswith(".")}
