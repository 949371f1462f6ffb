"""Who took what, when: one order of the rows, coded for NumPy, and the histories that scorers look at."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
import pyarrow as pa
import scipy.sparse as sp

INTERACTIONS: pa.Schema = pa.schema(
    [
        pa.field("user", pa.string(), nullable=False),
        pa.field("item", pa.string(), nullable=False),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("signal", pa.string()),  # a key of SIGNAL_WEIGHTS
        pa.field("basket", pa.string()),  # the order a line belongs to; null: see `encode`
    ]
)
# How much an interaction says about taste, beside a purchase. A view is cheap and there are many of them.
SIGNAL_WEIGHTS = {"purchase": 1.0, "rating": 1.0, "cart": 0.5, "view": 0.2}
MOST_ITEMS = 2_000  # the newest of a history that a list is made from
Array = np.ndarray


@dataclass(frozen=True)
class Log:
    """Interactions as codes, sorted by (user, time, place in the file).

    `users`, `items`: codes into `user_ids`, `item_ids`. `seconds`: since 1970. `weights`: by signal. `cutoffs`: of each
    row, the place of the first row that is not known yet at the moment of its basket: the user's history is what comes
    before it. `baskets`: a number that rows of one basket share, increasing with the basket's moment within a user.
    """

    users: Array
    items: Array
    seconds: Array
    weights: Array
    cutoffs: Array
    baskets: Array
    user_ids: pl.Series
    item_ids: pl.Series

    def __len__(self) -> int:
        return len(self.users)

    @property
    def starts(self) -> Array:
        """Where each user's rows begin, and the end: length of `user_ids` + 1."""
        return np.searchsorted(self.users, np.arange(len(self.user_ids) + 1))

    @property
    def bought(self) -> Array:
        """Mask of what was bought or rated; all rows where nothing was."""
        full = self.weights >= 1.0
        return full if full.any() else np.ones(len(self), bool)

    def keep(self, mask: Array) -> Log:
        """The rows of a mask. Users and items keep their codes; histories know only rows that are kept."""
        before = np.concatenate([[0], np.cumsum(mask)])
        rows = {n: getattr(self, n)[mask] for n in ("users", "items", "seconds", "weights", "baskets")}
        return replace(self, cutoffs=before[self.cutoffs[mask]], **rows)

    def histories(self, users: Array, now: Array | None = None) -> Histories:
        """All rows of some users; `now` in seconds, else the last row of the log."""
        starts = self.starts
        latest = self.seconds.max(initial=0)
        return self._between(starts[users], starts[users + 1], np.full(len(users), latest) if now is None else now)

    def histories_before(self, rows: Array, now: Array | None = None) -> Histories:
        """What was known of the user at the moment of each of some rows; `now` in seconds, else the time of the row."""
        now = self.seconds[rows] if now is None else now
        return self._between(self.starts[self.users[rows]], self.cutoffs[rows], now)

    def _between(self, begin: Array, end: Array, now: Array) -> Histories:
        take, offsets = ranges(begin, end)
        return Histories(offsets, self.items[take], self.seconds[take], self.weights[take], now, len(self.item_ids))


@dataclass(frozen=True)
class Histories:
    """What each of n askers took before `now`: rows offsets[i] to offsets[i + 1] of the columns, oldest first."""

    offsets: Array
    items: Array
    seconds: Array
    weights: Array
    now: Array
    item_count: int

    def __len__(self) -> int:
        return len(self.now)

    @property
    def owners(self) -> Array:
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    @property
    def ages_days(self) -> Array:
        """How long ago each row was, never below 0."""
        return np.maximum(self.now[self.owners] - self.seconds, 0) / 86_400.0

    @property
    def places(self) -> Array:
        """How many rows of the same asker came after: the newest has 0."""
        return self.offsets[1:][self.owners] - 1 - np.arange(len(self.items))

    def matrix(self, values: Array | None = None) -> sp.csr_matrix:
        """Askers by items; rows of one item add up, without `values` each such pair is 1."""
        ones = np.ones(len(self.items), np.float32)
        made = sp.csr_matrix(
            (ones if values is None else values.astype(np.float32), self.items, self.offsets),
            shape=(len(self), self.item_count),
            copy=True,  # summing sorts in place
        )
        made.sum_duplicates()
        if values is None:
            made.data[:] = 1.0
        return made

    def newest(self, most: int) -> Histories:
        """The same without what is older than the `most` newest rows of each."""
        return self._taken(np.maximum(self.offsets[:-1], self.offsets[1:] - most), self.offsets[1:], self.now)

    def rows(self, places: Array) -> Histories:
        """Those of some of the askers."""
        return self._taken(self.offsets[places], self.offsets[places + 1], self.now[places])

    def _taken(self, begin: Array, end: Array, now: Array) -> Histories:
        take, offsets = ranges(begin, end)
        return Histories(offsets, self.items[take], self.seconds[take], self.weights[take], now, self.item_count)

    def batches(self, size: int) -> Iterator[tuple[slice, Histories]]:
        """The same in parts of at most `size` askers, with their places."""
        for first in range(0, len(self), size):
            part = slice(first, min(first + size, len(self)))
            rows = slice(self.offsets[first], self.offsets[part.stop])
            yield (
                part,
                Histories(
                    self.offsets[first : part.stop + 1] - self.offsets[first],
                    self.items[rows], self.seconds[rows], self.weights[rows], self.now[part], self.item_count,
                ),
            )  # fmt: skip


