"""The spool: every row once, a key's rows in one bucket, in memory or on disk alike."""

import polars as pl
import pytest

from transforms.spool import Spool


@pytest.mark.parametrize("limit", [0, 1000, 1 << 30])
@pytest.mark.parametrize("buckets", [1, 7])
def test_every_row_comes_back_once_with_its_keys_other_rows(tmp_path, buckets, limit):
    parts = [pl.DataFrame({"person": [f"v{i % 40}" for i in range(a, a + 90)], "n": range(a, a + 90)}) for a in (0, 90)]
    spool = Spool(str(tmp_path), "person", buckets, limit)
    for part in parts:
        spool.add(part)
    assert (spool.spilled_bytes > 0) == (limit < 1 << 30)
    home, seen = {}, []
    for number, rows in enumerate(spool.buckets()):
        for person, n in rows.rows():
            assert home.setdefault(person, number) == number
            seen.append(n)
    assert sorted(seen) == list(range(180))
    assert not any(tmp_path.iterdir())


def test_parts_may_lack_columns(tmp_path):
    spool = Spool(str(tmp_path), "person", 2, 0)
    spool.add(pl.DataFrame({"person": ["a"], "page": ["/"]}))
    spool.add(pl.DataFrame({"person": ["a"], "value": [1.0]}))
    rows = pl.concat(list(spool.buckets()), how="diagonal")
    assert sorted(rows.select("person", "page", "value").rows(), key=str) == [("a", "/", None), ("a", None, 1.0)]
