"""Pairs scored on Beam are those of all records in one table, whatever the batches, buckets and blocks."""

from dataclasses import replace

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from tests.identity.planted import planted_customers
from transforms.identity.encode import encode_records
from transforms.identity.fields import RECORD_KEY
from transforms.identity.frequency import Frequencies, count_values, merge_values
from transforms.identity.keys import KEYS, block_hash, block_key
from transforms.identity.match import NEW, ScorePairs
from transforms.identity.model import LinkModel
from transforms.identity.rules import IdentityRules
from transforms.identity.score import score_pairs
from transforms.identity.standard import standardise_records
from transforms.identity.train import Population

# Small blocks, so that some are refined and windowed; small samples, so that only some pairs and records are drawn.
SMALL = IdentityRules(block_rows=4, window=2, training_pairs=600)


def records(count=400):
    table = standardise_records(planted_customers(count)[0])
    frame = pl.DataFrame(pl.from_arrow(table)).with_columns(
        phone=pl.when(pl.int_range(pl.len()) % 3 == 0).then(pl.lit("55512345")).otherwise("phone")
    )
    alike = [frame[:1].with_columns(pl.lit(f"again-{n}").alias(RECORD_KEY)) for n in range(9)]
    return (
        pl.concat([frame, *alike])
        .to_arrow(compat_level=pl.CompatLevel.oldest())
        .replace_schema_metadata(table.schema.metadata)
    )


def plain_edges(edges):
    frame = pl.DataFrame(pl.from_arrow(edges))
    ends = frame.with_columns(left=pl.min_horizontal("left", "right"), right=pl.max_horizontal("left", "right"))
    return ends.sort("left", "right")


def score_on_beam(table, rules, expected, model=None, spill=None):
    def check(batches):
        found = plain_edges(pa.Table.from_batches(batches))
        wanted = plain_edges(expected.edges)
        names = ["left", "right", "kind", "rule"]
        assert found.select(names).equals(wanted.select(names))
        for name in ("weight", "probability"):
            assert np.allclose(found[name], wanted[name], rtol=0, atol=1e-9)

    def check_model(models):
        learned, wanted = LinkModel.from_json(models[0]), expected.model
        assert len(models) == 1 and learned.comparisons == wanted.comparisons
        for name, agree in wanted.agree.items():
            assert np.allclose(learned.agree[name], agree, atol=1e-9)
        assert np.allclose(learned.classes, wanted.classes, atol=1e-12)

    with beam.Pipeline(runner=FnApiRunner()) as root:
        read = beam.FlatMap(lambda _: table.to_batches(max_chunksize=70)).with_output_types(pa.RecordBatch)
        scored = root | beam.Create([None]) | read | ScorePairs(3, rules, model, spill)
        assert_that(scored.edges, check, label="edges")
        assert_that(scored.model, check_model, label="model")


@pytest.mark.parametrize("spill", [False, True])
def test_edges_and_model_are_those_of_one_table(tmp_path, spill):
    table = records()
    expected = score_pairs(table, SMALL)
    blocks = expected.blocks.to_pylist()
    assert any(row["refined"] for row in blocks) and any(row["windowed"] for row in blocks)
    assert expected.edges.num_rows > 60
    score_on_beam(table, SMALL, expected, spill=str(tmp_path) if spill else None)


def test_new_records_are_compared_with_those_before_by_the_model_given():
    table = records()
    new = np.arange(table.num_rows) % 5 == 0
    model = score_pairs(table, IdentityRules()).model
    expected = score_pairs(table.filter(pa.array(new)), SMALL, model=model, against=table.filter(pa.array(~new)))
    assert expected.edges.num_rows > 20
    score_on_beam(table.append_column(NEW, pa.array(new)), SMALL, expected, model)


def test_columns_that_some_batches_lack_values_in_do_no_harm():
    table = records(150)
    half = pa.array(np.arange(table.num_rows) < 70)
    for name in ("birth_date", "surname", "email"):
        bare = pa.compute.if_else(half, pa.scalar(None, pa.string()), table[name])
        table = table.set_column(table.column_names.index(name), name, bare)
    score_on_beam(
        table, replace(SMALL, training_pairs=10_000), score_pairs(table, replace(SMALL, training_pairs=10_000))
    )


def test_counts_of_parts_are_counts_of_all():
    table = records(300)
    whole = encode_records(table)
    parts = [count_values(encode_records(table.slice(at, 50))) for at in range(0, table.num_rows, 50)]
    known = Frequencies(merge_values(pa.concat_tables(parts)))
    told, wanted = known.population(), Population.of(whole)
    assert (told.records, told.pairs) == (wanted.records, wanted.pairs)
    assert told.namesakes == pytest.approx(wanted.namesakes) and told.same == pytest.approx(dict(wanted.same))
    assert known.columns == set(whole.columns) and known.records == whole.size
    for at in (0, 100):
        part = known.told(encode_records(table.slice(at, 50)))
        rows = whole.keys.search_sorted(part.keys).to_numpy()
        for name, column in part.columns.items():
            here = column.codes >= 0
            everywhere = whole.columns[name]
            assert (column.counts[column.codes[here]] == everywhere.counts[everywhere.codes[rows][here]]).all()
            assert column.total == everywhere.total
        assert (part.namesakes[0] == whole.namesakes[0][rows]).all() and part.namesakes[1] == whole.namesakes[1]


@pytest.mark.parametrize("whole_names", [False, True])
def test_records_have_one_hash_where_they_have_one_key(whole_names):
    table = records(300)
    if whole_names:
        given, surname = (table[column].cast(pa.string()) for column in ("given_name", "surname"))
        name = pa.compute.binary_join_element_wise(given, surname, " ")
        table = table.select([RECORD_KEY, "city", "email"]).append_column("name", name)
    encoded = encode_records(table)
    for name in (*KEYS, "city"):
        keys, hashes = block_key(encoded, name), block_hash(encoded, name)
        assert ((keys >= 0) == (hashes > 0)).all()
        pairs = {(int(k), int(h)) for k, h in zip(keys, hashes, strict=True) if k >= 0}
        assert len(pairs) == len({k for k, _ in pairs}) == len({h for _, h in pairs})
