"""Planted noise: the asked shares, all of it written down, and the clean rows can be had back."""

from __future__ import annotations

import json
import math
from datetime import date, datetime

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from transforms.contracts import CONTRACTS
from transforms.contracts.schema import DATE, TIMESTAMP
from transforms.errors import UserError
from transforms.generator.arrival import arrive
from transforms.generator.faults import KINDS, UNKNOWN, plant_in_cells, plant_in_lines
from transforms.generator.jsonl import to_json_lines
from transforms.generator.noise import CLEAN, EXACT, LATE, OLDER, event_micros, plant_rows
from transforms.generator.randomness import stream
from transforms.generator.shard import Shard
from transforms.generator.spec import GeneratorSpec

NOISY = GeneratorSpec(broken_share=0.05, duplicate_share=0.05, late_share=0.05)
BIG = [name for name in CONTRACTS if name != "MARKETING_CAMPAIGNS"]


def planted(world, name):
    return plant_rows(name, world.shard.tables[name], NOISY, stream(1, name))


def likely(count: int, size: int, share: float) -> bool:
    """Within five standard deviations of the binomial mean."""
    return abs(count - size * share) <= 5 * math.sqrt(size * share * (1 - share)) + 1


@pytest.mark.parametrize("name", BIG)
def test_the_latest_version_of_each_key_is_the_clean_table(made_up, name):
    contract, result = CONTRACTS[name], planted(made_up, name)
    rows = pl.DataFrame(pl.from_arrow(result.table))
    by = [contract.event_time] if contract.event_time else []
    by += ["LAST_UPDATED"] if name == "EXTERNAL_CUSTOMER_PROFILES" else []
    by += ["RESOLUTION_DATE"] if name == "CUSTOMER_SERVICE_TICKETS" else []
    latest = rows.sort(by, nulls_last=False) if by else rows
    latest = latest.unique(contract.key, keep="last", maintain_order=True).sort(contract.key)
    assert latest.equals(made_up.tables[name].sort(contract.key))
    assert not result.table.equals(made_up.shard.tables[name])


@pytest.mark.parametrize("name", BIG)
def test_shares_and_labels_of_copies_versions_and_late_rows(made_up, name):
    contract, result, size = CONTRACTS[name], planted(made_up, name), made_up.tables[name].height
    copies = (result.kind == EXACT).sum() + (result.kind == OLDER).sum()
    assert result.table.num_rows == size + copies
    assert likely(copies, size, NOISY.duplicate_share)
    late = (result.kind == LATE).sum()
    streams = contract.arrival.value == "stream" and contract.event_time
    assert likely(late, size, 0.05 * 0.95) if streams else late == 0
    keys = pl.Series(pl.from_arrow(result.table[contract.key[0]])).to_numpy()
    assert set(keys[result.kind == EXACT]) | set(keys[result.kind == OLDER]) <= set(keys[result.kind == CLEAN])
    rows = pl.DataFrame(pl.from_arrow(result.table))
    exact = rows.filter(pl.Series(result.kind == EXACT))
    assert exact.join(made_up.tables[name], on=rows.columns, how="semi", nulls_equal=True).height == exact.height
    older = rows.filter(pl.Series(result.kind == OLDER))
    assert older.join(made_up.tables[name], on=rows.columns, how="semi", nulls_equal=True).height == 0
    assert older.height > 0 or not contract.order_by


@pytest.mark.parametrize("name", BIG)
def test_only_copies_and_late_rows_are_out_of_order(made_up, name):
    contract, result = CONTRACTS[name], planted(made_up, name)
    if contract.event_time is None:
        return
    times = event_micros(contract, result.table)
    on_time = (result.kind == CLEAN) | (result.kind == OLDER)
    assert (np.diff(times[on_time]) >= 0).all()
    assert (np.diff(result.arrived) >= 0).all()
    waited = result.arrived[result.kind == LATE] - times[result.kind == LATE]
    assert len(waited) == 0 or waited.min() >= 2 * 3_600_000_000


def test_no_share_means_no_change(made_up):
    for name in BIG:
        result = plant_rows(name, made_up.shard.tables[name], NOISY.clean, stream(1))
        assert result.table.equals(made_up.shard.tables[name])
        assert not result.fixed.any()


