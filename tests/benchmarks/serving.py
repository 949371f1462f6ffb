"""Benchmark of the model server: `python -m tests.benchmarks.serving [--items 20000] [--seconds 20] [--rate 300]`.

The whole chain with arrays of full size drawn by chance (what it answers is no matter here), in a server of its own on
the loopback. Prints one JSON line each: one request after the other by gRPC and REST; a rate held, with the server's
memory and a version swap in the middle. `--keep FOLDER` keeps the model for the next run.
"""

from __future__ import annotations

import argparse
import http.client
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import grpc
import numpy as np

from recsys.export.write import predict_request

HISTORY = 50
_PREDICT = "/tensorflow.serving.PredictionService/Predict"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=300.0)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--keep")
    asked = parser.parse_args()
    home = Path(asked.keep or tempfile.mkdtemp())
    folder = home / "recommend"
    if not folder.exists():
        write_model(folder, asked.items)
    server = Server(folder)
    try:
        requests = make_requests(asked.items)
        tell("one request, gRPC", server, one_by_one(grpc_call(server.grpc_port), requests, asked.requests))
        tell(
            "one request, REST",
            server,
            one_by_one(rest_call(server.rest_port), rest_requests(asked.items), asked.requests),
        )
        swap = threading.Timer(asked.seconds / 2, copy_version, (folder, 1, 2))
        swap.start()
        tell(f"{asked.rate:g} requests/s, a swap", server, hold(grpc_call(server.grpc_port), requests, asked))
        swap.join()
    finally:
        server.stop()
        shutil.rmtree(folder / "2", ignore_errors=True)
        if not asked.keep:
            shutil.rmtree(home)


