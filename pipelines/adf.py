"""The ARM template that deploys `templates/adf`: `python -m pipelines.adf` writes it anew from the files there."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "templates" / "adf"
TEMPLATE = "arm/template.json"
_API = "2018-06-01"
_KINDS = {
    "pipeline": "pipelines",
    "dataset": "datasets",
    "linkedService": "linkedServices",
    "trigger": "triggers",
}
_REFERENCES = {
    "PipelineReference": "pipelines",
    "DatasetReference": "datasets",
    "LinkedServiceReference": "linkedServices",
}
# What differs from one environment to the next, and where it goes: parameter -> (file, path in it).
_PLACES = {
    "keyVaultUrl": ("linkedService/c360_keyvault", "properties.typeProperties.baseUrl"),
    "lakeUrl": ("linkedService/c360_lake", "properties.typeProperties.url"),
    "jobsUrl": ("linkedService/c360_jobs", "properties.typeProperties.serviceEndpoint"),
    "batchAccount": ("linkedService/c360_batch", "properties.typeProperties.accountName"),
    "batchUrl": ("linkedService/c360_batch", "properties.typeProperties.batchUri"),
    "batchPool": ("linkedService/c360_batch", "properties.typeProperties.poolName"),
    "sparkUrl": ("linkedService/c360_spark", "properties.typeProperties.clusterUri"),
    "storageAccountId": ("trigger/c360_landed", "properties.typeProperties.scope"),
    "firstDay": ("trigger/c360_daily", "properties.typeProperties.startTime"),
    "launcher": ("pipeline/c360_master", "properties.parameters.launcher.defaultValue"),
}


def arm_template(folder: Path = FOLDER) -> dict[str, Any]:
    """One template: the factory with its identity and global parameters, and everything in it in order."""
    factory = json.loads(next((folder / "factory").glob("*.json")).read_text())
    parameters: dict[str, Any] = {"factoryName": {"type": "string"}, "location": {"type": "string"}}
    for name, declared in factory["properties"]["globalParameters"].items():
        parameters[name] = {
            "type": declared["type"].lower().replace("float", "string"),
            "defaultValue": declared["value"],
        }
        declared["value"] = f"[parameters('{name}')]"
        if declared["type"] == "Float":  # ARM has no such type
            parameters[name]["defaultValue"] = str(parameters[name]["defaultValue"])
            declared["value"] = f"[json(parameters('{name}'))]"
    resources = [_factory(factory)]
    for kind in _KINDS:
        for path in sorted((folder / kind).glob("*.json")):
            named = json.loads(path.read_text())
            for parameter, (place, where) in _PLACES.items():
                if place == f"{kind}/{path.stem}":
                    parameters[parameter] = {"type": "string", "defaultValue": _replace(named, where, parameter)}
            resources.append(_resource(kind, named))
    return {
        "$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentTemplate.json#",
        "contentVersion": "1.0.0.0",
        "parameters": parameters,
        "resources": resources,
    }


def _factory(factory: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": "[parameters('factoryName')]",
        "type": "Microsoft.DataFactory/factories",
        "apiVersion": _API,
        "location": "[parameters('location')]",
        "identity": factory["identity"],
        "properties": factory["properties"],
    }


def _replace(named: dict[str, Any], where: str, parameter: str) -> str:
    *parents, last = where.split(".")
    for parent in parents:
        named = named[parent]
    before, named[last] = named[last], f"[parameters('{parameter}')]"
    return str(before)


def _resource(kind: str, named: Mapping[str, Any]) -> dict[str, Any]:
    needs = sorted({*_needs(named["properties"])} - {_id(_KINDS[kind], named["name"])})
    return {
        "name": f"[concat(parameters('factoryName'), '/{named['name']}')]",
        "type": f"Microsoft.DataFactory/factories/{_KINDS[kind]}",
        "apiVersion": _API,
        "properties": named["properties"],
        "dependsOn": ["[resourceId('Microsoft.DataFactory/factories', parameters('factoryName'))]", *needs],
    }


def _needs(part: Any) -> Iterator[str]:
    """The resources that a part of a definition refers to."""
    if isinstance(part, Mapping):
        if part.get("type") in _REFERENCES:
            yield _id(_REFERENCES[part["type"]], part["referenceName"])
        for value in part.values():
            yield from _needs(value)
    elif isinstance(part, list):
        for value in part:
            yield from _needs(value)


def _id(kind: str, name: str) -> str:
    return f"[resourceId('Microsoft.DataFactory/factories/{kind}', parameters('factoryName'), '{name}')]"


def as_text(template: Mapping[str, Any]) -> str:
    """As it is in the repository."""
    return json.dumps(template, indent=2) + "\n"


if __name__ == "__main__":
    (FOLDER / TEMPLATE).write_text(as_text(arm_template()))
