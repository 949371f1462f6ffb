"""A shop's order history as compact arrays: one entry for each day on which a customer ordered or sent back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import polars as pl
import pyarrow as pa

# What the models read. A return is negative; an order without an id is one of its own.
ORDERS: pa.Schema = pa.schema(
    [
        pa.field("customer", pa.string(), nullable=False),
        pa.field("at", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("amount_cents", pa.int64(), nullable=False),
        pa.field("order_id", pa.string()),
        pa.field("currency", pa.string()),
    ]
)
_SHIFT = 1 << 32


@dataclass(frozen=True)
class Ledger:
    """Entries ordered by customer and day, with running sums, so that any window is two look-ups away.

    Attributes:
      customers: ids, sorted; currency: the one each customer is summed in (the most frequent of their orders, ties by
        name; null where none is known); mixed: whether they also paid in another, which counts as orders but not as
        value; unit: what one of each customer's currency counts in the models, see `open_ledger`.
      owner: the customer of each entry; day: days since 1970 (UTC); orders: orders of that day; cents: bought less
        sent back on that day.
    """

    customers: pl.Series
    currency: pl.Series
    mixed: np.ndarray
    unit: np.ndarray
    owner: np.ndarray
    day: np.ndarray
    orders: np.ndarray
    cents: np.ndarray

    def __len__(self) -> int:
        return len(self.customers)

    @property
    def last_day(self) -> int:
        return int(self.day.max()) if len(self.day) else 0

    @property
    def first_day(self) -> int:
        return int(self.day.min()) if len(self.day) else 0

    def until(self, day: int) -> Ledger:
        """The entries up to and including this day; all customers stay, so that rows line up."""
        keep = self.day <= day
        if keep.all():
            return self
        return replace(
            self, owner=self.owner[keep], day=self.day[keep], orders=self.orders[keep], cents=self.cents[keep]
        )

    def take(self, chosen: np.ndarray) -> Ledger:
        """Only the customers where `chosen` is true."""
        number = np.cumsum(chosen) - 1
        keep = chosen[self.owner]
        return Ledger(
            self.customers.filter(pl.Series(chosen)), self.currency.filter(pl.Series(chosen)), self.mixed[chosen],
            self.unit[chosen], number[self.owner[keep]], self.day[keep], self.orders[keep], self.cents[keep],
        )  # fmt: skip

    def parts(self, customers: int) -> Iterator[Ledger]:
        """So many customers at a time, in their order."""
        for start in range(0, len(self), customers):
            end = min(start + customers, len(self))
            low, high = np.searchsorted(self.owner, [start, end])
            entries = (self.owner[low:high] - start, self.day[low:high], self.orders[low:high], self.cents[low:high])
            who = (self.customers[start:end], self.currency[start:end], self.mixed[start:end], self.unit[start:end])
            yield Ledger(*who, *entries)

    @cached_property
    def buys(self) -> Ledger:
        """Only the entries that are order days."""
        kept = self.orders > 0
        entries = (self.owner[kept], self.day[kept], self.orders[kept], self.cents[kept])
        return Ledger(self.customers, self.currency, self.mixed, self.unit, *entries)

    @cached_property
    def starts(self) -> np.ndarray:
        """The first entry of each customer, or where it would be."""
        counts = np.bincount(self.owner, minlength=len(self))
        return np.cumsum(counts) - counts

    @cached_property
    def running_orders(self) -> np.ndarray:
        """Orders before each entry; one more for all."""
        return running(self.orders)

    @cached_property
    def running_value(self) -> np.ndarray:
        """`value` before each entry; one more for all."""
        return running(self.value)

    @cached_property
    def value(self) -> np.ndarray:
        """Cents of each entry in the models' unit, whole, so that running sums are exact whoever came before."""
        return np.rint(self.cents * self.unit[self.owner])

    @property
    def units(self) -> dict[str | None, float]:
        """What one of each currency counts in the models."""
        return dict(zip(self.currency.to_list(), self.unit.tolist(), strict=True))

    def in_units(self, units: Mapping[str | None, float]) -> Ledger:
        """This ledger in the units of another, of which it is a part; an unknown currency counts 1."""
        names = self.currency.to_list()
        return replace(self, unit=np.array([units.get(name, 1.0) for name in names], dtype=float))

    def ends(self, day: int) -> np.ndarray:
        """For each customer, the place behind their last entry that is not later than `day`."""
        keys = self.owner.astype(np.int64) * _SHIFT + self.day
        return np.searchsorted(keys, np.arange(len(self), dtype=np.int64) * _SHIFT + day, side="right")


