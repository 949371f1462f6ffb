"""Seeded draws, vectorised."""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import polars as pl


def stream(seed: int, *labels: str | int) -> np.random.Generator:
    """A generator of its own for each label path, so that parts can be made in any order, or alone."""
    words = [crc32(label.encode()) if isinstance(label, str) else label for label in labels]
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, *words])))


def choose(rng: np.random.Generator, size: int, weights: Sequence[float] | np.ndarray) -> np.ndarray:
    """`size` indexes into `weights`, drawn in proportion to them."""
    cumulative = np.cumsum(np.asarray(weights, float))
    return np.searchsorted(cumulative[:-1] / cumulative[-1], rng.random(size), side="right")


def choose_by_row(rng: np.random.Generator, cumulative: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """One column index for each entry of `rows`, drawn by that row of `cumulative` (cumulative shares, last is 1)."""
    drawn = rng.random(len(rows))
    found = np.zeros(len(rows), np.int64)
    for column in range(cumulative.shape[1] - 1):
        found += drawn >= cumulative[rows, column]
    return found


def zipf(size: int, shift: float = 10.0, power: float = 1.0) -> np.ndarray:
    """Weights that fall with the rank as names and best-sellers do: 1 / (rank + shift) ** power."""
    return 1.0 / (np.arange(size) + 1.0 + shift) ** power


def gather(values: Sequence[str | None], indexes: np.ndarray) -> pl.Series:
    """`values[i]` for each index; a negative index gives null."""
    series = pl.Series(list(values), dtype=pl.String)
    return series.gather(pl.Series(np.where(indexes < 0, 0, indexes)).cast(pl.UInt32)).set(pl.Series(indexes < 0), None)


def within(counts: np.ndarray) -> np.ndarray:
    """0, 1, … inside each group: [2, 3] gives 0 1 0 1 2."""
    ends = np.cumsum(counts)
    total = int(ends[-1]) if len(ends) else 0
    return np.arange(total) - np.repeat(ends - counts, counts)


def fill(rng: np.random.Generator, patterns: Sequence[str], which: np.ndarray) -> pl.Series:
    """Text from a pattern for each index: `#` becomes a digit, `@` a capital letter, the rest stays."""
    width = max(len(pattern) for pattern in patterns)
    codes = np.array([list(pattern.ljust(width, "\0").encode()) for pattern in patterns], np.uint8)[which]
    letters = np.frombuffer(b"ABDEFGHJLNPQRSTUWXYZ", np.uint8)
    codes = np.where(codes == ord("#"), rng.integers(48, 58, codes.shape, np.uint8), codes)
    codes = np.where(codes == ord("@"), letters[rng.integers(0, len(letters), codes.shape)], codes)
    text = np.ascontiguousarray(codes).view(f"S{width}").ravel().astype(f"U{width}")
    return pl.Series(text, dtype=pl.String)


def mix(numbers: np.ndarray) -> np.ndarray:
    """Scrambles 64-bit integers, one to one (splitmix64, Steele, Lea and Flood 2014)."""
    with np.errstate(over="ignore"):
        z = numbers.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))


def share(numbers: np.ndarray) -> np.ndarray:
    """A fixed number in [0, 1) for each integer."""
    return (mix(numbers) >> np.uint64(11)).astype(float) / 2**53


def choose_fixed(options: Sequence[tuple[str, float]], shares: np.ndarray) -> pl.Series:
    """The option each number in [0, 1) falls on; options carry their share of the whole."""
    bounds = np.cumsum([weight for _, weight in options])
    picked = np.searchsorted(bounds[:-1] / bounds[-1], shares, side="right")
    return gather([name for name, _ in options], picked)
