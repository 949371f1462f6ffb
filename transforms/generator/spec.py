"""What to generate."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

from transforms.errors import UsageError

# A shard's people times days: with it the rows of a shard, and so the peak memory, do not grow with the size.
PERSON_DAYS_A_SHARD = 4_000 * 365
MOST_PERSONS_A_SHARD = 20_000


@dataclass(frozen=True)
class GeneratorSpec:
    """A synthetic retailer; the same spec gives the same rows.

    Attributes:
      seed: any whole number from 0.
      customers: how many persons shop; about one in eight of them has two or three customer records.
      days, end: the history covers `days` days and stops before `end`.
      broken_share, duplicate_share, late_share: shares of rows that are planted broken, twice, or behind their time.
      products: size of the catalogue.
    """

    seed: int = 7
    customers: int = 10_000
    days: int = 365
    end: date = date(2011, 1, 1)
    broken_share: float = 0.005
    duplicate_share: float = 0.01
    late_share: float = 0.005
    products: int = 2_000

    def __post_init__(self) -> None:
        _within("seed", self.seed, 0, 2**63 - 1)
        _within("customers", self.customers, 1, 200_000_000)
        _within("days", self.days, 1, 36_500)
        _within("products", self.products, 12, 999_999)
        for name in ("broken_share", "duplicate_share", "late_share"):
            _within(name, getattr(self, name), 0.0, 0.3)
        if not 1980 <= self.end.year <= 2100:
            raise UsageError(f"end is {self.end}", "generator", "take a date between 1980 and 2100")

    @property
    def clean(self) -> GeneratorSpec:
        """The same retailer with nothing broken, twice or late."""
        return replace(self, broken_share=0.0, duplicate_share=0.0, late_share=0.0)

    @property
    def start(self) -> date:
        return self.end - timedelta(days=self.days)

    @property
    def start_us(self) -> int:
        return micros(self.start)

    @property
    def end_us(self) -> int:
        return micros(self.end)

    @property
    def shard_persons(self) -> int:
        return max(1, min(MOST_PERSONS_A_SHARD, PERSON_DAYS_A_SHARD // self.days))

    @property
    def shards(self) -> int:
        return -(-self.customers // self.shard_persons)


def micros(day: date) -> int:
    """Microseconds since 1970 at midnight UTC of `day`."""
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()) * 1_000_000


def _within(name: str, value: float, low: float, high: float) -> None:
    if not low <= value <= high:
        raise UsageError(f"{name} is {value}", "generator", f"take a value from {low} to {high}")
