"""Interactions as training examples that know only what was known at the moment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from recsys.interactions import Log, ranges

EXAMPLES: pa.Schema = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("weight", pa.float32(), nullable=False),
        pa.field("history_items", pa.list_(pa.string()), nullable=False),
        pa.field("history_age_seconds", pa.list_(pa.int64()), nullable=False),
        pa.field("history_weights", pa.list_(pa.float32()), nullable=False),
    ]
)


@dataclass(frozen=True)
class ExampleRules:
    """How far back an example looks, in items."""

    history_items: int = 20

    def __post_init__(self) -> None:
        if self.history_items < 1:
            raise ValueError(f"history_items is {self.history_items}; an example looks at least at 1 item back")


def examples(log: Log, rules: ExampleRules = ExampleRules(), batch_rows: int = 65_536) -> Iterator[pa.RecordBatch]:
    """One example an interaction, with the schema EXAMPLES, in the order of the log.

    A history holds the user's last items before the moment of the interaction's basket, oldest first; neither what is
    in the basket nor what has the same time or a later one is among them (see `encode`). Ages are in seconds before
    the interaction. Memory: a batch times the length of a history.
    """
    for first in range(0, len(log), batch_rows):
        yield _batch(log, np.arange(first, min(first + batch_rows, len(log))), rules)


def history_places(log: Log, rows: np.ndarray, rules: ExampleRules) -> tuple[np.ndarray, np.ndarray]:
    """(places in the log of the history of each row, one after the other, and the offsets of each)."""
    end = log.cutoffs[rows]
    return ranges(np.maximum(log.starts[log.users[rows]], end - rules.history_items), end)


def _batch(log: Log, rows: np.ndarray, rules: ExampleRules) -> pa.RecordBatch:
    take, offsets = history_places(log, rows, rules)
    owners = np.repeat(rows, np.diff(offsets))
    ages = log.seconds[owners] - log.seconds[take]
    place = pa.array(offsets.astype(np.int32))
    columns = [
        log.user_ids.gather(log.users[rows]).to_arrow().cast(pa.string()),
        log.item_ids.gather(log.items[rows]).to_arrow().cast(pa.string()),
        pa.array(log.seconds[rows] * 1_000_000, pa.int64()).cast(EXAMPLES.field("time").type),
        pa.array(log.weights[rows], pa.float32()),
        pa.ListArray.from_arrays(place, log.item_ids.gather(log.items[take]).to_arrow().cast(pa.string())),
        pa.ListArray.from_arrays(place, pa.array(ages, pa.int64())),
        pa.ListArray.from_arrays(place, pa.array(log.weights[take], pa.float32())),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=EXAMPLES)
