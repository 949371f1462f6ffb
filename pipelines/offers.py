"""Recommendations for everyone in the lake: silver to gold `recommendations`, by a written model; and its log to learn
from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import perf_counter

import apache_beam as beam
import polars as pl
import pyarrow as pa

from pipelines.config import Lake, Run
from pipelines.console import Output, counted
from pipelines.gold import latest_event
from pipelines.notes import TakeNote, made_from
from pipelines.options import Engine, buckets_for
from pipelines.recommend import Read, Wish
from pipelines.runs import TableRun, record_commits, table_runs
from recsys.batch.histories import GatherHistories
from recsys.batch.schemas import RECOMMENDATIONS
from recsys.batch.silver import CUSTOMERS, EVENTS, INPUTS, ITEMS, TOLD, TRANSACTIONS, looks, products, purchases
from recsys.interactions import encode
from transforms.contracts import CONTRACTS
from transforms.counts import Counts, SumCounts
from transforms.errors import UserError
from transforms.gold.assemble import KeyByPerson
from transforms.gold.persons import PersonMap
from transforms.io.delta import Overwrite, ReadDelta, WriteDelta, committed, open_table, read_batches, read_table
from transforms.progress import METER
from transforms.shuffle import spill_folder

RECOMMENDATIONS_TABLE = "recommendations"
HISTORY_ITEMS = 200


@dataclass(frozen=True)
class OfferPlan:
    """Which tables of silver at which versions are asked, as of when; `identities`: version of the identity map."""

    versions: dict[str, int]
    rows: int
    as_of: datetime
    number: int
    model: str
    k: int
    identities: int | None = None

    @property
    def inputs(self) -> tuple[str, ...]:
        read = tuple(f"silver/{CONTRACTS[name].path}@{version}" for name, version in sorted(self.versions.items()))
        who = () if self.identities is None else (f"silver/identity_map@{self.identities}",)
        return (*read, *who, f"model@{self.model}", f"k@{self.k}", f"as_of@{self.as_of.isoformat()}")


def plan(lake: Lake, run: Run, model: str, k: int) -> OfferPlan | None:
    """None when the recommendations were made from just these versions of tables and model."""
    tables = {name: open_table(lake.silver(CONTRACTS[name])) for name in INPUTS}
    found = {name: table for name, table in tables.items() if table is not None}
    if not found:
        raise UserError("there is no silver table", where=lake.uri, remedy="run the commands bronze and silver first")
    versions = {name: table.version() for name, table in found.items()}
    map, uri = open_table(lake.identity_map), lake.gold(RECOMMENDATIONS_TABLE)
    made = made_from(uri)
    planned = OfferPlan(
        versions, sum(table.count() for table in found.values()), latest_event(lake, [*found], run.started_at),
        committed(uri, ["offers"]).get("offers", 0) + 1 if made is not None else 1, model, k,
        None if map is None else map.version(),
    )  # fmt: skip
    return None if made == planned.inputs else planned


def offer_all(lake: Lake, run: Run, folder: str, k: int, engine: Engine = Engine()) -> TableRun | None:
    """Rebuilds gold `recommendations` with the newest version of a model; None when nothing changed since."""
    try:
        from recsys.batch.lists import WrittenModel  # TensorFlow takes seconds to import
    except ImportError as error:
        raise UserError(f"{error.name} is not installed", remedy="install the extra recsys") from None
    model = WrittenModel.newest(folder)
    record_commits(lake)
    planned = plan(lake, run, f"{model.name}/{model.version}", k)
    if planned is None:
        return None
    METER.expect(rows=planned.rows)
    with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
        build(root, lake, run, planned, model, spill)
    record_commits(lake)
    return next(done for done in table_runs(lake, run) if done.table == RECOMMENDATIONS_TABLE)


def build(root: beam.Pipeline, lake: Lake, run: Run, planned: OfferPlan, model: object, spill: str | None) -> None:
    """Reads silver, gathers each person's history, asks the model, writes the lists."""
    from recsys.batch.offer import OfferLists

    tables = {name: root | f"Read {name}" >> _keyed(lake, name, planned) for name in sorted(planned.versions)}
    people = tables | GatherHistories(planned.as_of, buckets_for(planned.rows), HISTORY_ITEMS, spill)
    rows = people | OfferLists(model, planned.as_of, planned.k)
    counts = rows | "CountRows" >> beam.Map(lambda batch: Counts(batch.num_rows, batch.num_rows))
    note = counts | "Count" >> SumCounts(RECOMMENDATIONS_TABLE) | "Note" >> TakeNote(run, planned.inputs)
    rows | "WriteRecommendations" >> WriteDelta(
        lake.gold(RECOMMENDATIONS_TABLE),
        RECOMMENDATIONS,
        Overwrite(whole_table=True),
        transactions=(("offers", planned.number),),
        note=beam.pvalue.AsSingleton(note),
    )


