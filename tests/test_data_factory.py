"""Data Factory's pipelines: known to Azure's models, and run by data-factory-testing-framework with what may happen."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from pipelines.__main__ import app
from pipelines.adf import FOLDER, TEMPLATE, arm_template, as_text
from tests.homes import data_factory

PROGRAM = Path(__file__).parent / "data_factory.py"
SERVICE, PROFILES = {"name": "service", "required": True}, {"name": "profiles", "required": False}
DAY = {"date": "2010-12-31", "sources": [SERVICE, PROFILES]}
THERE = {"activity": "Landed", "results": [["Succeeded", {"exists": True}]]}
FAILS, WORKS = ["Failed", {}], ["Succeeded", {}]


def job(*states):
    return {"activity": "Look", "results": [["Succeeded", {"state": state}] for state in states]}


def packaged(*jars):
    return {"activity": "Package", "results": [["Succeeded", {"customOutput": {"jar": jar}}] for jar in jars]}


STARTED = {"activity": "Start", "results": [["Succeeded", {"jobid": "j1"}]]}
SCENARIOS = {
    "whole": {"pipeline": "c360_master", "parameters": DAY, "outcomes": [THERE]},
    "failing": {
        "pipeline": "c360_master",
        "parameters": DAY,
        "outcomes": [THERE, {"activity": "Run Command", "match": "--table service", "results": [FAILS]}],
    },
    "mended": {
        "pipeline": "c360_master",
        "parameters": DAY,
        "outcomes": [THERE, {"activity": "Run Command", "match": "pipelines gold", "results": [FAILS, FAILS, WORKS]}],
    },
    "shut": {
        "pipeline": "c360_master",
        "parameters": DAY,
        "outcomes": [THERE, {"activity": "Gate", "match": "gate silver", "results": [FAILS]}],
    },
    "required is missing": {
        "pipeline": "c360_master",
        "parameters": DAY,
        "outcomes": [{"activity": "Landed", "match": "service", "results": [["Succeeded", {"exists": False}]]}, THERE],
    },
    "optional is missing": {
        "pipeline": "c360_master",
        "parameters": DAY,
        "outcomes": [{"activity": "Landed", "match": "profiles", "results": [["Succeeded", {"exists": False}]]}, THERE],
    },
    "storage is down": {
        "pipeline": "c360_master",
        "parameters": DAY,
        "outcomes": [{"activity": "Landed", "results": [FAILS]}],
    },
    "nobody hears": {
        "pipeline": "c360_failure",
        "parameters": {"step": "silver", "date": "2010-12-31", "message": "m"},
        "outcomes": [{"activity": "Alert", "results": [FAILS]}],
    },
    "flink": {
        "pipeline": "c360_gold_aggregation",
        "parameters": {"date": "2010-12-31", "runTime": "R", "launcher": "flink"},
        "outcomes": [packaged("a.jar", "b.jar", None), STARTED, job("RUNNING", "RUNNING", "FINISHED")],
    },
    "flink fails once": {
        "pipeline": "c360_gold_aggregation",
        "parameters": {"date": "2010-12-31", "runTime": "R", "launcher": "flink"},
        "outcomes": [packaged("a.jar", "a.jar", None), STARTED, job("FAILED", "FINISHED")],
    },
    "spark": {
        "pipeline": "c360_gold_aggregation",
        "parameters": {"date": "2010-12-31", "runTime": "R", "launcher": "spark"},
        "outcomes": [packaged("a.jar", None)],
    },
    "nowhere": {
        "pipeline": "c360_attempt",
        "parameters": {"step": "s", "command": "silver", "launcher": "cloud"},
    },
    "late": {
        "pipeline": "c360_landed",
        "parameters": {"folderPath": "landing/2010-12-31/service"},
        "outcomes": [THERE],
    },
    "early": {
        "pipeline": "c360_landed",
        "parameters": {"folderPath": "landing/2999-12-31/service"},
        "outcomes": [THERE],
    },
}


def tell(command: str, folder: Path, said: str = ""):
    python, environment = data_factory()
    done = subprocess.run(
        [python, PROGRAM, command, folder], input=said, env=environment, capture_output=True, text=True, timeout=500
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


class Ran:
    """What a scenario ran."""

    def __init__(self, told) -> None:
        self.status, self.trace = told["status"], told["trace"]

    def of(self, activity: str) -> list[dict]:
        return [line["properties"] for line in self.trace if line["activity"] == activity]

    def commands(self) -> list[str]:
        """What the nodes ran, in order, from `-m pipelines` on."""
        lines = [line["properties"]["command"] for line in self.trace if line["type"] == "Custom"]
        return [re.sub(r' > outputs.json"$', "", line).partition("-m pipelines ")[2] for line in lines]

    def names(self) -> list[str]:
        return [line["activity"] for line in self.trace]


@pytest.fixture(scope="module")
def ran() -> dict[str, Ran]:
    told = tell("run", FOLDER, json.dumps(SCENARIOS))
    return {name: Ran(scenario) for name, scenario in told.items()}


LAKE = "abfss://lake@ACCOUNT.dfs.core.windows.net/customer360"
AT = "2011-01-01T02:00:00Z"
GATE = f"--lake {LAKE} --run-time {AT} --max-rejected 0.05 --max-shrink 0.2"


@pytest.mark.slow
class TestRuns:
    """The master and all its parts, by the framework."""

    def test_a_day_runs_each_layer_behind_the_gate_of_the_one_before(self, ran):
        assert ran["whole"].status == "Succeeded"
        assert ran["whole"].commands() == [
            f"bronze --table {source} --input azfs://ACCOUNT/landing/2010-12-31/{source} --lake {LAKE}"
            f" --run-time {AT} --json"
            for source in ("service", "profiles")
        ] + [
            f"gate bronze {GATE} --require service --json",
            f"silver --lake {LAKE} --country GB --run-time {AT} --json",
            f"gate silver {GATE}  --json",
            f"resolve --lake {LAKE} --run-time {AT} --json",
            f"gold --lake {LAKE} --as-of 2010-12-31T23:59:59.999999Z --run-time {AT} --json",
            f"gate gold {GATE}  --json",
            "warehouse init --warehouse snowflake://c360 --json",
            f"warehouse load --lake {LAKE} --warehouse snowflake://c360 --run-time {AT} --json",
            f"gate warehouse {GATE} --warehouse snowflake://c360  --json",
        ]
        assert not {"Alert", "Dead Letter", "Back Off"} & set(ran["whole"].names())

    def test_a_source_that_fails_is_tried_again_then_kept_told_of_and_stops_the_day(self, ran):
        day = ran["failing"]
        assert day.status == "Failed"
        assert [line["waitTimeInSeconds"] for line in day.of("Back Off")] == [60, 180, 540, 1]
        assert sum("--table service" in command for command in day.commands()) == 4
        [copy] = day.of("Dead Letter")
        assert copy["inputs"][0]["parameters"] == {"container": "landing", "folder": "2010-12-31/service"}
        kept = copy["outputs"][0]["parameters"]
        assert kept["container"] == "deadletter" and re.fullmatch(r"2010-12-31/service/run\d+", kept["folder"])
        [alert] = day.of("Alert")
        assert alert["body"]["step"] == "bronze-service" and alert["body"]["stops"] is True
        assert alert["body"]["message"] == "bronze-service failed 4 times"
        assert alert["authentication"]["type"] == "MSI"
        assert any("--table profiles" in command for command in day.commands())  # the other branch is not its victim
        assert not {"Bronze Gate", "Silver Processing", "Gold Aggregation", "Snowflake Load"} & set(day.names())

    def test_a_retry_that_works_lets_the_day_go_on(self, ran):
        day = ran["mended"]
        assert day.status == "Succeeded"
        assert [line["waitTimeInSeconds"] for line in day.of("Back Off")] == [60, 180]
        assert [command.split()[0] for command in day.commands()] == [
            *("bronze", "bronze", "gate", "silver", "gate", "resolve"),
            *("gold", "gold", "gold", "gate", "warehouse", "warehouse", "gate"),
        ]
        assert "Alert" not in day.names()

    def test_a_shut_gate_stops_the_day_at_once_and_is_told(self, ran):
        day = ran["shut"]
        assert day.status == "Failed" and day.commands()[-1].startswith("gate silver")
        assert day.of("Alert")[0]["body"]["message"].startswith("the gate behind silver is shut")
        assert not {"Gold Aggregation", "Resolve Persons", "Back Off", "Dead Letter"} & set(day.names())

    def test_a_missing_source_stops_the_day_only_if_it_is_required(self, ran):
        stopped, went_on = ran["required is missing"], ran["optional is missing"]
        assert (stopped.status, went_on.status) == ("Failed", "Succeeded")
        assert stopped.of("Alert")[0]["body"]["message"] == "no files of service for 2010-12-31"
        assert went_on.of("Alert")[0]["body"]["stops"] is False
        assert "Snowflake Load" in went_on.names() and "Silver Processing" not in stopped.names()
        assert ran["storage is down"].status == "Failed" and "Alert" in ran["storage is down"].names()

    def test_an_alert_that_fails_does_not_make_a_failure_good(self, ran):
        assert ran["nobody hears"].status == "Failed" and "Stop" in ran["nobody hears"].names()

    def test_flink_runs_job_after_job_until_nothing_is_left_of_the_command(self, ran):
        gold = ran["flink"]
        assert gold.status == "Succeeded"
        assert len(gold.of("Package")) == 3 and len(gold.of("Start")) == 2
        jar = re.search(r"--out (\S+)", gold.commands()[0])[1]
        assert re.fullmatch(r"/mnt/flink-jars/flink-web-upload/run\d+_gold\.jar", jar)
        start = gold.of("Start")[0]
        assert (
            start["url"] == f"http://flink-rest.internal:8081/jars/{Path(jar).name}/run" and start["method"] == "POST"
        )
        assert start["body"] == {"entryClass": "org.apache.beam.runners.flink.FlinkPipelineRunner"}
        assert [line["url"] for line in gold.of("Look")] == ["http://flink-rest.internal:8081/jobs/j1"] * 4
        assert "-- gold --lake" in gold.commands()[0] and "--environment_type=EXTERNAL" in gold.commands()[0]

    def test_a_flink_job_that_failed_is_an_attempt_that_failed(self, ran):
        gold = ran["flink fails once"]
        assert gold.status == "Succeeded" and len(gold.of("Attempt")) == 2
        assert "ended as FAILED" in gold.of("Job Failed")[0]["message"]
        assert gold.of("Clean Up")[0]["method"] == "DELETE"

    def test_spark_gets_the_jar_and_its_class(self, ran):
        spark = ran["spark"]
        [run] = spark.of("Run Job")
        assert spark.status == "Succeeded"
        assert run["className"] == "org.apache.beam.runners.spark.SparkPipelineRunner"
        assert run["rootPath"] == "jobs/jars" and run["entryFilePath"].endswith("_gold.jar")
        assert f"--out /mnt/jobs/jars/{run['entryFilePath']} " in spark.commands()[0]

    def test_a_launcher_nobody_knows_fails_and_says_so(self, ran):
        assert ran["nowhere"].status == "Failed"
        assert "there is no launcher cloud" in ran["nowhere"].of("No Such Launcher")[0]["message"]

    def test_late_files_make_their_day_anew_early_ones_wait_for_it(self, ran):
        assert ran["late"].of("Day Again")[0]["parameters"] == {
            "date": "2010-12-31", "launcher": "batch", "sources": [SERVICE],
        }  # fmt: skip
        assert ran["late"].status == "Succeeded" and "Snowflake Load" in ran["late"].names()
        assert ran["early"].trace == []

    def test_every_command_that_is_run_is_one_that_there_is(self, ran):
        """As the command line understands it, options and all."""
        import typer

        group = typer.main.get_command(app)
        lines = {command for scenario in ran.values() for command in scenario.commands()}
        for line in lines:
            words = line.split(" -- ")[-1].split() if line.startswith("package") else line.split()
            command = group.commands[words[0]]
            rest = words[1:]
            if hasattr(command, "commands"):
                command, rest = command.commands[rest[0]], rest[1:]
            command.make_context(words[0], rest, resilient_parsing=False)


@pytest.mark.slow
class TestModels:
    def test_azure_s_models_know_every_property(self):
        assert tell("check", FOLDER) == []

    def test_the_check_finds_what_is_wrong(self, tmp_path):
        faults = [
            ("pipeline/c360_master", '"waitOnCompletion"', '"waitOnCompletoin"', "has no ['waitOnCompletoin']"),
            ("pipeline/c360_launch", '"type": "Wait"', '"type": "Sleep"', "no Activity of type 'Sleep'"),
            ("trigger/c360_daily", '"frequency": "Hour",', "", "needs frequency"),
            ("linkedService/c360_keyvault", '"baseUrl"', '"bseUrl"', "needs baseUrl"),
        ]
        shutil.copytree(FOLDER, tmp_path / "adf")
        for file, old, new, _ in faults:
            path = tmp_path / "adf" / f"{file}.json"
            assert old in path.read_text()
            path.write_text(path.read_text().replace(old, new))
        said = tell("check", tmp_path / "adf")
        assert [any(file in line and fault in line for line in said) for file, _, _, fault in faults] == [True] * 4


def definitions(kind: str) -> dict[str, dict]:
    return {path.stem: json.loads(path.read_text()) for path in (FOLDER / kind).glob("*.json")}


def test_the_arm_template_is_what_the_definitions_make():
    assert (FOLDER / TEMPLATE).read_text() == as_text(arm_template()), "run `python -m pipelines.adf`"


def test_the_arm_template_deploys_everything_after_what_it_needs():
    template = arm_template()
    ids = {}
    for number, resource in enumerate(template["resources"][1:]):
        kind, name = resource["type"].rpartition("/")[2], re.search(r"'/(\w+)'", resource["name"])[1]
        ids[f"[resourceId('Microsoft.DataFactory/factories/{kind}', parameters('factoryName'), '{name}')]"] = number
    wanted = sum(len(definitions(kind)) for kind in ("pipeline", "dataset", "linkedService", "trigger"))
    assert len(ids) == wanted
    factory = "[resourceId('Microsoft.DataFactory/factories', parameters('factoryName'))]"
    needs = {name: set(template["resources"][number + 1]["dependsOn"]) - {factory} for name, number in ids.items()}
    assert all(need in ids for each in needs.values() for need in each)
    while needs:  # no circle: something can always be deployed next
        ready = [name for name, each in needs.items() if not each & needs.keys()]
        assert ready
        for name in ready:
            del needs[name]


@pytest.mark.parametrize("environment", ["dev", "test", "prod"])
def test_an_environment_says_what_has_no_default_and_nothing_unknown(environment):
    said = json.loads((FOLDER / f"arm/parameters.{environment}.json").read_text())["parameters"]
    declared = arm_template()["parameters"]
    assert set(said) <= set(declared)
    assert {name for name, parameter in declared.items() if "defaultValue" not in parameter} <= set(said)
    places = re.compile("ACCOUNT|VAULT|BATCH|ALERTS|SPARK|REGION")
    open_ = {name for name, p in declared.items() if places.search(str(p.get("defaultValue", "")))}
    assert open_ <= set(said)
    kinds = {"string": str, "bool": bool, "int": int}
    assert all(isinstance(value["value"], kinds[declared[name]["type"]]) for name, value in said.items())


def test_no_secret_is_written_down():
    """Keys come from Key Vault; everything else is reached by managed identity."""
    for name, service in definitions("linkedService").items():
        for word, value in service["properties"]["typeProperties"].items():
            if re.search("key$|password|secret|token|connectionString", word, re.IGNORECASE):
                assert value["type"] == "AzureKeyVaultSecret", f"{name}.{word}"


def test_parameters_of_triggers_and_calls_are_those_of_the_pipelines():
    pipelines = definitions("pipeline")
    declared = {name: pipeline["properties"]["parameters"] for name, pipeline in pipelines.items()}

    def calls(part):
        if isinstance(part, dict):
            if "pipeline" in part and "parameters" in part and isinstance(part["pipeline"], dict):
                yield part["pipeline"]["referenceName"], part["parameters"]
            if "pipelineReference" in part:
                yield part["pipelineReference"]["referenceName"], part["parameters"]
            for value in part.values():
                yield from calls(value)
        elif isinstance(part, list):
            for value in part:
                yield from calls(value)

    found = list(calls([*pipelines.values(), *definitions("trigger").values()]))
    assert len(found) > 20
    for name, given in found:
        assert set(given) <= set(declared[name]), name
        assert {k for k, p in declared[name].items() if "defaultValue" not in p} <= set(given), name
