"""Progress: what was counted is what was done, said on a terminal and in a log, and never to machines."""

import io
import time

import pytest
from rich.console import Console

from pipelines import console
from pipelines.console import Output
from tests.pipelines.conftest import Shop, transaction, write_lines
from transforms.progress import METER, Meter


def test_the_share_goes_by_bytes_where_they_are_known():
    meter = Meter()
    meter.advance(rows=5)
    assert meter.share() is None and meter.words() == "5 rows"
    meter.expect(files=4, bytes=200_000_000)
    meter.advance(files=1 / 3, bytes=50_000_000)
    meter.advance(files=2 / 3)
    assert meter.share() == 0.25
    assert meter.words() == "5 rows, 1 of 4 files, 50 MB of 200 MB"
    meter.restart()
    assert (meter.share(), meter.words()) == (None, "")


def test_layers_count_all_they_read(tmp_path):
    shop = Shop(tmp_path)
    for number in range(3):
        rows = [transaction(10 * number + i) for i in range(10)] + [b"no JSON"]
        write_lines(tmp_path / "t" / f"{number}.jsonl", rows)
    METER.restart()
    shop.bronze(transactions=tmp_path / "t")
    assert METER.share() == pytest.approx(1) and METER.words().startswith("33 rows, 3 of 3 files")
    for layer in (shop.silver, shop.gold):
        METER.restart()
        layer()
        assert METER.share() == pytest.approx(1) and METER.words() == "30 of 30 rows"


@pytest.mark.parametrize("terminal", [True, False])
def test_a_person_sees_how_far_it_is_and_a_machine_sees_nothing(terminal, monkeypatch):
    monkeypatch.setattr(console, "_BAR_SECONDS", 0.01)
    monkeypatch.setattr(console, "_LINE_SECONDS", 0.01)
    for as_json in (False, True):
        out, seen = Output(as_json), io.StringIO()
        out._err = Console(file=seen, force_terminal=terminal, width=120)
        with out.working("reading"):
            METER.expect(rows=20)
            METER.advance(rows=10)
            end = time.monotonic() + 10
            while not as_json and "10 of 20 rows" not in seen.getvalue() and time.monotonic() < end:
                time.sleep(0.01)
        assert ("10 of 20 rows" in seen.getvalue()) == (not as_json)
        assert ("reading" in seen.getvalue()) == (not as_json)
