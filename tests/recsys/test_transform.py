"""The transform graph: what it makes of rows against plain NumPy, and the same in Beam and in a SavedModel."""

from collections import Counter
from itertools import pairwise

import apache_beam as beam
import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from recsys.export.transform import Transform
from recsys.interactions import INTERACTIONS, encode
from recsys.preprocessing.analyze import ApplyTransform, LearnTransform
from recsys.preprocessing.columns import RAW
from recsys.preprocessing.examples import examples
from recsys.preprocessing.graph import GraphSpec
from recsys.tensorflow import tf
from tests.recsys.public_data import _RETAIL

ROWS, SPEC = 3_000, GraphSpec(buckets=5)


@pytest.fixture(scope="module")
def rows():
    """Real invoice lines with the last items of the customer before each."""
    lines = pl.read_parquet(_RETAIL).filter(
        pl.col("Customer ID").is_not_null() & ~pl.col("Invoice").str.starts_with("C")
    )
    time = pl.col("InvoiceDate").str.to_datetime().dt.cast_time_unit("us").dt.replace_time_zone("UTC")
    told = lines.select(
        user=pl.col("Customer ID").cast(pl.Int64).cast(pl.String),
        item="StockCode", time=time, signal=pl.lit("purchase"), basket="Invoice",
    ).head(ROWS)  # fmt: skip
    log = encode(told.to_arrow().cast(pa.schema(INTERACTIONS)))
    made = pl.DataFrame(pl.from_arrow(pa.Table.from_batches(examples(log))))
    about = lines.group_by("StockCode").agg(pl.col("Description").first(), pl.col("Price").first())
    joined = made.join(about, left_on="item", right_on="StockCode", how="left", maintain_order="left")
    table = joined.select(
        "item", name=pl.col("Description").fill_null(""), category=pl.col("item").str.head(2),
        channel=pl.lit("web"), device=pl.when(pl.col("item") < "3").then(pl.lit("phone")).otherwise(pl.lit("")),
        hour=pl.col("time").dt.hour().cast(pl.Int64), price=pl.col("Price").fill_null(0).cast(pl.Float32),
        history_items="history_items", history_age_seconds="history_age_seconds",
    )  # fmt: skip
    return pa.Table.from_arrays(
        [table[n].to_arrow().cast(RAW.field(n).type) for n in RAW.names], schema=RAW
    ).combine_chunks()


@pytest.fixture(scope="module")
def path(rows, tmp_path_factory):
    """The graph, learnt from the first two thirds: the rest has what was never seen."""
    home = tmp_path_factory.mktemp("graph")
    file = write(rows.slice(0, ROWS * 2 // 3), home / "rows.arrow", 700)
    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([file]) | beam.FlatMap(read) | LearnTransform(str(home / "fn"), SPEC)
    return home / "fn"


def write(rows, file, chunk=None):
    with pa.OSFile(str(file), "wb") as sink, pa.ipc.new_file(sink, rows.schema) as out:
        out.write_table(rows, max_chunksize=chunk)
    return str(file)


def read(file):
    found = pa.ipc.open_file(file)
    for number in range(found.num_record_batches):
        yield found.get_batch(number)


@pytest.fixture(scope="module")
def in_beam(rows, path, tmp_path_factory):
    """All rows through Beam as one batch, which keeps their order."""
    home = tmp_path_factory.mktemp("beam")
    file, out = write(rows, home / "rows.arrow"), home / "out"
    out.mkdir()

    def keep(batch, out=str(out)):
        write(pa.Table.from_batches([batch]), f"{out}/{batch.num_rows}")

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        _ = pipeline | beam.Create([file]) | beam.FlatMap(read) | ApplyTransform(str(path)) | beam.Map(keep)
    return pl.DataFrame(pl.from_arrow(pa.ipc.open_file(str(out / str(ROWS))).read_all()))


@pytest.fixture(scope="module")
def served(rows, path, tmp_path_factory):
    module, home = Transform(path), tmp_path_factory.mktemp("saved")
    tf.saved_model.save(module, str(home), signatures=module.signatures())
    transform = tf.saved_model.load(str(home)).signatures["transform"]
    length = max(len(one) for one in rows["history_items"].to_pylist())
    given = {}
    for name in RAW.names:
        values = rows[name].to_pylist()
        if name.startswith("history"):
            fill = "" if name == "history_items" else 0
            values = [row + [fill] * (length - len(row)) for row in values]
        given[name] = tf.constant(values, transform.structured_input_signature[1][name].dtype)
    return {name: value.numpy() for name, value in transform(**given).items()}


def test_training_and_serving_see_the_same(in_beam, served):
    assert set(in_beam.columns) == set(served)
    for name, values in served.items():
        cells = in_beam[name].to_list()
        if values.dtype == np.float32:
            assert np.abs(values - np.array([cell[0] for cell in cells], np.float32)).max() <= 1e-6, name
        else:
            assert [[int(one) for one in np.atleast_1d(row) if one >= 0] for row in values] == [c or [] for c in cells]


def test_codes_scales_and_buckets_are_what_they_say(rows, served):
    known = rows.slice(0, ROWS * 2 // 3)
    seen = Counter(known["item"].to_pylist())
    vocabulary = len(seen)
    codes = dict(zip(rows["item"].to_pylist(), served["item"].tolist(), strict=True))
    assert all((codes[item] < vocabulary) == (item in seen) for item in codes)
    new = [item for item in codes if item not in seen]
    assert new and {codes[item] for item in new} == {vocabulary}  # one bucket for all that was never seen
    ordered = sorted(seen, key=lambda item: codes[item])
    assert [seen[item] for item in ordered] == sorted(seen.values(), reverse=True)
    logged = np.log1p(np.array(known["price"], np.float64))
    price = np.log1p(np.array(rows["price"], np.float64))
    assert served["price_z"] == pytest.approx((price - logged.mean()) / logged.std(), abs=1e-4)
    assert set(served["price_band"].tolist()) <= set(range(SPEC.buckets))
    share = np.bincount(served["price_band"][: len(logged)], minlength=SPEC.buckets) / len(logged)
    assert share.max() < 0.5
    assert served["hour_sin"] ** 2 + served["hour_cos"] ** 2 == pytest.approx(1, abs=1e-5)
    lengths = [len(one) for one in rows["history_items"].to_pylist()]
    assert served["has_history"].tolist() == [int(length > 0) for length in lengths]
    assert (served["history_items"] >= 0).sum(1).tolist() == lengths


def test_terms_are_words_and_pairs_of_words_seen_twice(rows, served):
    known = rows.slice(0, ROWS * 2 // 3)["name"].to_pylist()
    counts = Counter(term for name in known for term in terms(name))
    frequent = {term for term, count in counts.items() if count >= SPEC.least_word_count}
    assert len(frequent) <= SPEC.words
    for name, codes in list(zip(rows["name"].to_pylist(), served["name_terms"].tolist(), strict=True))[::50]:
        mine = [code for code in codes if code >= 0]
        assert len(mine) == len(terms(name))
        assert sum(code < len(frequent) for code in mine) == sum(term in frequent for term in terms(name))


def terms(name):
    words = name.lower().split()
    return [*words, *(" ".join(pair) for pair in pairwise(words))]
