"""The wheel that Beam stages and that a worker image installs: every module, and the templates that commands read."""

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SHIPPED = ("pipelines", "transforms", "recsys", "templates")


def tracked() -> set[str]:
    """What git knows, or, in a tree without git, what is there; caches of Python are neither."""
    listed = subprocess.run(["git", "ls-files", *SHIPPED], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return set(listed.stdout.split("\n")[:-1])
    files = (path for top in SHIPPED for path in (ROOT / top).rglob("*") if path.is_file())
    return {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    for name in [*tracked(), "setup.py"]:
        (folder / "tree" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / "tree" / name)
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--wheel-dir", folder, folder / "tree"]
    subprocess.run(command, check=True, timeout=300)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_every_module_and_template_and_no_tests(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    assert names == tracked()
    assert {"templates/flink/pom.xml", "templates/snowflake/V001__schemas.sql"} <= names


def test_an_installed_wheel_finds_its_templates(wheel, tmp_path):
    """Read from where it was unpacked to, with nothing of this tree on the path."""
    zipfile.ZipFile(wheel).extractall(tmp_path)
    code = "from pipelines.flink import POM; from transforms.warehouse.ddl import migrations; "
    code += "print(len(migrations()), POM)"
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout.split()
    assert int(said[0]) == len(list((ROOT / "templates/snowflake").glob("V*.sql")))
    assert Path(said[1]).is_relative_to(tmp_path) and Path(said[1]).exists()
