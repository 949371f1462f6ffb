"""The server against TensorFlow Serving's words, with its own stubs, and with OVMS's client in a process of its own."""

import json
import shutil
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path

import grpc
import numpy as np
import pytest
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from recsys.export.write import predict_request
from recsys.serve.batches import Batcher, BatchRules, join
from recsys.serve.server import ModelServer, ServeSpec
from recsys.serve.versions import Version
from recsys.tensorflow import tf
from tests.recsys.ovms_client import ovms_home

X = np.array([["a", ""], ["bb", "c"]], object)
ASK = {"names": X, "weights": np.array([[1, 2], [3, 4]], np.float32), "add": np.array([10, 20])}
SPECS = [
    tf.TensorSpec([None, None], tf.string, "names"),
    tf.TensorSpec([None, None], tf.float32, "weights"),
    tf.TensorSpec([None], tf.int64, "add"),
]


class Tiny(tf.Module):
    """total: the weights of what has a name, plus add, plus 1000 times the version."""

    def __init__(self, version):
        super().__init__()
        self.base = tf.Variable(1000.0 * version)

    @tf.function(input_signature=SPECS)
    def serve(self, names, weights, add):
        tf.debugging.Assert(tf.reduce_all(tf.math.is_finite(weights)), ["weights has a value that is no number"])
        total = tf.reduce_sum(tf.where(names != "", weights, 0.0), 1) + tf.cast(add, tf.float32) + self.base
        return {"total": total, "first": names[:, 0]}

    @tf.function(input_signature=[tf.TensorSpec([None], tf.float32, "x")])
    def double(self, x):
        return {"y": 2 * x}


def write(folder, version):
    draft = folder / f".{version}"
    made = Tiny(version)
    tf.saved_model.save(made, str(draft), signatures={"serving_default": made.serve, "double": made.double})
    draft.rename(folder / str(version))


@pytest.fixture(scope="module")
def drafts(tmp_path_factory):
    """Versions 1 and 2, written once."""
    folder = tmp_path_factory.mktemp("drafts")
    for version in (1, 2):
        write(folder, version)
    return folder


def put(drafts, folder, version):
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copytree(drafts / str(version), folder / f".{version}")
    (folder / f".{version}").rename(folder / str(version))


class Wire:
    def __init__(self, server):
        self.server, self.rest = server, f"http://127.0.0.1:{server.rest_port}"
        self.channel = grpc.insecure_channel(f"127.0.0.1:{server.grpc_port}")
        self.predictions = prediction_service_pb2_grpc.PredictionServiceStub(self.channel)
        self.models = model_service_pb2_grpc.ModelServiceStub(self.channel)

    def predict(self, inputs=ASK, signature="", model="shop", **changes):
        request = predict_request(model, signature, inputs)
        if version := changes.get("version"):
            request.model_spec.version.value = version
        if label := changes.get("label"):
            request.model_spec.version_label = label
        request.output_filter.extend(changes.get("only", ()))
        return self.predictions.Predict(request, timeout=20)

    def states(self, model="shop"):
        request = get_model_status_pb2.GetModelStatusRequest()
        request.model_spec.name = model
        return {one.version: one for one in self.models.GetModelStatus(request, timeout=20).model_version_status}

    def http(self, path, body=None):
        data = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
        try:
            with urllib.request.urlopen(self.rest + path, data, timeout=20) as answer:
                return answer.status, _read(answer)
        except urllib.error.HTTPError as error:
            return error.code, _read(error)


def _read(answer):
    text = answer.read().decode()
    return json.loads(text) if "json" in answer.headers["Content-Type"] else text


@pytest.fixture
def start():
    servers = []

    def made(folder, **spec):
        server = ModelServer({"shop": folder}, ServeSpec(grpc_port=0, rest_port=0, poll_seconds=0.05, **spec))
        servers.append(server)
        server.start()
        return Wire(server)

    yield made
    for server in servers:
        server.stop()


