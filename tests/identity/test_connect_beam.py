"""Components on Beam: what a union-find gives, in rounds over buckets, for a chain, a star and a giant component."""

import random

import apache_beam as beam
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from tests.identity.plain_identity import link_table, plain_clusters
from transforms.identity.connect import ConnectRecords


def rows(batches, *names):
    return [row for batch in batches for row in zip(*(batch[name].to_pylist() for name in names), strict=True)]


def connect_on_beam(records, links, rounds, heavy_links, spill, size=300):
    """(record -> cluster, unsettled)."""
    found: dict = {}

    def record_batches(_):
        return pa.table({"record": records}).to_batches(max_chunksize=1000)

    def link_batches(_):
        return link_table(links).to_batches(max_chunksize=size)

    def check_clusters(batches):
        pairs = rows(batches, "record", "cluster")
        assert len(pairs) == len(dict(pairs))
        assert (dict(pairs) == plain_clusters(records, links)) == found["settles"]

    def check_unsettled(counts):
        assert len(counts) == 1 and (counts[0] == 0) == found["settles"], counts

    def run(settles):
        found["settles"] = settles
        with beam.Pipeline(runner=FnApiRunner()) as root:
            inputs = tuple(
                root | f"Name {name}" >> beam.Create([name]) | name >> beam.FlatMap(read).with_output_types(
                    pa.RecordBatch) for name, read in (("records", record_batches), ("links", link_batches))
            )  # fmt: skip
            done = inputs | ConnectRecords(3, rounds, heavy_links, spill)
            assert_that(done.clusters, check_clusters, label="clusters")
            assert_that(done.unsettled, check_unsettled, label="unsettled")

    return run


@pytest.mark.parametrize(("heavy_links", "spill"), [(20, False), (100_000, True)])
def test_chain_star_and_giant_component(tmp_path, heavy_links, spill):
    draw = random.Random(11)
    chain = [(f"c{i:04}", f"c{i + 1:04}") for i in range(1_000)]
    star = [("zhub", f"s{i}") for i in range(500)]  # its middle is its largest: the worst case
    giant = [(f"g{draw.randrange(600)}", f"g{draw.randrange(600)}") for _ in range(1_200)]
    links = draw.sample(chain + star + giant, 2_700)
    records = sorted({end for link in links for end in link} | {"alone"})
    connect_on_beam(records, links, 9, heavy_links, str(tmp_path) if spill else None)(settles=True)


def test_too_few_rounds_are_noticed():
    links = [(f"{i:04}", f"{i + 1:04}") for i in range(0, 4_000)]
    random.Random(1).shuffle(links)
    records = [f"{i:04}" for i in range(4_001)]
    connect_on_beam(records, links, 1, 100_000, None, size=10)(settles=False)


def test_without_links_each_record_is_its_own():
    connect_on_beam(["a", "b"], [], 1, 10, None)(settles=True)
