"""Gold: all its tables from silver, whole, whenever silver moved on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, time
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.config import Lake, Run
from pipelines.console import counted
from pipelines.notes import RunNote, TakeNote, made_from
from pipelines.options import Engine, buckets_for
from pipelines.runs import CUSTOMER_360, TableRun, record_commits, table_runs
from pipelines.visitors import VISITS, read_stitched, stitched, without_session
from transforms.contracts import CONTRACTS, Contract
from transforms.counts import Counts, SumCounts
from transforms.errors import UserError
from transforms.gold.assemble import INPUTS, SCHEMA, AssembleGold, GoldContext, KeyByPerson
from transforms.gold.moves import MEMBERS, count_moves
from transforms.gold.persons import PersonMap
from transforms.gold.publish import WriteTables
from transforms.gold.tables import CAMPAIGNS, CUSTOMER_TABLES, SHOP_TABLES
from transforms.gold.value.worth import INPUTS as INPUTS_OF_WORTH
from transforms.gold.value.worth import TRANSACTIONS_TABLE, Worth, fit_worth, orders_to_fit
from transforms.identity.follow import AttributeVisits
from transforms.io.delta import (
    Amend,
    CommitResult,
    Overwrite,
    ReadDelta,
    WriteDelta,
    arrow_schema,
    committed,
    open_table,
    overwrite_rows,
    read_batches,
    read_table,
)
from transforms.io.delta_schema import storable_schema
from transforms.progress import METER
from transforms.shuffle import spill_folder

_CUSTOMERS, _MAP = "CUSTOMERS", "silver/identity_map@"
SEGMENT_MOVES_TABLE = "segment_moves"


@dataclass(frozen=True)
class GoldPlan:
    """Which silver tables at which versions make gold, as of which moment; `number` counts the rebuilds; `identities`
    is the version of the identity map, if there is one; `currency` that of most transactions: in attribution and
    journeys only its values are added; `written` says that only the moves between segments are missing; `stitched` of
    which version the visitors are who logged in later, and what they were made from; `restated` that only who is who
    changed since gold was made, so that most rows stay."""

    versions: dict[str, int]
    number: int
    rows: int
    as_of: datetime
    identities: int | None = None
    currency: str | None = None
    written: bool = False
    stitched: tuple[int, str] | None = None
    restated: bool = False

    @property
    def inputs(self) -> tuple[str, ...]:
        versions = tuple(f"silver/{CONTRACTS[name].path}@{version}" for name, version in sorted(self.versions.items()))
        if self.identities is not None:
            versions = (*versions, f"{_MAP}{self.identities}")
        if self.stitched is not None:
            versions = (*versions, self.stitched[1])
        return (*versions, f"as_of@{self.as_of.isoformat()}")


def plan(lake: Lake, run: Run, as_of: datetime | None = None) -> GoldPlan | None:
    """The silver tables there are, or None when gold was made from just these versions and this day."""
    tables = {name: open_table(lake.silver(CONTRACTS[name])) for name in (*INPUTS, CAMPAIGNS)}
    found = {name: table for name, table in tables.items() if table is not None}
    if not found.keys() - {CAMPAIGNS}:
        raise UserError("there is no silver table", where=lake.uri, remedy="run the commands bronze and silver first")
    check_release(lake)
    day = as_of or latest_event(lake, [name for name in found if name != CAMPAIGNS], run.started_at)
    versions = {name: table.version() for name, table in found.items()}
    rows = sum(table.count() for table in found.values())
    map = open_table(lake.identity_map)
    identities = None if map is None else map.version()
    planned = GoldPlan(versions, 1, rows, day, identities, main_currency(lake, found), stitched=stitched(lake))
    *written, moves = (_made(lake.gold(n)) for n in (CUSTOMER_360, *CUSTOMER_TABLES, *SHOP_TABLES, SEGMENT_MOVES_TABLE))
    made = [*written, moves]
    latest = max(number for number, _ in made)
    begun = any(number == latest and inputs == planned.inputs for number, inputs in made)
    if begun and set(made) == {(latest, planned.inputs)}:
        return None
    # A rebuild that died is finished under its own number, so that the tables it wrote are not written again.
    whole = begun and set(written) == {(latest, planned.inputs)}
    restated = _but_for_persons(made[0][1]) == _but_for_persons(planned.inputs)
    return replace(planned, number=latest if begun else latest + 1, written=whole, restated=restated)


def check_release(lake: Lake, names: Collection[str] = ()) -> None:
    """Raises `UserError` where tables of gold (by default all) have other columns than this release gives them."""
    made = {CUSTOMER_360: SCHEMA, **CUSTOMER_TABLES, **SHOP_TABLES}
    stored = {name: open_table(lake.gold(name)) for name in names or made}
    older = sorted(
        name
        for name, table in stored.items()
        if table is not None and arrow_schema(table) != storable_schema(made[name], lake.gold(name))
    )
    if older:
        what = f"{counted(len(older), 'table')} of gold made by another release of this program"
        folders = " ".join(older)
        raise UserError(what, lake.gold(older[0]), f"remove their folders and run gold, all is in silver: {folders}")


def _but_for_persons(inputs: tuple[str, ...]) -> list[str]:
    return [text for text in inputs if not text.startswith(_MAP)]


def versions_behind(lake: Lake) -> list[str]:
    """The inputs ("silver/PATH@VERSION") that are there now and that customer_360 was not made from."""
    tables = {name: open_table(lake.silver(CONTRACTS[name])) for name in (*INPUTS, CAMPAIGNS)}
    now = {f"silver/{CONTRACTS[name].path}@{table.version()}" for name, table in tables.items() if table is not None}
    return sorted(now - set(_made(lake.gold(CUSTOMER_360))[1]))


def _made(uri: str) -> tuple[int, tuple[str, ...]]:
    """The number and the inputs of the latest rebuild of a table, as its commit says; 0 where there is none."""
    inputs = made_from(uri)
    return (0, ()) if inputs is None else (committed(uri, ["gold"]).get("gold", 0), inputs)


def without_record(lake: Lake) -> int:
    """Persons of customer_360 that no customer record tells of: what they bought or did names them only."""
    count = "customer_records_count"
    return read_table(lake.gold(CUSTOMER_360), columns=(count,), where=((count, "=", 0),)).num_rows


def main_currency(lake: Lake, found: Collection[str]) -> str | None:
    """The currency of most transactions, of several the first by name; None where none is known."""
    if "CUSTOMER_TRANSACTIONS" not in found:
        return None
    seen: Counter[str] = Counter()
    for batch in read_batches(lake.silver(CONTRACTS["CUSTOMER_TRANSACTIONS"]), columns=("CURRENCY_CODE",)):
        for count in pc.value_counts(batch["CURRENCY_CODE"].drop_null()).to_pylist():
            seen[count["values"]] += count["counts"]
    return min(seen, key=lambda name: (-seen[name], name), default=None)


def latest_event(lake: Lake, names: list[str], now: datetime) -> datetime:
    """The latest event time in silver: the day of reference when none is given, so that a rerun gives the same.

    Events from after `now` are clocks gone wrong; one of them must not make every customer look long gone.
    """
    latest = []
    for name in names:
        column = CONTRACTS[name].event_time
        newest = max(_times(lake, CONTRACTS[name], column, now), default=None) if column else None
        if newest is not None:
            latest.append(newest if isinstance(newest, datetime) else datetime.combine(newest, time.max, UTC))
    return max(latest, default=now)


def _times(lake: Lake, table: Contract, column: str, now: datetime) -> Iterator[Any]:
    """The latest time of each batch of the table that is not in the future."""
    limit = now if table[column].type.arrow == pa.timestamp("us", tz="UTC") else now.date()
    for batch in read_batches(lake.silver(table), ((column, "<=", limit),), columns=(column,)):
        if batch.num_rows:
            yield pc.max(batch[column]).as_py()


def assemble(lake: Lake, run: Run, engine: Engine = Engine(), as_of: datetime | None = None) -> TableRun | None:
    """Rebuilds gold, and returns what was done to customer_360; None when nothing changed since."""
    record_commits(lake)  # of runs that died before they could
    planned = plan(lake, run, as_of)
    if planned is None:
        return None
    METER.expect(rows=planned.rows)
    earlier = _version_before(lake, planned)
    if not planned.written:
        with spill_folder(engine.in_process) as spill, engine.pipeline() as root:
            build(root, lake, run, planned, spill)
    _record_moves(lake, run, planned, earlier)
    record_commits(lake)
    return next((done for done in table_runs(lake, run) if done.table == CUSTOMER_360), None)


def build(root: beam.Pipeline, lake: Lake, run: Run, planned: GoldPlan, spill: str | None) -> None:
    """Reads only the columns gold needs, groups them by customer once, writes every table."""
    names = [name for name in INPUTS if name in planned.versions]
    tables = {
        name: root | f"Read {name}" >> _read(lake, name, planned) | f"Meter {name}" >> _metered() for name in names
    }
    tables = _attributed(root, tables, lake, planned, spill)
    tables = {name: _keyed(rows, name, lake, planned) for name, rows in tables.items()}
    context = GoldContext(planned.as_of, campaigns_of(lake, planned), planned.currency, worth_of(lake, planned))
    gold = tables | "Assemble" >> AssembleGold(context, buckets_for(planned.rows), spill)
    for name, schema in {CUSTOMER_360: SCHEMA, **CUSTOMER_TABLES}.items():
        rows = gold.customers if name == CUSTOMER_360 else gold.rows[name]
        _write(rows, name, schema, lake, run, planned)
    places = {name: lake.gold(name) for name in SHOP_TABLES}
    gold.tables | "WriteTables" >> WriteTables(places, (("gold", planned.number),), _ShopNote(run, planned.inputs))


def _attributed(
    root: beam.Pipeline, tables: dict[str, beam.PCollection], lake: Lake, planned: GoldPlan, spill: str | None
) -> dict[str, beam.PCollection]:
    """The tables, visits from before a login with the customer who logged in; if there are any."""
    names = tables.keys() & VISITS.keys() if planned.stitched else ()
    if not names:
        return tables
    visitors = root | "Read visitors" >> read_stitched(lake, planned.stitched[0])  # type: ignore[index]
    told = {
        name: (tables[name], visitors)
        | f"Attribute {name}" >> AttributeVisits(VISITS[name], buckets_for(planned.rows), spill)
        | f"Visits {name}" >> beam.Map(without_session).with_output_types(pa.RecordBatch)
        for name in sorted(names)
    }
    return tables | told


def _keyed(rows: beam.PCollection, name: str, lake: Lake, planned: GoldPlan) -> beam.PCollection:
    """By person, if there is an identity map."""
    if planned.identities is None or "CUSTOMER_ID" not in INPUTS[name]:
        return rows
    return rows | f"Key {name}" >> KeyByPerson(lake.identity_map, planned.identities, name == _CUSTOMERS)


def _write(
    rows: beam.PCollection, name: str, schema: pa.Schema, lake: Lake, run: Run, planned: GoldPlan
) -> beam.PCollection:
    counted = rows | f"CountRows {name}" >> beam.Map(lambda batch: Counts(batch.num_rows, batch.num_rows))
    note = counted | f"Count {name}" >> SumCounts(name) | f"Note {name}" >> TakeNote(run, planned.inputs)
    return rows | f"Write {name}" >> WriteDelta(
        lake.gold(name),
        schema,
        Amend() if planned.restated else Overwrite(whole_table=True),
        transactions=(("gold", planned.number),),
        note=beam.pvalue.AsSingleton(note),
    )


@dataclass(frozen=True)
class _ShopNote:
    """The note of a table of the shop, whose rows are known when they are written."""

    run: Run
    inputs: tuple[str, ...]

    def __call__(self, name: str, rows: int) -> Callable[[CommitResult], str]:
        return RunNote(self.run, name, self.inputs, Counts(rows, rows))


def campaigns_of(lake: Lake, planned: GoldPlan) -> pa.Table:
    """MARKETING_CAMPAIGNS as planned; empty where there is none."""
    table = CONTRACTS[CAMPAIGNS]
    if CAMPAIGNS not in planned.versions:
        return table.arrow.empty_table()
    return read_table(lake.silver(table), columns=table.names, version=planned.versions[CAMPAIGNS])


def worth_of(lake: Lake, planned: GoldPlan) -> Worth | None:
    """What is fitted to the orders, before the pass over the customers; memory is bounded, see `orders_to_fit`."""
    if TRANSACTIONS_TABLE not in planned.versions:
        return None
    uri, version = lake.silver(CONTRACTS[TRANSACTIONS_TABLE]), planned.versions[TRANSACTIONS_TABLE]
    persons = PersonMap(lake.identity_map, planned.identities)
    batches = read_batches(uri, version=version, columns=INPUTS_OF_WORTH)
    keyed = (persons.key(pa.Table.from_batches([batch])) for batch in batches)
    stored = open_table(uri, version)
    assert stored is not None  # it was planned by its version
    orders = orders_to_fit(keyed, stored.count(), planned.as_of)
    return None if orders is None else fit_worth(orders)


def _version_before(lake: Lake, planned: GoldPlan) -> int | None:
    """The version of customer_360 that this rebuild replaces, also when it has done so already and then died."""
    uri = lake.gold(CUSTOMER_360)
    table = open_table(uri)
    if table is None:
        return None
    version = table.version() - (committed(uri, ["gold"]).get("gold", 0) == planned.number)
    return version if version >= 0 else None


def _record_moves(lake: Lake, run: Run, planned: GoldPlan, before: int | None) -> None:
    """Moves between segments since the version `before` of customer_360."""
    uri = lake.gold(CUSTOMER_360)
    members = None if before is None else read_table(uri, columns=MEMBERS.names, version=before)
    moves = count_moves(members, read_table(uri, columns=MEMBERS.names))
    note = RunNote(run, SEGMENT_MOVES_TABLE, planned.inputs, Counts(moves.num_rows, moves.num_rows))
    overwrite_rows(lake.gold(SEGMENT_MOVES_TABLE), moves, (("gold", planned.number),), whole_table=True, note=note)


def _seen(batch: pa.RecordBatch) -> pa.RecordBatch:
    METER.advance(rows=batch.num_rows)
    return batch


def _metered() -> beam.ParDo:
    return beam.Map(_seen).with_output_types(pa.RecordBatch)


def _read(lake: Lake, name: str, planned: GoldPlan) -> ReadDelta:
    columns = (*INPUTS[name], "SESSION_ID") if planned.stitched and name in VISITS else INPUTS[name]
    return ReadDelta(lake.silver(CONTRACTS[name]), columns=columns, version=planned.versions[name])
