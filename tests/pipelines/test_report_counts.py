"""The report's account of rows, of whatever command brought them."""

from __future__ import annotations

import pytest

from pipelines.report.lake import counts


class Facts:
    """Facts of one bronze table that one command filled."""

    def __init__(self, command: str, accepted: int) -> None:
        layer = {"layer": "bronze", "table": "CUSTOMERS", "rows": 7}
        run = {"read": 9, "accepted": accepted, "rejected": 2, "duplicates": 0, "conflicts": None}
        self._rows = {"layers": [layer], "runs": [{"command": command, "table": "CUSTOMERS", **run}] * 2}

    def rows(self, name: str) -> list[dict]:
        return self._rows[name]


@pytest.mark.parametrize("command", ["bronze", "stream"])
def test_the_sums_of_all_runs_are_those_of_the_layer_they_filled(command):
    page = counts(Facts(command, 7))
    assert ">18<" in page and ">14<" in page and ">4<" in page and ">yes<" in page and "–" not in page


def test_rows_that_are_lost_are_told():
    page = counts(Facts("stream", 6))
    assert "of this table do not add up" in page and ">no<" in page
