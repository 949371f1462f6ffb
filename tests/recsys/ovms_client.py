"""OpenVINO Model Server's client, which speaks TensorFlow Serving's API: a second reading of it beside the stubs."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

PACKAGE = "ovmsclient==2023.1"


def ovms_home() -> Path:
    """A folder to import it from, fetched once without what it depends on (which is here, newer)."""
    home = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "customer360-ovmsclient"
    if not (home / "ovmsclient").exists():
        install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(home), PACKAGE]
        subprocess.run(install, check=True, timeout=300)
    return home