def running(values: np.ndarray) -> np.ndarray:
    """The sum before each value, and after the last."""
    total = np.zeros(len(values) + 1)
    np.cumsum(values, out=total[1:])
    return total


def open_ledger(orders: pa.Table) -> Ledger:
    """The ledger of `orders` (columns of `ORDERS`), whatever their order.

    Of one customer and day the amounts are summed. Where that is above 0 it is an order day with as many orders as
    have a positive amount (one at least); else it only lowers the customer's value: bought and sent back at once is
    no order. Value is summed in the customer's own currency. The models need one scale, so where there are several
    currencies amounts are told in mean order days of their currency, times that mean of the most frequent one.
    """
    rows = pl.DataFrame(pl.from_arrow(orders.select(ORDERS.names).cast(ORDERS)))
    ids = rows.select(pl.col("customer").unique().sort()).with_row_index("owner")
    day = pl.col("at").dt.date().cast(pl.Int32).alias("day")
    rows = rows.lazy().join(ids.lazy(), on="customer", how="left").select(
        "owner", day, "amount_cents", "order_id", "currency"
    ).collect()  # fmt: skip
    own = _currencies(rows, ids)
    counted = pl.col("amount_cents")
    if (own["currencies"] > 1).any():
        rows = rows.join(own.select("owner", "own"), on="owner", how="left")
        counted = pl.when(pl.col("currency").eq_missing(pl.col("own"))).then("amount_cents").otherwise(0)
    days = _days(rows.with_columns(counted.alias("counted")))
    ledger = Ledger(
        own["customer"], own["own"], (own["currencies"] > 1).to_numpy(), np.ones(own.height),
        days["owner"].to_numpy().astype(np.int64), days["day"].to_numpy().astype(np.int64),
        days["orders"].to_numpy().astype(np.int64), days["cents"].to_numpy().astype(np.int64),
    )  # fmt: skip
    return replace(ledger, unit=_units(ledger))


def _currencies(rows: pl.DataFrame, ids: pl.DataFrame) -> pl.DataFrame:
    """owner, customer, own (currency) and currencies (how many are known), by owner."""
    code = pl.col("currency")
    seen = rows.group_by("owner", "currency").agg(pl.len().alias("rows"))
    seen = seen.with_columns(code.is_null().alias("unknown"))
    ordered = seen.sort(["owner", "unknown", "rows", "currency"], descending=[False, False, True, False])
    own = ordered.group_by("owner", maintain_order=True).agg(code.first().alias("own"), pl.len().alias("currencies"))
    return ids.join(own, on="owner", how="left").sort("owner")


def _days(rows: pl.DataFrame) -> pl.DataFrame:
    """Orders and cents of each customer and day; whether it is an order day all amounts decide, in any currency."""
    known = pl.col("order_id").is_not_null()
    orders = rows.filter(known).group_by("owner", "day", "order_id").agg(pl.col("amount_cents", "counted").sum())
    parts = pl.concat(part.select("owner", "day", "amount_cents", "counted") for part in (orders, rows.filter(~known)))
    amount = pl.col("amount_cents")
    days = parts.group_by("owner", "day").agg(
        pl.when(amount.sum() > 0).then((amount > 0).sum()).otherwise(0).cast(pl.Int64).alias("orders"),
        pl.col("counted").sum().alias("cents"),
    )
    return days.sort("owner", "day")


def _units(ledger: Ledger) -> np.ndarray:
    names = ledger.currency.fill_null("").to_numpy()
    codes, of = np.unique(names, return_inverse=True)
    if len(codes) <= 1:
        return np.ones(len(ledger))
    bought = (ledger.orders > 0) & (ledger.cents > 0)
    entries = of[ledger.owner[bought]]
    days = np.bincount(entries, minlength=len(codes))
    mean = np.bincount(entries, weights=ledger.cents[bought], minlength=len(codes)) / np.maximum(days, 1)
    main = mean[days.argmax()]
    return np.where(mean > 0, main / np.where(mean > 0, mean, 1.0), 1.0)[of]
