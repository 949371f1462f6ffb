"""Lists for everyone: the same rows on Beam as one person after the other, whatever the batches."""

from datetime import UTC, datetime

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from apache_beam.testing.util import assert_that

from recsys.batch.lists import WrittenModel, offer
from recsys.batch.offer import OfferLists
from recsys.batch.schemas import HISTORIES, RECOMMENDATIONS
from recsys.export.servable import _RULES
from recsys.tensorflow import tf
from transforms.errors import UserError

AT = datetime(2024, 5, 1, tzinfo=UTC)


class Backwards(tf.Module):
    """Offers what was taken, the newest first, scored by age times weight; to strangers what is "popular"."""

    @tf.function(
        input_signature=[
            tf.TensorSpec([None, None], tf.string, "history_items"),
            tf.TensorSpec([None, None], tf.int64, "history_seconds"),
            tf.TensorSpec([None], tf.int64, "now"),
            *_RULES.values(),
        ]
    )
    def serve(
        self, history_items, history_seconds, now, history_weights, allow, deny, price_from, price_to, new_only,
        category_cap, diversity,
    ):  # fmt: skip
        order = tf.argsort(tf.where(history_items != "", -history_seconds, tf.int64.max), 1, stable=True)
        items = tf.gather(history_items, order, batch_dims=1)
        ages = tf.cast(now[:, None] - tf.gather(history_seconds, order, batch_dims=1), tf.float32)
        told = tf.where(items != "", tf.constant("own"), tf.constant(""))
        none = ~tf.reduce_any(items != "", 1, keepdims=True)
        items = tf.where(none, tf.constant("popular"), items)
        scores = tf.where(none, 0.0, ages * tf.gather(history_weights, order, batch_dims=1))
        return {"items": items, "scores": scores, "sources": told, "reasons": told}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "back"
    module = Backwards()
    tf.saved_model.save(module, str(folder / "4"), signatures={"with_rules": module.serve})
    return WrittenModel.newest(folder)


@pytest.fixture(scope="module")
def people():
    random = np.random.default_rng(1)
    lengths = [*random.integers(0, 9, 150), 3_000, 2]
    items = [[f"i{n}" for n in random.integers(0, 50, length)] for length in lengths]
    seconds = [(np.arange(length) * 60 + 1_600_000_000).tolist() for length in lengths]
    return pa.RecordBatch.from_arrays(
        [pa.array([f"p{n}" for n in range(len(lengths))]), pa.array([f"c{n}" for n in range(len(lengths))]),
         pa.array(items, HISTORIES.field(2).type), pa.array(seconds, HISTORIES.field(3).type),
         pa.array([[0.5] * len(one) for one in seconds], HISTORIES.field(4).type)], schema=HISTORIES,
    )  # fmt: skip


def plainly(people, k):
    rows = []
    for person in people.to_pylist():
        newest = list(zip(person["history_items"], person["history_seconds"], strict=True))[::-1][:k]
        source = "own" if newest else ""
        for rank, (item, second) in enumerate(newest or [("popular", 0)], 1):
            score = float(np.float32(AT.timestamp() - second) / 2) if newest else 0.0
            key, who = f"20240501000000-4-{person['person_id']}-{rank}", (person["person_id"], person["customer_id"])
            rows.append((key, *who, item, rank, score, source, source, "back", "4", "batch", AT))
    return rows


def told(batch):
    return [tuple(row.values()) for row in batch.to_pylist()]


def test_each_person_gets_the_list_of_the_model(model, people):
    made = offer(people, model.load(), model, 5, AT)
    assert made.schema == RECOMMENDATIONS
    assert sorted(told(made)) == sorted(plainly(people, 5))
    assert len({row[0] for row in told(made)}) == made.num_rows


def test_nobody_gives_no_rows(model, people):
    assert offer(people.slice(0, 0), model.load(), model, 5, AT).num_rows == 0


def test_on_beam_the_same_in_any_batches(model, people):
    expected = sorted(plainly(people, 3))

    def same(batches):
        assert sorted(row for batch in batches for row in told(batch)) == expected

    with beam.Pipeline(runner=FnApiRunner()) as pipeline:
        starts = pipeline | beam.Create(list(range(0, people.num_rows, 40)))
        batches = starts | beam.Map(lambda first: people.slice(first, 40)).with_output_types(pa.RecordBatch)
        assert_that(batches | OfferLists(model, AT, 3), same)


def test_a_folder_without_a_version_is_said(tmp_path):
    with pytest.raises(UserError, match="no version of a model"):
        WrittenModel.newest(tmp_path)
