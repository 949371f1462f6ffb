"""The command `attribution` on people's own files."""

import polars as pl
import pytest

from pipelines.attribution import attribute_files
from pipelines.own_files import plan
from tests.pipelines.test_cli import c360
from transforms.errors import UserError
from transforms.generator.touchpoints import plant_touchpoints
from transforms.gold.attribution.attribute import attribute, count_paths
from transforms.gold.attribution.own_file import TARGETS
from transforms.gold.attribution.touchpoints import AttributionRules


@pytest.fixture(scope="module")
def planted():
    return plant_touchpoints(11, 2_000)


def write(path, planted) -> None:
    """As people write it: other names, numbers for booleans, times as text."""
    frame = pl.DataFrame(planted).select(
        pl.col("person").alias("User ID"),
        pl.col("channel").alias("Touchpoint"),
        pl.col("time").dt.strftime("%Y-%m-%d %H:%M:%S%.6f").alias("timestamp"),
        pl.col("conversion").cast(pl.Int64).alias("is_conversion"),
        (pl.col("value_units") / 10_000).alias("revenue"),
        pl.lit("x").alias("note"),
    )
    frame = frame.sample(fraction=1.0, shuffle=True, seed=2)
    if path.suffix == ".parquet":
        frame.write_parquet(path)
    elif path.suffix == ".csv":
        frame.write_csv(path)
    else:
        frame.write_ndjson(path)


@pytest.mark.parametrize("name", ["t.csv", "t.jsonl", "t.parquet"])
def test_every_format_gives_the_credit_of_the_kernel(tmp_path, planted, name):
    write(tmp_path / name, planted)
    out = tmp_path / "credit.parquet"
    result = attribute_files(plan(str(tmp_path / name), TARGETS, {}), str(out), AttributionRules())
    expected = attribute(count_paths(planted))
    assert pl.read_parquet(out).equals(pl.DataFrame(expected))
    assert (result.rows, result.rejected) == (planted.num_rows, {})
    assert result.conversions == pl.DataFrame(planted)["conversion"].sum()


def test_buckets_on_disk_give_the_same_to_the_last_bit(tmp_path, planted, monkeypatch):
    write(tmp_path / "t.csv", planted)
    sources = plan(str(tmp_path / "t.csv"), TARGETS, {})
    whole = attribute_files(sources, str(tmp_path / "a.parquet"), AttributionRules()).attribution
    monkeypatch.setattr("pipelines.attribution.BUCKET_BYTES", 10_000)
    assert attribute_files(sources, str(tmp_path / "b.parquet"), AttributionRules()).attribution.equals(whole)


def test_rows_that_cannot_be_used_are_counted_and_kept(tmp_path):
    lines = [
        "person,channel,time,conversion,value",
        ",EMAIL,2010-01-01,0,",
        "1,EMAIL,soon,0,",
        "1,EMAIL,2010-01-01,maybe,",
        "1,EMAIL,2010-01-01,yes,much",
        "1,EMAIL,2010-01-01,yes,5",
        "2, ,2010-01-02,TRUE,-2.5",
        "1,DISPLAY,2009-12-30,0,n/a",
        "3,EMAIL,2999-01-01,yes,7",
    ]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    rejects = tmp_path / "r.csv"
    sources = plan(str(tmp_path / "t.csv"), TARGETS, {})
    result = attribute_files(sources, str(tmp_path / "a.csv"), AttributionRules(), str(rejects))
    rules = ("required", "not_a_timestamp", "not_a_boolean", "not_a_number", "in_the_future")
    assert result.rejected == dict.fromkeys(rules, 1)
    assert pl.read_csv(rejects).height == 5
    linear = {r["channel"]: r["value"] for r in result.attribution.to_pylist() if r["model"] == "linear"}
    # A touch that is no conversion has no value to read: it stays, and what its column says does not matter.
    assert linear == {"DISPLAY": 2.5, "EMAIL": 2.5, "(no touchpoint)": -2.5}


def test_without_a_conversion_column_a_value_is_a_conversion(tmp_path):
    (tmp_path / "t.csv").write_text("user,source,date,revenue\n1,EMAIL,2010-01-01,\n1,AD,2010-01-02,7\n")
    result = attribute_files(plan(str(tmp_path / "t.csv"), TARGETS, {}), str(tmp_path / "a.csv"), AttributionRules())
    assert {r["channel"]: r["value"] for r in result.attribution.to_pylist() if r["model"] == "linear"} == {
        "AD": 3.5, "EMAIL": 3.5,
    }  # fmt: skip


def test_a_file_without_a_person_is_a_clear_error(tmp_path):
    (tmp_path / "t.csv").write_text("channel,time,value\nEMAIL,2010-01-01,1\n")
    with pytest.raises(UserError, match="no column for person"):
        plan(str(tmp_path / "t.csv"), TARGETS, {})


def test_the_command_says_what_it_did(tmp_path, planted):
    write(tmp_path / "t.csv", planted)
    out = tmp_path / "credit.csv"
    done = c360("attribution", "--touchpoints", str(tmp_path / "t.csv"), "--out", str(out))
    assert "person = User ID (common name)" in done and "DISPLAY" in done
    assert pl.read_csv(out)["model"].n_unique() == 10
    wrong = c360("attribution", "--touchpoints", str(tmp_path / "t.csv"), "--out", str(out), "--lookback", "0", code=2)
    assert "--lookback is 0" in wrong
