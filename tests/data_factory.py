"""Data Factory's definitions checked and run by Azure's models and by data-factory-testing-framework.

Run by the Python of an environment of their own (`tests/test_data_factory.py` makes it): `check FOLDER` prints what the
models do not take; `run FOLDER` reads a scenario on stdin and prints what was run, with which parameters, as JSON.

The framework evaluates one pipeline's activities. What it leaves out is Data Factory's rule for failures, which is
here: an activity that fails fails its pipeline, or the loop around it, unless another one waits for that; a pipeline
that fails fails the activity that runs it.
"""

import copy
import inspect
import json
import sys
import typing
from pathlib import Path

KINDS = {
    "pipeline": "PipelineResource",
    "dataset": "DatasetResource",
    "linkedService": "LinkedServiceResource",
    "trigger": "TriggerResource",
    "factory": "Factory",
}


def check(folder):
    """Faults: a property no model has, one that is required and missing, a type nobody knows."""
    from azure.mgmt.datafactory import models
    from azure.mgmt.datafactory._utils.model_base import _deserialize

    faults = []
    for kind, model in KINDS.items():
        for path in sorted((folder / kind).glob("*.json")):
            resource = _deserialize(getattr(models, model), json.loads(path.read_text()))
            faults += [f"{kind}/{path.stem}{fault}" for fault in _faults(resource, "")]
    return faults


def _faults(part, where):
    if isinstance(part, list):
        for number, item in enumerate(part):
            yield from _faults(item, f"{where}[{number}]")
    elif isinstance(part, dict):
        for key, item in part.items():
            yield from _faults(item, f"{where}.{key}")
    elif hasattr(part, "_attr_to_rest_field"):
        yield from _faults_of_model(part, where)


def _faults_of_model(part, where):
    kind = type(part)
    said = part._data.get("type")
    if "__mapping__" in vars(kind):
        exact = _mapped(kind, said)
        if exact is None:
            yield f"{where}: there is no {kind.__name__} of type {said!r}"
            return
        kind, part = exact, exact(dict(part._data))
    fields = {field._rest_name: name for name, field in kind._attr_to_rest_field.items()}
    if unknown := set(part._data) - set(fields):
        yield f"{where}: {kind.__name__} has no {sorted(unknown)}"
    required = _required(kind)
    for rest, name in fields.items():
        if rest in part._data:
            yield from _faults(getattr(part, name), f"{where}.{rest}")
        elif name in required:
            yield f"{where}: {kind.__name__} needs {rest}"


def _mapped(kind, said):
    """The model of a type, also where it is of a type between (an activity that is an execution, a container)."""
    for name, model in vars(kind).get("__mapping__", {}).items():
        found = model if name == said else _mapped(model, said)
        if found is not None:
            return found
    return None


def _required(kind):
    """The arguments without a default of the signature that takes properties."""
    for overload in typing.get_overloads(kind.__init__):
        names = inspect.signature(overload).parameters.values()
        keywords = [p for p in names if p.kind is p.KEYWORD_ONLY]
        if keywords:
            return {p.name for p in keywords if p.default is p.empty}
    return set()


