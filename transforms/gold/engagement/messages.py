"""Messages with how far each came: what all rates are counted from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold.frames import ID, frame, until

TABLE = "CUSTOMER_ENGAGEMENT_EVENTS"
COLUMNS = (ID, "ENGAGEMENT_TYPE", "ENGAGEMENT_DATE", "CAMPAIGN_ID", "ENGAGEMENT_ACTION", "ENGAGEMENT_STATUS")
FLAGS = ("delivered", "opened", "clicked", "unsubscribed")
_FATIGUE_DAYS = 7
RATES: pa.Schema = pa.schema(
    [
        pa.field("channel", pa.string(), nullable=False),  # ENGAGEMENT_TYPE
        pa.field("month", pa.date32(), nullable=False),  # when the message was sent
        pa.field("messages_before", pa.int64(), nullable=False),  # to the customer in the 7 days before, 10 for more
        *(pa.field(f"{name}_count", pa.int64(), nullable=False) for name in ("sent", *FLAGS)),
    ]
)
MOST_BEFORE = 10


def read_messages(bucket: Mapping[str, pa.Table], as_of: datetime) -> pl.DataFrame:
    """One row a message: CUSTOMER_ID, channel, campaign, at (first step), opened_at, delivered, opened, clicked,
    unsubscribed, messages_before; in order of customer and time.

    Steps of one customer, campaign and channel are one message, however often it was opened; without a campaign each
    SENT row begins another one. A step implies those before it, so that no rate exceeds 1: who clicked has opened,
    who opened was delivered. Steps that FAILED or BOUNCED are none, but the message was sent.
    """
    rows = until(frame(bucket.get(TABLE), CONTRACTS[TABLE].arrow, COLUMNS), "ENGAGEMENT_DATE", as_of).drop_nulls(ID)
    action, at = pl.col("ENGAGEMENT_ACTION"), pl.col("ENGAGEMENT_DATE")
    done = pl.col("ENGAGEMENT_STATUS").fill_null("SUCCESS") == "SUCCESS"
    order = action.replace_strict({"SENT": 0, "DELIVERED": 1, "OPENED": 2, "CLICKED": 3}, default=4)
    rows = rows.with_columns(order.alias("_order"), pl.col("ENGAGEMENT_TYPE").fill_null("UNKNOWN"))
    rows = rows.sort(ID, "ENGAGEMENT_TYPE", "CAMPAIGN_ID", "ENGAGEMENT_DATE", "_order")
    bare = pl.col("CAMPAIGN_ID").is_null()
    turn = (bare & (action == "SENT")).cum_sum().over(ID, "ENGAGEMENT_TYPE")
    rows = rows.with_columns(pl.when(bare).then(turn).otherwise(-1).alias("_turn"))
    step = {name: (done & (action == name.upper())).any() for name in FLAGS}
    messages = rows.group_by(ID, "ENGAGEMENT_TYPE", "CAMPAIGN_ID", "_turn").agg(
        at.min().alias("at"),
        at.filter(done & (action == "OPENED")).min().alias("opened_at"),
        *(flag.alias(name) for name, flag in step.items()),
    )
    opened = pl.col("opened") | pl.col("clicked")
    messages = messages.with_columns(
        opened.alias("opened"), (pl.col("delivered") | opened | pl.col("unsubscribed")).alias("delivered")
    )
    messages = messages.rename({"ENGAGEMENT_TYPE": "channel", "CAMPAIGN_ID": "campaign"}).drop("_turn")
    return _with_before(messages.sort(ID, "at", "channel", "campaign"))


def _with_before(messages: pl.DataFrame) -> pl.DataFrame:
    """messages_before: how many messages the customer got in the days before, of all channels."""
    if not messages.height:
        return messages.with_columns(pl.lit(0, pl.Int64).alias("messages_before"))
    counted = messages.with_columns(pl.lit(1, pl.Int64).alias("_one")).rolling(
        "at", period=f"{_FATIGUE_DAYS}d", closed="left", group_by=ID
    )
    return messages.with_columns(counted.agg(pl.col("_one").sum())["_one"].alias("messages_before"))


def count_rates(messages: pl.DataFrame) -> pa.Table:
    """Messages by channel, month and how many came before; schema RATES, merged by adding."""
    keyed = messages.with_columns(
        pl.col("at").dt.date().dt.truncate("1mo").alias("month"), pl.col("messages_before").clip(0, MOST_BEFORE)
    )
    counts = [pl.len().cast(pl.Int64).alias("sent_count")]
    counts += [pl.col(name).sum().cast(pl.Int64).alias(f"{name}_count") for name in FLAGS]
    return _ordered(keyed.group_by("channel", "month", "messages_before").agg(counts))


def merge_rates(parts: Iterable[pa.Table]) -> pa.Table:
    """The counts of all customers; neither order nor grouping matters."""
    tables = [part.cast(RATES) for part in parts] or [RATES.empty_table()]
    rows = pl.DataFrame(pl.from_arrow(pa.concat_tables(tables)))
    counts = [name for name in RATES.names if name.endswith("_count")]
    return _ordered(rows.group_by("channel", "month", "messages_before").agg(pl.col(counts).sum()))


def rates(counts: pa.Table, by: tuple[str, ...]) -> pa.Table:
    """Counts summed `by` some of channel, month and messages_before, with open_rate (opened of delivered), click_rate
    (clicked of opened) and unsubscribe_rate (of delivered), 0 to 1; null where nothing could be."""
    rows = pl.DataFrame(pl.from_arrow(counts))
    names = [name for name in RATES.names if name.endswith("_count")]
    total = rows.group_by(by).agg(pl.col(names).sum()).sort(by)

    def share(part: str, whole: str) -> pl.Expr:
        return pl.when(pl.col(whole) > 0).then(pl.col(part) / pl.col(whole))

    told = total.with_columns(
        share("opened_count", "delivered_count").alias("open_rate"),
        share("clicked_count", "opened_count").alias("click_rate"),
        share("unsubscribed_count", "delivered_count").alias("unsubscribe_rate"),
    )
    return told.to_arrow(compat_level=pl.CompatLevel.oldest())


def _ordered(rows: pl.DataFrame) -> pa.Table:
    keys = ["channel", "month", "messages_before"]
    return rows.sort(keys).select(RATES.names).to_arrow().cast(RATES)
