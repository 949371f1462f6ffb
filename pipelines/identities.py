"""Who is who in the lake: silver's customers to persons, with the story of every change.

The events are what happened; the map and the persons follow from them and from silver. Killed in between, the next run
finds no new event and writes the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import log2

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Lake, Run
from pipelines.explain import verdict_of
from pipelines.matching import match
from pipelines.notes import RunNote, made_from
from pipelines.options import Engine
from pipelines.runs import record_commits
from pipelines.scoring import Scoring, latest_model, matched_by, remember, score
from transforms.contracts import CONTRACTS
from transforms.counts import Counts
from transforms.errors import UsageError, UserError
from transforms.identity.customers import GOLDEN_TYPES, READ, SAID, customer_key, customer_records
from transforms.identity.decisions import DECISIONS, decisions_in_force
from transforms.identity.fields import RECORD_KEY
from transforms.identity.guard import GuardRules, Refined
from transforms.identity.persons import IDENTITY_EVENTS, IDENTITY_MAP, map_of, touched_persons
from transforms.identity.resolution import Resolution, resolve_records
from transforms.identity.rules import IdentityRules
from transforms.identity.score import EDGES, ScoredPairs, score_pairs
from transforms.identity.standard import standardise_records
from transforms.identity.survive import PERSON_RULES, survive_attributes, survivors_schema
from transforms.io.delta import amend_rows, append_rows, committed, open_table, read_table

CUSTOMERS = CONTRACTS["CUSTOMERS"]
_NUMBER = "identity"  # the Delta transaction that counts the runs
_PUBLIC = {said for column, said in SAID.items() if column not in CUSTOMERS.personal}
_OF_PERSONS = {column for attribute in PERSON_RULES.attributes for column in attribute.columns}
PERSONS = pa.schema(  # personal columns say so, as those of gold do
    [
        field.with_metadata({"personal": "true"}) if field.name in _OF_PERSONS - _PUBLIC else field
        for field in survivors_schema(PERSON_RULES, GOLDEN_TYPES)
    ]
)
# `evidence`: of the pairs nearest to the limit, what each comparison adds in bits, without any value.
LINKS = EDGES.append(pa.field("same_person", pa.bool_(), nullable=False)).append(pa.field("evidence", pa.string()))
BORDERLINE = 10
Pair = tuple[str, str]


@dataclass(frozen=True)
class LakeResolved:
    """What one run found.

    Attributes:
      touched: the persons that are not as they were, those that are no more included: what silver and gold restate.
    """

    records: int
    persons: int
    compared: int
    events: dict[str, int]
    touched: tuple[str, ...]
    refused: int


def resolve_lake(
    lake: Lake,
    run: Run,
    decided: Sequence[tuple[str, Pair]] = (),
    rebuild: bool = False,
    rules: IdentityRules = IdentityRules(),
    engine: Engine = Engine(),
) -> LakeResolved | None:
    """Brings the identity tables up to silver's customers and the decisions; None where they are already.

    In this process only what is new is compared. The workers of another engine compare and cluster everybody, so that
    pairs, and the memory to find them, are theirs.

    Args:
      decided: decisions (kind, two CUSTOMER_IDs) to be kept from now on.

    Raises:
      UserError: there are no customers, a decision names an unknown one, or another run was faster.
    """
    record_commits(lake)  # of runs that died before they could
    records = read_records(lake)
    _decide(lake, run, records, decided)
    inputs = _inputs(lake)
    if not rebuild and made_from(lake.identity_map) == inputs:
        return None
    clusters = None
    if engine.in_process:
        scoring = score(lake, records, rules, rebuild)
    else:
        matched = match(lake, run, engine, inputs, _read(lake.identity_decisions, DECISIONS), rules)
        scoring, clusters = matched_by(matched.edges, matched.model, records), matched.refined
    history = _read(lake.identity_events, IDENTITY_EVENTS)
    found = resolve(lake, run, records, scoring.edges, history, rules, clusters)
    _write(lake, run, inputs, records, scoring, found, rules)
    record_commits(lake)
    kinds = pl.Series(found.events["kind"]).value_counts().rows()
    persons = len(found.map["person_id"].unique())
    touched = tuple(touched_persons(found.events))
    return LakeResolved(
        records.num_rows, persons, scoring.compared, dict(sorted(kinds)), touched, found.refused.num_rows
    )


def explain_in_lake(lake: Lake, pair: Pair, rules: IdentityRules = IdentityRules()) -> tuple[pa.Table, str]:
    """CONTRIBUTIONS of the comparisons of two customers, and whether they are one person.

    Raises:
      UserError: a customer is unknown.
    """
    records, (left, right) = read_records(lake), (customer_key(customer) for customer in pair)
    _check_known(records, (left, right), "--explain")
    asked = pc.is_in(records[RECORD_KEY], pa.array([left, right]))
    model = latest_model(lake, records.num_rows, rules)
    if model is None:
        scored = score_pairs(records, rules)
    else:  # the model of the identities themselves; only these two are compared, within what all records have
        rest = records.filter(pc.invert(asked))
        scored = score_pairs(records.filter(asked), rules, model=model, against=rest if rest.num_rows else None)
    verdict = verdict_of(left, right, _read(lake.identity_map, IDENTITY_MAP), scored.edges, rules=rules)
    held = decisions_in_force(_read(lake.identity_decisions, DECISIONS)).to_pylist()
    decided = [row["kind"] for row in held if {row["low"], row["high"]} == {left, right}]
    return scored.explain(left, right), verdict + (f", as decided ({decided[0]})" if decided else "")


def _check_known(records: pa.Table, keys: Sequence[str], option: str) -> None:
    known = set(records[RECORD_KEY].to_pylist())
    unknown = [key.partition(":")[2] for key in keys if key not in known]
    if unknown or len(set(keys)) < len(keys):
        what = f"there is no customer {unknown[0]!r}" if unknown else "a customer is named twice"
        raise UsageError(what, option, "give two CUSTOMER_IDs of silver")


def read_records(lake: Lake) -> pa.Table:
    """The customers of silver as records."""
    if open_table(lake.silver(CUSTOMERS)) is None:
        raise UserError("there are no customers in silver", lake.uri, "run the commands bronze and silver first")
    return customer_records(read_table(lake.silver(CUSTOMERS), columns=READ))


def resolve(
    lake: Lake, run: Run, records: pa.Table, edges: pa.Table, history: pa.Table, rules: IdentityRules,
    clusters: Refined | None = None,
) -> Resolution:  # fmt: skip
    """The persons of the records, after those of the history; `clusters`: where they are known already."""
    previous = map_of(history)
    latest = pc.max(history["at"]).as_py()
    if latest is not None and latest >= run.started_at:
        raise UserError(
            f"identities were resolved as of {latest.isoformat()} already",
            lake.identity_events,
            "give a later --run-time",
        )
    values = standardise_records(records)
    table = values.rename_columns(["record" if name == RECORD_KEY else name for name in values.column_names])
    return resolve_records(
        table.append_column("first_seen", records["first_seen"]),
        edges,
        run.started_at,
        decisions=_read(lake.identity_decisions, DECISIONS),
        previous=previous,
        history=history,
        rules=GuardRules(match_probability=rules.match_probability),
        run_id=run.run_id,
        clustered=clusters,
    )


def _decide(lake: Lake, run: Run, records: pa.Table, decided: Sequence[tuple[str, Pair]]) -> None:
    rows = []
    for kind, pair in decided:
        low, high = sorted(customer_key(customer) for customer in pair)
        _check_known(records, (low, high), f"--{kind}")
        rows.append({"low": low, "high": high, "kind": kind, "decided_at": run.started_at, "run_id": run.run_id})
    if rows:
        append_rows(lake.identity_decisions, pa.Table.from_pylist(rows, schema=DECISIONS), ((run.run_id, 1),))


def _inputs(lake: Lake) -> tuple[str, ...]:
    """The versions that the identities depend on."""
    tables = {f"silver/{CUSTOMERS.path}": lake.silver(CUSTOMERS), "ops/identity_decisions": lake.identity_decisions}
    found = {name: open_table(uri) for name, uri in tables.items()}
    return tuple(f"{name}@{table.version()}" for name, table in found.items() if table is not None)


def _read(uri: str, schema: pa.Schema) -> pa.Table:
    return schema.empty_table() if open_table(uri) is None else read_table(uri).select(schema.names).cast(schema)


def _write(
    lake: Lake,
    run: Run,
    inputs: tuple[str, ...],
    records: pa.Table,
    scoring: Scoring,
    found: Resolution,
    rules: IdentityRules,
) -> None:
    """The events first, the map last: its commit says that the run is done. Rows that stay as they are stay in their
    files: what is written anew is what concerns the persons that were touched."""
    number = committed(lake.identity_events, [_NUMBER]).get(_NUMBER, 0) + 1
    done = append_rows(lake.identity_events, found.events, ((_NUMBER, number),))
    if done.status != "committed":
        raise UserError("another run resolved identities at the same time", lake.identity_events, "run again")
    before = _read(lake.identity_links, LINKS) if not scoring.learned else LINKS.empty_table()
    amend_rows(lake.identity_links, _links(scoring, found, before, rules))
    remember(lake, run, scoring, rules)
    raw = records.rename_columns(["record" if name == RECORD_KEY else name for name in records.column_names])
    golden = survive_attributes(raw, found.map, PERSON_RULES).cast(PERSONS)
    for name, uri, rows in (("persons", lake.persons, golden), ("identity_map", lake.identity_map, found.map)):
        note = RunNote(run, name, inputs, Counts(rows.num_rows, rows.num_rows))
        amend_rows(uri, rows, note=note)


def _links(scoring: Scoring, found: Resolution, before: pa.Table, rules: IdentityRules) -> pa.Table:
    """LINKS of all edges; `before`: those of earlier runs, for the evidence of pairs that this one did not compare."""
    persons = pl.DataFrame(pl.from_arrow(found.map)).select("record", "person_id")
    edges = pl.DataFrame(pl.from_arrow(scoring.edges))
    ends = edges.join(persons, left_on="left", right_on="record", maintain_order="left").join(
        persons, left_on="right", right_on="record", maintain_order="left", suffix="_right"
    )
    told = ends.with_columns(same_person=pl.col("person_id") == pl.col("person_id_right"))
    new, old = _evidence(scoring.scored, rules), pl.DataFrame(pl.from_arrow(before)).select("left", "right", "evidence")
    evidence = pl.concat([new, old.drop_nulls().join(new, on=["left", "right"], how="anti")])
    told = told.join(evidence, on=["left", "right"], how="left", maintain_order="left")
    return told.select(LINKS.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(LINKS)


def _evidence(scored: ScoredPairs | None, rules: IdentityRules) -> pl.DataFrame:
    """`evidence` of the pairs compared in this run whose odds are nearest to those of the limit."""
    schema = dict.fromkeys(("left", "right", "evidence"), pl.String)
    if scored is None:
        return pl.DataFrame(schema=schema)
    odds = (pl.col("probability") / (1 - pl.col("probability"))).log(2)
    limit = rules.match_probability / (1 - rules.match_probability)
    edges = pl.DataFrame(pl.from_arrow(scored.edges)).filter(pl.col("kind") == "probabilistic")
    near = edges.sort((odds - log2(limit)).abs(), "left", "right").head(BORDERLINE)
    bits = scored.contributions(near.to_arrow(compat_level=pl.CompatLevel.oldest()))
    rows = []
    for row in bits.to_pylist():
        parts = {name.removeprefix("bits_"): value for name, value in row.items() if name.startswith("bits_")}
        del parts["start"]
        told = [f"{name} {value:+.1f}" for name, value in sorted(parts.items(), key=lambda part: -part[1]) if value]
        left, right = sorted((row["left"], row["right"]))
        rows.append({"left": left, "right": right, "evidence": ", ".join(told)})
    return pl.DataFrame(rows, schema=schema)
