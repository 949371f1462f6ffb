"""Features on Beam, behind bronze: stopped and started anywhere they are those of the batch's own kernels."""

from __future__ import annotations

from datetime import UTC, datetime

import apache_beam as beam
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from tests.gold import plain_realtime as plain
from transforms.batches import as_batch, register_batch_coder
from transforms.bronze.envelope import ENVELOPE, bronze_schema, partition_values
from transforms.contracts import CONTRACTS
from transforms.errors import UserError
from transforms.generator.dataset import tables
from transforms.generator.spec import GeneratorSpec
from transforms.gold.realtime import FEATURES, latest
from transforms.gold.realtime_items import ORDERS
from transforms.gold.realtime_persons import Persons
from transforms.gold.realtime_stream import StreamFeaturesOf
from transforms.gold.realtime_table import REALTIME_FEATURES, FeatureTable
from transforms.gold.touches import TABLES, read_touches
from transforms.identity.customers import customers_of
from transforms.identity.persons import IDENTITY_MAP
from transforms.io.delta import overwrite_rows, read_table
from transforms.io.delta_positions import positions, take_over
from transforms.io.delta_ranges import StreamWrite
from transforms.io.delta_stream import WriteStream
from transforms.positions import Piece
from transforms.silver.to_silver import to_silver

NOW = datetime(2026, 1, 1, tzinfo=UTC)
SIZE = 40
TRANSACTIONS, LINES = "CUSTOMER_TRANSACTIONS", "CUSTOMER_TRANSACTION_ITEMS"


def bronze_rows() -> dict[str, pa.Table]:
    """Some days of the generator as a stream of two partitions puts them into bronze."""
    found = {}
    for name, table in tables(GeneratorSpec(customers=8).clean):
        if name in TABLES and name not in found:
            found[name] = _as_bronze(name, table.slice(0, 400))
    return found