@dataclass(eq=False)
class _ReadKeyed(beam.PTransform):
    """A table of silver with its columns of INPUTS, keyed by person."""

    read: ReadDelta
    key: KeyByPerson | None

    def expand(self, root: beam.pvalue.PBegin) -> beam.PCollection:
        rows = root | self.read | "Meter" >> beam.Map(_seen).with_output_types(pa.RecordBatch)
        return rows if self.key is None else rows | self.key


def _keyed(lake: Lake, name: str, planned: OfferPlan) -> _ReadKeyed:
    read = ReadDelta(lake.silver(CONTRACTS[name]), columns=INPUTS[name], version=planned.versions[name])
    key = KeyByPerson(lake.identity_map, planned.identities, name == CUSTOMERS)  # without a map: by customer
    return _ReadKeyed(read, key if "CUSTOMER_ID" in INPUTS[name] else None)


def _seen(batch: pa.RecordBatch) -> pa.RecordBatch:
    METER.advance(rows=batch.num_rows)
    return batch


def read_lake(lake: Lake) -> Read:
    """What everyone took, as a log to learn from, in memory: about 100 bytes an interaction.

    Raises: UserError: no one took anything.
    """
    map = open_table(lake.identity_map)
    persons = PersonMap(lake.identity_map, None if map is None else map.version())
    told = read_table(lake.silver(CONTRACTS[ITEMS]), columns=(*INPUTS[ITEMS], *TOLD[1:])) if _is(lake, ITEMS) else None
    parts = []
    if told is not None and _is(lake, TRANSACTIONS):
        orders = read_table(lake.silver(CONTRACTS[TRANSACTIONS]), columns=INPUTS[TRANSACTIONS])
        parts.append(purchases(told.select(INPUTS[ITEMS]), persons.key(orders)))
    if _is(lake, EVENTS):
        events = read_batches(lake.silver(CONTRACTS[EVENTS]), columns=INPUTS[EVENTS])
        parts += [looks(persons.key(pa.Table.from_batches([batch]))) for batch in events]
    if not sum(part.num_rows for part in parts):
        raise UserError("nobody took anything", where=lake.uri, remedy="run the commands bronze and silver first")
    catalogue = None if told is None else pl.DataFrame(pl.from_arrow(products(told)))
    words = None if catalogue is None else catalogue.select("item", "text")
    ids = None if catalogue is None else catalogue["item"]
    return Read(encode(pa.concat_tables(parts), item_ids=ids), words, 0, 0, catalogue)


def _is(lake: Lake, name: str) -> bool:
    return open_table(lake.silver(CONTRACTS[name])) is not None


def run_offers(lake: str, model: str, wish: Wish, run: Run, engine: Engine, as_json: bool) -> None:
    """The command `recommend --lake`."""
    out, start = Output(as_json), perf_counter()
    with out.working("recommending"):
        done = offer_all(Lake(lake), run, str(Path(model)), wish.k, engine)
    if done is None:
        out.say("recommend: nothing new; recommendations are up to date with silver and the model", changed=False)
    else:
        rows, seconds = done.counts.accepted, perf_counter() - start
        out.say(
            f"recommend: {counted(rows, 'recommendation')} in {seconds:.0f} s: {done.output}",
            changed=True, recommendations=rows, out=done.output, seconds=round(seconds, 1),
        )  # fmt: skip
    out.close()