@pytest.fixture(scope="module")
def wire(drafts, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "shop"
    put(drafts, folder, 1)
    server = ModelServer({"shop": folder}, ServeSpec(grpc_port=0, rest_port=0))
    server.start()
    yield Wire(server)
    server.stop()


def test_an_answer_over_grpc(wire):
    answer = wire.predict()
    assert tf.make_ndarray(answer.outputs["total"]).tolist() == [1011.0, 1027.0]
    assert tf.make_ndarray(answer.outputs["first"]).tolist() == [b"a", b"bb"]
    spec = answer.model_spec
    assert (spec.name, spec.version.value, spec.signature_name) == ("shop", 1, "serving_default")
    assert [*wire.predict(only=["total"], version=1).outputs] == ["total"]
    doubled = wire.predict({"x": np.array([1.5, 2], np.float32)}, "double")
    assert tf.make_ndarray(doubled.outputs["y"]).tolist() == [3, 4]


def test_answers_over_rest_by_row_and_by_column(wire):
    rows = [
        {"names": ["a", ""], "weights": [1, 2.0], "add": 10},
        {"names": ["bb", {"b64": "Yw=="}], "weights": [3, 4], "add": 20},
    ]
    status, answer = wire.http("/v1/models/shop:predict", {"instances": rows})
    assert (status, answer) == (
        200,
        {"predictions": [{"first": "a", "total": 1011.0}, {"first": "bb", "total": 1027.0}]},
    )
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    status, answer = wire.http("/v1/models/shop/versions/1:predict", {"inputs": columns})
    assert (status, answer) == (200, {"outputs": {"first": ["a", "bb"], "total": [1011.0, 1027.0]}})
    double = {"signature_name": "double", "instances": [1, 2]}
    assert wire.http("/v1/models/shop:predict", double) == (200, {"predictions": [2.0, 4.0]})


BAD = [
    ({"model": "other"}, "NOT_FOUND", "Servable not found for request: Latest(other)"),
    ({"version": 9}, "NOT_FOUND", "Servable not found for request: Specific(shop, 9)"),
    ({"model": ""}, "INVALID_ARGUMENT", "ModelSpec has no name specified."),
    ({"label": "canary"}, "INVALID_ARGUMENT", "Unrecognized servable version label: canary"),
    ({"signature": "no"}, "FAILED_PRECONDITION", 'Serving signature key "no" not found.'),
    ({"only": ["sum"]}, "INVALID_ARGUMENT", "output tensor alias not found in signature: sum Outputs expected to be in"
     " the set {first,total}."),
    ({"only": ["total", "total"]}, "INVALID_ARGUMENT", "duplicate output tensor alias: total"),
    ({"inputs": {"names": X}}, "INVALID_ARGUMENT", "input size does not match signature: 1!=3 len({names}) !="
     " len({add,names,weights}). Sent extra: {}. Missing but required: {add,weights}."),
    ({"inputs": {**ASK, "age": X}}, "INVALID_ARGUMENT", "input size does not match signature: 4!=3"
     " len({add,age,names,weights}) != len({add,names,weights}). Sent extra: {age}. Missing but required: {}."),
    ({"inputs": {"names": X, "weights": X, "number": X}}, "INVALID_ARGUMENT", "input tensor alias not found in"
     " signature: number. Inputs expected to be in the set {add,names,weights}."),
    ({"inputs": {**ASK, "weights": np.ones((2, 2), np.int32)}}, "INVALID_ARGUMENT",
     "Expects arg[2] to be float but int32 is provided"),
    ({"inputs": {**ASK, "add": np.ones((2, 2), np.int64)}}, "INVALID_ARGUMENT", "add must have shape [?]"),
    ({"inputs": {**ASK, "weights": np.full((2, 2), np.nan, np.float32)}}, "INVALID_ARGUMENT", "no number"),
    ({"inputs": {**ASK, "weights": np.ones((2, 3), np.float32)}}, "INVALID_ARGUMENT", ""),
]  # fmt: skip


@pytest.mark.parametrize(("bad", "code", "message"), BAD)
def test_bad_requests_get_the_words_of_tensorflow_serving(wire, bad, code, message):
    with pytest.raises(grpc.RpcError) as caught:
        wire.predict(**bad)
    assert caught.value.code().name == code
    assert message in caught.value.details()


def test_requests_without_a_model_spec(wire):
    for call, request in (
        (wire.predictions.Predict, predict_pb2.PredictRequest()),
        (wire.predictions.GetModelMetadata, get_model_metadata_pb2.GetModelMetadataRequest()),
        (wire.models.GetModelStatus, get_model_status_pb2.GetModelStatusRequest()),
    ):
        with pytest.raises(grpc.RpcError) as caught:
            call(request, timeout=20)
        assert (caught.value.code().name, caught.value.details()) == ("INVALID_ARGUMENT", "Missing ModelSpec")


ROW = {"names": ["a"], "weights": [1], "add": 1}
P = "/v1/models/shop:predict"
BAD_REST = [
    ("/v1/models/other:predict", {"instances": [ROW]}, 404, "Servable not found for request: Latest(other)"),
    ("/v1/models/shop/versions/9:predict", {"instances": [ROW]}, 404, "Specific(shop, 9)"),
    ("/v1/models/shop:guess", {}, 400, "Malformed request: POST /v1/models/shop:guess"),
    (P, b"", 400, "JSON Parse error: The document is empty"),
    (P, b"{", 400, "JSON Parse error: "),
    (P, [1], 400, "Is not object"),
    (P, {}, 400, "Missing 'inputs' or 'instances' key"),
    (P, {"instances": []}, 400, "No values in 'instances' array"),
    (P, {"instances": 1}, 400, "Excepting 'instances' to be an list/array"),
    (P, {"instances": [ROW], "inputs": {}}, 400, "expecting only one of 'inputs' or 'instances' keys"),
    (P, {"instances": [1]}, 400, "instances is a plain list, but expecting list of objects"),
    (P, {"instances": [ROW, {**ROW, "weights": [1, 2]}]}, 400, "Failed to process element: 1 key: weights of"
     " 'instances' list. Error: INVALID_ARGUMENT: Expecting tensor size: 1 but got: 2"),
    (P, {"instances": [{**ROW, "add": "x"}]}, 400, 'JSON Value: "x" Type: String is not of expected type: int64'),
    (P, {"instances": [{**ROW, "add": 1.5}]}, 400, "JSON Value: 1.5 Type: Number is not of expected type: int64"),
    (P, {"instances": [{**ROW, "names": [None]}]}, 400, "JSON Value: null Type: Null is not of expected type: string"),
    (P, {"instances": [{**ROW, "weights": [float("nan")]}]}, 400, "no number"),
    (P, {"instances": [{**ROW, "weights": [[1], 2]}]}, 400, "found at incorrect level"),
    (P, {"instances": [{"names": ["a"]}]}, 400, "keys must be equal to: add,names,weights"),
    (P, {"instances": [{**ROW, "age": 1}]}, 400, "JSON object: does not have named input: age"),
    (P, {"inputs": {"names": [["a"]]}}, 400, "Missing named input: "),
    (P, {"signature_name": "no", "instances": [ROW]}, 400, 'Serving signature name: "no" not found in signature def'),
    (P, {"signature_name": 1, "instances": [ROW]}, 400, "'signature_name' key must be a string value."),
    ("/v1/models/other", None, 404, "Could not find any versions of model other"),
    ("/v1/models/shop/versions/9", None, 404, "Could not find version 9 of model shop"),
    ("/v2/x", None, 400, "Malformed request: GET /v2/x"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "body", "status", "message"), BAD_REST)
def test_bad_rest_requests_get_the_words_of_tensorflow_serving(wire, path, body, status, message):
    got, answer = wire.http(path, body)
    assert got == status and message in answer["error"]


def test_status_metadata_health_and_metrics(wire):
    available = {"version": "1", "state": "AVAILABLE", "status": {"error_code": "OK", "error_message": ""}}
    assert wire.http("/v1/models/shop") == (200, {"model_version_status": [available]})
    status, told = wire.http("/v1/models/shop/metadata")
    assert status == 200 and told["model_spec"]["version"] == "1"
    shown = told["metadata"]["signature_def"]["signature_def"]
    assert set(shown) == {"serving_default", "double"}
    assert shown["serving_default"]["inputs"]["add"]["dtype"] == "DT_INT64"
    assert wire.http("/healthz/ready") == (200, {"status": "ready"})
    before = _count(wire.http("/metrics")[1])
    wire.predict()
    status, text = wire.http("/monitoring/prometheus/metrics")
    assert _count(text) == before + 1 and 'serving_model_version{model="shop"} 1.0' in text


def _count(text):
    found = [line for line in text.splitlines() if line.startswith("serving_requests_total") and 'code="OK"' in line]
    return sum(float(line.split()[-1]) for line in found if 'api="grpc"' in line and 'method="predict"' in line)


def total_of(answer):
    return float(tf.make_ndarray(answer.outputs["total"])[0])


def until(true, seconds=30):
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.02)


