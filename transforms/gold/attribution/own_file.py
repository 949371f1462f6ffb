"""Touchpoints from a person's own file: which columns they are, and what they hold."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.gold.attribution.touchpoints import TOUCHPOINTS, VALUE_UNITS
from transforms.io.column_map import Target
from transforms.own_rows import ONLY_WHERE

TARGETS = (
    Target("person", True, ("personid", "visitorid", "visitor", "userid", "user", "customerid", "customer", "clientid",
                            "cookie", "cookieid", "uid", "memberid", "deviceid")),
    Target("channel", True, ("touchpoint", "channelname", "marketingchannel", "source", "utmsource", "trafficsource",
                             "medium", "campaign", "campaignid")),
    Target("time", True, ("timestamp", "touchtime", "touchedat", "datetime", "date", "eventtime", "eventdate", "ts",
                          "occurredat")),
    Target("conversion", False, ("converted", "isconversion", "isconverted", "conversions", "purchase", "purchased")),
    Target("value", False, ("conversionvalue", "revenue", "amount", "ordervalue", "sales", "totalamount")),
)  # fmt: skip
OWN: pa.Schema = pa.schema(
    [
        pa.field("person", pa.string(), nullable=False),
        pa.field("channel", pa.string()),
        pa.field("time", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("conversion", pa.bool_()),
        pa.field("value", pa.decimal128(14, 4), metadata={ONLY_WHERE: b"conversion"}),
    ]
)


def touchpoints_of(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows typed by OWN as rows of TOUCHPOINTS; channels lose outer spaces.

    Without a conversion column, a row with a value above 0 is a conversion. A value of a row that is none is not read,
    whatever it holds; a negative value (a refund) takes from the value of its channels, and no value is 0.
    """
    value = pl.col("value") if "value" in rows.columns else pl.lit(None, pl.Decimal(14, 4))
    units = (value.cast(pl.Decimal(18, 4)).to_physical().cast(pl.Int64)).alias("value_units")
    converted = pl.col("conversion") if "conversion" in rows.columns else (value > 0)
    assert VALUE_UNITS == 10_000  # four decimals
    return rows.select(
        "person",
        pl.col("channel").str.strip_chars(),
        "time",
        converted.fill_null(False).alias("conversion"),
        units,
    ).select(TOUCHPOINTS.names)
