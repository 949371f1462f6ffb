"""What was known around an example at its moment: the item, its price then, the request, the person's features then."""

from __future__ import annotations

from dataclasses import dataclass, field

import polars as pl
import pyarrow as pa

from recsys.preprocessing.columns import RAW

PERSON = "person_"  # before the name of each of the person's features


def _empty(**kinds: pl.DataType | type[pl.DataType]) -> pl.DataFrame:
    return pl.DataFrame(schema=kinds)


_TIME = pl.Datetime("us", "UTC")


@dataclass(frozen=True)
class Known:
    """What there is to know, each with the time from which it was known.

    `items`: item, name, category, which do not change. `prices`: item, time, price. `requests`: user, item, time,
    channel, device of each interaction. `features`: user, time and a column a feature (gold as of that time).
    """

    items: pl.DataFrame = field(default_factory=lambda: _empty(item=pl.String, name=pl.String, category=pl.String))
    prices: pl.DataFrame = field(default_factory=lambda: _empty(item=pl.String, time=_TIME, price=pl.Float32))
    requests: pl.DataFrame = field(
        default_factory=lambda: _empty(user=pl.String, item=pl.String, time=_TIME, channel=pl.String, device=pl.String)
    )
    features: pl.DataFrame = field(default_factory=lambda: _empty(user=pl.String, time=_TIME))


def add_context(examples: pa.RecordBatch, known: Known) -> pa.Table:
    """Rows of EXAMPLES as user, time, weight, the columns of RAW, and `person_...` features, in their order.

    A price and the features are the latest from strictly before the moment of the row; channel and device are those of
    the interaction itself, known when it is asked. What is not known is "" or 0, a feature null.
    """
    rows = pl.DataFrame(pl.from_arrow(pa.Table.from_batches([examples]))).with_row_index("_row").sort("time", "_row")
    asked = known.requests.unique(["user", "item", "time"], keep="first", maintain_order=True)
    items = known.items.unique("item", keep="last", maintain_order=True)
    features = known.features.rename({n: PERSON + n for n in known.features.columns if n not in ("user", "time")})
    made = (
        rows.join(items, on="item", how="left")
        .join(asked, on=["user", "item", "time"], how="left")
        .pipe(_latest_before, known.prices, "item")
        .pipe(_latest_before, features, "user")
        .sort("_row")
    )
    texts = [pl.col(name).fill_null("") for name in ("name", "category", "channel", "device")]
    hour, price = pl.col("time").dt.hour().cast(pl.Int64).alias("hour"), pl.col("price").fill_null(0).cast(pl.Float32)
    made = made.with_columns(*texts, hour, price)
    people = [name for name in made.columns if name.startswith(PERSON)]
    return made.select("user", "time", "weight", *RAW.names, *people).to_arrow()


def _latest_before(rows: pl.DataFrame, told: pl.DataFrame, by: str) -> pl.DataFrame:
    told = told.with_row_index("_told").sort("time", "_told").drop("_told")
    return rows.sort("time", "_row").join_asof(
        told, on="time", by=by, strategy="backward", allow_exact_matches=False, check_sortedness=False
    )