def test_without_a_model_it_waits_for_one(start, drafts, tmp_path):
    wire = start(tmp_path / "shop")
    with pytest.raises(grpc.RpcError) as caught:
        wire.predict()
    assert caught.value.details() == "Servable not found for request: Latest(shop)"
    assert wire.http("/healthz/ready")[0] == 503 and wire.http("/healthz/live")[0] == 200
    assert wire.http("/v1/models/shop")[1]["error"] == "Could not find any versions of model shop"
    put(drafts, tmp_path / "shop", 1)
    until(lambda: wire.server.ready)
    assert wire.predict().model_spec.version.value == 1


def test_a_new_version_takes_over_under_load_and_no_request_fails(start, drafts, tmp_path):
    put(drafts, tmp_path / "shop", 1)
    wire, over = start(tmp_path / "shop"), threading.Event()
    seen: list[list[tuple[int, float]]] = [[] for _ in range(4)]
    faults: list[Exception] = []

    def ask(mine):
        try:
            while not over.is_set():
                answer = wire.predict()
                mine.append((answer.model_spec.version.value, total_of(answer)))
        except Exception as error:
            faults.append(error)

    threads = [threading.Thread(target=ask, args=(mine,)) for mine in seen]
    for thread in threads:
        thread.start()
    until(lambda: all(seen))
    put(drafts, tmp_path / "shop", 2)
    until(lambda: faults or all(mine[-1][0] == 2 for mine in seen))
    over.set()
    for thread in threads:
        thread.join()
    assert not faults
    for mine in seen:
        assert [version for version, _ in mine] == sorted(version for version, _ in mine)
        assert all(total == 1000 * version + 11 for version, total in mine)
        assert {version for version, _ in mine} == {1, 2}
    until(lambda: wire.states()[1].state == 50)
    assert wire.states()[2].state == 30


