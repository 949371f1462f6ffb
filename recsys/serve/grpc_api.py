"""PredictionService and ModelService of TensorFlow Serving."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from time import perf_counter
from typing import Any

import grpc
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from recsys.serve.errors import ServingError, invalid
from recsys.serve.predict import Predictor
from recsys.tensorflow import tf

_LARGEST = 64 << 20  # bytes of a message; gRPC's own bound is 4 MB


def grpc_server(predictor: Predictor, threads: int = 32) -> grpc.Server:
    """A server without a port yet."""
    options = [("grpc.max_receive_message_length", _LARGEST), ("grpc.max_send_message_length", _LARGEST)]
    server = grpc.server(futures.ThreadPoolExecutor(threads, "grpc"), options=[*options, ("grpc.so_reuseport", 0)])
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Prediction(predictor), server)
    model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Models(predictor), server)
    return server


class _Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def Predict(self, request: predict_pb2.PredictRequest, context: grpc.ServicerContext) -> Any:
        return _counted(self.predictor, "predict", context, lambda: self._predict(request))

    def GetModelMetadata(self, request: get_model_metadata_pb2.GetModelMetadataRequest, context: Any) -> Any:
        return _counted(self.predictor, "metadata", context, lambda: self.predictor.metadata(request))

    def _predict(self, request: predict_pb2.PredictRequest) -> predict_pb2.PredictResponse:
        if not request.HasField("model_spec"):
            raise invalid("Missing ModelSpec")
        inputs = {}
        for name, tensor in request.inputs.items():
            try:
                inputs[name] = tf.make_ndarray(tensor)
            except (ValueError, TypeError):
                raise invalid(f"tensor parsing error: {name}") from None
        done = self.predictor.predict(request.model_spec, inputs, request.output_filter)
        answer = predict_pb2.PredictResponse()
        answer.model_spec.name, answer.model_spec.version.value = request.model_spec.name, done.version
        answer.model_spec.signature_name = done.signature
        for name, values in done.outputs.items():
            answer.outputs[name].CopyFrom(tf.make_tensor_proto(values))
        return answer


class _Models(model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    def GetModelStatus(self, request: get_model_status_pb2.GetModelStatusRequest, context: grpc.ServicerContext) -> Any:
        return _counted(self.predictor, "status", context, lambda: self.predictor.status(request))


def _counted(predictor: Predictor, method: str, context: grpc.ServicerContext, answer: Callable[[], Any]) -> Any:
    start, metrics, code = perf_counter(), predictor.metrics, "OK"
    try:
        return answer()
    except ServingError as error:
        code = error.code.name
        context.abort(error.code, error.message)
    finally:
        metrics.requests.labels("grpc", method, code).inc()
        metrics.seconds.labels("grpc", method).observe(perf_counter() - start)
