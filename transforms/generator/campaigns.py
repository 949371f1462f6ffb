"""Marketing campaigns, and how strongly each one truly works."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.frames import DAY, finish
from transforms.generator.randomness import choose, gather, stream
from transforms.generator.spec import GeneratorSpec

KINDS = ("EMAIL", "SMS", "PUSH", "SOCIAL", "IN_APP")
_KIND_SHARES = (0.5, 0.14, 0.16, 0.12, 0.08)
# The probability that a click leads to an order that would not have happened, before the campaign's own strength.
_KIND_LIFT = np.array([0.16, 0.14, 0.1, 0.06, 0.12])
_THEMES = ("Welcome back", "Last chance", "New in", "Treat yourself", "Weekend offer", "Free delivery", "Members only")
_AUDIENCES = ("All customers", "Loyalty members", "Lapsed customers", "New customers", "High spenders")
DAYS_BETWEEN = 15


def draw_campaigns(spec: GeneratorSpec, categories: tuple[str, ...]) -> pl.DataFrame:
    """One campaign about every fortnight, the same for every shard.

    Columns: CAMPAIGN_ID, CAMPAIGN_NAME, kind (index into KINDS), start, end (microseconds), lift (probability that a
    click causes an order), category, audience, subject.
    """
    rng = stream(spec.seed, "campaigns")
    size = max(1, round(spec.days / DAYS_BETWEEN))
    start = spec.start_us + np.sort(rng.random(size) * max(spec.days - 7, 1)).astype(np.int64) * DAY
    lasts = rng.integers(5, 22, size) * DAY
    kind = choose(rng, size, _KIND_SHARES)
    category = rng.integers(0, len(categories), size)
    theme = gather(_THEMES, rng.integers(0, len(_THEMES), size))
    number = pl.Series(np.arange(1, size + 1)).cast(pl.String).str.zfill(4)
    topic = gather(categories, category)
    return pl.DataFrame({
        "CAMPAIGN_ID": "CMP" + number,
        "CAMPAIGN_NAME": theme + ": " + topic + " " + number,
        "kind": kind,
        "start": start,
        "end": np.minimum(start + lasts, spec.end_us),
        "lift": np.clip(_KIND_LIFT[kind] * rng.lognormal(0, 0.4, size), 0.01, 0.6),
        "category": category,
        "audience": gather(_AUDIENCES, rng.integers(0, len(_AUDIENCES), size)),
        "subject": theme + " – " + topic.str.to_lowercase(),
        "budget": rng.integers(20, 400, size) * 10_000,
        "spent": rng.random(size) * 0.5 + 0.48,
        "author": gather(("M. Keller", "S. Okafor", "T. Brandt", "L. Moreau"), rng.integers(0, 4, size)),
    })  # fmt: skip


def write_campaigns(campaigns: pl.DataFrame, end_us: int) -> pa.Table:
    """The MARKETING_CAMPAIGNS table."""
    over = pl.col("end") < end_us
    return finish("MARKETING_CAMPAIGNS", campaigns.select(
        "CAMPAIGN_ID",
        "CAMPAIGN_NAME",
        CAMPAIGN_TYPE=gather(KINDS, campaigns["kind"].to_numpy()),
        START_DATE=pl.col("start") // DAY,
        END_DATE=pl.col("end") // DAY,
        BUDGET="budget",
        SPENT_AMOUNT=(pl.col("budget") * pl.col("spent")).cast(pl.Int64),
        TARGET_AUDIENCE="audience",
        CAMPAIGN_STATUS=pl.when(over).then(pl.lit("COMPLETED")).otherwise(pl.lit("ACTIVE")),
        CREATED_BY="author",
    ))  # fmt: skip
