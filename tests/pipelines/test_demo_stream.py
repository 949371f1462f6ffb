"""`demo --stream`: what is sent where and when; and the whole of it, once."""

import json

import polars as pl
import pytest

from pipelines.demo_stream import Places, bodies, longest_silence, placed, run_demo_stream
from transforms.errors import UsageError, UserError
from transforms.generator.replay import ARRIVALS
from transforms.generator.spec import GeneratorSpec

EVENTS, ORDERS = "CUSTOMER_BEHAVIORAL_EVENTS", "CUSTOMER_TRANSACTIONS"
SPEC = GeneratorSpec(customers=4_000, days=1, late_share=0.1, broken_share=0.05)


def rows(*given):
    """(table, who, seconds) each."""
    made = [(table, who, at * 1_000_000, at * 1_000_000, b"{}") for table, who, at in given]
    return pl.DataFrame(made, {**ARRIVALS, "line": pl.Binary}, orient="row")


def test_a_persons_rows_share_a_partition_and_each_is_an_event():
    sent = placed(rows(*((EVENTS if n % 2 else ORDERS, f"C{n % 20}", n) for n in range(200))))
    made = bodies(sent)
    assert [(body.rows, body.data) for body in made] == [(1, b"{}")] * 200 and sent["event_us"].is_sorted()
    assert all(len({body.partition for body in made[n::20]}) == 1 for n in range(20))
    assert {body.partition for body in made[1::2]} == {0, 1} and {body.partition for body in made[::2]} == {0}


def test_the_longest_silence_is_of_one_partition_of_one_hub_at_the_speed_asked_for():
    given = rows((EVENTS, "A", 0), (ORDERS, "A", 50), (EVENTS, "A", 100), (ORDERS, "A", 200))
    assert longest_silence(placed(given), 0, 10) == 15
    assert longest_silence(placed(given), -500_000_000, 10) == 55  # the first order, at 50, has waited longest


def test_folders_of_somebody_else_are_left_alone(tmp_path):
    places = Places(tmp_path)
    places.lake.mkdir()
    with pytest.raises(UserError, match="not made by"):
        places.renew()
    places.lake.rmdir()
    places.renew()
    (places.lake / "x").mkdir(parents=True)
    places.renew()
    assert not places.lake.exists()


@pytest.mark.parametrize("speed", [0, -1, 0.5, 4000, float("nan")])
def test_an_impossible_speed_is_refused(tmp_path, speed):
    with pytest.raises(UsageError, match="--speed"):
        run_demo_stream(tmp_path, speed, "", True)


def test_without_prism_nothing_is_begun(tmp_path, monkeypatch):
    monkeypatch.setenv("PRISM", str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="no program"):
        run_demo_stream(tmp_path / "out", 60, "", True)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_hour_goes_through_and_every_row_is_somewhere(prism, tmp_path, capsys):
    run_demo_stream(tmp_path, 600, prism, True, SPEC)
    facts = json.loads(capsys.readouterr().out)
    assert facts["rows"] + facts["rejected"] == facts["sent"] == facts["made"] > 200
    assert sum(table["rows"] for table in facts["bronze"]) == facts["rows"]
    assert sum(band["rows"] for band in facts["histogram"]) == facts["rows"]
    assert facts["rejected"] > 0 and facts["sessions"] > 0 and facts["late"] > 0 and facts["persons"] > 0
    assert 0 < facts["delay"]["p50_seconds"] <= facts["delay"]["p99_seconds"] < 60
    page = (tmp_path / "stream-report.html").read_text()
    assert 'id="stream"' in page and f"<dd>{facts['rows']:,}" in page