def _as_bronze(name: str, rows: pa.Table) -> pa.Table:
    contract, count = CONTRACTS[name], rows.num_rows
    made = {field.name: pa.nulls(count, field.type) for field in ENVELOPE} | {
        "_ingested_at": pa.repeat(pa.scalar(NOW, pa.timestamp("us", tz="UTC")), count),
        "_source": pa.repeat("s", count), "_file": pa.array([f"hub/{i % 2}" for i in range(count)]),
        "_position": pa.array([i // 2 for i in range(count)], pa.int64()), "_run_id": pa.repeat("r", count),
        "_schema_version": pa.repeat(pa.scalar(1, pa.int32()), count), "_quality_score": pa.repeat(1.0, count),
        "_enqueued_at": pa.repeat(pa.scalar(NOW, pa.timestamp("us", tz="UTC")), count),
    }  # fmt: skip
    columns = {n: rows[n] for n in contract.names} | {field.name: made[field.name] for field in ENVELOPE}
    if contract.partition:
        columns[contract.partition.name] = partition_values(rows, contract)
    return pa.table(columns).cast(bronze_schema(contract))


ROWS = bronze_rows()
LOGS = dict.fromkeys(TABLES, ("hub/0", "hub/1"))


def pieces(name: str, begin: int, end: int) -> list[Piece]:
    """Positions `begin` to `end` of both logs, cut in pieces, each twice, the later ones first."""
    found = []
    for log in LOGS[name]:
        mine = ROWS[name].filter(pa.compute.equal(ROWS[name]["_file"], log))
        for low in range(begin, min(end, mine.num_rows), SIZE):
            rows = mine.slice(low, min(SIZE, end - low))
            found.append(Piece(log, low, low + rows.num_rows - 1, as_batch(rows)))
    return found[::-1] * 2


def run(tmp_path, begin: int, end: int, name: str = "features", **more) -> StreamWrite:
    """One run of the stream: rows into bronze, and the features behind it."""
    register_batch_coder()
    to = _write(str(tmp_path / name), REALTIME_FEATURES)
    bronze = {t: _write(str(tmp_path / t), bronze_schema(CONTRACTS[t]), CONTRACTS[t].partition_by) for t in TABLES}
    with beam.Pipeline(runner=FnApiRunner()) as root:
        commits = {
            t: root
            | f"Begin {t}" >> beam.Create([(begin, end)])
            | f"Pieces {t}" >> beam.FlatMap(lambda ends, t=t: pieces(t, *ends)).with_output_types(Piece)
            | f"Write {t}" >> WriteStream(bronze[t])
            for t in TABLES
        }
        uris = {t: write.uri for t, write in bronze.items()}
        commits | "Features" >> StreamFeaturesOf(uris, LOGS, FeatureTable(to), **more)
    return to


def _write(uri: str, schema: pa.Schema, partition_by: tuple[str, ...] = ()) -> StreamWrite:
    return StreamWrite(uri, schema, "s", partition_by, epoch=take_over(uri, schema, partition_by, "s"), idle_seconds=0)


def expected(person_of: pa.Table | None = None) -> list[dict]:
    silver = {name: to_silver(table, CONTRACTS[name]).accepted for name, table in ROWS.items()}
    orders = silver[TRANSACTIONS].select(["TRANSACTION_ID", *(n for n in ORDERS.names if n != "TRANSACTION_ID")])
    lines = silver[LINES].select(["ITEM_ID", "TRANSACTION_ID", "PRODUCT_ID", "ITEM_STATUS"])
    silver[LINES] = lines.join(orders, "TRANSACTION_ID", join_type="inner")
    rows = [row for name, table in silver.items() for row in read_touches(name, table, person_of).to_pylist()]
    assert sum(row["type"] == "ITEM_BOUGHT" for row in rows) > 10
    return plain.plain_features(rows)


def found(to: StreamWrite) -> list[dict]:
    table = latest(read_table(to.uri).select(FEATURES.names))
    kept = table.drop_columns(["updated_at", "_events", "is_truncated"]).to_pylist()
    return [row | {"spend_24h": int(row["spend_24h"] * 100)} for row in kept]


def test_a_stream_stopped_and_started_counts_what_the_batch_counts(tmp_path):
    assert len(ROWS) == len(TABLES) and len(expected()) > 5
    run(tmp_path, 0, 100)
    to = run(tmp_path, 100, 250)
    assert found(to) == expected()
    assert sum(row["page_views_24h"] + row["purchases_24h"] for row in found(to)) > 0
    rows = read_table(to.uri).num_rows
    run(tmp_path, 0, 250)  # all of it again
    assert read_table(to.uri).num_rows == rows


def test_features_that_begin_behind_an_old_stream_read_all_of_bronze_in_shards(tmp_path):
    run(tmp_path, 0, 250, "first")
    to = run(tmp_path, 250, 251, "second", shards=3)
    assert found(to) == expected()
    logs = [f"{TABLES[0]}/hub/0/{shard}" for shard in range(3)]
    assert positions(to.uri, "s", logs) == dict.fromkeys(logs, 199)


def identity_map(customers: list[str], persons: list[str]) -> pa.Table:
    rows = zip(customers, persons, strict=True)
    return pa.Table.from_pylist(
        [{"record": f"customers:{c}", "person_id": p, "since": NOW} for c, p in rows], IDENTITY_MAP
    )


def person_of(map: pa.Table) -> pa.Table:
    return customers_of(map).rename_columns(["customer_id", "person_id"])


def test_customers_are_the_persons_that_the_identity_map_says(tmp_path):
    customers = sorted({row["person_id"] for row in expected()})
    people = identity_map(customers[:4], ["ANN", "ANN", "BOB", "BOB"])
    overwrite_rows(str(tmp_path / "people"), people, whole_table=True)
    to = run(tmp_path, 0, 250, person_of=str(tmp_path / "people"))
    assert found(to) == expected(person_of(people))
    assert {"ANN", "BOB"} <= {row["person_id"] for row in found(to)}


def test_features_follow_a_map_that_changes_between_rows(tmp_path):
    """No map, then persons, then others: always as if the last map had been there from the start."""
    customers, uri = sorted({row["person_id"] for row in expected()}), str(tmp_path / "people")
    run(tmp_path, 0, 80, person_of=uri)
    for begin, persons in ((80, ["ANN", "ANN", "BOB", "BOB"]), (160, ["ANN", "BOB", "BOB", "CAT"])):
        people = identity_map(customers[:4], persons)
        overwrite_rows(uri, people, whole_table=True)
        to = run(tmp_path, begin, begin + (80 if begin < 160 else 90), person_of=uri)
    assert without_last_events(found(to)) == without_last_events(expected(person_of(people)))
    newest = pl.DataFrame(pl.from_arrow(read_table(to.uri))).sort("updated_at").unique("person_id", keep="last")
    assert set(newest["person_id"]) == {row["person_id"] for row in found(to)}  # nobody is left of the maps before
    assert {row["person_id"]: row["page_views_24h"] for row in newest.to_dicts()} == {
        row["person_id"]: row["page_views_24h"] for row in found(to)
    }


def without_last_events(rows: list[dict]) -> list[dict]:
    """Where a person was split, the parts list fewer of the old ones; see `regroup`."""
    return [{name: value for name, value in row.items() if name != "last_events"} for row in rows]


def test_the_identity_map_is_looked_at_again_and_need_not_exist_yet(tmp_path):
    uri = str(tmp_path / "people")
    assert Persons(None, 0).now() is None
    fresh, old = Persons(uri, 0), Persons(uri, 3600)
    assert fresh.now() is None and old.now() is None
    rows = [{"record": f"{name}:C1", "person_id": name[0], "since": NOW} for name in ("customers", "web")]
    overwrite_rows(uri, pa.Table.from_pylist(rows, IDENTITY_MAP), whole_table=True)
    assert fresh.now().to_pylist() == [{"customer_id": "C1", "person_id": "c"}]
    assert old.now() is None
    same = fresh.now()
    assert fresh.now() is same  # nothing is read while the version is the same


def test_configuration_is_checked(tmp_path):
    to = FeatureTable(_write(str(tmp_path / "f"), REALTIME_FEATURES))
    with pytest.raises(UserError, match="0 shards"):
        StreamFeaturesOf({}, {}, to, shards=0)
    with pytest.raises(UserError, match="CUSTOMERS"):
        StreamFeaturesOf({"CUSTOMERS": "x"}, {}, to)
    with pytest.raises(UserError, match="have no buyer"):
        StreamFeaturesOf({LINES: "x"}, {}, to)
