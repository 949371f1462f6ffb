"""Steps of persons in order: what funnels and journeys are cut from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

STEPS_TAKEN: pa.Schema = pa.schema(
    [
        pa.field("person", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("step", pa.string(), nullable=False),
    ]
)
_SECOND_US = 1_000_000


@dataclass(frozen=True)
class Walks:
    """The steps of some persons, each person's together in order of time (steps of one time by name).

    Attributes:
      person: a number for each row's person, rising.
      at: microseconds.
      step: number of the row's step in `names`.
      names: the steps, sorted.
    """

    person: np.ndarray
    at: np.ndarray
    step: np.ndarray
    names: tuple[str, ...]

    def places(self, name: str) -> np.ndarray:
        """The rows of a step, rising; none if nobody took it."""
        return np.flatnonzero(self.step == self.names.index(name)) if name in self.names else np.zeros(0, np.int64)

    def following(self, rows: np.ndarray, name: str) -> np.ndarray:
        """For each row the next row of its person that is the step `name`, behind it; -1 where there is none."""
        places = self.places(name)
        if not len(places):
            return np.full(len(rows), -1)
        after = np.searchsorted(places, rows, side="right")
        found = places[np.minimum(after, len(places) - 1)]
        fits = (after < len(places)) & (self.person[found] == self.person[rows]) & (rows >= 0)
        return np.where(fits, found, -1)

    def last_rows(self) -> np.ndarray:
        """For each row the last row of its person."""
        ends = np.flatnonzero(np.append(self.person[1:] != self.person[:-1], True)) if len(self.person) else self.person
        return ends[np.searchsorted(ends, np.arange(len(self.person)))]


def order_steps(steps: pa.Table) -> Walks:
    """The rows of STEPS_TAKEN in order; rows without a person, time or step are left out."""
    table = steps.select(STEPS_TAKEN.names).cast(pa.schema([f.with_nullable(True) for f in STEPS_TAKEN]))
    rows = pl.DataFrame(pl.from_arrow(table)).drop_nulls().sort("person", "time", "step")
    names = rows["step"].unique().sort()
    number = pl.DataFrame({"step": names, "_step": np.arange(len(names))})
    rows = rows.join(number, on="step", how="left", maintain_order="left")
    person = (rows["person"] != rows["person"].shift()).fill_null(False).cum_sum()
    at = rows["time"].to_physical()
    return Walks(person.to_numpy().astype(np.int64), at.to_numpy(), rows["_step"].to_numpy(), tuple(names.to_list()))


def whole_seconds(micros: np.ndarray) -> np.ndarray:
    """Seconds, cut to three digits from 1,000 on: few enough distinct values to count, and off by less than 1 %."""
    seconds = micros // _SECOND_US
    unit = 10 ** np.maximum(np.floor(np.log10(np.maximum(seconds, 1))).astype(np.int64) - 2, 0)
    return seconds // unit * unit


def quantile_of_counts(values: np.ndarray, counts: np.ndarray, share: float) -> float | None:
    """The smallest value that at least `share` of the counted do not exceed; None when nothing is counted."""
    if not counts.sum():
        return None
    order = np.argsort(values, kind="stable")
    running = np.cumsum(counts[order])
    return float(values[order][np.searchsorted(running, share * running[-1])])
