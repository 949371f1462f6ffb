import datetime as dt
from decimal import Decimal

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.silver.tables import rows_of
from transforms.contracts import contract
from transforms.silver.keys import KeySet, column_hashes, flag_orphans, key_hashes

ENGAGEMENT = contract("engagement")
WORD = 2**64 - 1
keys = st.one_of(st.none(), st.text(max_size=30), st.sampled_from(["C1", "C2", "C3"]))


def mixed(word):
    word ^= word >> 33
    word = word * 0xFF51AFD7ED558CCD & WORD
    word ^= word >> 33
    word = word * 0xC4CEB9FE1A85EC53 & WORD
    return word ^ word >> 33


def plain_hash(text):
    """The documented hash of one text, in whole numbers."""
    data = text.encode()
    found = mixed((len(data) + 0x9E3779B97F4A7C15) & WORD)
    for at in range(0, len(data), 8):
        found = mixed(((found ^ int.from_bytes(data[at : at + 8], "little")) + 0x9E3779B97F4A7C15) & WORD)
    return found


@given(st.lists(keys, max_size=20))
def test_hash_is_that_of_a_plain_reading(values):
    found = column_hashes(pa.array(values, pa.string())).tolist()
    assert found == [0x6E756C6C6E756C6C if value is None else plain_hash(value) for value in values]


def test_hash_never_changes():
    """Hashes are kept between runs; these must stay as they were written down."""
    table = pa.table({"a": ["C1", "a customer key of thirty bytes", "é", None], "b": [1, 2, 3, 4]})
    assert key_hashes(table, ["a"]).tolist() == PINNED["a"]
    assert key_hashes(table, ["a", "b"]).tolist() == PINNED["ab"]
    assert key_hashes(table, ["b", "a"]).tolist() != PINNED["ab"]


PINNED = {
    "a": [2089778926616000892, 1548787702745426971, 9613786875032969380, 12272134371782599173],
    "ab": [8280594863309608617, 12443765924825732269, 10197843995967204750, 8254634621035141198],
}


@given(st.lists(keys, max_size=12), st.integers(0, 6), st.integers(0, 6))
def test_neither_arrow_type_nor_slice_matters(values, start, length):
    plain = pa.array(values, pa.string())
    kinds = [plain.cast(pa.large_string()), plain.cast(pa.string_view()), plain.dictionary_encode()]
    whole = column_hashes(plain).tolist()
    assert [column_hashes(kind).tolist() for kind in kinds] == [whole] * 3
    assert column_hashes(plain.slice(start, length)).tolist() == whole[start : start + length]


def test_long_text_is_hashed_in_full():
    texts = ["x" * 5000, "x" * 4999 + "y", "y" + "x" * 4999, "x" * 1024, "x" * 1025]
    assert len(set(column_hashes(pa.array([*texts, *texts])).tolist())) == 5


@pytest.mark.parametrize(
    "values",
    [
        pa.array([1, -1, 2**62, None, 0]),
        pa.array([Decimal("1.00"), Decimal("-1.00"), None]),
        pa.array([dt.date(2010, 1, 1), dt.date(1960, 1, 1), None]),
        pa.array([dt.datetime(2010, 1, 1), None], pa.timestamp("us", tz="UTC")),
        pa.array([True, False, None]),
        pa.array([1.5, -1.5, 0.0, None]),
    ],
    ids=lambda v: str(v.type),
)
def test_every_kind_of_column_is_hashed(values):
    doubled = pa.concat_arrays([values, values])
    found = column_hashes(doubled)
    assert found[: len(values)].tolist() == found[len(values) :].tolist()
    assert len(set(found.tolist())) == len(values)


