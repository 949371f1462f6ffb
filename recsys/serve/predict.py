"""Requests checked and answered, whichever way they came; the words are TensorFlow Serving's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import grpc
import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2 as metadata
from tensorflow_serving.apis import get_model_status_pb2 as status
from tensorflow_serving.apis import model_pb2

from recsys.serve.batches import Batcher, model_error
from recsys.serve.errors import ServingError, invalid, not_found
from recsys.serve.metrics import Metrics
from recsys.serve.versions import END, LATEST, Model, Models, Version
from recsys.tensorflow import tf

DEFAULT = "serving_default"
_UNKNOWN_ERROR = 2  # of error_codes.proto


@dataclass(frozen=True)
class Answered:
    """The outputs of a request and which version gave them."""

    version: int
    signature: str
    outputs: dict[str, np.ndarray]


@dataclass(frozen=True)
class Predictor:
    """What both APIs do."""

    models: Models
    batcher: Batcher
    metrics: Metrics

    def predict(
        self, spec: model_pb2.ModelSpec, inputs: Mapping[str, np.ndarray], wanted: Sequence[str] = ()
    ) -> Answered:
        """Raises: ServingError: with the code and the message that TensorFlow Serving has for it."""
        model, version = self._take(spec)
        try:
            name = spec.signature_name or DEFAULT
            if name not in version.definitions:
                raise ServingError(grpc.StatusCode.FAILED_PRECONDITION, f'Serving signature key "{name}" not found.')
            definition = version.definitions[name]
            check_inputs(definition, inputs)
            shown = check_outputs(definition, wanted)
            try:
                outputs = self.batcher.run(version, name, dict(inputs))
            except (tf.errors.InvalidArgumentError, ValueError, TypeError) as error:
                raise invalid(model_error(error)) from None
            except tf.errors.OpError as error:
                raise ServingError(grpc.StatusCode.INTERNAL, model_error(error)) from None
            except RuntimeError as error:
                raise ServingError(grpc.StatusCode.UNAVAILABLE, str(error)) from None
            return Answered(version.number, name, {one: outputs[one] for one in shown})
        finally:
            model.give(version)

    def signature(self, spec: model_pb2.ModelSpec, name: str) -> meta_graph_pb2.SignatureDef:
        """What REST reads JSON by."""
        model, version = self._take(spec)
        try:
            if name not in version.definitions:
                raise invalid(f'Serving signature name: "{name}" not found in signature def')
            return version.definitions[name]
        finally:
            model.give(version)

    def metadata(self, request: metadata.GetModelMetadataRequest) -> metadata.GetModelMetadataResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        if not request.metadata_field:
            raise invalid("GetModelMetadataRequest must specify at least one metadata_field")
        for field in request.metadata_field:
            if field != "signature_def":
                raise invalid(f"Metadata field {field} is not supported")
        model, version = self._take(request.model_spec)
        try:
            made = metadata.GetModelMetadataResponse()
            made.model_spec.name, made.model_spec.version.value = model.name, version.number
            definitions = metadata.SignatureDefMap()
            for name, definition in version.definitions.items():
                definitions.signature_def[name].CopyFrom(definition)
            made.metadata["signature_def"].Pack(definitions)
            return made
        finally:
            model.give(version)

    def status(self, request: status.GetModelStatusRequest) -> status.GetModelStatusResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        name = request.model_spec.name
        states = dict(self.models.models[name].states) if name in self.models.models else {}
        if number := request.model_spec.version.value:
            if number not in states:
                raise not_found(f"Could not find version {number} of model {name}")
            states = {number: states[number]}
        if not states:
            raise not_found(f"Could not find any versions of model {name}")
        made = status.GetModelStatusResponse()
        for number, (state, fault) in sorted(states.items(), reverse=True):
            one = made.model_version_status.add(version=number, state=state)
            one.status.error_code = _UNKNOWN_ERROR if fault and state == END else 0
            one.status.error_message = fault
        return made

    def _take(self, spec: model_pb2.ModelSpec) -> tuple[Model, Version]:
        if spec.WhichOneof("version_choice") == "version_label":
            raise invalid(f"Unrecognized servable version label: {spec.version_label}")
        number = spec.version.value if spec.HasField("version") else None
        if spec.name and spec.name not in self.models.models and number not in (None, LATEST):
            raise not_found(f"Servable not found for request: Specific({spec.name}, {number})")
        model = self.models[spec.name]
        return model, model.take(number)


def check_inputs(definition: meta_graph_pb2.SignatureDef, inputs: Mapping[str, np.ndarray]) -> None:
    """Names and number, types and shapes."""
    given, known = sorted(inputs), sorted(definition.inputs)
    if len(given) != len(known):
        extra, missing = sorted(set(given) - set(known)), sorted(set(known) - set(given))
        raise invalid(
            f"input size does not match signature: {len(given)}!={len(known)} len({{{','.join(given)}}}) !="
            f" len({{{','.join(known)}}}). Sent extra: {{{','.join(extra)}}}."
            f" Missing but required: {{{','.join(missing)}}}."
        )
    for place, name in enumerate(given):
        if name not in definition.inputs:
            expected = f"Inputs expected to be in the set {{{','.join(known)}}}."
            raise invalid(f"input tensor alias not found in signature: {name}. {expected}")
        info, value = definition.inputs[name], inputs[name]
        kind = tf.as_dtype(value.dtype) if value.dtype != object else tf.string
        if kind.as_datatype_enum != info.dtype:
            wanted, got = (types_pb2.DataType.Name(one)[3:].lower() for one in (info.dtype, kind.as_datatype_enum))
            raise invalid(f"Expects arg[{place}] to be {wanted} but {got} is provided")
        sizes = [one.size for one in info.tensor_shape.dim]
        fits = len(sizes) == value.ndim and all(a in (-1, b) for a, b in zip(sizes, value.shape, strict=True))
        if not info.tensor_shape.unknown_rank and not fits:
            shape = ",".join("?" if one < 0 else str(one) for one in sizes)
            got_shape = ",".join(map(str, value.shape))
            raise invalid(f"{name} must have shape [{shape}] but has shape [{got_shape}]")


def check_outputs(definition: meta_graph_pb2.SignatureDef, wanted: Sequence[str]) -> list[str]:
    """The outputs asked for; all where none is named."""
    known = sorted(definition.outputs)
    for place, name in enumerate(wanted):
        if name not in definition.outputs:
            expected = f"Outputs expected to be in the set {{{','.join(known)}}}."
            raise invalid(f"output tensor alias not found in signature: {name} {expected}")
        if name in wanted[:place]:
            raise invalid(f"duplicate output tensor alias: {name}")
    return list(wanted) or known
