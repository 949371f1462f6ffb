"""What was known of each customer at the end of a day: nothing later is read."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from transforms.gold.value.ledger import Ledger, running

WINDOWS_DAYS = (30, 90, 180, 365)
YEAR_DAYS = 365.25


@dataclass(frozen=True)
class Known:
    """Customers with an order day up to `day`, and sums of theirs.

    Attributes:
      who: rows of the ledger's customers; first, last: days; days: order days; orders; value: cents of all entries in
        the models' unit, returns included; window_*: the same over the last WINDOWS_DAYS, one column each.
    """

    day: int
    who: np.ndarray
    first: np.ndarray
    last: np.ndarray
    days: np.ndarray
    orders: np.ndarray
    value: np.ndarray
    window_days: np.ndarray
    window_orders: np.ndarray
    window_value: np.ndarray
    gaps_square: np.ndarray
    last_gap: np.ndarray
    returned: np.ndarray
    last_value: np.ndarray

    def take(self, chosen: np.ndarray) -> Known:
        """Only the customers where `chosen` is true."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return Known(**{name: v[chosen] if isinstance(v, np.ndarray) else v for name, v in columns.items()})

    @property
    def weeks(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, t_x and T of the models of buying till one stops."""
        return self.days - 1.0, (self.last - self.first) / 7.0, (self.day - self.first) / 7.0

    @property
    def mean_value(self) -> np.ndarray:
        """Cents an order day."""
        return self.value / self.days


def know(ledger: Ledger, day: int) -> Known:
    """What the ledger tells at the end of `day`."""
    buys, days = ledger.buys, ledger.buys.day
    start, end = buys.starts, buys.ends(day)
    who = np.flatnonzero(end > start)
    start, end = start[who], end[who]
    value, counted = ledger.running_value, buys.running_orders
    back = running(np.minimum(ledger.value, 0))
    gap = np.diff(days, prepend=0)
    gap[start] = 0
    gaps = running(gap.astype(float) ** 2)
    all_end, all_start = ledger.ends(day)[who], ledger.starts[who]
    since = [(np.maximum(buys.ends(day - w)[who], start), np.maximum(ledger.ends(day - w)[who], all_start))
             for w in WINDOWS_DAYS]  # fmt: skip
    return Known(
        day, who, days[start].astype(float), days[end - 1].astype(float), (end - start).astype(float),
        counted[end] - counted[start], value[all_end] - value[all_start],
        np.stack([end - s for s, _ in since], 1).astype(float),
        np.stack([counted[end] - counted[s] for s, _ in since], 1),
        np.stack([value[all_end] - value[s] for _, s in since], 1),
        gaps[end] - gaps[start], gap[end - 1].astype(float), back[all_end] - back[all_start],
        buys.value[end - 1],
    )  # fmt: skip


def happened(ledger: Ledger, who: np.ndarray, after: int, until: int) -> tuple[np.ndarray, np.ndarray]:
    """(orders, value) of these customers after the day `after` up to `until`; a value is 0 at least.

    What is sent back in a window may have been bought before it; a customer is never worth less than nothing.
    """
    low, high = ledger.ends(after)[who], ledger.ends(until)[who]
    orders, value = ledger.running_orders, ledger.running_value
    return orders[high] - orders[low], np.maximum(0.0, value[high] - value[low])


def matrix(known: Known) -> tuple[np.ndarray, list[str]]:
    """The columns that the learned models read, and their names."""
    since, age = known.day - known.last, known.day - known.first
    gap = np.where(known.days > 1, (known.last - known.first) / np.maximum(known.days - 1, 1), np.nan)
    spread = np.sqrt(np.maximum(0.0, known.gaps_square / np.maximum(known.days - 1, 1) - np.nan_to_num(gap) ** 2))
    columns = {
        "days_since_last_order": since,
        "days_since_first_order": age,
        "order_days": known.days,
        "orders": known.orders,
        "mean_gap_days": gap,
        "gap_spread_days": np.where(known.days > 2, spread, np.nan),
        "last_gap_days": np.where(known.days > 1, known.last_gap, np.nan),
        "silence_in_gaps": since / np.maximum(np.where(np.isnan(gap), np.nan, gap), 1.0),
        "orders_per_year": known.orders / np.maximum(age, 30.0) * YEAR_DAYS,
        "value": known.value,
        "mean_order_value": known.mean_value,
        "last_order_value": known.last_value,
        "returned_share": -known.returned / np.maximum(known.value - known.returned, 1.0),
    }
    for i, window in enumerate(WINDOWS_DAYS):
        columns[f"orders_{window}_days"] = known.window_orders[:, i]
        columns[f"value_{window}_days"] = known.window_value[:, i]
    return np.column_stack(list(columns.values())), list(columns)
