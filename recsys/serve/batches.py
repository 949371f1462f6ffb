"""Requests that wait at the same time are answered by one run of the model."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np

from recsys.serve.versions import Version
from recsys.tensorflow import tf

Inputs = dict[str, np.ndarray]


@dataclass(frozen=True)
class BatchRules:
    """At most `rows` rows and `cells` values of the widest input go together; nobody waits for company.

    `pad`: histories of other lengths may go together, filled up with 0 and "" at the end, as with TensorFlow Serving's
    pad_variable_length_inputs. `threads`: how many batches run at once.
    """

    rows: int = 32
    cells: int = 65_536
    pad: bool = True
    threads: int = 2

    def __post_init__(self) -> None:
        for name in ("rows", "cells", "threads"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")


@dataclass
class _Waiting:
    version: Version
    signature: str
    inputs: Inputs
    answer: Future[Inputs] = field(default_factory=Future)

    @property
    def rows(self) -> int:
        return len(next(iter(self.inputs.values())))

    def joins(self, other: _Waiting) -> bool:
        return self.version is other.version and self.signature == other.signature


class Batcher:
    """Runs requests in threads of its own, those that wait together in one batch."""

    def __init__(self, rules: BatchRules = BatchRules()) -> None:
        self.rules = rules
        self.sizes: deque[int] = deque(maxlen=1_000)
        self._waiting: deque[_Waiting] = deque()
        self._changed = threading.Condition()
        self._over = False
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(rules.threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Answers what waits, and ends."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join(30)

    def run(self, version: Version, signature: str, inputs: Inputs) -> Inputs:
        """The outputs for inputs; what the model raises is raised."""
        if not _has_rows(version, signature, inputs):
            return version.run(signature, inputs)
        one = _Waiting(version, signature, inputs)
        with self._changed:
            if self._over:
                raise RuntimeError("the server is stopping")
            self._waiting.append(one)
            self._changed.notify()
        return one.answer.result()

    def _work(self) -> None:
        while batch := self._next():
            self.sizes.append(sum(one.rows for one in batch))
            try:
                self._answer(batch)
            except Exception as error:
                if len(batch) == 1:
                    batch[0].answer.set_exception(error)
                else:  # one bad request must not spoil the others
                    for one in batch:
                        self._alone(one)

    def _alone(self, one: _Waiting) -> None:
        try:
            one.answer.set_result(one.version.run(one.signature, one.inputs))
        except Exception as error:
            one.answer.set_exception(error)

    def _answer(self, batch: Sequence[_Waiting]) -> None:
        joined = batch[0].inputs if len(batch) == 1 else join([one.inputs for one in batch])
        outputs = batch[0].version.run(batch[0].signature, joined)
        first = 0
        for one in batch:
            last = first + one.rows
            one.answer.set_result({name: value[first:last] for name, value in outputs.items()})
            first = last

    def _next(self) -> list[_Waiting]:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._over)
            if not self._waiting:
                return []
            batch = [self._waiting.popleft()]
            left: list[_Waiting] = []
            while self._waiting:
                one = self._waiting.popleft()
                (batch if self._fits(batch, one) else left).append(one)
            self._waiting.extend(left)
            if left:
                self._changed.notify()
            return batch

    def _fits(self, batch: Sequence[_Waiting], one: _Waiting) -> bool:
        if not one.joins(batch[0]):
            return False
        rows = sum(member.rows for member in batch) + one.rows
        widest = max(_width(member.inputs) for member in (*batch, one))
        alike = self.rules.pad or all(a.shape[1:] == one.inputs[n].shape[1:] for n, a in batch[0].inputs.items())
        ranks = all(a.ndim == one.inputs[n].ndim for n, a in batch[0].inputs.items())
        return alike and ranks and rows <= self.rules.rows and rows * widest <= self.rules.cells


def join(parts: Sequence[Inputs]) -> Inputs:
    """Inputs one after the other, each filled up at the end to the widest."""
    made = {}
    for name, first in parts[0].items():
        shape = np.max([part[name].shape[1:] for part in parts], 0).astype(int).tolist() if first.ndim > 1 else []
        fill = b"" if first.dtype == object else 0
        every = np.full((sum(len(part[name]) for part in parts), *shape), fill, first.dtype)
        row = 0
        for part in parts:
            values = part[name]
            every[(slice(row, row + len(values)), *map(slice, values.shape[1:]))] = values
            row += len(values)
        made[name] = every
    return made


def _width(inputs: Inputs) -> int:
    return max(int(np.prod(value.shape[1:])) for value in inputs.values())


def _has_rows(version: Version, signature: str, inputs: Inputs) -> bool:
    """Do all inputs and outputs have rows, as many of each, so that they can be joined and cut?"""
    lengths = {value.shape[0] if value.ndim else -1 for value in inputs.values()}
    found = version.definitions[signature]
    shapes = [one.tensor_shape for one in (*found.inputs.values(), *found.outputs.values())]
    open_ = all(not shape.unknown_rank and shape.dim and shape.dim[0].size == -1 for shape in shapes)
    return open_ and len(lengths) == 1 and min(lengths) > 0


def model_error(error: Exception) -> str:
    """What the model says was wrong with a request, without TensorFlow's own place names."""
    text = error.message if isinstance(error, tf.errors.OpError) else str(error)
    return (text or type(error).__name__).split("\n\t [[")[0].split(" [Op:")[0]