def test_hashes_spread_evenly_over_buckets():
    """Chi-square of 100,000 consecutive keys over 64 buckets, by the lowest and by the highest bits."""
    hashes = key_hashes(pa.table({"k": [f"CUST-{i:08d}" for i in range(100_000)]}), ["k"])
    for part in (hashes & np.uint64(63), hashes >> np.uint64(58)):
        counts = np.bincount(part.astype(np.int64), minlength=64)
        chi_square = ((counts - 100_000 / 64) ** 2 / (100_000 / 64)).sum()
        assert chi_square < 110  # 99.98 % quantile at 63 degrees of freedom
    assert len(np.unique(hashes)) == 100_000


@given(st.lists(st.lists(keys, max_size=6), max_size=4), st.randoms())
def test_key_sets_merge_in_any_order_to_the_set_of_all_keys(parts, random):
    sets = [KeySet.of(pa.table({"k": pa.array(part, pa.string())}), ["k"]) for part in parts]
    whole = KeySet.union(sets)
    random.shuffle(sets)
    assert KeySet.union([KeySet.union(sets[:2]), KeySet.union(sets[2:])]).hashes.tolist() == whole.hashes.tolist()
    assert len(whole) == len({key for part in parts for key in part} - {None})


@given(st.lists(keys, max_size=8), st.lists(keys, max_size=8), st.lists(keys, max_size=8))
def test_orphans_are_those_of_a_set(children, parents, campaigns):
    table = rows_of(ENGAGEMENT, *({"CUSTOMER_ID": child, "CAMPAIGN_ID": child} for child in children))
    sets = {
        name: KeySet.of(pa.table({"k": pa.array(values, pa.string())}), ["k"])
        for name, values in (("CUSTOMERS", parents), ("MARKETING_CAMPAIGNS", campaigns))
    }
    found = flag_orphans(table, ENGAGEMENT, sets)
    expected = [
        ["orphan:CAMPAIGN_ID"] * (child is not None and child not in campaigns)
        + ["orphan:CUSTOMER_ID"] * (child is not None and child not in parents)
        for child in children
    ]
    assert found["_flags"].to_pylist() == expected
    assert found["_orphan"].to_pylist() == [bool(flags) for flags in expected]
    assert found.drop_columns(["_flags", "_orphan"]).equals(table)


def test_a_flag_is_judged_anew_when_its_parent_is_given_and_stays_otherwise():
    table = rows_of(ENGAGEMENT, {"CUSTOMER_ID": "C1", "CAMPAIGN_ID": "M1"})
    nobody = KeySet.union([])
    first = flag_orphans(table, ENGAGEMENT, {"CUSTOMERS": nobody, "MARKETING_CAMPAIGNS": nobody})
    assert first["_flags"].to_pylist() == [["orphan:CAMPAIGN_ID", "orphan:CUSTOMER_ID"]]
    customers = KeySet.of(pa.table({"k": ["C1"]}), ["k"])
    later = flag_orphans(first, ENGAGEMENT, {"CUSTOMERS": customers})
    assert (later["_flags"].to_pylist(), later["_orphan"].to_pylist()) == ([["orphan:CAMPAIGN_ID"]], [True])
    last = flag_orphans(later, ENGAGEMENT, {"MARKETING_CAMPAIGNS": KeySet.of(pa.table({"k": ["M1"]}), ["k"])})
    assert (last["_flags"].to_pylist(), last["_orphan"].to_pylist()) == ([[]], [False])


def test_a_parent_table_that_is_not_there_is_not_asked():
    table = rows_of(ENGAGEMENT, {"CUSTOMER_ID": "C1", "CAMPAIGN_ID": "M1"})
    assert flag_orphans(table, ENGAGEMENT, {"CUSTOMERS": KeySet.union([])})["_flags"].to_pylist() == [
        ["orphan:CUSTOMER_ID"]
    ]


def test_a_million_keys_need_eight_megabytes():
    frame = pl.DataFrame({"k": pl.int_range(100_000, eager=True).cast(pl.String)})
    assert KeySet.of(frame.to_arrow(), ["k"]).hashes.nbytes == 800_000
