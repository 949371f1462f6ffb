"""One row a customer: which channel they prefer, at which hour they answer, and whether it is too much."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

import polars as pl
import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold.engagement.messages import COLUMNS, TABLE, read_messages
from transforms.gold.engagement.zones import UTC, local_hours, zone_of
from transforms.gold.frames import ID, frame, until

INPUTS: Mapping[str, tuple[str, ...]] = {
    TABLE: COLUMNS,
    "CUSTOMERS": (ID, "COUNTRY_CODE", "STATE_CODE"),
    "CUSTOMER_PREFERENCE_DATA": (
        ID, "PREFERENCE_TYPE", "PREFERENCE_VALUE", "PREFERENCE_STRENGTH", "PREFERENCE_SOURCE", "PREFERENCE_DATE",
        "PREFERENCE_STATUS",
    ),
}  # fmt: skip
RECENT_DAYS, _FEWEST = 60, 3
ENGAGEMENT: pa.Schema = pa.schema(
    [
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("messages_count", pa.int64(), nullable=False),
        *(pa.field(f"{name}_count", pa.int64(), nullable=False) for name in ("delivered", "opened", "clicked")),
        pa.field("open_rate", pa.float64()),  # opened of delivered; null where none was
        pa.field("click_rate", pa.float64()),  # clicked of opened; null where none was
        pa.field("unsubscribed", pa.bool_(), nullable=False),
        pa.field("preferred_channel", pa.string()),
        pa.field("preferred_channel_source", pa.string()),  # stated, or inferred from clicks and opens
        pa.field("time_zone", pa.string(), nullable=False),
        pa.field("best_hour_local", pa.int64()),  # 0 to 23, the hour most messages were opened in; null without one
        pa.field("recent_open_rate", pa.float64()),  # of messages of the last RECENT_DAYS days
        pa.field("earlier_open_rate", pa.float64()),
        pa.field("fatigued", pa.bool_(), nullable=False),
    ]
)


def summarise_engagement(bucket: Mapping[str, pa.Table], as_of: datetime) -> pa.Table:
    """The engagement of each customer with a message or a stated channel; schema ENGAGEMENT, ordered by customer_id.

    - messages are those of `read_messages`: each counts once, however often it was opened, so that no rate exceeds 1.
    - preferred_channel: stated (an EXPLICIT, ACTIVE preference of type COMMUNICATION; the latest, then the strongest)
      beats inferred (the channel with most clicks, then opens, then by name; none without an open).
    - best_hour_local: in the time zone of the customer's country; ties by the earlier hour.
    - fatigued: at least 3 messages delivered in the last 60 days and 3 before, and the share opened fell to half or
      less; or they unsubscribed.
    """
    messages = read_messages(bucket, as_of)
    people = frame(bucket.get("CUSTOMERS"), CONTRACTS["CUSTOMERS"].arrow, INPUTS["CUSTOMERS"]).drop_nulls(ID)
    zones = people.select(ID, zone_of(pl.col("COUNTRY_CODE"), pl.col("STATE_CODE")).alias("time_zone"))
    stated, inferred = _stated(bucket, as_of), _inferred(messages)
    ids = pl.concat([messages.select(ID), stated.select(ID)]).unique()
    counts = _counts(messages)
    table = ids
    for part in (counts, stated, inferred, zones, _best_hours(messages, zones), _fatigue(messages, as_of)):
        table = table.join(part, on=ID, how="left")
    guess = pl.when(pl.col("_inferred").is_not_null()).then(pl.lit("inferred"))
    source = pl.when(pl.col("_stated").is_not_null()).then(pl.lit("stated")).otherwise(guess)
    ready = table.with_columns(
        pl.coalesce("_stated", "_inferred").alias("preferred_channel"),
        source.alias("preferred_channel_source"),
        pl.col("^.*_count$").fill_null(0),
        pl.col("unsubscribed").fill_null(False),
        pl.col("time_zone").fill_null(UTC),
        pl.col("fatigued").fill_null(False),
    )
    return ready.rename({ID: "customer_id"}).sort("customer_id").select(ENGAGEMENT.names).to_arrow().cast(ENGAGEMENT)


def _counts(messages: pl.DataFrame) -> pl.DataFrame:
    flags = [pl.col(name).sum().cast(pl.Int64).alias(f"{name}_count") for name in ("delivered", "opened", "clicked")]
    counts = messages.group_by(ID).agg(
        pl.len().cast(pl.Int64).alias("messages_count"), *flags, pl.col("unsubscribed").any()
    )
    delivered, opened, clicked = (pl.col(f"{name}_count") for name in ("delivered", "opened", "clicked"))
    return counts.with_columns(
        pl.when(delivered > 0).then(opened / delivered).alias("open_rate"),
        pl.when(opened > 0).then(clicked / opened).alias("click_rate"),
    )


def _stated(bucket: Mapping[str, pa.Table], as_of: datetime) -> pl.DataFrame:
    name = "CUSTOMER_PREFERENCE_DATA"
    rows = until(frame(bucket.get(name), CONTRACTS[name].arrow, INPUTS[name]), "PREFERENCE_DATE", as_of).drop_nulls(ID)
    wanted = rows.filter(
        (pl.col("PREFERENCE_TYPE") == "COMMUNICATION")
        & (pl.col("PREFERENCE_SOURCE") == "EXPLICIT")
        & (pl.col("PREFERENCE_STATUS").fill_null("ACTIVE") == "ACTIVE")
        & pl.col("PREFERENCE_VALUE").is_not_null()
    )
    keys = [ID, "PREFERENCE_DATE", "PREFERENCE_STRENGTH", "PREFERENCE_VALUE"]
    latest = wanted.sort(keys, descending=[False, True, True, False], nulls_last=True)
    chosen = latest.group_by(ID, maintain_order=True).first()
    return chosen.select(ID, pl.col("PREFERENCE_VALUE").str.to_uppercase().alias("_stated"))


def _inferred(messages: pl.DataFrame) -> pl.DataFrame:
    answers = messages.filter("opened").group_by(ID, "channel").agg(pl.col("clicked", "opened").sum())
    ranked = answers.sort(ID, "clicked", "opened", "channel", descending=[False, True, True, False])
    return ranked.group_by(ID, maintain_order=True).first().select(ID, pl.col("channel").alias("_inferred"))


def _best_hours(messages: pl.DataFrame, zones: pl.DataFrame) -> pl.DataFrame:
    opens = messages.filter(pl.col("opened_at").is_not_null()).join(zones, on=ID, how="left", maintain_order="left")
    hour = local_hours(opens["opened_at"], opens["time_zone"].fill_null(UTC)).alias("best_hour_local")
    counts = opens.select(ID).with_columns(hour).group_by(ID, "best_hour_local").agg(pl.len().alias("_opens"))
    ranked = counts.sort(ID, "_opens", "best_hour_local", descending=[False, True, False])
    return ranked.group_by(ID, maintain_order=True).first().drop("_opens")


def _fatigue(messages: pl.DataFrame, as_of: datetime) -> pl.DataFrame:
    came, recent = pl.col("delivered"), pl.col("at") > as_of - timedelta(days=RECENT_DAYS)
    counts = messages.group_by(ID).agg(
        (came & recent).sum().alias("_recent"),
        (came & ~recent).sum().alias("_earlier"),
        (pl.col("opened") & recent).sum().alias("_recent_opens"),
        (pl.col("opened") & ~recent).sum().alias("_earlier_opens"),
        pl.col("unsubscribed").any().alias("_left"),
    )
    now = pl.when(pl.col("_recent") > 0).then(pl.col("_recent_opens") / pl.col("_recent"))
    then = pl.when(pl.col("_earlier") > 0).then(pl.col("_earlier_opens") / pl.col("_earlier"))
    enough = (pl.col("_recent") >= _FEWEST) & (pl.col("_earlier") >= _FEWEST) & (pl.col("_earlier_opens") > 0)
    fell = pl.col("_recent_opens") * pl.col("_earlier") * 2 <= pl.col("_earlier_opens") * pl.col("_recent")
    return counts.select(
        ID,
        now.alias("recent_open_rate"),
        then.alias("earlier_open_rate"),
        (pl.col("_left") | (enough & fell)).alias("fatigued"),
    )
