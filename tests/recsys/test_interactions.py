"""The order of interactions and what examples know: against a slow plain reading, and against a changed future."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.interactions import INTERACTIONS, SIGNAL_WEIGHTS, encode
from recsys.preprocessing.examples import EXAMPLES, ExampleRules, examples

START = datetime(2020, 1, 1, tzinfo=UTC)
rows = st.lists(
    st.tuples(
        st.sampled_from("abc"), st.sampled_from("uvwxyz"), st.integers(0, 12),
        st.sampled_from([None, *SIGNAL_WEIGHTS]), st.sampled_from([None, "1", "2"]),
    ), max_size=40,
)  # fmt: skip


def table(some) -> pa.Table:
    columns = list(zip(*some, strict=True)) or [[]] * 5
    times = [START + timedelta(hours=hour) for hour in columns[2]]
    return pa.table([columns[0], columns[1], times, columns[3], columns[4]], schema=INTERACTIONS)


def plain(some, in_file_order: bool, length: int) -> list:
    """Row by row: what the user did before the basket's first row."""
    found = []
    for at, (user, item, hour, _, basket) in enumerate(some):
        if in_file_order:
            before = [r for i, r in enumerate(some) if r[0] == user and (r[2], i) < (hour, at)]
        else:
            mates = [r[2] for r in some if basket is not None and (r[0], r[4]) == (user, basket)] or [hour]
            before = [r for r in some if r[0] == user and r[2] < min(mates)]
        before = sorted(before, key=lambda r: r[2])[-length:]  # stable: ties stay in the order of the file
        found.append((user, item, hour, [r[1] for r in before], [(hour - r[2]) * 3600 for r in before]))
    return sorted(found, key=lambda e: (e[0], e[2]))


@given(rows, st.booleans(), st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_examples_are_those_of_the_plain_reading(some, in_file_order, length):
    log = encode(table(some), in_file_order)
    made = pa.Table.from_batches(examples(log, ExampleRules(length), batch_rows=7), EXAMPLES).to_pylist()
    got = [
        (r["user"], r["item"], (r["time"] - START) // timedelta(hours=1), r["history_items"], r["history_age_seconds"])
        for r in made
    ]
    assert got == plain(some, in_file_order, length)


@given(rows, st.booleans(), st.integers(0, 12), st.integers(0, 2**32 - 1))
@settings(max_examples=100, deadline=None)
def test_what_comes_later_changes_no_example(some, in_file_order, hour, seed):
    """The future drawn anew: rows from `hour` on get other items; every earlier example stays as it was."""
    if not in_file_order:  # a basket may reach over the hour: its lines before it are still known only by time
        some = [(*r[:4], r[4] and f"{r[4]}-{r[2] >= hour}") for r in some]
    random = np.random.default_rng(seed)
    other = [r if r[2] < hour else (r[0], random.choice(list("uvwxyz")), *r[2:]) for r in some]
    ids = pl.Series(list("uvwxyz"))
    made = [
        [e for batch in examples(encode(table(s), in_file_order, ids)) for e in batch.to_pylist()]
        for s in (some, other)
    ]
    early = [[e for e in part if e["time"] < START + timedelta(hours=hour)] for part in made]
    assert early[0] == early[1]


@given(rows, st.booleans())
@settings(max_examples=60, deadline=None)
def test_a_kept_part_knows_only_itself(some, in_file_order):
    log = encode(table(some), in_file_order)
    mask = np.arange(len(log)) % 3 != 1
    kept, whole = log.keep(mask), log.histories_before(np.flatnonzero(mask))
    part = kept.histories_before(np.arange(len(kept)))
    lost = ~mask[np.concatenate([np.arange(0)] + [
        np.arange(log.starts[log.users[r]], log.cutoffs[r]) for r in np.flatnonzero(mask)
    ]).astype(int)]  # fmt: skip
    assert part.items.tolist() == whole.items[~lost].tolist()


def test_histories_are_split_and_summed_alike():
    some = [(u, i, h, None, None) for h, (u, i) in enumerate([("a", "u"), ("a", "v"), ("b", "u"), ("a", "u")] * 3)]
    whole = encode(table(some)).histories(np.array([0, 1]))
    assert whole.matrix().toarray().tolist() == [[1, 1], [1, 0]]
    assert whole.matrix(np.ones(12)).toarray().tolist() == [[6, 3], [3, 0]]
    assert whole.places[-3:].tolist() == [2, 1, 0]
    parts = [part.matrix().toarray().tolist() for _, part in whole.batches(1)]
    assert [row for part in parts for row in part] == whole.matrix().toarray().tolist()
    assert whole.ages_days.min() == 0 and whole.ages_days.max() == 11 / 24
