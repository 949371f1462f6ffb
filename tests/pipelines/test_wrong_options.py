"""Options that mean nothing are refused by their own name, and what is elsewhere is pointed at."""

from __future__ import annotations

import json

import pytest

from pipelines.console import Output
from pipelines.journeys import Question
from pipelines.show import show_table
from pipelines.stream_gauges import served
from tests.pipelines.conftest import Shop, write_lines
from transforms.errors import UsageError, UserError


def test_a_port_beyond_all_ports_is_refused():
    with pytest.raises(UserError, match="port 99999 cannot be used"), served(99_999):
        pass


@pytest.mark.parametrize("days", [-1, 0, 1e9])
def test_the_gap_of_journeys_is_named_as_the_user_named_it(days):
    with pytest.raises(UsageError, match="--gap is"):
        Question(gap_days=days)


def test_a_table_that_is_in_bronze_only_is_pointed_at_and_versions_are_those_there_are(shop: Shop):
    row = {"EVENT_ID": "E1", "EVENT_TYPE": "CLICK", "EVENT_DATE": "2010-12-01T08:00:00Z"}
    write_lines(shop.root / "b" / "1.jsonl", [json.dumps(row).encode()])
    shop.bronze(behavioral=shop.root / "b")
    out = Output(as_json=True)
    with pytest.raises(UserError, match="--layer bronze"):
        show_table(shop.lake, "behavioral", None, 5, out)
    for version in (-1, 99):
        with pytest.raises(UsageError, match=rf"has no version {version}.*it has 0 to \d+"):
            show_table(shop.lake, "behavioral", "bronze", 5, out, version)
    with pytest.raises(UserError, match="run bronze, silver and gold first"):
        show_table(shop.lake, "tickets", None, 5, out)
