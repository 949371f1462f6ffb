"""REST: predict, metadata and status of TensorFlow Serving; /healthz/live, /healthz/ready and metrics beside them."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import perf_counter
from typing import Any

from google.protobuf import json_format
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2

from recsys.serve.errors import ServingError, invalid, not_found
from recsys.serve.predict import Predictor
from recsys.serve.rest_json import read_predict, write_predict

_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+))?"
_PREDICT = re.compile(_MODEL + r":(classify|regress|predict)", re.IGNORECASE)
_STATUS = re.compile(_MODEL + r"(/metadata)?", re.IGNORECASE)
_LARGEST = 64 << 20
METRICS = ("/metrics", "/monitoring/prometheus/metrics")


class RestServer(ThreadingHTTPServer):
    """`ready`: may requests be sent here? `text`: the metrics."""

    daemon_threads, block_on_close, request_queue_size = True, False, 256

    def __init__(
        self, address: tuple[str, int], predictor: Predictor, ready: Callable[[], bool], text: Callable[[], bytes]
    ):
        self.predictor, self.ready, self.text = predictor, ready, text
        self._busy, self._changed = 0, threading.Condition()
        super().__init__(address, _Handler)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """What a request is in until its answer is written."""
        with self._changed:
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    def drain(self, seconds: float) -> None:
        """Waits until all that came is answered."""
        with self._changed:
            self._changed.wait_for(lambda: not self._busy, seconds)


class _Handler(BaseHTTPRequestHandler):
    protocol_version, disable_nagle_algorithm, wbufsize = "HTTP/1.1", True, -1
    server: RestServer

    def log_message(self, *_: Any) -> None:
        """Requests carry what people took: they are counted, not written down."""

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        if path in METRICS:
            return self._send(200, self.server.text(), "text/plain; version=0.0.4; charset=utf-8")
        if path == "/healthz/live":
            return self._send(200, b'{"status": "live"}')
        if path == "/healthz/ready":
            ready = self.server.ready()
            return self._send(200 if ready else 503, json.dumps({"status": "ready" if ready else "not ready"}).encode())
        found = _STATUS.fullmatch(path)
        if found and found[3]:
            return self._answer("metadata", lambda: self._metadata(_spec(found)))
        if found:
            return self._answer("status", lambda: self._status(_spec(found)))
        self._answer("unknown", self._malformed)

    def do_POST(self) -> None:
        with self.server.answering():
            self._post()

    def _post(self) -> None:
        try:
            length = int(self.headers.get("Content-Length", "0"))
        except ValueError:
            length = -1
        if not 0 <= length <= _LARGEST:
            self.close_connection = True
            return self._send(413, json.dumps({"error": f"a request may have {_LARGEST} bytes"}).encode())
        body = self.rfile.read(length)
        found = _PREDICT.fullmatch(self.path.split("?")[0])
        if found is None or found[3].lower() != "predict":
            return self._answer("unknown", self._malformed)
        self._answer("predict", lambda: self._predict(_spec(found), body))

    def _predict(self, spec: model_pb2.ModelSpec, body: bytes) -> bytes:
        predictor = self.server.predictor
        spec.signature_name, inputs, form = read_predict(body, lambda name: predictor.signature(spec, name))
        return write_predict(predictor.predict(spec, inputs).outputs, form)

    def _status(self, spec: model_pb2.ModelSpec) -> bytes:
        return _shown(self.server.predictor.status(get_model_status_pb2.GetModelStatusRequest(model_spec=spec)))

    def _metadata(self, spec: model_pb2.ModelSpec) -> bytes:
        request = get_model_metadata_pb2.GetModelMetadataRequest(model_spec=spec, metadata_field=["signature_def"])
        made = self.server.predictor.metadata(request)
        definitions = get_model_metadata_pb2.SignatureDefMap()
        made.metadata["signature_def"].Unpack(definitions)
        shown = {"model_spec": _fields(made.model_spec), "metadata": {"signature_def": _fields(definitions)}}
        return json.dumps(shown, indent=1).encode()

    def _malformed(self) -> bytes:
        raise invalid(f"Malformed request: {self.command} {self.path}")

    def _answer(self, method: str, answer: Callable[[], bytes]) -> None:
        start, metrics, code = perf_counter(), self.server.predictor.metrics, "OK"
        try:
            status, body = 200, answer()
        except ServingError as error:
            status, code = error.http_status, error.code.name
            body = json.dumps({"error": error.message}, ensure_ascii=False).encode("utf-8", "surrogatepass")
        metrics.requests.labels("rest", method, code).inc()
        metrics.seconds.labels("rest", method).observe(perf_counter() - start)
        self._send(status, body)

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        try:
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)
            self.wfile.flush()
        except ConnectionError:  # the caller is gone
            self.close_connection = True


def _spec(found: re.Match[str]) -> model_pb2.ModelSpec:
    spec = model_pb2.ModelSpec(name=found[1])
    if found[2]:
        number = int(found[2])
        if number >= 1 << 63:
            raise not_found(f"Servable not found for request: Specific({found[1]}, {found[2]})")
        spec.version.value = number
    return spec


def _fields(message: Any) -> dict[str, Any]:
    return json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )


def _shown(message: Any) -> bytes:
    return json.dumps(_fields(message), indent=1).encode()
