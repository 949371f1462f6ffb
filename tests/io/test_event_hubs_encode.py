"""Rows to events and back, and keys to the partitions the service would choose."""

import numpy as np
import pyarrow as pa
import pytest
from azure.eventhub._buffered_producer._partition_resolver import generate_hash_code
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.io.test_event_hubs_bodies import TABLE, events, found
from transforms.io.event_hubs_bodies import decode
from transforms.io.event_hubs_encode import CONTENT_TYPES, encode_rows, partition_numbers


@settings(deadline=None)
@given(
    st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=40)), st.integers(1, 32)
)
def test_a_key_goes_where_the_client_library_sends_it(keys, partitions):
    expected = [abs(generate_hash_code(key) % partitions) for key in keys]
    assert partition_numbers(pa.array(keys, pa.string()), len(keys), partitions, 0).tolist() == expected


def test_rows_without_a_key_take_turns():
    assert partition_numbers(None, 5, 3, 2).tolist() == [2, 0, 1, 2, 0]
    some = partition_numbers(pa.array([None, "", "a", None]), 4, 3, 0)
    assert (some[0], some[1], some[3]) == (0, 1, 0)
    assert partition_numbers(pa.array([17, 17, None]), 3, 5, 0)[0] == abs(generate_hash_code("17") % 5)


@settings(deadline=None)
@given(
    st.sampled_from(sorted(CONTENT_TYPES)),
    st.lists(st.tuples(st.text(max_size=30), st.integers(0, 2)), max_size=40),
    st.integers(1, 400),
)
def test_what_is_encoded_is_decoded_in_order(form, rows, target):
    batch = pa.record_batch(
        {
            "ENGAGEMENT_ID": pa.array([str(i) for i in range(len(rows))], pa.string()),
            "MESSAGE_SUBJECT": pa.array([text for text, _ in rows], pa.string()),
            "_position": pa.array([7] * len(rows), pa.int64()),
        }
    )
    numbers = np.array([number for _, number in rows], np.int64)
    bodies, rejected = encode_rows(batch, form, numbers, target, 1 << 20)
    assert rejected.num_rows == 0 and sum(body.rows for body in bodies) == len(rows)
    for number in range(3):
        mine = [(body.data, CONTENT_TYPES[form]) for body in bodies if body.partition == number]
        back = [(row["ENGAGEMENT_ID"], row.get("MESSAGE_SUBJECT")) for _, _, row in found(decode(events(*mine), TABLE))]
        assert back == [(str(i), text) for i, (text, n) in enumerate(rows) if n == number]
    if form == "row":
        assert all(body.rows == 1 for body in bodies)


@pytest.mark.parametrize("form", sorted(CONTENT_TYPES))
def test_a_row_too_large_for_an_event_is_a_reject_and_its_neighbours_go(form):
    texts = ["x" * 10, "y" * 5000, "z" * 10]
    batch = pa.record_batch({"ENGAGEMENT_ID": pa.array(texts)})
    bodies, rejected = encode_rows(batch, form, np.array([0, 0, 0]), 1000, 2000)
    assert sum(body.rows for body in bodies) == 2 and max(len(body.data) for body in bodies) <= 2000
    assert rejected.select(["_position", "rule"]).to_pylist() == [{"_position": 1, "rule": "event_too_large"}]
    assert b"y" * 5000 in rejected["_raw"][0].as_py() and "yyy" not in rejected["reason"][0].as_py()