def ranges(begin: Array, end: Array) -> tuple[Array, Array]:
    """(begin[0] .. end[0]-1, begin[1] .. end[1]-1, ... as one array, the offsets of each in it)."""
    lengths = np.maximum(end - begin, 0)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return np.repeat(begin - offsets[:-1], lengths) + np.arange(offsets[-1]), offsets


def encode(interactions: pa.Table, in_file_order: bool = False, item_ids: pl.Series | None = None) -> Log:
    """Codes and sorts interactions with the columns of INTERACTIONS (signal and basket may be missing).

    Rows of one user and basket are one basket, which happens at its first row; without a basket rows of one user and
    time are. What a user did in a basket was not known at its moment, nor what has the same time or a later one.
    `in_file_order` is for ratings, many of which share a second: each row is a basket, and rows of the same time came
    in the order of the file. `item_ids`: all items there are, beside those that occur.
    """
    frame = pl.DataFrame(pl.from_arrow(interactions)).with_row_index("_row")
    missing = [pl.lit(None, pl.String).alias(name) for name in ("signal", "basket") if name not in frame.columns]
    frame = frame.with_columns(missing).sort("user", "time", "_row")
    user_ids = frame["user"].unique().sort()
    seen = frame["item"] if item_ids is None else pl.concat([frame["item"], item_ids.cast(pl.String)])
    items = seen.unique().sort()
    micros = frame["time"].dt.timestamp("us")
    users = _codes(frame["user"], user_ids)
    if in_file_order:
        moments = micros.to_numpy()
        cutoffs = baskets = np.arange(frame.height)
    else:
        own = pl.col("basket").is_not_null()
        group = ["user", "basket", pl.when(own).then(None).otherwise(pl.col("time"))]
        frame = frame.with_columns(pl.col("time").min().over(group).dt.timestamp("us").alias("_moment"))
        moments = frame["_moment"].to_numpy()
        cutoffs = _first_at(users, micros.to_numpy(), moments)
        key = pl.struct("user", "_moment", "basket").rank("dense") if frame.height else pl.lit(0)
        baskets = frame.select(key.cast(pl.Int64)).to_series().to_numpy()
    weights = frame["signal"].replace_strict(SIGNAL_WEIGHTS, default=1.0, return_dtype=pl.Float32).to_numpy()
    return Log(
        users, _codes(frame["item"], items), micros.to_numpy() // 1_000_000, weights, cutoffs, baskets, user_ids, items
    )


def _codes(values: pl.Series, ids: pl.Series) -> Array:
    return values.cast(pl.Enum(ids)).to_physical().to_numpy().astype(np.int32)


def _first_at(users: Array, micros: Array, moments: Array) -> Array:
    """Of each row, the first row of its user whose time is not before the row's moment."""
    pairs = pl.DataFrame({"user": users, "time": micros, "at": np.arange(len(users))})
    asked = pl.DataFrame({"user": users, "time": moments})
    firsts = pairs.group_by("user", "time").agg(pl.col("at").min())  # a moment is the time of one of its rows
    return asked.join(firsts, on=["user", "time"], how="left", maintain_order="left")["at"].to_numpy()
