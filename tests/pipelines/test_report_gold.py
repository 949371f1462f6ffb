"""Facts of gold's tables for the report, from small tables whose answers are plain to see."""

from __future__ import annotations

from datetime import date, timedelta

import polars as pl
import pyarrow as pa
import pytest

from pipelines.config import Lake
from pipelines.report import gold
from transforms.gold.journeys.paths import COMMON_PATHS
from transforms.gold.moves import SEGMENT_MOVES
from transforms.gold.tables import CUSTOMER_TABLES
from transforms.gold.value.worth import MODEL_SCORES
from transforms.io.delta import overwrite_rows


@pytest.fixture
def lake(tmp_path):
    return Lake(str(tmp_path))


def put(lake, name, rows, schema):
    blank = {f.name: None if f.nullable else 0 for f in schema}
    filled = [blank | row for row in rows]
    overwrite_rows(lake.gold(name), pa.Table.from_pylist(filled, schema=schema), whole_table=True)


def test_a_lake_without_gold_has_no_such_facts(lake):
    assert gold.gather(lake, "GBP") == {}


def test_cohorts_count_each_customer_once_a_month(lake):
    orders = {"A": [1, 1, 3], "B": [1, 4], "C": [2, 3]}
    rows = [
        {"dimension": "customer", "key": who, "currency": "GBP" if n % 2 else "EUR", "period": "month",
         "starts_on": date(2010, month, 1), "orders_count": 1}
        for who, months in orders.items() for n, month in enumerate(months)
    ]  # fmt: skip
    rows += [rows[0] | {"period": "day", "starts_on": date(2010, 7, 7)}, rows[0] | {"orders_count": 0, "key": "D"}]
    put(lake, "customer_behaviour", rows, CUSTOMER_TABLES["customer_behaviour"])
    found = pl.DataFrame(gold.gather(lake, "GBP")["cohorts"]).rows()
    one, two = date(2010, 1, 1), date(2010, 2, 1)
    assert found == [(one, 0, 2, 2), (one, 2, 1, 2), (one, 3, 1, 2), (two, 0, 1, 1), (two, 1, 1, 1)]


def test_flows_keep_every_journey_in_every_layer(lake):
    paths = [("A > B > A > C > D > (conversion)", True, 5), ("A", False, 3), ("B > (conversion)", True, 2)]
    paths += [(f"S{n} > A", False, 1) for n in range(9)]
    put(lake, "journey_paths", [{"path": p, "converted": c, "journeys": n} for p, c, n in paths], COMMON_PATHS)
    rows = pl.DataFrame(gold.gather(lake, "GBP")["flows"])
    assert rows.group_by("layer").agg(pl.col("journeys").sum()).sort("layer").rows() == [(0, 19), (1, 19), (2, 19)]
    told = {row[:3]: row[3] for row in rows.rows()}
    assert told[0, "A", "B"] == told[1, "B", "C"] == told[2, "C", "order"] == 5
    assert told[0, "A", "no order"] == 3 and told[0, "B", "order"] == 2
    assert rows.filter((pl.col("layer") == 0) & (pl.col("from_step") == "others"))["journeys"].sum() == 5
    into = rows.filter(pl.col("layer") == 0).group_by(step="to_step").agg(pl.col("journeys").sum()).sort("step")
    out = rows.filter(pl.col("layer") == 1).group_by(step="from_step").agg(pl.col("journeys").sum()).sort("step")
    assert into.rows() == out.rows()


def test_the_first_run_has_no_moves(lake):
    moves = [{"from_segment": "(new)", "to_segment": "loyal", "customers_count": 3}]
    put(lake, "segment_moves", moves, SEGMENT_MOVES)
    assert gold.gather(lake, "GBP")["moves"].num_rows == 0
    put(lake, "segment_moves", [*moves, moves[0] | {"from_segment": "loyal"}], SEGMENT_MOVES)
    assert gold.gather(lake, "GBP")["moves"].num_rows == 2


def test_calibration_is_that_of_the_served_model(lake):
    day = date(2010, 9, 1)
    rows = [
        {"task": "value", "model": model, "origin": day - timedelta(days=back), "horizon_days": 90,
         "served": model == "blend", "measure": measure, "value": value}
        for model, back, measure, value in [
            ("blend", 0, "orders_foreseen_tenth_1", 0.5), ("blend", 0, "orders_came_tenth_1", 0.25),
            ("blend", 0, "orders_foreseen_tenth_10", 4.0), ("blend", 0, "orders_came_tenth_10", 5.0),
            ("blend", 0, "orders_mae", 1.0), ("blend", 90, "orders_mae", 2.0), ("mean", 0, "orders_mae", 3.0),
        ]
    ]  # fmt: skip
    put(lake, "model_scores", rows, MODEL_SCORES)
    found = gold.gather(lake, "GBP")
    told = pl.DataFrame(found["calibration"]).select("tenth", "foreseen", "came", "days", "model").rows()
    assert told == [(1, 0.5, 0.25, 90, "blend"), (10, 4.0, 5.0, 90, "blend")]
    assert pl.DataFrame(found["models"]).select("model", "served", "orders_mae").rows() == [
        ("blend", True, 1.5), ("mean", False, 3.0),
    ]  # fmt: skip
