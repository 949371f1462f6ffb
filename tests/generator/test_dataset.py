"""Data sets as files: the same every time, whole, findable, and in bounded memory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from transforms.contracts import CONTRACTS
from transforms.errors import UserError
from transforms.generator import spec as spec_module
from transforms.generator.dataset import folder, tables, truth, write_dataset, write_real_dataset
from transforms.generator.retailer import build_shard
from transforms.generator.spec import GeneratorSpec
from transforms.generator.truth import SCHEMAS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def small(monkeypatch) -> GeneratorSpec:
    monkeypatch.setattr(spec_module, "PERSON_DAYS_A_SHARD", 120 * 200)
    spec = GeneratorSpec(seed=3, customers=300, days=200, products=60, broken_share=0.02)
    assert spec.shards == 3
    return spec


def digest(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_the_same_spec_writes_the_same_bytes_and_another_seed_others(small, tmp_path, form):
    write_dataset(small, tmp_path / "a", form)
    write_dataset(small, tmp_path / "b", form)
    write_dataset(replace(small, seed=4), tmp_path / "c", form)
    first = digest(tmp_path / "a")
    assert first == digest(tmp_path / "b")
    assert set(first) == set(digest(tmp_path / "c"))
    assert all(first[path] != other for path, other in digest(tmp_path / "c").items())


def test_shards_can_be_made_alone_and_in_any_order(small):
    forwards = [(name, rows) for name, rows in tables(small)]
    pieces = {number: list(tables(small, [number])) for number in (2, 0, 1)}
    rejoined = [piece for number in range(3) for piece in pieces[number]]
    assert [name for name, _ in forwards] == [name for name, _ in rejoined]
    assert all(a.equals(b) for (_, a), (_, b) in zip(forwards, rejoined, strict=True))


def test_no_key_is_in_two_shards_and_no_foreign_key_leaves_one(small):
    shards = [build_shard(small, number) for number in range(small.shards)]
    campaigns = set(shards[0].tables["MARKETING_CAMPAIGNS"]["CAMPAIGN_ID"].to_pylist())
    for name, contract in CONTRACTS.items():
        keys = [
            key for shard in shards if name in shard.tables for key in shard.tables[name][contract.key[0]].to_pylist()
        ]
        assert len(keys) == len(set(keys)), name
        for shard in shards[1:]:
            for key in contract.foreign_keys:
                own = shard.tables.get(key.table)
                parents = campaigns if own is None else set(own[CONTRACTS[key.table].key[0]].to_pylist())
                if name in shard.tables:
                    assert set(shard.tables[name][key.column].drop_null().to_pylist()) <= parents
    persons = pa.concat_tables([shard.truth["persons"] for shard in shards])
    assert len(set(persons["person"].to_pylist())) == small.customers
    with pytest.raises(ValueError, match="shard 3 of 3"):
        build_shard(small, 3)


def test_lines_of_every_table_are_counted_and_planted_rows_stand_where_the_truth_says(small, tmp_path):
    seen = []
    counts = write_dataset(small, tmp_path / "out", progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for name in CONTRACTS:
        content = b"".join(path.read_bytes() for path in sorted((tmp_path / "out" / folder(name)).glob("*.jsonl")))
        assert content.count(b"\n") == counts[name] > 0
    answers = {name: pl.read_parquet(tmp_path / "out" / "truth" / name / "*.parquet") for name in SCHEMAS}
    for name in ("duplicates", "late"):
        assert answers[name].height > 50
        for row in answers[name].to_dicts():
            line = line_at(tmp_path / "out" / row["file"], row["position"])
            assert json.loads(line)[CONTRACTS[row["table"]].key[0]] == row["key"]
    for row in answers["broken"].to_dicts():
        line = line_at(tmp_path / "out" / row["file"], row["position"])
        if row["fault"] in ("cut_line", "nul_byte", "invalid_utf8"):
            with pytest.raises(ValueError):
                json.loads(line)
    assert answers["broken"].height > 100


def line_at(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        if position:
            file.seek(position - 1)
            assert file.read(1) == b"\n"
        return file.readline()


def test_parquet_files_have_contract_types_and_planted_rows_at_their_row_number(small, tmp_path):
    counts = write_dataset(small, tmp_path / "out", "parquet")
    for name, contract in CONTRACTS.items():
        table = pa.concat_tables(
            [pq.read_table(p) for p in sorted((tmp_path / "out" / folder(name)).glob("*.parquet"))]
        )
        assert table.schema.equals(contract.arrow)
        assert table.num_rows == counts[name]
    for kind in ("broken", "duplicates", "late"):
        rows = pl.read_parquet(tmp_path / "out" / "truth" / kind / "*.parquet")
        assert rows.height > 50
        for (name, file), group in rows.group_by("table", "file"):
            keys = pq.read_table(tmp_path / "out" / file)[CONTRACTS[name].key[0]].to_pylist()
            assert [keys[position] for position in group["position"]] == group["key"].to_list()


def test_truth_tables_have_their_schemas_and_agree_with_the_written_ones(small, tmp_path):
    write_dataset(small, tmp_path / "out", "parquet")
    streamed: dict[str, list[pa.Table]] = {}
    for name, rows in truth(small):
        assert rows.schema.equals(SCHEMAS[name])
        streamed.setdefault(name, []).append(rows)
    assert list(streamed) == list(SCHEMAS)
    for name, pieces in streamed.items():
        written = pl.read_parquet(tmp_path / "out" / "truth" / name / "*.parquet")
        kept = [column for column in written.columns if column not in ("file", "position")]
        together = pl.DataFrame(pl.from_arrow(pa.concat_tables(pieces)))
        assert together.select(kept).equals(written.select(kept)), name


def test_real_orders_are_written_untouched_and_only_the_rest_is_noisy(real, lines, tmp_path):
    counts = write_real_dataset(lines, GeneratorSpec(), tmp_path / "out", "parquet")
    assert counts["CUSTOMER_TRANSACTION_ITEMS"] == 525_461
    for name in ("CUSTOMER_TRANSACTIONS", "CUSTOMER_TRANSACTION_ITEMS"):
        written = pq.read_table(tmp_path / "out" / folder(name) / "part-00000.parquet")
        assert written.equals(real.shard.tables[name])
    broken = pl.read_parquet(tmp_path / "out" / "truth" / "broken" / "*.parquet")
    assert "CUSTOMER_TRANSACTION_ITEMS" not in set(broken["table"])
    assert broken.height > 1_000


def test_a_folder_with_files_is_left_alone_and_nothing_half_written_stays(small, tmp_path, monkeypatch):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine.txt").write_text("keep")
    with pytest.raises(UserError, match="not empty"):
        write_dataset(small, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine.txt"]
    with pytest.raises(UserError, match="unknown format 'csv'"):
        write_dataset(small, tmp_path / "other", "csv")

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_dataset(small, tmp_path / "new", progress=stop)
    assert not (tmp_path / "new").exists()
    counts = write_dataset(small, tmp_path / "new")
    assert counts["CUSTOMERS"] >= 300 and not list(tmp_path.glob("*.unfinished"))


CHILD = """
import resource, sys
from transforms.generator import spec
spec.PERSON_DAYS_A_SHARD = int(sys.argv[1])
from transforms.generator.dataset import write_dataset
made = spec.GeneratorSpec(seed=3, customers=int(sys.argv[2]), days=200, products=60, broken_share=0.02)
counts = write_dataset(made, sys.argv[3])
print(sum(counts.values()), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


def write_in_child(shard_days: int, customers: int, out: Path, **environment: str) -> tuple[int, int]:
    """Rows written, and the peak memory of a process of its own (KiB)."""
    command = [sys.executable, "-c", CHILD, str(shard_days), str(customers), str(out)]
    done = subprocess.run(
        command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, check=True
    )
    rows, peak = done.stdout.split()
    return int(rows), int(peak)


def test_another_process_with_one_thread_writes_the_same_bytes(small, tmp_path):
    write_dataset(small, tmp_path / "here")
    write_in_child(spec_module.PERSON_DAYS_A_SHARD, small.customers, tmp_path / "there", POLARS_MAX_THREADS="1")
    assert digest(tmp_path / "here") == digest(tmp_path / "there")


def test_memory_does_not_grow_with_the_size(tmp_path):
    few, small_peak = write_in_child(300 * 200, 600, tmp_path / "few")
    many, large_peak = write_in_child(300 * 200, 3_600, tmp_path / "many")
    assert many > 5 * few
    assert large_peak < 1.25 * small_peak
