"""Clusters on Beam are those of one table: connected, guarded, decided."""

import random
from datetime import UTC, datetime

import apache_beam as beam
import pyarrow as pa
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from transforms.identity.decisions import APART, DECISIONS, TOGETHER
from transforms.identity.guard import LINKS_SCHEMA, resolve_clusters
from transforms.identity.resolve import ClusterRecords


def planted():
    draw = random.Random(6)
    records = [f"r{n:03}" for n in range(200)]
    births = [f"19{draw.randrange(10, 99)}0101" if draw.random() < 0.7 else None for _ in records]
    links = []
    for _ in range(260):
        left, right = draw.sample(records, 2)
        if draw.random() < 0.6:
            right = records[(records.index(left) // 4) * 4 + draw.randrange(4)]  # families of four
        sure = draw.random() < 0.2
        links.append({"left": left, "right": right, "weight": None if sure else 5.0, "rule": "planted",
                      "probability": 0.9999 if sure else draw.choice([0.3, 0.6, 0.9, 0.99]),
                      "kind": "deterministic" if sure else "probabilistic"})  # fmt: skip
    links = [link for link in links if link["left"] != link["right"]]
    decided = ((4, 1, APART), (8, 100, TOGETHER), (20, 3, APART))
    decisions = [
        {"low": f"r{a:03}", "high": f"r{a + d:03}", "kind": kind, "decided_at": datetime(2024, 1, a + 1, tzinfo=UTC)}
        for a, d, kind in decided
    ]
    return (
        pa.table({"record": records, "birth_date": pa.array(births, pa.string())}),
        pa.Table.from_pylist(links, schema=LINKS_SCHEMA),
        pa.Table.from_pylist(decisions, schema=DECISIONS),
    )


def test_buckets_give_the_clusters_of_one_table():
    records, links, decisions = planted()
    expected = resolve_clusters(records["record"], links, records, decisions)
    assert expected.refused.num_rows > 10

    def rows(batches):
        return sorted(tuple(row.values()) for batch in batches for row in batch.to_pylist())

    def source(root, name, table):
        return (
            root
            | name >> beam.Create([name])
            | f"Read{name}"
            >> beam.FlatMap(lambda _: table.to_batches(max_chunksize=50)).with_output_types(pa.RecordBatch)
        )

    def same(table):
        def check(batches):
            assert rows(batches) == rows(table.to_batches())

        return check

    def settled(counts):
        assert counts == [0]

    with beam.Pipeline(runner=FnApiRunner()) as root:
        inputs = (source(root, "records", records), source(root, "links", links))
        done = inputs | ClusterRecords(3, decisions=decisions, rounds=6)
        assert_that(done.clusters, same(expected.clusters), label="clusters")
        assert_that(done.refused, same(expected.refused), label="refused")
        assert_that(done.unsettled, settled, label="settled")
