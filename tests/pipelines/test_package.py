"""A command's next Beam job as a jar: what is in it, and when nothing is left."""

import json
import zipfile

import pytest
from apache_beam.portability.api import beam_runner_api_pb2
from apache_beam.runners.portability.abstract_job_service import UberJarBeamJob
from google.protobuf import json_format

from pipelines import gold
from pipelines.__main__ import app
from pipelines.options import Engine
from pipelines.package import run_package
from tests.pipelines.conftest import WHEN, transaction, write_lines
from transforms.errors import UsageError, UserError
from transforms.io.delta import open_table

POOL = ("--environment_type=EXTERNAL", "--environment_config=localhost:50000")


@pytest.fixture
def base(tmp_path):
    """Stands for Beam's classes."""
    path = tmp_path / "base.jar"
    with zipfile.ZipFile(path, "w") as jar:
        jar.writestr("org/Some.class", b"code")
    return path


@pytest.fixture
def package(base, tmp_path, shop, capsys):
    """package("bronze", ...) -> (what was said, the jar's path)"""

    def run(*command: str, runner: str = "flink", workers=POOL):
        out = tmp_path / "jobs/job.jar"
        arguments = [*command, "--lake", shop.lake.uri, "--run-time", WHEN.isoformat(), *workers]
        run_package(runner, str(out), str(base), arguments, app, True)
        return json.loads(capsys.readouterr().out), out

    return run


def pipeline_in(path) -> tuple[set[str], dict]:
    """(the steps' names, the options) of the job in a jar."""
    with zipfile.ZipFile(path) as jar:
        assert jar.read("org/Some.class") == b"code"
        manifest = json.loads(jar.read(f"{UberJarBeamJob.PIPELINE_FOLDER}/pipeline-manifest.json"))
        name = manifest["defaultJobName"]
        folder = f"{UberJarBeamJob.PIPELINE_FOLDER}/{name}"
        proto = json_format.Parse(jar.read(f"{folder}/pipeline.json"), beam_runner_api_pb2.Pipeline())
        options = json.loads(jar.read(f"{folder}/pipeline-options.json"))
    return {step.unique_name for step in proto.components.transforms.values()}, options


def test_the_jar_holds_the_next_job_and_nothing_has_run_yet(package, shop, tmp_path):
    write_lines(tmp_path / "in/transactions/a.jsonl", [transaction(n) for n in range(3)])
    said, jar = package("bronze", "--input", str(tmp_path / "in"), "--parallelism=4")
    assert said["jar"] == str(jar) and said["command"].startswith("bronze --input")
    steps, options = pipeline_in(jar)
    assert "WriteBronze CUSTOMER_TRANSACTIONS" in steps
    assert options["beam:option:environment_type:v1"] == "EXTERNAL"
    assert str(options["beam:option:parallelism:v1"]) == "4"
    assert shop.rows("bronze", "CUSTOMER_TRANSACTIONS") == []
    assert [path.name for path in jar.parent.iterdir()] == ["job.jar"]


def test_the_command_line_takes_the_command_s_own_options_behind_its_name(base, shop, tmp_path, capsys):
    write_lines(tmp_path / "in/transactions/a.jsonl", [transaction(1)])
    jar = tmp_path / "job.jar"
    line = ["package", "--runner", "flink", "--base", str(base), "--out", str(jar), "--json", "--", "bronze"]
    app([*line, "--input", str(tmp_path / "in"), "--lake", shop.lake.uri, *POOL], standalone_mode=False)
    assert json.loads(capsys.readouterr().out)["jar"] == str(jar)
    assert "WriteBronze CUSTOMER_TRANSACTIONS" in pipeline_in(jar)[0]


def test_when_nothing_is_left_there_is_no_jar(package, shop, tmp_path):
    write_lines(tmp_path / "in/transactions/a.jsonl", [transaction(n) for n in range(3)])
    shop.bronze(transactions=tmp_path / "in/transactions")
    said, jar = package("bronze", "--input", str(tmp_path / "in"))
    assert said["jar"] is None and not jar.exists()


def test_what_gold_does_after_its_job_is_done_by_the_next_package(package, shop, tmp_path, monkeypatch):
    """The job wrote all tables but the moves between segments: these are made here, and no job is left."""
    write_lines(tmp_path / "in/a.jsonl", [transaction(n) for n in range(9)])
    shop.bronze(transactions=tmp_path / "in")
    shop.silver()
    with monkeypatch.context() as patch:
        patch.setattr(gold, "_record_moves", lambda *_: None)
        shop.gold()
    assert open_table(shop.lake.gold("segment_moves")) is None
    said, _ = package("gold")
    assert said["jar"] is None
    assert open_table(shop.lake.gold("segment_moves")) is not None
    assert gold.plan(shop.lake, shop.run("gold")) is None


def test_sparks_runner_is_told_where_rows_are_kept(package, tmp_path):
    write_lines(tmp_path / "in/transactions/a.jsonl", [transaction(1)])
    _, jar = package("bronze", "--input", str(tmp_path / "in"), runner="spark")
    assert pipeline_in(jar)[1]["beam:option:storage_level:v1"] == "MEMORY_ONLY"


def test_a_job_whose_python_nobody_would_run_is_refused(package, tmp_path):
    write_lines(tmp_path / "in/transactions/a.jsonl", [transaction(1)])
    with pytest.raises(UsageError, match=r"nobody would run the Python of this job.*--environment_type=EXTERNAL"):
        package("bronze", "--input", str(tmp_path / "in"), workers=())
    assert Engine().in_process  # and nothing is handed over any more


@pytest.mark.parametrize(
    ("runner", "arguments", "message"),
    [
        ("dataflow", ["gold"], "no jar for 'dataflow'"),
        ("flink", [], "which command"),
        ("flink", ["show"], "no Beam job"),
    ],
)
def test_what_cannot_be_packaged_is_wrong_use(base, tmp_path, runner, arguments, message):
    with pytest.raises(UsageError, match=message):
        run_package(runner, str(tmp_path / "job.jar"), str(base), arguments, app, True)


def test_a_base_that_is_not_there_is_said(tmp_path):
    with pytest.raises(UserError, match="there is no such jar"):
        run_package("flink", str(tmp_path / "job.jar"), str(tmp_path / "no.jar"), ["gold"], app, True)


def test_without_maven_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr("pipelines.jars._CACHE", tmp_path / "cache")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("C360_FLINK_JAR", raising=False)
    with pytest.raises(UserError, match="nor Maven to build it"):
        run_package("flink", str(tmp_path / "job.jar"), "", ["gold"], app, True)
