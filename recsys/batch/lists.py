"""What a written model offers a batch of persons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.batch.schemas import RECOMMENDATIONS
from recsys.export.write import versions
from recsys.tensorflow import tf
from transforms.errors import UserError

PLACEMENT = "batch"
_CELLS, _ROWS = 65_536, 64  # of a padded run of the model


@dataclass(frozen=True)
class WrittenModel:
    """A version of a model on disk; `load` reads it once."""

    name: str
    version: int
    path: str

    @classmethod
    def newest(cls, folder: str | Path) -> WrittenModel:
        """Raises: UserError: the folder has no version."""
        home = Path(folder).resolve()
        found = versions(home)
        if not found:
            raise UserError("there is no version of a model", str(folder), "make one with the command train")
        return cls(home.name, found[-1], str(home / str(found[-1])))

    def load(self) -> Any:
        return tf.saved_model.load(self.path)


def offer(people: pa.RecordBatch, loaded: Any, model: WrittenModel, k: int, made_at: datetime) -> pa.RecordBatch:
    """RECOMMENDATIONS of the persons of a batch of HISTORIES, up to `k` each; by rank, those without a history last.

    All are asked as of `made_at`. Memory: a padded part of the batch at a time.
    """
    parts = [pa.RecordBatch.from_pylist([], RECOMMENDATIONS)]
    lengths = np.diff(people["history_items"].offsets.to_numpy())
    for part in _parts(people.take(pa.array(np.flatnonzero(lengths > 0)))):
        parts.append(_rows(part, _ask(part, loaded, k, made_at), model, made_at))
    strangers = people.take(pa.array(np.flatnonzero(lengths == 0)))
    if strangers.num_rows:  # all of them get the same list
        answer = _ask(strangers.slice(0, 1), loaded, k, made_at)
        same = {name: np.repeat(values, strangers.num_rows, 0) for name, values in answer.items()}
        parts.append(_rows(strangers, same, model, made_at))
    return pa.Table.from_batches(parts).combine_chunks().to_batches()[0] if len(parts) > 1 else parts[0]


def _ask(part: pa.RecordBatch, loaded: Any, k: int, made_at: datetime) -> dict[str, np.ndarray]:
    rows = part.num_rows
    nothing, open_ = np.full((rows, 1), "", object), np.zeros(rows, np.float32)
    shape = (rows, max(int(np.diff(part["history_items"].offsets.to_numpy()).max(initial=0)), 1))
    asked = {
        "history_items": _padded(part["history_items"], np.full(shape, "", object)),
        "history_seconds": _padded(part["history_seconds"], np.zeros(shape, np.int64)),
        "history_weights": _padded(part["history_weights"], np.zeros(shape, np.float32)),
        "now": np.full(rows, int(made_at.timestamp())),
        "allow": nothing, "deny": nothing, "price_from": open_, "price_to": open_, "diversity": open_,
        "new_only": np.zeros(rows, bool), "category_cap": np.zeros(rows, np.int32),
    }  # fmt: skip
    answer = loaded.signatures["with_rules"](**{name: tf.constant(values) for name, values in asked.items()})
    return {name: value.numpy()[:, :k] for name, value in answer.items()}


def _parts(people: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """In parts that stay small when padded to their longest history."""
    lengths = np.diff(people["history_items"].offsets.to_numpy())
    first = 0
    while first < people.num_rows:
        widest = np.maximum.accumulate(lengths[first : first + _ROWS])
        fits = int((widest * np.arange(1, len(widest) + 1) <= _CELLS).sum())
        yield people.slice(first, max(fits, 1))
        first += max(fits, 1)


def _padded(lists: pa.ListArray, into: np.ndarray) -> np.ndarray:
    lengths = np.diff(lists.offsets.to_numpy())
    row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    into[row, place] = lists.flatten().to_numpy(zero_copy_only=False)
    return into


def _rows(part: pa.RecordBatch, answer: dict[str, np.ndarray], model: WrittenModel, at: datetime) -> pa.RecordBatch:
    row, place = np.nonzero(answer["items"] != b"")

    def text(name: str) -> pa.Array:
        return pa.array(answer[name][row, place].tolist(), pa.binary()).cast(pa.string())

    def same(value: object, kind: pa.DataType = pa.string()) -> pa.Array:
        return pa.repeat(pa.scalar(value, kind), len(row))

    person, ranks = part["person_id"].take(pa.array(row)), pa.array(place + 1, pa.int64())
    made = same(f"{at:%Y%m%d%H%M%S}-{model.version}")
    columns = [
        pc.binary_join_element_wise(made, person, ranks.cast(pa.string()), "-"),
        person, part["customer_id"].take(pa.array(row)), text("items"), ranks,
        pa.array(answer["scores"][row, place], pa.float32()).cast(pa.float64()), text("sources"), text("reasons"),
        same(model.name), same(str(model.version)), same(PLACEMENT),
        same(at, RECOMMENDATIONS.field("made_at").type),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=RECOMMENDATIONS)
