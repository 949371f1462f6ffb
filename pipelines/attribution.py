"""Attribution of the conversions in a person's own files to the channels that came before them."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from time import perf_counter

import polars as pl
import pyarrow as pa

from pipelines.console import Output, counted
from pipelines.own_files import Source, open_refusals, open_sources, say_rejected, text_bytes, typed_batches
from transforms.gold.attribution.attribute import ATTRIBUTION, attribute, count_paths, merge_counts
from transforms.gold.attribution.own_file import OWN, TARGETS, touchpoints_of
from transforms.gold.attribution.touchpoints import AttributionRules
from transforms.io.table_file import TableFile
from transforms.own_rows import now_at_most
from transforms.spool import Spool

BUCKET_BYTES = 64 << 20  # of a source file: about a million touchpoints
_MOST_BUCKETS = 256


@dataclass
class Attributed:
    """What was made of a person's files; `attribution` has the schema ATTRIBUTION."""

    rows: int = 0
    persons: int = 0
    paths: int = 0
    conversions: int = 0
    channels: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    attribution: pa.Table = field(default_factory=ATTRIBUTION.empty_table)


def attribute_files(
    sources: Sequence[Source], out: str, rules: AttributionRules, rejects: str | None = None
) -> Attributed:
    """Writes the credit of each channel under each model to `out`, and rows that cannot be used to `rejects`.

    Memory: rows wait on disk by person beyond the limit of `Spool`; then a bucket of persons at a time.
    """
    result = Attributed()
    buckets = min(_MOST_BUCKETS, max(1, text_bytes(sources) // BUCKET_BYTES))
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="c360-attribution-"))
        made = stack.enter_context(TableFile(out, ATTRIBUTION))
        refusals = stack.enter_context(open_refusals(rejects))
        spool = Spool(folder, "person", buckets)
        for rows in typed_batches(sources, OWN, refusals, until=now_at_most()):
            touchpoints = touchpoints_of(rows)
            result.rows += touchpoints.height
            spool.add(touchpoints)
        parts = []
        for rows in spool.buckets():
            result.persons += rows["person"].n_unique()
            parts.append(count_paths(rows.to_arrow(), rules))
        if parts:
            counts = merge_counts(parts)
            result.attribution = attribute(counts, rules)
            result.paths = pa.compute.sum(counts.sets["paths"]).as_py() or 0
            result.conversions = pa.compute.sum(counts.sets["conversions"]).as_py() or 0
        result.channels = len(result.attribution["channel"].unique())
        result.rejected = refusals.counts
        made.write(result.attribution)
    return result


def run_attribution(
    location: str,
    out_path: str,
    maps: list[str],
    rejects: str | None,
    rules: AttributionRules,
    format: str | None,
    as_json: bool,
) -> None:
    """The command `attribution`."""
    out = Output(as_json)
    sources = open_sources(location, TARGETS, maps, format, out, out_path, rejects)
    if not all({"conversion", "value"} & source.columns.columns.keys() for source in sources):
        out.say("a file has neither a conversion nor a value column: none of its rows is a conversion")
    out.say(f"a touch counts for a conversion within {rules.lookback_days:g} days", lookback_days=rules.lookback_days)
    start = perf_counter()
    with out.working("sharing credit"):
        result = attribute_files(sources, out_path, rules, rejects)
    _say(result, out_path, rejects, perf_counter() - start, out)
    out.close()


def _say(result: Attributed, path: str, rejects: str | None, seconds: float, out: Output) -> None:
    facts = {key: value for key, value in asdict(result).items() if key != "attribution"}
    out.say(
        f"attribution: {result.rows:,} touchpoints of {counted(result.persons, 'person')}, {result.paths:,} paths,"
        f" {counted(result.conversions, 'conversion')} in {seconds:.1f} s: {path}",
        out=path,
        seconds=round(seconds, 3),
        **facts,
    )
    if result.rows and not result.conversions:
        out.say("no row is a conversion; name the column with --map conversion=COLUMN")
    table = pl.DataFrame(pl.from_arrow(result.attribution))
    if table.height:
        wide = table.pivot(on="model", index="channel", values="conversions").fill_null(0.0)
        first = ["channel", "last", "markov_1", "shapley", "shapley_rate"]
        shown = wide.select(name for name in first if name in wide.columns).sort("shapley", descending=True)
        out.table("credited", [{k: round(v, 1) if k != "channel" else v for k, v in row.items()}
                               for row in shown.head(25).to_dicts()])  # fmt: skip
        if shown.height > 25:
            out.say(f"and {shown.height - 25:,} more channels; all models are in {path}")
    if table.height and "shapley_rate" not in wide.columns:
        out.say("shapley_rate compares all sets of at most 20 channels, and was left out")
    say_rejected(result.rejected, rejects, out)
