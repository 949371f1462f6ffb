"""Gold's tables over buckets: any split of the customers gives the same tables, to the last row."""

from __future__ import annotations

from datetime import UTC, datetime

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from pipelines.config import GOLD
from transforms.generator.dataset import tables
from transforms.generator.spec import GeneratorSpec
from transforms.gold.orders import attach_customers
from transforms.gold.publish import MergeParts
from transforms.gold.tables import (
    CAMPAIGNS,
    CUSTOMER_TABLES,
    INPUTS,
    PARTS,
    SHOP_TABLES,
    GoldContext,
    count_bucket,
    finish_tables,
)
from transforms.gold.value.worth import fit_worth, orders_of_transactions
from transforms.shuffle import bucket_of

AS_OF = datetime(2010, 12, 31, 23, tzinfo=UTC)
ITEMS, ORDERS = "CUSTOMER_TRANSACTION_ITEMS", "CUSTOMER_TRANSACTIONS"


@pytest.fixture(scope="module")
def silver() -> dict[str, pa.Table]:
    found: dict[str, list[pa.Table]] = {}
    for name, rows in tables(GeneratorSpec(customers=60, days=90).clean):
        found.setdefault(name, []).append(rows)
    whole = {name: pa.concat_tables(parts) for name, parts in found.items()}
    chosen = {name: whole[name].select(list(columns)) for name, columns in INPUTS.items()}
    chosen[ITEMS] = attach_customers(chosen[ITEMS], chosen[ORDERS])
    return chosen | {CAMPAIGNS: whole[CAMPAIGNS]}


@pytest.fixture(scope="module")
def context(silver) -> GoldContext:
    return GoldContext(AS_OF, silver[CAMPAIGNS], "GBP", fit_worth(orders_of_transactions(silver[ORDERS], AS_OF)))


@pytest.fixture(scope="module")
def whole(silver, context):  # type: ignore[no-untyped-def]
    rows, parts = count_bucket({name: table for name, table in silver.items() if name != CAMPAIGNS}, context)
    return rows, finish_tables(parts, context)


def test_every_split_of_the_customers_gives_the_same_tables(silver, context, whole):
    rows: dict[str, list[pa.Table]] = {}
    combiner = MergeParts()
    held = {name: [combiner.create_accumulator(), combiner.create_accumulator()] for name in PARTS}
    for number in range(3):
        bucket = {
            name: table.filter(pa.array(bucket_of(table, ("CUSTOMER_ID",), 3) == number))
            for name, table in silver.items() if name != CAMPAIGNS
        }  # fmt: skip
        mine, parts = count_bucket(bucket, context)
        for name, table in mine.items():
            rows.setdefault(name, []).append(table)
        for name, table in parts.items():
            batch = table.combine_chunks().to_batches()
            one = (name, batch[0] if batch else pa.RecordBatch.from_pylist([], schema=table.schema))
            held[name][number % 2] = combiner.add_input(held[name][number % 2], one)
    merged = {
        name: pa.Table.from_batches([combiner.extract_output(combiner.merge_accumulators(reversed(some)))])
        for name, some in held.items()
    }
    of_customers, of_the_shop = whole
    for name, several in rows.items():
        together = pl.DataFrame(pa.concat_tables(several))
        assert together.sort(together.columns[:5]).equals(
            pl.DataFrame(of_customers[name]).sort(together.columns[:5])
        ), name
    for name, table in finish_tables(merged, context).items():
        assert table.equals(of_the_shop[name]), name


def test_tables_have_their_schemas_and_a_place_in_the_lake(whole):
    of_customers, of_the_shop = whole
    assert {name: t.schema for name, t in of_customers.items()} == dict(CUSTOMER_TABLES)
    assert {name: t.schema for name, t in of_the_shop.items()} == dict(SHOP_TABLES)
    assert {*CUSTOMER_TABLES, *SHOP_TABLES, "customer_360", "realtime_features", "segment_moves"} == set(GOLD)
    empty = {name for name, table in {**of_customers, **of_the_shop}.items() if not table.num_rows}
    assert empty <= {"model_scores"}  # 90 days and 60 customers are hardly enough for a holdout


def test_credit_adds_up_to_all_orders_of_customers(silver, whole):
    orders = pl.DataFrame(silver[ORDERS]).filter(
        (pl.col("TRANSACTION_TYPE") == "PURCHASE") & (pl.col("TRANSACTION_STATUS") == "COMPLETED")
    )
    known = orders.drop_nulls("CUSTOMER_ID")
    value = float(known.filter(pl.col("CURRENCY_CODE") == "GBP")["TOTAL_AMOUNT"].sum())
    sums = pl.DataFrame(whole[1]["attribution"]).group_by("level", "model").agg(pl.col("conversions", "value").sum())
    assert sums["conversions"].to_list() == pytest.approx([known.height] * sums.height)
    assert sums["value"].to_list() == pytest.approx([value] * sums.height)
    days = pl.DataFrame(whole[1]["behaviour"]).filter((pl.col("dimension") == "all") & (pl.col("period") == "week"))
    assert days["orders_count"].sum() == orders.height


def test_touchpoints_are_one_ordered_path_a_customer(silver, whole):
    path = pl.DataFrame(whole[0]["touchpoints"])
    for (_,), mine in path.group_by("person_id"):
        assert mine["position"].to_list() == list(range(1, mine.height + 1)) and mine["started_at"].is_sorted()
    events = pl.DataFrame(silver["CUSTOMER_BEHAVIORAL_EVENTS"]).drop_nulls("CUSTOMER_ID")
    counted = path.filter(pl.col("step") == "CART_ADD")["repeats_count"].sum()
    assert counted == events.filter(pl.col("EVENT_TYPE") == "CART_ADD").height
    assert path.filter(pl.col("step") == "ORDER")["repeats_count"].max() == 1


def test_a_campaign_without_spend_or_credit_has_a_row_and_no_return(silver, context, whole):
    returns = pl.DataFrame(whole[1]["campaign_returns"])
    assert set(returns["campaign_id"]) >= set(silver[CAMPAIGNS]["CAMPAIGN_ID"].to_pylist())
    told = returns.filter(pl.col("spent_amount") > 0)
    spent = told["spent_amount"].cast(pl.Float64)
    assert told["return_on_spend"].to_list() == pytest.approx(((told["value"] - spent) / spent).to_list())
    unknown = context.campaigns.set_column(
        context.campaigns.schema.get_field_index("SPENT_AMOUNT"), "SPENT_AMOUNT",
        pc.if_else(True, pa.scalar(None, pa.decimal128(12, 2)), context.campaigns["SPENT_AMOUNT"]),
    )  # fmt: skip
    from transforms.gold.attribution.returns import campaign_returns

    by_campaign = pl.DataFrame(whole[1]["attribution"]).filter(pl.col("level") == "campaign").to_arrow()
    none = pl.DataFrame(campaign_returns(by_campaign, unknown))
    assert none["return_on_spend"].null_count() == none.height > 0


def test_nothing_at_all_gives_empty_tables():
    context = GoldContext(AS_OF)
    rows, parts = count_bucket({}, context)
    made = finish_tables(parts, context)
    assert {t.num_rows for t in rows.values()} == {0}
    assert {name for name, table in made.items() if table.num_rows} == {"journey_funnel"}
    assert made["journey_funnel"]["persons"].to_pylist() == [0, 0, 0, 0]
