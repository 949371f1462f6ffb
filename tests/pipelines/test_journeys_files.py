"""The command `journeys` on people's own files."""

import json
import random
from datetime import datetime

import polars as pl
import pyarrow as pa
import pytest

from pipelines.journeys import Question, answer, duration
from tests.pipelines.test_cli import c360, run
from transforms.errors import UsageError
from transforms.gold.journeys.between import count_ways
from transforms.gold.journeys.steps import STEPS_TAKEN, order_steps
from transforms.gold.tables import CUSTOMER_TABLES
from transforms.io.delta import overwrite_rows


@pytest.fixture(scope="module")
def clicks(tmp_path_factory):
    draw = random.Random(4)
    rows = [
        {
            "User ID": str(draw.randrange(80)),
            "timestamp": f"2010-01-{draw.randint(1, 28):02d}T{draw.randrange(24):02d}:00:00Z",
            "Event Name": draw.choice(["view", "view", "cart", "order"]),
        }
        for _ in range(900)
    ]
    path = tmp_path_factory.mktemp("journeys") / "clicks.csv"
    pl.DataFrame(rows).write_csv(path)
    return path


def facts(*arguments: str) -> dict:
    done = run("journeys", *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_ways_of_a_file_are_those_of_the_kernel(clicks, tmp_path):
    out = tmp_path / "ways.parquet"
    said = facts("--events", str(clicks), "--from", "view", "--to", "order", "--out", str(out))
    frame = pl.read_csv(clicks, schema_overrides={"User ID": pl.String})
    at = frame["timestamp"].str.to_datetime(time_unit="us", time_zone="UTC")
    steps = pl.DataFrame({"person": frame["User ID"], "time": at, "step": frame["Event Name"]})
    ways = pl.DataFrame(count_ways(order_steps(steps.to_arrow().cast(STEPS_TAKEN)), "view", "order"))
    assert said["arrived"] == ways.filter("arrived")["persons"].sum() > 0
    assert pl.read_parquet(out)["persons"].sum() == ways["persons"].sum() == said["started"]


def test_a_funnel_and_journeys_as_a_whole(clicks):
    funnel = facts("--events", str(clicks), "--funnel", "view, cart,order")["funnel"]
    assert [row["step"] for row in funnel] == ["view", "cart", "order"]
    whole = facts("--events", str(clicks), "--to", "order")
    assert whole["journeys"] == sum(row["journeys"] for row in whole["entries"])
    assert {row["to"] for row in whole["transitions"]} == {"view", "cart", "(conversion)"}
    said = c360("journeys", "--events", str(clicks), "--from", "view", "--to", "order")
    assert "from view to order" in said and "by way of" in said


@pytest.mark.parametrize("wrong", [
    ("--from", "view"), ("--from", "view", "--to", "gone"), ("--funnel", "view,gone"), ("--window", "3"),
    ("--funnel", "view,cart", "--to", "order"), ("--gap", "0"),
])  # fmt: skip
def test_what_does_not_fit_is_wrong_use(clicks, wrong):
    assert "error: " in c360("journeys", "--events", str(clicks), *wrong, code=2)


def test_a_step_that_nobody_took_is_named_with_those_there_are():
    rows = pa.table([["1"], [0], ["view"]], names=STEPS_TAKEN.names).cast(STEPS_TAKEN)
    with pytest.raises(UsageError, match="the steps are view"):
        answer([rows], Question("view", "order"))


def test_steps_from_the_future_are_refused_and_one_person_may_have_a_million(tmp_path):
    minutes = pl.datetime_range(pl.datetime(2010, 1, 1), pl.datetime(2013, 1, 1), "1m", eager=True)[:1_000_000]
    many = pl.DataFrame({"person": "many", "time": minutes}).with_row_index("n")
    steps = many.select("person", "time", pl.when(pl.col("n") % 2 == 0).then(pl.lit("view")).otherwise(pl.lit("buy")))
    odd = pl.DataFrame({"person": ["late", "one"], "time": [datetime(2999, 1, 1), datetime(2010, 1, 1)],
                        "step": ["view", "never_seen"]})  # fmt: skip
    pl.concat([steps.rename({"literal": "step"}), odd], how="vertical_relaxed").write_parquet(tmp_path / "e.parquet")
    found = facts("--events", str(tmp_path / "e.parquet"), "--from", "view", "--to", "buy",
                  "--rejects", str(tmp_path / "r.csv"))  # fmt: skip
    assert (found["rows"], found["persons"], found["rejected"]) == (1_000_001, 2, {"in_the_future": 1})
    assert (found["arrived"], found["started"], found["median_seconds"]) == (1, 1, 60.0)
    assert pl.read_csv(tmp_path / "r.csv")["reason"].to_list() == ["time is later than now"]
    whole = facts("--events", str(tmp_path / "e.parquet"), "--to", "buy")
    assert whole["journeys"] == 500_001 and {row["begins at"] for row in whole["entries"]} == {"view", "never_seen"}


def test_durations_are_told_in_the_unit_a_person_would_use():
    assert [duration(s) for s in (None, 45, 720, 12_600, 181_440)] == ["no time", "45 s", "12 min", "3.5 h", "2.1 days"]


def test_a_lake_answers_from_its_touchpoints(tmp_path):
    said = c360("journeys", "--lake", str(tmp_path), "--from", "VISIT", "--to", "ORDER", code=1)
    assert "run the command gold first" in said
    rows = {"person_id": ["A", "A", "B"], "position": [1, 2, 1], "started_at": [0, 60_000_000, 0],
            "step": ["VISIT", "ORDER", "VISIT"], "repeats_count": [1, 1, 1]}  # fmt: skip
    plain = pl.DataFrame(rows).with_columns(pl.col("started_at").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"))
    schema = pa.schema([CUSTOMER_TABLES["touchpoints"].field(name) for name in rows])
    overwrite_rows(str(tmp_path / "gold" / "touchpoints"), plain.to_arrow().cast(schema))
    found = facts("--lake", str(tmp_path), "--from", "VISIT", "--to", "ORDER")
    assert (found["arrived"], found["started"], found["median_seconds"]) == (1, 2, 60.0)