class Server:
    """`serve` in a process of its own."""

    def __init__(self, folder: Path) -> None:
        ports = ["--grpc-port", "0", "--rest-port", "0", "--json"]
        command = [sys.executable, "-m", "pipelines", "serve", "--model", str(folder), *ports]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout
        told = json.loads(self.process.stdout.readline())
        self.grpc_port, self.rest_port = told["grpc_port"], told["rest_port"]

    def megabytes(self) -> float:
        lines = Path(f"/proc/{self.process.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(60)


def write_model(folder: Path, items: int) -> None:
    """A chain with every source, its arrays drawn by chance."""
    import polars as pl
    import scipy.sparse as sp

    from recsys.candidates.als import FittedAls
    from recsys.candidates.content import FittedContent
    from recsys.candidates.ease import FittedEase
    from recsys.candidates.item_knn import Neighbours
    from recsys.candidates.own import FittedDue, FittedOwn
    from recsys.candidates.popularity import FittedPopularity, Trend
    from recsys.chain import Chain
    from recsys.export.catalogue import Catalogue
    from recsys.export.servable import Servable
    from recsys.export.write import write_version
    from recsys.interactions import Log
    from recsys.ranking.features import ItemTimes, feature_names
    from recsys.ranking.network import CrossNetwork
    from recsys.ranking.train import Ranker
    from recsys.retrieval.towers import TwoTowers
    from recsys.retrieval.train import FittedTowers
    from recsys.spec import RankingSpec, RetrievalSpec

    random = np.random.default_rng(1)
    ids = pl.Series([f"item-{n:06}" for n in range(items)])
    rows = 200_000
    zeros, seconds = np.zeros(rows, np.int32), np.sort(random.integers(1_600_000_000, 1_630_000_000, rows))
    taken = random.integers(0, items, rows).astype(np.int32)
    log = Log(zeros, taken, seconds, np.ones(rows, np.float32), zeros, zeros, pl.Series(["u"]), ids)
    most = min(items, 10_000)
    weights = random.normal(0, 0.01, (most, most)).astype(np.float32)
    kept = np.sort(random.choice(items, most, replace=False))
    columns = random.integers(0, items, (items, 100))
    near = sp.csr_matrix(
        (np.ones(columns.size, np.float32), columns.ravel(), np.arange(items + 1) * 100), (items, items)
    )
    near.sum_duplicates()
    spec = RetrievalSpec()
    towers = TwoTowers(items, np.zeros((items, 0), np.int32), np.full(items, 1 / items), spec)
    towers.embed_users.get_concrete_function()
    scorers = {
        "ease": FittedEase(kept, weights, 0.0), "recency EASE": FittedEase(kept, weights, 30.0),
        "implicit ALS": FittedAls(random.normal(0, 0.1, (items, 64)).astype(np.float32), 10.0, 10.0),
        "bought together": Neighbours(near, 10.0),
        "trending": Trend(1_600_000_000, 86_400, np.float32(0.9), random.random((348, items)).astype(np.float32)),
        "popular": Trend(1_600_000_000, 86_400, np.float32(0.99), random.random((348, items)).astype(np.float32)),
        "popularity": FittedPopularity(random.random(items).astype(np.float32)),
        "content": FittedContent(sp.random(items, 5_000, 6 / 5_000, "csr", np.float32, random), 10.0),
        "own most frequent": FittedOwn(random.random(items).astype(np.float32)),
        "repeat due": FittedDue(np.full(items, 30, np.float32), 2.0),
        "two towers": FittedTowers.of(towers, spec),
    }  # fmt: skip
    ranking = RankingSpec()
    features = random.normal(size=(8, ranking.candidates, len(feature_names([*scorers])))).astype(np.float32)
    network = CrossNetwork(features, ranking)
    network.score(features)
    chain = Chain(scorers, ItemTimes.of(log), Ranker(network), True, ranking)
    write_version(Servable(chain, log, Catalogue.of(ids)), folder, 1)


def copy_version(folder: Path, old: int, new: int) -> None:
    shutil.copytree(folder / str(old), folder / f".{new}")
    (folder / f".{new}").rename(folder / str(new))


def histories(items: int, count: int = 64):
    random = np.random.default_rng(2)
    for _ in range(count):
        codes = random.integers(0, items, HISTORY)
        yield [f"item-{n:06}" for n in codes], np.sort(random.integers(1_600_000_000, 1_630_000_000, HISTORY)).tolist()


def make_requests(items: int) -> list[bytes]:
    made = []
    for names, seconds in histories(items):
        inputs = {
            "history_items": np.array([names], object),
            "history_seconds": np.array([seconds]),
            "now": np.zeros(1, int),
        }
        made.append(predict_request("recommend", "", inputs).SerializeToString())
    return made


def rest_requests(items: int) -> list[bytes]:
    rows = [{"history_items": names, "history_seconds": seconds, "now": 0} for names, seconds in histories(items)]
    return [json.dumps({"instances": [row]}).encode() for row in rows]


def grpc_call(port: int):
    channel = grpc.insecure_channel(f"127.0.0.1:{port}")
    return channel.unary_unary(_PREDICT)


def rest_call(port: int):
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def call(body: bytes) -> bytes:
        connection.request("POST", "/v1/models/recommend:predict", body)
        answer = connection.getresponse()
        text = answer.read()
        assert answer.status == 200, text
        return text

    return call


def one_by_one(call, requests: list[bytes], count: int) -> dict[str, float]:
    for request in requests[:20]:
        call(request)
    took = []
    for number in range(count):
        start = time.perf_counter()
        call(requests[number % len(requests)])
        took.append(time.perf_counter() - start)
    return shares(took) | {"requests": count}


def hold(call, requests: list[bytes], asked: argparse.Namespace) -> dict[str, float]:
    """Sends at a steady rate, however long the answers take; latency counts from when a request was due."""
    took: list[float] = []
    failed: list[str] = []
    lock, done = threading.Lock(), threading.Semaphore(0)
    count, start = int(asked.rate * asked.seconds), time.perf_counter() + 0.1

    def ended(future: grpc.Future, due: float) -> None:
        fault = future.exception()
        with lock:
            failed.append(str(fault)) if fault else took.append(time.perf_counter() - due)
        done.release()

    for number in range(count):
        due = start + number / asked.rate
        time.sleep(max(0.0, due - time.perf_counter()))
        future = call.future(requests[number % len(requests)], timeout=30)
        future.add_done_callback(lambda one, due=due: ended(one, due))
    for _ in range(count):
        done.acquire()
    rate = count / (time.perf_counter() - start)
    return shares(took) | {"requests": count, "failed": len(failed), "answered_per_second": round(rate, 1)}


def shares(took: list[float]) -> dict[str, float]:
    return {f"p{share}_ms": round(float(np.percentile(took, share)) * 1e3, 2) for share in (50, 99)} if took else {}


def tell(what: str, server: Server, found: dict[str, float]) -> None:
    print(json.dumps({"measure": what} | found | {"server_mb": round(server.megabytes())}), flush=True)


if __name__ == "__main__":
    main()