def test_a_broken_version_leaves_the_old_one_and_a_mended_one_is_taken(start, drafts, tmp_path):
    put(drafts, tmp_path / "shop", 1)
    wire = start(tmp_path / "shop")
    broken = tmp_path / "shop" / "2"
    broken.mkdir()
    (broken / "saved_model.pb").write_bytes(b"not a graph")
    until(lambda: 2 in wire.states() and wire.states()[2].state == 50)
    told = wire.states()[2].status
    assert told.error_code != 0 and told.error_message
    assert wire.predict().model_spec.version.value == 1 and wire.http("/healthz/ready")[0] == 200
    shutil.rmtree(broken)
    put(drafts, tmp_path / "shop", 2)
    until(lambda: wire.predict().model_spec.version.value == 2)


def test_versions_that_vanish_take_nothing_away(start, drafts, tmp_path):
    put(drafts, tmp_path / "shop", 1)
    wire = start(tmp_path / "shop")
    shutil.rmtree(tmp_path / "shop")
    time.sleep(0.3)
    assert wire.predict().model_spec.version.value == 1


def test_what_has_come_is_answered_when_it_stops(start, drafts, tmp_path, monkeypatch):
    put(drafts, tmp_path / "shop", 1)
    wire = start(tmp_path / "shop", grace_seconds=10)
    inside, plain = threading.Event(), Version.run

    def slow(self, signature, inputs):
        inside.set()
        time.sleep(0.5)
        return plain(self, signature, inputs)

    monkeypatch.setattr(Version, "run", slow)
    answers: list[object] = []
    rest = {"instances": [ROW]}
    asking = [
        threading.Thread(target=lambda: answers.append(total_of(wire.predict()))),
        threading.Thread(target=lambda: answers.append(wire.http(P, rest)[1]["predictions"][0]["total"])),
    ]
    for one in asking:
        one.start()
    assert inside.wait(10)
    time.sleep(0.2)  # the other has come too
    wire.server.stop()
    for one in asking:
        one.join()
    assert sorted(answers) == [1002.0, 1011.0]
    with pytest.raises(grpc.RpcError):
        wire.predict()


