"""What a written model offers a batch of persons."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from recsys.export.write import versions
from recsys.tensorflow import tf
from transforms.errors import UserError

HISTORIES: pa.Schema = pa.schema(
    [
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("history_items", pa.list_(pa.string()), nullable=False),  # oldest first
        pa.field("history_seconds", pa.list_(pa.int64()), nullable=False),  # since 1970
    ]
)
RECOMMENDATIONS: pa.Schema = pa.schema(
    [
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("rank", pa.int32(), nullable=False),  # 1 first
        pa.field("item_id", pa.string(), nullable=False),
        pa.field("score", pa.float32(), nullable=False),  # comparable within a list
        pa.field("source", pa.string(), nullable=False),
        pa.field("reason", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.int64(), nullable=False),
        pa.field("made_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
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
    """RECOMMENDATIONS of the persons of a batch of HISTORIES, up to `k` each, by person and rank.

    All are asked as of `made_at`. Memory: a padded part of the batch at a time.
    """
    ask = loaded.signatures["serving_default"]
    parts = [pa.RecordBatch.from_pylist([], RECOMMENDATIONS)]
    for part in _parts(people):
        items, seconds = _padded(part)
        now = np.full(part.num_rows, int(made_at.timestamp()))
        answer = ask(
            history_items=tf.constant(items, tf.string), history_seconds=tf.constant(seconds, tf.int64),
            now=tf.constant(now, tf.int64),
        )  # fmt: skip
        parts.append(_rows(part, {name: value.numpy()[:, :k] for name, value in answer.items()}, model, made_at))
    return pa.Table.from_batches(parts).combine_chunks().to_batches()[0] if len(parts) > 1 else parts[0]


def _parts(people: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """In parts that stay small when padded to their longest history."""
    lengths = np.diff(people["history_items"].offsets.to_numpy())
    first = 0
    while first < people.num_rows:
        widest = np.maximum.accumulate(lengths[first : first + _ROWS])
        fits = int((widest * np.arange(1, len(widest) + 1) <= _CELLS).sum())
        yield people.slice(first, max(fits, 1))
        first += max(fits, 1)


def _padded(part: pa.RecordBatch) -> tuple[np.ndarray, np.ndarray]:
    lengths = part["history_items"].value_lengths().to_numpy()
    shape = (part.num_rows, max(int(lengths.max(initial=0)), 1))
    items, seconds = np.full(shape, "", object), np.zeros(shape, np.int64)
    row = np.repeat(np.arange(len(lengths)), lengths)
    place = np.arange(len(row)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    items[row, place] = part["history_items"].flatten().to_numpy(zero_copy_only=False)
    seconds[row, place] = part["history_seconds"].flatten().to_numpy()
    return items, seconds


def _rows(part: pa.RecordBatch, answer: dict[str, np.ndarray], model: WrittenModel, at: datetime) -> pa.RecordBatch:
    row, place = np.nonzero(answer["items"] != b"")
    count = len(row)

    def text(name: str) -> pa.Array:
        return pa.array(answer[name][row, place].tolist(), pa.binary()).cast(pa.string())

    columns = [
        part["person_id"].take(pa.array(row)), pa.array(place + 1, pa.int32()), text("items"),
        pa.array(answer["scores"][row, place], pa.float32()), text("sources"), text("reasons"),
        pa.array([model.name] * count, pa.string()), pa.array(np.full(count, model.version), pa.int64()),
        pa.array([at] * count, RECOMMENDATIONS.field("made_at").type),
    ]  # fmt: skip
    return pa.RecordBatch.from_arrays(columns, schema=RECOMMENDATIONS)
