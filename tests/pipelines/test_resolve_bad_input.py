"""`resolve` on bad files, through the command: a clear answer, within bounds of time and memory."""

import json
import resource
from time import perf_counter

import polars as pl
import pytest

from tests.pipelines.test_cli import c360


def resolved(tmp_path, frame):
    frame.write_parquet(tmp_path / "in.parquet")
    return json.loads(c360("resolve", "--records", tmp_path / "in.parquet", "--out", tmp_path / "p.csv", "--json"))


def test_records_without_a_value_are_persons_of_their_own(tmp_path):
    ids = pl.DataFrame({"id": range(3_000)})
    facts = resolved(
        tmp_path, ids.with_columns(surname=pl.lit(None, pl.String), email=pl.lit(""), colour=pl.lit("red"))
    )
    assert (facts["records"], facts["persons"], facts["compared_pairs"]) == (3_000, 3_000, 0)
    assert "colour" in facts["columns"]


@pytest.mark.slow
def test_two_hundred_thousand_records_with_one_phone_end_soon_and_small(tmp_path):
    n = 200_000
    start = perf_counter()
    number = pl.int_range(n, eager=True)
    letters = [chr(97 + i) for i in range(26)]
    names = [f"name{letters[i % 26]}{letters[i // 26 % 26]}{letters[i // 676 % 26]}" for i in range(n)]
    facts = resolved(tmp_path, pl.DataFrame({"id": number, "phone": ["030 1234567"] * n, "surname": names}))
    assert facts["records"] == n and facts["compared_pairs"] < 100 * n and facts["left_out"] > 0.9 * n * n / 2
    assert perf_counter() - start < 300
    assert resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss < 3 * 2**20  # KiB
