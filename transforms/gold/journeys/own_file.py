"""Steps from a person's own file: which columns they are."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.gold.attribution.touchpoints import TOUCHPOINTS
from transforms.gold.journeys.steps import STEPS_TAKEN
from transforms.io.column_map import Target

TARGETS = (
    Target("person", True, ("personid", "visitorid", "visitor", "userid", "user", "customerid", "customer", "clientid",
                            "cookie", "cookieid", "uid", "memberid", "deviceid", "caseid")),
    Target("time", True, ("timestamp", "datetime", "date", "eventtime", "eventdate", "ts", "occurredat", "createdat")),
    Target("step", True, ("event", "eventname", "eventtype", "activity", "action", "touchpoint", "stepname", "page",
                          "pageurl", "url", "channel", "type")),
)  # fmt: skip
OWN: pa.Schema = STEPS_TAKEN


def as_touchpoints(steps: pa.Table, goal: str | None) -> pa.Table:
    """Steps as TOUCHPOINTS for `cut_paths`: each is a touch, `goal` is a conversion and no touch."""
    rows = pl.DataFrame(pl.from_arrow(steps))
    sold = (pl.col("step") == goal) if goal else pl.lit(False)
    touched = rows.select(
        "person",
        pl.when(~sold).then("step").alias("channel"),
        "time",
        sold.alias("conversion"),
        pl.lit(0, pl.Int64).alias("value_units"),
    )
    return touched.to_arrow().cast(TOUCHPOINTS)
