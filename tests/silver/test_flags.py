import numpy as np
import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from transforms.silver.flags import add_flags, count_flags, rows_with, without_flags

names = st.sampled_from(["a", "b", "c:X", "é"])
lists = st.lists(st.one_of(st.none(), st.lists(names, max_size=3)), max_size=8)


def table_of(present):
    return pa.table(
        {"x": pa.array(range(len(present)), pa.int64()), "_flags": pa.array(present, pa.list_(pa.string()))}
    )


@given(lists, st.data())
def test_flags_of_a_row_are_the_union_of_old_and_new(present, data):
    masks = {
        name: np.array(data.draw(st.lists(st.booleans(), min_size=len(present), max_size=len(present))), bool)
        for name in data.draw(st.lists(names, unique=True))
    }
    found = add_flags(table_of(present), masks)
    expected = [sorted({*(old or []), *(n for n, m in masks.items() if m[i])}) for i, old in enumerate(present)]
    assert found["_flags"].to_pylist() == expected
    assert found["x"].to_pylist() == list(range(len(present)))
    counts = {name: sum(name in row for row in expected) for row in expected for name in row}
    assert count_flags(found) == counts


@given(lists, st.integers(0, 8), st.integers(0, 8))
def test_slices_and_chunks_make_no_difference(present, start, length):
    table = pa.concat_tables([table_of(present), table_of(present)]).slice(start, length)
    found = add_flags(table, {"z": np.ones(table.num_rows, bool)})
    both = [*present, *present][start : start + length]
    assert found["_flags"].to_pylist() == [sorted({*(old or []), "z"}) for old in both]


def test_a_table_without_flags_gets_empty_ones():
    found = add_flags(pa.table({"x": [1, 2]}), {})
    assert found["_flags"].to_pylist() == [[], []]
    assert count_flags(pa.table({"x": [1]})) == {}


@given(lists, st.sets(names))
def test_flags_are_taken_away_by_name_and_found_by_prefix(present, gone):
    left = without_flags(table_of(present), gone)
    assert [sorted(set(row or [])) for row in left["_flags"].to_pylist()] == [
        sorted(set(row or []) - gone) for row in present
    ]
    assert rows_with(left, "c:").tolist() == ["c:X" in (row or []) and "c:X" not in gone for row in present]
