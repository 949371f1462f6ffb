"""The scored pairs of the lake's records: all of them anew, or only those of what is new against what was there."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from pipelines.config import Lake, Run
from transforms.identity.fields import RECORD_KEY
from transforms.identity.model import LinkModel
from transforms.identity.rules import IdentityRules
from transforms.identity.score import EDGES, ScoredPairs, score_pairs
from transforms.io.delta import amend_rows, append_rows, open_table, read_table
from transforms.silver.keys import key_hashes

GROWTH = 1.2  # so many times the records a model was learned from, and it is learned anew
MODELS = pa.schema(
    [
        pa.field("model", pa.string(), nullable=False),  # JSON
        pa.field("rules", pa.string(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),
        pa.field("learned_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
SEEN = pa.schema([pa.field(RECORD_KEY, pa.string(), nullable=False), pa.field("content", pa.int64(), nullable=False)])
_OLDEST = pl.CompatLevel.oldest()


@dataclass(frozen=True)
class Scoring:
    """`edges`: EDGES of all records now; `scored`: what was compared in this process; `learned`: the model that was."""

    edges: pa.Table
    scored: ScoredPairs | None
    learned: LinkModel | None
    content: pa.Table

    @property
    def compared(self) -> int:
        return 0 if self.scored is None else self.scored.compared


def score(lake: Lake, records: pa.Table, rules: IdentityRules, rebuild: bool = False) -> Scoring:
    """Compares what is new or has changed with everything; everything with everything if the model is no longer fit.

    A model is fit for records of at most `GROWTH` times the number that it was learned from, and for the same rules.
    """
    seen = _content(records)
    model = None if rebuild else latest_model(lake, records.num_rows, rules)
    links = open_table(lake.identity_links)
    if model is None or links is None or open_table(lake.identity_records) is None:
        scored = score_pairs(records, rules)
        return Scoring(scored.edges, scored, scored.model, seen)
    before = pl.DataFrame(read_table(lake.identity_records))
    same = pl.DataFrame(pl.from_arrow(seen)).join(before, on=SEEN.names)[RECORD_KEY]
    kept = pl.DataFrame(read_table(lake.identity_links, columns=EDGES.names))
    kept = kept.filter(pl.col("left").is_in(same.implode()) & pl.col("right").is_in(same.implode()))
    known = pl.Series(records[RECORD_KEY]).is_in(same.implode())
    if known.all():
        return Scoring(_edges([kept]), None, None, seen)
    new, old = (records.filter(pa.array((~known).to_list())), records.filter(pa.array(known.to_list())))
    scored = score_pairs(new, rules, model=model, against=old if old.num_rows else None)
    return Scoring(_edges([kept, pl.DataFrame(pl.from_arrow(scored.edges))]), scored, None, seen)


def matched_by(edges: pa.Table, model: LinkModel, records: pa.Table) -> Scoring:
    """What the workers of an engine scored."""
    return Scoring(_edges([pl.DataFrame(pl.from_arrow(edges))]), None, model, _content(records))


def remember(lake: Lake, run: Run, scoring: Scoring, rules: IdentityRules) -> None:
    """Keeps which records were compared, and the model if it is new. The links are kept before."""
    if scoring.learned is not None:
        row = {"model": scoring.learned.to_json(), "rules": repr(rules), "records": scoring.content.num_rows,
               "learned_at": run.started_at}  # fmt: skip
        append_rows(lake.identity_models, pa.Table.from_pylist([row], schema=MODELS))
    amend_rows(lake.identity_records, scoring.content)


def latest_model(lake: Lake, records: int, rules: IdentityRules) -> LinkModel | None:
    """The model that the identities were made by, if it is fit for so many records and these rules."""
    if open_table(lake.identity_models) is None:
        return None
    latest = read_table(lake.identity_models).sort_by("learned_at").to_pylist()[-1]
    fit = latest["rules"] == repr(rules) and records <= GROWTH * latest["records"]
    return LinkModel.from_json(latest["model"]) if fit else None


def _content(records: pa.Table) -> pa.Table:
    hashes = key_hashes(records, records.column_names).view("int64")
    return pa.table({RECORD_KEY: records[RECORD_KEY], "content": hashes}).cast(SEEN)


def _edges(parts: list[pl.DataFrame]) -> pa.Table:
    whole = pl.concat([part.select(EDGES.names) for part in parts])
    turned = whole.with_columns(left=pl.min_horizontal("left", "right"), right=pl.max_horizontal("left", "right"))
    return turned.sort("left", "right").to_arrow(compat_level=_OLDEST).cast(EDGES)
