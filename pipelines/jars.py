"""Beam's part of a job's jar for Flink or Spark: found, or built once by Maven from `templates`."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from transforms.errors import UserError

_TEMPLATES = Path(__file__).parents[1] / "templates"
_CACHE = Path("~/.apache_beam/cache/jobs").expanduser()
RUNNERS = ("flink", "spark")


def find_job_jar(runner: str, given: str = "") -> Path:
    """The jar without a pipeline: `given`, $C360_FLINK_JAR or $C360_SPARK_JAR, what was built before; else it is built.

    Raises:
      UserError: it is nowhere, and Maven is not there or could not build it.
    """
    for named in filter(None, (given, os.environ.get(f"C360_{runner.upper()}_JAR", ""))):
        if not Path(named).is_file():
            raise UserError("there is no such jar", named, "leave it out to have it built by Maven")
        return Path(named).absolute()
    pom = _TEMPLATES / runner / "jar" / "pom.xml"
    cached = _CACHE / f"{runner}-{hashlib.sha256(pom.read_bytes()).hexdigest()[:16]}.jar"
    return cached if cached.exists() else _build(pom, cached)


def _build(pom: Path, target: Path) -> Path:
    """By Maven, beside the target, which gets its name when it is whole."""
    maven = shutil.which("mvn")
    if maven is None:
        remedy = "install Maven and Java, or give the jar with --base"
        raise UserError(f"the jar of {pom.parents[1].name} is not here, nor Maven to build it", str(target), remedy)
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as scratch:
        shutil.copy(pom, scratch)
        command = [maven, "-B", "-q", "-f", f"{scratch}/pom.xml", "package"]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        if done.returncode != 0:
            errors = [line for line in done.stdout.splitlines() if line.startswith("[ERROR]")]
            why = errors[0].removeprefix("[ERROR] ") if errors else f"exit {done.returncode}"
            raise UserError(
                f"Maven could not build the jar: {why}", str(pom), f"run `mvn -f {pom} package` to see more"
            )
        built = [path for path in Path(scratch, "target").glob("*.jar") if not path.name.startswith("original-")]
        os.replace(built[0], target)
    return target