@pytest.mark.parametrize("name", BIG)
def test_every_broken_line_is_named_at_its_place_and_every_other_line_is_whole(made_up, name):
    table = made_up.shard.tables[name].slice(0, 12_000)
    shard = Shard({name: table}, {})
    content, broken, offset = b"", [], 0
    for part in arrive(shard, 0, NOISY, "jsonl"):
        assert part.lines.count(b"\n") == part.rows
        content += part.lines
        broken.append(part.planted["broken"].with_columns(pl.col("position") + offset))
        offset = len(content)
    truth = {row["position"]: row for row in pl.concat(broken).to_dicts()}
    contract, place = CONTRACTS[name], 0
    for line in content.split(b"\n")[:-1]:
        fault = found_fault(line, contract)
        assert (fault is not None) == (place in truth), (fault, truth.get(place))
        if fault is not None:
            assert fault == truth[place]["stage"]
            key = truth[place]["key"].encode()
            assert key in line or truth[place]["fault"] in ("cut_line", "missing_required")
        place += len(line) + 1
    free = table.num_rows * (1 - NOISY.duplicate_share - NOISY.late_share)
    # A return has no quantity that could be turned negative, so a few lines are spared there.
    assert 0.8 * free * NOISY.broken_share - 15 < len(truth) < 1.3 * free * NOISY.broken_share + 15
    wanted = {kind for kind, how in KINDS.items() if how.columns(contract)}
    assert {row["fault"] for row in truth.values()} == wanted or len(truth) < 100


def found_fault(line: bytes, contract) -> str | None:
    """The stage that must reject a line, found the slow plain way: parse it, then try every cell."""
    try:
        row = json.loads(line.decode())
    except (UnicodeDecodeError, json.JSONDecodeError):
        return "bronze"
    silver = None
    for column in contract.columns:
        value = row.get(column.name)
        if value is None:
            if not column.nullable:
                return "bronze"
            continue
        kind = column.type.arrow
        if pa.types.is_integer(kind) and not isinstance(value, int):
            return "bronze"
        if pa.types.is_decimal(kind) and (isinstance(value, str) or abs(value) >= 10 ** (kind.precision - kind.scale)):
            return "bronze"
        if column.type in (DATE, TIMESTAMP):
            try:
                date.fromisoformat(value) if column.type == DATE else datetime.fromisoformat(value)
            except ValueError:
                return "bronze"
        if column.allowed and value not in column.allowed:
            silver = "silver"
    if row.get("ITEM_STATUS") == "SOLD" and row["QUANTITY"] <= 0:
        silver = "silver"
    return silver


def test_broken_cells_of_typed_rows_are_named(made_up):
    for name in BIG:
        table = made_up.shard.tables[name]
        rows, faults = plant_in_cells(name, table, np.ones(table.num_rows, bool), 0.1, stream(4, name))
        assert rows.schema.equals(table.schema)
        assert rows.num_rows == table.num_rows
        places = {(fault.row, fault.column) for fault in faults}
        columns = [column.name for column in CONTRACTS[name].columns if column.allowed]
        found = {(row, column) for column in columns for row, cell in enumerate(rows[column].to_pylist())
                 if cell == UNKNOWN}  # fmt: skip
        assert places == found
        assert bool(places) == bool(columns)


LINES = st.lists(
    st.fixed_dictionaries({
        "ITEM_ID": st.text(st.characters(codec="utf-8"), min_size=1, max_size=8),
        "TRANSACTION_ID": st.text(alphabet='ab"\\,}', min_size=1, max_size=5),
        "QUANTITY": st.integers(0, 9),
        "PRODUCT_NAME": st.none() | st.text(max_size=9),
        "ITEM_STATUS": st.sampled_from(["SOLD", "RETURNED"]),
    }),
    max_size=20,
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(LINES, st.floats(0, 1), st.integers(0, 2**32))
def test_planting_keeps_the_number_of_lines_and_touches_only_what_it_names(rows, share, seed):
    schema = CONTRACTS["CUSTOMER_TRANSACTION_ITEMS"].arrow
    table = pa.Table.from_pylist([{name: row.get(name) for name in schema.names} for row in rows], schema=schema)
    before = to_json_lines(table)
    allowed = np.arange(len(rows)) % 3 != 0
    after, offsets, faults = plant_in_lines(
        "CUSTOMER_TRANSACTION_ITEMS", before, allowed, share, np.random.default_rng(seed)
    )
    old, new = before.split(b"\n"), after.split(b"\n")
    assert len(old) == len(new)
    named = {fault.row for fault in faults}
    assert named <= set(np.flatnonzero(allowed))
    for row, (was, now) in enumerate(zip(old[:-1], new[:-1], strict=True)):
        assert (was == now) == (row not in named)
        assert after[offsets[row] :].startswith(now + b"\n")


@pytest.mark.parametrize("share", [-0.1, 0.5])
def test_impossible_shares_are_refused(share):
    with pytest.raises(UserError, match=f"late_share is {share}"):
        GeneratorSpec(late_share=share)
