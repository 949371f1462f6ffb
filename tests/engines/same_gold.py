"""The daily batch on Flink and on Spark, each really started and given jars of `package`: the gold of this process.

Not collected by itself yet: the cluster came up (two TaskManagers), but no run of this file came to its end on the
crowded machine it was written on. Run it by `pytest -n 0 tests/engines/same_gold.py`; then give it a
name that pytest collects.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest

from pipelines import bronze, gold, sessions, silver
from pipelines.__main__ import app
from pipelines.config import GOLD, Lake, Run
from pipelines.dataset import inputs_of
from pipelines.package import run_package
from tests.engines.clusters import boot_script, flink_cluster, missing, spark_submit
from tests.pipelines.conftest import WHEN, customer, item, transaction, write_lines
from transforms.io.delta import open_table, read_table

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=f"there is no {missing()}")]
AS_OF = "2010-12-31T23:59:59Z"
Submit = Callable[[Path], None]


def event(number: int) -> dict:
    return {
        "EVENT_ID": f"E{number}",
        "CUSTOMER_ID": f"C{number % 5}",
        "SESSION_ID": f"S{number // 3}",
        "EVENT_TYPE": ("PAGE_VIEW", "CLICK", "CART_ADD")[number % 3],
        "EVENT_DATE": f"2010-12-{number % 28 + 1:02d}T14:{number % 60:02d}:00Z",
        "PRODUCT_ID": f"P{number % 3}",
        "DEVICE_TYPE": "MOBILE",
    }


@pytest.fixture(scope="module")
def raw(tmp_path_factory) -> Path:
    """A small day with duplicates and refused rows in it."""
    folder = tmp_path_factory.mktemp("raw")
    orders = [transaction(n, TOTAL_AMOUNT=round(10 + n / 7, 2)) for n in range(120)]
    write_lines(folder / "transactions/a.jsonl", orders + orders[:7] + [transaction(900, TOTAL_AMOUNT="much")])
    write_lines(folder / "items/a.jsonl", [item(n) for n in range(120)])
    write_lines(folder / "customers/a.jsonl", [customer(n) for n in range(5)])
    write_lines(folder / "behavioral/a.jsonl", [event(n) for n in range(90)])
    return folder


def gold_of(lake: Lake) -> dict[str, list[dict]]:
    tables = {name: open_table(lake.gold(name)) for name in GOLD}
    return {name: sorted(read_table(lake.gold(name)).to_pylist(), key=str) for name, t in tables.items() if t}


@pytest.fixture(scope="module")
def here(raw, tmp_path_factory) -> dict[str, list[dict]]:
    lake = Lake(str(tmp_path_factory.mktemp("here") / "lake"))
    bronze.ingest(lake, Run("bronze", WHEN), inputs_of(str(raw)))
    silver.refine(lake, Run("silver", WHEN))
    sessions.cut(lake, Run("silver", WHEN))
    gold.assemble(lake, Run("gold", WHEN), as_of=datetime.fromisoformat(AS_OF))
    return gold_of(lake)


def run_day(runner: str, raw: Path, folder: Path, capsys, submit: Submit) -> tuple[Lake, dict[str, int]]:
    """Each command packaged and its jar submitted until nothing is left of it; (the lake, jars by command)."""
    lake, done = Lake(str(folder / "lake")), {}
    workers = ["--environment_type=PROCESS", f'--environment_config={{"command": "{boot_script(folder)}"}}']
    own = ["--lake", lake.uri, "--run-time", WHEN.isoformat(), "--parallelism=2", *workers]
    for name, options in (("bronze", ["--input", str(raw)]), ("silver", []), ("gold", ["--as-of", AS_OF])):
        for number in range(4):
            jar = folder / f"{runner}_{name}{number}.jar"
            run_package(runner, str(jar), "", [name, *options, *own], app, True)
            if json.loads(capsys.readouterr().out)["jar"] is None:
                break
            submit(jar)
        done[name] = number
    return lake, done


def assert_same(found: dict[str, list[dict]], wanted: dict[str, list[dict]]) -> None:
    assert found.keys() == wanted.keys() and "customer_360" in found
    for name, rows in wanted.items():
        assert len(found[name]) == len(rows), name
        for one, other in zip(found[name], rows, strict=True):
            assert one.keys() == other.keys()
            for column, value in other.items():
                assert _equal(one[column], value), f"{name}.{column}: {one[column]!r} is not {value!r}"


def _equal(one: object, other: object) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-9, abs_tol=1e-9) or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_equal(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_equal, one, other))
    return one == other


def test_flink_with_two_task_managers_makes_the_same_gold(raw, here, tmp_path, capsys):
    with flink_cluster(tmp_path / "flink") as cluster:

        def submit(jar: Path) -> None:
            """As Data Factory: the jar lies where Flink takes them from, the rest is REST."""
            named = cluster.jars / f"run1_{jar.name}"
            jar.rename(named)
            job = cluster.run(named.name)
            assert job["state"] == "FINISHED", cluster.why(job)
            named.unlink()

        lake, jars = run_day("flink", raw, tmp_path, capsys, submit)
        assert jars == {"bronze": 1, "silver": 2, "gold": 1}
        assert_same(gold_of(lake), here)


def test_spark_with_a_local_master_makes_the_same_gold(raw, here, tmp_path, capsys):
    def submit(jar: Path) -> None:
        done = spark_submit(jar, tmp_path)
        assert done.returncode == 0, done.stderr[-4000:]
        jar.unlink()

    lake, jars = run_day("spark", raw, tmp_path, capsys, submit)
    assert jars == {"bronze": 1, "silver": 2, "gold": 1}
    assert_same(gold_of(lake), here)
