"""What is said in public, by month, kind and source."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold.frames import frame, plausible, until

_TABLE = "EXTERNAL_CUSTOMER_SENTIMENT"
INPUTS: Mapping[str, tuple[str, ...]] = {
    _TABLE: (
        "SENTIMENT_DATE", "SENTIMENT_TYPE", "DATA_SOURCE", "SENTIMENT_SCORE", "MENTION_COUNT", "POSITIVE_MENTIONS",
        "NEGATIVE_MENTIONS", "NEUTRAL_MENTIONS",
    )
}  # fmt: skip
_KEYS = ("month", "sentiment_type", "data_source")
_MENTIONS = ("mentions", "positive_mentions", "negative_mentions", "neutral_mentions")
SENTIMENT_COUNTS: pa.Schema = pa.schema(
    [
        pa.field("month", pa.date32(), nullable=False),
        pa.field("sentiment_type", pa.string(), nullable=False),
        pa.field("data_source", pa.string(), nullable=False),
        pa.field("scores_count", pa.int64(), nullable=False),
        pa.field("score_hundredths", pa.int64(), nullable=False),  # sum of the scores
        *(pa.field(f"{name}_count", pa.int64(), nullable=False) for name in _MENTIONS),
    ]
)
SENTIMENT: pa.Schema = pa.schema(
    [
        *(SENTIMENT_COUNTS.field(name) for name in (*_KEYS, "scores_count")),
        pa.field("average_sentiment_score", pa.float64()),  # -1 to 1
        *(SENTIMENT_COUNTS.field(f"{name}_count") for name in _MENTIONS),
        pa.field("net_sentiment", pa.float64()),  # (positive - negative) / (positive + negative + neutral), -1 to 1
        pa.field("change_from_previous_month", pa.float64()),  # of the average; null without a month just before
    ]
)


def count_sentiment(bucket: Mapping[str, pa.Table], as_of: datetime) -> pa.Table:
    """Sums by month, SENTIMENT_TYPE and DATA_SOURCE; schema SENTIMENT_COUNTS. Scores outside -1 to 1 and negative
    counts are left out; what has no type or source is UNKNOWN."""
    rows = until(frame(bucket.get(_TABLE), CONTRACTS[_TABLE].arrow, INPUTS[_TABLE]), "SENTIMENT_DATE", as_of)
    score = (plausible(_TABLE, "SENTIMENT_SCORE") * 100).round().cast(pl.Int64)
    columns = ("MENTION_COUNT", "POSITIVE_MENTIONS", "NEGATIVE_MENTIONS", "NEUTRAL_MENTIONS")
    counted = rows.drop_nulls("SENTIMENT_DATE").select(
        pl.col("SENTIMENT_DATE").dt.truncate("1mo").alias("month"),
        pl.col("SENTIMENT_TYPE").fill_null("UNKNOWN").alias("sentiment_type"),
        pl.col("DATA_SOURCE").fill_null("UNKNOWN").alias("data_source"),
        score.is_not_null().cast(pl.Int64).alias("scores_count"),
        score.fill_null(0).alias("score_hundredths"),
        *(
            plausible(_TABLE, column).fill_null(0).cast(pl.Int64).alias(f"{name}_count")
            for name, column in zip(_MENTIONS, columns, strict=True)
        ),
    )
    return _sum(counted)


def merge_sentiment(parts: Iterable[pa.Table]) -> pa.Table:
    """The sums of all customers; neither order nor grouping matters."""
    tables = [part.cast(SENTIMENT_COUNTS) for part in parts] or [SENTIMENT_COUNTS.empty_table()]
    return _sum(pl.DataFrame(pl.from_arrow(pa.concat_tables(tables))))


def summarise_sentiment(counts: pa.Table) -> pa.Table:
    """One row a month, type and source; schema SENTIMENT, ordered by these."""
    rows = pl.DataFrame(pl.from_arrow(counts)).sort("sentiment_type", "data_source", "month")
    good, bad = pl.col("positive_mentions_count"), pl.col("negative_mentions_count")
    said = good + bad + pl.col("neutral_mentions_count")
    mean = pl.col("score_hundredths") / (pl.col("scores_count") * 100)
    told = rows.with_columns(
        pl.when(pl.col("scores_count") > 0).then(mean).alias("average_sentiment_score"),
        pl.when(said > 0).then((good - bad) / said).alias("net_sentiment"),
    )
    earlier = pl.col("average_sentiment_score").shift().over("sentiment_type", "data_source")
    next_to = pl.col("month").shift().over("sentiment_type", "data_source").dt.offset_by("1mo") == pl.col("month")
    change = pl.when(next_to).then(pl.col("average_sentiment_score") - earlier).alias("change_from_previous_month")
    return told.with_columns(change).sort(_KEYS).select(SENTIMENT.names).to_arrow().cast(SENTIMENT)


def _sum(rows: pl.DataFrame) -> pa.Table:
    return rows.group_by(_KEYS).agg(pl.all().sum()).sort(_KEYS).to_arrow().cast(SENTIMENT_COUNTS)
