"""An hour of a made-up day as it would reach the hubs: JSON lines in order of arrival, some late, some broken."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.contracts.commerce import ITEMS, TRANSACTIONS
from transforms.contracts.schema import TIMESTAMP, Arrival
from transforms.generator.faults import plant_in_lines
from transforms.generator.frames import DAY, HOUR, MINUTE, SECOND
from transforms.generator.jsonl import to_json_lines
from transforms.generator.randomness import stream
from transforms.generator.retailer import build_shard
from transforms.generator.spec import GeneratorSpec

STREAMED = tuple(c.name for c in CONTRACTS.values() if c.arrival is Arrival.STREAM)
ARRIVALS = pl.Schema({"table": pl.String, "who": pl.String, "event_us": pl.Int64, "arrives_us": pl.Int64})
_LATE_MINUTES = (15, 45)
_STEP_SECONDS = 53_393  # the golden section of a day, and prime: neighbours lie far apart, a few fill it evenly


def arrivals(spec: GeneratorSpec, begin_us: int) -> pl.DataFrame:
    """The rows of all tables that stream whose event time lies in the hour from `begin_us`, in order of arrival.

    Columns of ARRIVALS, and `line` (binary): one JSON object. `who` is the customer, or the session of a visitor
    nobody knows: what partitions go by. A row arrives at its event time, but for the spec's `late_share` of those with
    a time of their own, which come 15 to 45 minutes later, within the hour. Lines of an order arrive with it. A date
    without a time says no hour: such rows are spread over their day. The spec's `broken_share` of lines is broken;
    none comes twice. The same spec and hour give the same rows. Memory is one shard's, and the hour's.
    """
    parts = [
        part
        for number in range(spec.shards)
        for part in _of_shard(build_shard(spec, number).tables, spec, number, begin_us)
    ]
    whole = pl.concat([pl.DataFrame(schema=ARRIVALS).with_columns(line=pl.lit(None, pl.Binary)), *parts])
    return whole.sort("arrives_us", maintain_order=True)


def _of_shard(tables: dict[str, pa.Table], spec: GeneratorSpec, number: int, begin_us: int) -> list[pl.DataFrame]:
    found = []
    for name in STREAMED:
        times, who = _times(name, tables), _who(name, tables)
        chosen = np.flatnonzero((times >= begin_us) & (times < begin_us + HOUR))
        if not len(chosen):
            continue
        rng = stream(spec.seed, "replay", name, number)
        rows = tables[name].take(pa.array(chosen)).combine_chunks()
        text, _, _ = plant_in_lines(name, to_json_lines(rows), np.ones(len(chosen), bool), spec.broken_share, rng)
        event = times[chosen]
        columns = {
            "table": [name] * len(chosen),
            "who": who.gather(chosen),
            "event_us": event,
            "arrives_us": _arrival(event, begin_us + HOUR, spec.late_share if _timed(name) else 0.0, rng),
        }
        lines = pl.Series("line", text.split(b"\n")[:-1], pl.Binary)
        found.append(pl.DataFrame(columns, schema=ARRIVALS).with_columns(lines))
    return found


def _arrival(event: np.ndarray, end: int, share: float, rng: np.random.Generator) -> np.ndarray:
    later = event + rng.integers(_LATE_MINUTES[0] * MINUTE, _LATE_MINUTES[1] * MINUTE, len(event))
    return np.where((rng.random(len(event)) < share) & (later < end), later, event)


def _timed(name: str) -> bool:
    event_time = CONTRACTS[name].event_time
    return event_time is not None and CONTRACTS[name][event_time].type == TIMESTAMP


def _times(name: str, tables: dict[str, pa.Table]) -> np.ndarray:
    """When each row happens, in microseconds since 1970."""
    if name == ITEMS.name:
        return _orders_of(tables)["at"].fill_null(-1).to_numpy()
    column = CONTRACTS[name].event_time
    assert column is not None
    times = (
        pl.Series(pl.from_arrow(tables[name][column])).cast(pl.Datetime("us")).cast(pl.Int64).fill_null(-1).to_numpy()
    )
    if _timed(name):
        return times
    return times + np.arange(len(times)) * _STEP_SECONDS * SECOND % DAY


def _who(name: str, tables: dict[str, pa.Table]) -> pl.Series:
    if name == ITEMS.name:
        return _orders_of(tables)["who"]
    columns = [c for c in ("CUSTOMER_ID", "SESSION_ID") if c in tables[name].column_names]
    frame = pl.DataFrame(pl.from_arrow(tables[name].select(columns)))
    return frame.select(pl.coalesce(pl.col(c).cast(pl.String) for c in columns).alias("who")).to_series()


def _orders_of(tables: dict[str, pa.Table]) -> pl.DataFrame:
    """`at` and `who` of the order that each line belongs to."""
    orders = pl.DataFrame(
        pl.from_arrow(tables[TRANSACTIONS.name].select(["TRANSACTION_ID", "TRANSACTION_DATE", "CUSTOMER_ID"]))
    )
    at = pl.col("TRANSACTION_DATE").cast(pl.Datetime("us")).cast(pl.Int64)
    keyed = orders.select("TRANSACTION_ID", at=at, who=pl.col("CUSTOMER_ID").cast(pl.String))
    lines = pl.DataFrame(pl.from_arrow(tables[ITEMS.name].select(["TRANSACTION_ID"])))
    return lines.join(keyed.unique("TRANSACTION_ID"), on="TRANSACTION_ID", how="left", maintain_order="left")
