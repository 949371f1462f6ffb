"""The command `sessionize` on people's own files."""

import gzip
import json
import random
from datetime import UTC, datetime, timedelta

import polars as pl
import pytest

from pipelines.own_files import plan
from pipelines.sessionize import sessionize
from tests.pipelines.test_cli import c360
from tests.sessions import plain_sessions as plain
from transforms.errors import UserError
from transforms.sessions.own_file import TARGETS
from transforms.sessions.rules import SessionRules
from transforms.spool import Spool

DAY = datetime(2010, 6, 1, tzinfo=UTC)


def events(rows: int = 3000) -> list[dict]:
    draw = random.Random(3)
    return [
        {
            "visitor": f"v{draw.randrange(200)}",
            "event_time": DAY + timedelta(seconds=draw.randrange(5 * 86_400)),
            "event_type": draw.choice(("page_view", "click", "purchase")),
            "page": draw.choice(("/", "/p, q", None)),
        }
        for _ in range(rows)
    ]


def write(path, rows: list[dict]) -> None:
    """As people write it: other names, another column, and times as text or Unix milliseconds."""
    named = [{"Event Name": r["event_type"], "User ID": r["visitor"], "url": r["page"], "age": 1} for r in rows]
    frame = pl.DataFrame(named)
    times = pl.Series("timestamp", [r["event_time"] for r in rows]).cast(pl.Datetime("us", "UTC"))
    if path.suffix == ".parquet":
        frame.with_columns(times).write_parquet(path, row_group_size=500)
    elif "csv" in path.name:
        data = frame.with_columns(times.dt.strftime("%Y-%m-%d %H:%M:%S")).write_csv()
        path.write_bytes(gzip.compress(data.encode()) if path.suffix == ".gz" else data.encode())
    else:
        frame.with_columns(times.dt.epoch("ms")).write_ndjson(path)


@pytest.mark.parametrize("name", ["e.csv", "e.csv.gz", "e.jsonl", "e.parquet"])
def test_every_format_gives_the_sessions_of_the_definition(tmp_path, name):
    rows = events()
    write(tmp_path / name, rows)
    out = tmp_path / "s.parquet"
    result = sessionize(plan(str(tmp_path / name), TARGETS, {}), str(out), SessionRules(gap_seconds=7200))
    expected = plain.sessions(rows, SessionRules(gap_seconds=7200))
    assert plain.without_ids(pl.read_parquet(out).to_arrow()) == expected
    assert (result.events, result.sessions, result.visitors, result.rejected) == (3000, len(expected), 200, {})
    assert result.bounces == sum(row["is_bounce"] for row in expected)


def test_many_buckets_on_disk_and_several_files_give_the_same_rows(tmp_path, monkeypatch):
    rows = events()
    (tmp_path / "in").mkdir()
    write(tmp_path / "in" / "a.parquet", rows[:1000])
    write(tmp_path / "in" / "b.csv", rows[1000:])
    (tmp_path / "in" / "empty.csv").write_text("")
    monkeypatch.setattr("pipelines.sessionize.BUCKET_BYTES", 10_000)
    monkeypatch.setattr(Spool.__init__, "__defaults__", (50_000,))
    result = sessionize(plan(str(tmp_path / "in"), TARGETS, {}), str(tmp_path / "s.parquet"), SessionRules())
    assert result.spilled_bytes > 0
    found = pl.read_parquet(tmp_path / "s.parquet").sort("visitor", "started_at").to_arrow()
    assert plain.without_ids(found) == plain.sessions(rows, SessionRules())


