"""The published data sets FEBRL 1 to 4: generated Australian persons with typing errors, missing and swapped values."""

import polars as pl
import pyarrow as pa
import pytest

from tests.identity.febrl import clustered, pairs_within, person_of, quality, read_febrl
from transforms.identity.rules import IdentityRules
from transforms.identity.score import score_pairs

RULES = IdentityRules()


def link_febrl_4(leave_out: tuple[str, ...]) -> dict[str, float]:
    first, second = read_febrl("dataset4a", leave_out), read_febrl("dataset4b", leave_out)
    scored = score_pairs(first, RULES, against=second, within=False)
    keys = pa.concat_tables([first, second])["record_key"]
    edges = pl.DataFrame(pl.from_arrow(scored.edges)).filter(pl.col("probability") >= RULES.match_probability)
    assert (
        edges["left"].is_in(pl.Series(first["record_key"]).implode()).all()
    )  # only across the files, the first is left
    assert edges["right"].is_in(pl.Series(second["record_key"]).implode()).all()
    found = edges.select(left=pl.min_horizontal("left", "right"), right=pl.max_horizontal("left", "right"))
    return quality(found, pairs_within(keys, person_of(keys)))


def test_two_files_are_linked_with_the_number_of_social_security():
    assert link_febrl_4(())["f1"] >= 0.9992


@pytest.mark.slow
def test_two_files_are_linked_without_it():
    assert link_febrl_4(("national_id",))["f1"] >= 0.992


@pytest.mark.parametrize(("name", "least"), [("dataset1", 0.997), ("dataset2", 0.998), ("dataset3", 0.998)])
def test_one_file_is_freed_of_duplicates(name, least):
    records = read_febrl(name)
    found = clustered(records["record_key"], score_pairs(records, RULES).edges, RULES.match_probability)
    assert quality(found, pairs_within(records["record_key"], person_of(records["record_key"])))["f1"] >= least
