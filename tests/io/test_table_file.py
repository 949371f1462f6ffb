"""Files out: what is written is read back the same, whole or not at all."""

import gzip
import io
from datetime import UTC, datetime
from decimal import Decimal

import polars as pl
import pyarrow as pa
import pytest

from transforms.errors import UserError
from transforms.io.table_file import TableFile

SCHEMA = pa.schema(
    [("name", pa.string()), ("at", pa.timestamp("us", tz="UTC")), ("value", pa.decimal128(18, 4)), ("n", pa.int64())]
)
ROWS = [
    {"name": 'a,"b"\nc', "at": datetime(2010, 6, 1, 12, tzinfo=UTC), "value": Decimal("1.2500"), "n": 1},
    {"name": "ä", "at": datetime(1901, 1, 1, tzinfo=UTC), "value": None, "n": None},
]


def written(path, rows=ROWS) -> bytes:
    with TableFile(str(path), SCHEMA) as file:
        for row in rows:  # one row group or block each
            file.write(pa.Table.from_pylist([row], schema=SCHEMA))
    assert file.rows == len(rows)
    assert list(path.parent.iterdir()) == [path]
    return gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()


@pytest.mark.parametrize("name", ["x.csv", "x.CSV.gz", "x.jsonl", "x.ndjson.gz", "x.parquet"])
def test_rows_are_read_back_the_same(tmp_path, name):
    content = io.BytesIO(written(tmp_path / "new" / name))
    kind = name.lower()
    read = pl.read_csv if "csv" in kind else pl.read_parquet if "parquet" in kind else pl.read_ndjson
    frame = read(content).with_columns(pl.col("value").cast(pl.Decimal(18, 4)))
    if frame["at"].dtype == pl.String:
        frame = frame.with_columns(pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.fZ", time_zone="UTC"))
    assert frame.to_dicts() == ROWS


@pytest.mark.parametrize("name", ["x.csv", "x.jsonl", "x.parquet"])
def test_no_rows_make_a_file_all_the_same(tmp_path, name):
    content = written(tmp_path / name, [])
    assert (content == b"") == name.endswith("jsonl")


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    (tmp_path / "x.csv").write_text("before")
    with pytest.raises(RuntimeError), TableFile(str(tmp_path / "x.csv"), SCHEMA) as file:
        file.write(pa.Table.from_pylist(ROWS, schema=SCHEMA))
        raise RuntimeError
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


@pytest.mark.parametrize("name", ["x", "x.xlsx", "x.parquet.gz", "az://c/x.csv", "x.gz"])
def test_a_name_that_says_no_format_is_refused(tmp_path, name):
    with pytest.raises(UserError, match="end it in"):
        TableFile(name, SCHEMA)


def test_a_folder_is_refused(tmp_path):
    (tmp_path / "x.csv").mkdir()
    with pytest.raises(UserError, match="folder"):
        TableFile(str(tmp_path / "x.csv"), SCHEMA)