class Factory:
    """Runs pipelines; `outcomes` says how activities that do something outside end.

    outcomes: [{"activity": name, "match": text in its properties, "results": [[status, output], ...]}]: the n-th run
    of a matching activity ends as the n-th result says, later ones as the last; without a match it succeeds.
    """

    def __init__(self, folder, outcomes, globals_):
        self.folder, self.outcomes = folder, outcomes
        declared = json.loads(next((folder / "factory").glob("*.json")).read_text())["properties"]["globalParameters"]
        self.globals = {name: parameter["value"] for name, parameter in declared.items()} | globals_
        self.counts = [0] * len(outcomes)
        self.trace = []
        self.runs = 0

    def run(self, name, parameters):
        from data_factory_testing_framework import TestFramework, TestFrameworkType
        from data_factory_testing_framework.exceptions import NoRemainingPipelineActivitiesMeetDependencyConditionsError
        from data_factory_testing_framework.state import PipelineRunState, RunParameter, RunParameterType

        # Anew for each run: the framework keeps results and variables in the definitions.
        framework = TestFramework(TestFrameworkType.DataFactory, str(self.folder))
        pipeline = framework.get_pipeline_by_name(name)
        unknown = set(parameters) - set(pipeline.parameters)
        if unknown:
            raise ValueError(f"{name} has no parameters {sorted(unknown)}")
        self.runs += 1
        system = {"RunId": f"run{self.runs}", "TriggerTime": "2011-01-01T02:00:00Z", "DataFactory": "customer360"}
        given = [RunParameter(RunParameterType.System, k, v) for k, v in system.items()]
        given += [RunParameter(RunParameterType.Global, k, v) for k, v in self.globals.items()]
        given += [RunParameter(RunParameterType.Pipeline, k, v) for k, v in parameters.items()]
        given = pipeline.validate_and_append_default_parameters(given)
        state = PipelineRunState(given, copy.deepcopy(pipeline.get_run_variables()))
        top = {activity.name for activity in pipeline.activities}
        caught = _caught(json.loads((self.folder / "pipeline" / f"{name}.json").read_text())["properties"])
        failed = broken = False
        try:
            for activity in framework.evaluate_activities(pipeline.activities, state):
                if broken and activity.name in top:  # its loop or branch has failed
                    break
                status, output = self._perform(name, activity, state)
                activity.set_result(status, output)
                if status == "Failed" and activity.name not in caught:
                    failed = True
                    broken = broken or activity.name not in top
        except NoRemainingPipelineActivitiesMeetDependencyConditionsError:
            pass  # branches that were not taken
        return "Failed" if failed else "Succeeded"

    def _perform(self, pipeline, activity, state):
        properties = _plain(activity.type_properties)
        for unwanted in ("activities", "ifTrueActivities", "ifFalseActivities"):
            properties.pop(unwanted, None)
        if activity.type in ("Copy", "GetMetadata"):
            properties |= {k: _plain(v) for k, v in activity.all_properties.items() if k in ("inputs", "outputs")}
        line = {"pipeline": pipeline, "activity": activity.name, "type": activity.type, "properties": properties}
        self.trace.append(line)
        if activity.type == "ExecutePipeline":
            status = self.run(properties["pipeline"]["referenceName"], properties.get("parameters", {}))
            output = {"pipelineRunId": "r"}
        elif activity.type == "Fail":
            status, output = "Failed", {}
        elif activity.type in ("SetVariable", "AppendVariable", "Filter", "Wait"):
            status, output = "Succeeded", activity.output
        else:
            status, output = self._outcome(activity.name, json.dumps(properties))
        line["status"] = status
        return status, output

    def _outcome(self, name, properties):
        for number, outcome in enumerate(self.outcomes):
            if outcome["activity"] == name and outcome.get("match", "") in properties:
                turn = min(self.counts[number], len(outcome["results"]) - 1)
                self.counts[number] += 1
                return outcome["results"][turn]
        return "Succeeded", {}


def _caught(part):
    """The activities whose failure another one waits for."""
    if isinstance(part, list):
        return set().union(*map(_caught, part)) if part else set()
    if not isinstance(part, dict):
        return set()
    found = set().union(*map(_caught, part.values())) if part else set()
    if "dependencyConditions" in part and {"Failed", "Completed"} & set(part["dependencyConditions"]):
        found.add(part["activity"])
    return found


def _plain(value):
    if hasattr(value, "expression"):
        return value.result
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, str | int | float | bool | type(None)) else str(value)


def main(command, folder):
    if command == "check":
        return check(Path(folder))
    from data_factory_testing_framework.models import _data_factory_element as elements

    runtime = elements.ExpressionRuntime()  # else it builds its grammar anew for each expression
    elements.ExpressionRuntime = lambda: runtime
    scenarios = json.load(sys.stdin)
    told = {}
    for name, scenario in scenarios.items():
        factory = Factory(Path(folder), scenario.get("outcomes", []), scenario.get("globals", {}))
        status = factory.run(scenario["pipeline"], scenario["parameters"])
        told[name] = {"status": status, "trace": factory.trace}
    return told


if __name__ == "__main__":
    print(json.dumps(main(*sys.argv[1:])))