def test_the_command_says_what_it_recognised_and_what_it_could_not_use(tmp_path):
    (tmp_path / "e.csv").write_text(
        "who;when;action\na;2010-06-01 12:00;page view\na;2010-06-01 12:10;click\n"
        ";2010-06-01 12:00;x\nb;soon;x\nb;1;2;3\n"
    )
    arguments = ("sessionize", "--events", tmp_path / "e.csv", "--out", tmp_path / "s.csv", "--map", "visitor=who")
    arguments += ("--map", "event_time=when", "--rejects", tmp_path / "r.jsonl")
    said = c360(*arguments)
    assert "visitor = who (given)" in said and "event_type = action (common name)" in said
    assert "2 events of 1 visitors, 1 sessions" in said and "3 rows cannot be used" in said
    assert pl.read_csv(tmp_path / "s.csv")["page_views"].to_list() == [1]
    refused = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert sorted((row["rule"], row["raw"]) for row in refused) == [
        ("column_count", "b;1;2;3"), ("not_a_timestamp", "b;soon;x"), ("required", ";2010-06-01 12:00;x"),
    ]  # fmt: skip
    facts = json.loads(c360(*arguments, "--gap", "10m", "--json"))
    assert facts["sessions"] == 2 and facts["rejected"] == {"column_count": 1, "not_a_timestamp": 1, "required": 1}


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("--events", "nowhere.csv", "--out", "s.csv"), "no such file"),
        (("--events", "{}/e.csv", "--out", "s.xlsx"), "end it in .parquet"),
        (("--events", "{}/e.csv", "--out", "{}/s.csv", "--map", "visitor=colour"), "no column for event_time"),
        (("--events", "{}/good.csv", "--out", "{}/./good.csv"), "write to another file"),
        (("--events", "{}/e.csv", "--out", "{}/s.csv"), "no column for visitor"),
        (("--events", "{}/e.csv", "--out", "{}/s.csv", "--map", "visitor=no"), "wants the column 'no'"),
        (("--events", "{}/e.csv", "--out", "{}/s.csv", "--gap", "soon"), "no length of time"),
        (("--events", "{}/e.csv", "--out", "{}/s.csv", "--midnight", "Mars"), "no time zone"),
        (("--events", "{}/empty.jsonl", "--out", "{}/s.csv"), "empty"),
    ],
)
def test_a_mistake_is_one_clear_line(tmp_path, arguments, expected):
    (tmp_path / "e.csv").write_text("colour,when\nred,2010-06-01\n")
    (tmp_path / "good.csv").write_text("user,time\n")
    (tmp_path / "empty.jsonl").write_text("")
    wrong_use = expected in ("end it in .parquet", "no length of time", "no time zone")
    said = c360("sessionize", *(str(a).format(tmp_path) for a in arguments), code=2 if wrong_use else 1)
    assert expected in said and len([line for line in said.splitlines() if "error:" in line]) == 1


def test_a_file_without_a_header_does_not_show_its_first_row(tmp_path):
    (tmp_path / "e.csv").write_text("ann.lee,Ann,home\nbob.day,Bob,cart\n")
    with pytest.raises(UserError, match="is there a header line") as caught:
        plan(str(tmp_path / "e.csv"), TARGETS, {})
    assert "Ann" not in str(caught.value) and "ann.lee" not in str(caught.value)


def test_an_event_without_a_visitor_is_one_of_the_tracker_s_session(tmp_path):
    (tmp_path / "e.csv").write_text(
        "customer_id,session_id,time\na,s1,2010-06-01 12:00\n,s2,2010-06-01 12:00\n ,s2,2010-06-01 12:10\n"
        ",s3,2010-06-01 12:10\n,,2010-06-01 12:20\n"
    )
    said = json.loads(c360("sessionize", "--events", tmp_path / "e.csv", "--out", tmp_path / "s.csv", "--json"))
    assert (said["visitors"], said["sessions"], said["rejected"]) == (3, 3, {"required": 1})
    assert set(pl.read_csv(tmp_path / "s.csv")["visitor"]) == {"a", "anonymous:s2", "anonymous:s3"}


def test_gaps_of_channels_want_a_column_of_channels(tmp_path):
    (tmp_path / "e.csv").write_text("visitor,time\na,2010-06-01 12:00\n")
    told = c360(
        "sessionize", "--events", tmp_path / "e.csv", "--out", tmp_path / "s.csv", "--gap", "30m,web=5m", code=2
    )
    assert "no file has a column" in told
