"""Page views by number, for streams under load: what was sent follows from how many were sent."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

HUB, TABLE = "behavioral", "CUSTOMER_BEHAVIORAL_EVENTS"
COLUMNS = ("EVENT_ID", "CUSTOMER_ID", "EVENT_DATE", "PAGE_URL", "TIME_ON_PAGE")
START_US = 1_262_700_000_000_000  # 2010-01-05


def rows_from(first: int, count: int) -> pa.RecordBatch:
    """Page views numbered from `first`, a second apart; each column follows from the number."""
    numbers = pl.Series(range(first, first + count))
    frame = pl.DataFrame({"n": numbers}).select(
        EVENT_ID=pl.format("E{}", "n"),
        CUSTOMER_ID=pl.format("C{}", pl.col("n") % 997),
        EVENT_TYPE=pl.lit("PAGE_VIEW"),
        EVENT_DATE=(pl.col("n") * 1_000_000 + START_US).cast(pl.Datetime("us", "UTC")),
        PAGE_URL=pl.format("/p/{}", pl.col("n") * 7 % 1009),
        TIME_ON_PAGE=pl.col("n") % 86_400,
    )
    return frame.to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()[0]


def visits_from(first: int, count: int) -> pa.RecordBatch:
    """`rows_from`, of visitors that come for a few minutes, up to 50 seconds out of order, and one in 97 hours late."""
    frame, n = (
        pl.DataFrame(pl.from_arrow(pa.table(rows_from(first, count)))),
        pl.Series("n", range(first, first + count)),
    )
    behind = pl.when(pl.col("n") % 97 == 96).then(20_000).otherwise(pl.col("n") * 13 % 50)
    made = frame.with_columns(n).with_columns(
        CUSTOMER_ID=pl.format("C{}", pl.col("n") // 400 * 50 + pl.col("n") * 7 % 41),
        EVENT_DATE=pl.col("EVENT_DATE") - pl.duration(seconds=behind, time_unit="us"),
    )
    return made.drop("n").to_arrow(compat_level=pl.CompatLevel.oldest()).combine_chunks().to_batches()[0]