class Counted:
    """Stands for a version; doubles x, counts its runs, and waits at the gate."""

    def __init__(self, drafts):
        self.definitions = Version.load(drafts / "1").definitions
        self.runs: list[int] = []
        self.gate = threading.Event()

    def run(self, signature, inputs):
        self.gate.wait(10)
        self.runs.append(len(inputs["x"]))
        if (inputs["x"] < 0).any():
            raise ValueError("below 0")
        return {"y": 2 * inputs["x"]}


def test_those_who_wait_together_are_run_together_and_one_bad_one_spoils_nothing(drafts):
    version, batcher = Counted(drafts), Batcher(BatchRules(rows=6, threads=1))
    batcher.start()
    got: dict[int, object] = {}

    def ask(number):
        x = np.array([number, number + 0.5], np.float32) if number else np.array([-1.0], np.float32)
        try:
            got[number] = batcher.run(version, "double", {"x": x})["y"].tolist()
        except ValueError as error:
            got[number] = str(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
        time.sleep(0.02)
    version.gate.set()
    for thread in threads:
        thread.join()
    batcher.stop()
    assert got == {0: "below 0"} | {n: [2.0 * n, 2.0 * n + 1] for n in range(1, 8)}
    assert max(version.runs) == 6 and len(version.runs) < 8


def test_joined_inputs_are_filled_up_at_the_end():
    parts = [
        {"a": np.array([[b"x"]], object), "n": np.array([1])},
        {"a": np.array([[b"y", b"z"]], object), "n": np.array([2])},
    ]
    made = join(parts)
    assert made["a"].tolist() == [[b"x", b""], [b"y", b"z"]] and made["n"].tolist() == [1, 2]


OVMS = """
import json, sys
import numpy as np
import ovmsclient
told = {}
def inputs_of(metadata):  # over HTTP it reads OVMS's spelling only, and hands TensorFlow Serving's on as it is
    if "inputs" in metadata:
        return metadata["inputs"]
    return metadata["metadata"]["signature_def"]["signature_def"]["serving_default"]["inputs"]
kinds = {"grpc": ovmsclient.make_grpc_client, "http": ovmsclient.make_http_client}
for port, (kind, make) in zip(sys.argv[1:], kinds.items()):
    client = make(f"127.0.0.1:{port}")
    status = client.get_model_status(model_name="shop")
    metadata = client.get_model_metadata(model_name="shop")
    weights = np.array([[1, 2], [3, 4]], np.float32)
    inputs = {"names": [["a", ""], ["bb", "c"]], "weights": weights, "add": np.array([10, 20])}
    answer = client.predict(inputs=inputs, model_name="shop")
    try:
        client.predict(inputs=inputs, model_name="other")
        fault = None
    except Exception as error:
        fault = type(error).__name__
    told[kind] = {"status": {str(v): one["state"] for v, one in status.items()}, "inputs": sorted(inputs_of(metadata)),
                  "total": np.asarray(answer["total"]).tolist(), "fault": fault}
print(json.dumps(told))
"""


def test_the_client_of_ovms_is_answered(wire):
    """Its own copies of the protos clash with TensorFlow's in one process, so it has another."""
    ports = [str(wire.server.grpc_port), str(wire.server.rest_port)]
    done = subprocess.run(
        [sys.executable, "-c", OVMS, *ports], capture_output=True, text=True, timeout=120,
        env={"PYTHONPATH": str(ovms_home()), "PROTOCOL_BUFFERS_PYTHON_IMPLEMENTATION": "python"},
        cwd=Path(sys.prefix),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2_000:]
    wanted = {"status": {"1": "AVAILABLE"}, "inputs": ["add", "names", "weights"], "total": [1011.0, 1027.0]}
    assert json.loads(done.stdout.splitlines()[-1]) == {
        kind: wanted | {"fault": "ModelNotFoundError"} for kind in ("grpc", "http")
    }
