"""The workers of an engine find who is who as this process does, and what they found is found again."""

from contextlib import contextmanager
from datetime import timedelta

import pyarrow as pa
import pytest
from apache_beam.runners.portability.fn_api_runner import FnApiRunner

from pipelines import matching
from pipelines.identities import resolve_lake
from pipelines.options import Engine, handing_over
from tests.pipelines.conftest import write_lines
from tests.pipelines.test_identities import ROWS, parts, persons
from transforms.errors import UserError
from transforms.identity.rules import IdentityRules
from transforms.io.delta import open_table, read_table

SOME = ROWS[:20] + ROWS[60:75]


@contextmanager
def workers():
    """Pipelines run as on an engine of its own; gives how many did."""
    runs = []

    def deliver(options):
        runs.append(options)
        return FnApiRunner()

    with handing_over(deliver):
        yield runs


@pytest.mark.slow
def test_workers_find_the_persons_of_this_process(make_shop):
    here, there = make_shop(), make_shop()
    for shop in (here, there):
        shop.bronze(CUSTOMERS=write_lines(shop.root / "in" / "c.jsonl", SOME))
        shop.silver()
    asked = [("apart", ("C3", "C103"))]
    done = resolve_lake(here.lake, here.run("resolve"), asked)
    with workers() as runs:
        found = resolve_lake(there.lake, there.run("resolve"), asked)
        assert len(runs) == 1 and resolve_lake(there.lake, there.run("resolve")) is None
        there.at += timedelta(days=1)
        assert resolve_lake(there.lake, there.run("resolve"), rebuild=True).events == {}
        assert len(runs) == 1  # from the same inputs nothing is matched again
    assert (done.persons, done.events, done.refused) == (found.persons, found.events, found.refused)
    assert parts(persons(here)) == parts(persons(there)) and found.refused > 0
    links = [
        {(row["left"], row["right"], row["same_person"], round(row["probability"], 9)) for row in rows}
        for rows in (read_table(shop.lake.identity_links).to_pylist() for shop in (here, there))
    ]
    assert links[0] == links[1]
    assert open_table(there.lake.matched_places).count() == len(SOME)


def test_links_that_are_not_settled_are_tried_with_more_rounds(monkeypatch, shop):
    tried = []

    def build(root, lake, run, made, rows, rounds, *rest):
        tried.append(rounds)

    def read(uri):
        return {"unsettled": pa.array([1])}

    monkeypatch.setattr(matching, "build", build)
    monkeypatch.setattr(matching, "read_table", read)
    with pytest.raises(UserError, match="32 rounds do not settle"):
        matching.match(shop.lake, shop.run("resolve"), Engine(), ("x@1",), None, IdentityRules())
    assert tried == [8, 16, 32]
