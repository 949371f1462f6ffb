"""What is offered: facts from gold `recommendations`, and the section that draws them."""

from __future__ import annotations

from html import escape
from itertools import groupby
from typing import TYPE_CHECKING, Any

import polars as pl

from pipelines.config import Lake
from pipelines.report import plots, words
from pipelines.report.page import figure, paragraph, table
from transforms.contracts import CONTRACTS
from transforms.io.delta import open_table, read_table

if TYPE_CHECKING:
    from pipelines.report.facts import ReportFacts

_READ = ("person_id", "customer_id", "product_id", "rank_in_list", "algorithm", "reason", "model", "model_version")
_PEOPLE, _SHOWN = 3, 5


def gather(lake: Lake) -> dict[str, Any]:
    """`offers`: of each source, how many offers and to how many persons; `offered`: what a few persons bought last and
    are offered, without who they are. Nothing where there are no recommendations."""
    uri = lake.gold("recommendations")
    if open_table(uri) is None:
        return {}
    rows = pl.DataFrame(read_table(uri, columns=_READ))
    by_source = rows.group_by("algorithm").agg(
        offers=pl.len().cast(pl.Int64),
        persons=pl.col("person_id").n_unique().cast(pl.Int64),
        model=pl.concat_str("model", pl.lit(" version "), "model_version").first(),
    )
    people = rows.group_by("customer_id", "person_id").agg(kinds=pl.col("algorithm").n_unique())
    few = people.sort("kinds", "person_id", descending=[True, False]).head(_PEOPLE)["customer_id"].to_list()
    return {"offers": by_source.sort("offers", "algorithm", descending=[True, False]).to_arrow(),
            "offered": _examples(lake, rows, few).to_arrow()}  # fmt: skip


def _examples(lake: Lake, rows: pl.DataFrame, few: list[str]) -> pl.DataFrame:
    """`person` from 1, `kind` bought or offered, `rank`, `name` of the product, `reason`."""
    number = pl.DataFrame({"customer_id": few, "person": range(1, len(few) + 1)}, schema_overrides={"person": pl.Int64})
    offered = rows.filter(pl.col("rank_in_list") <= _SHOWN).join(number, on="customer_id")
    shown = offered.select(
        "person", "product_id", "reason", kind=pl.lit("offered"), rank=pl.col("rank_in_list").cast(pl.Int64)
    )
    bought = _bought(lake, number)
    both = pl.concat([bought.select(shown.columns), shown])
    names = _names(lake, both["product_id"].unique().to_list())
    named = both.join(names, on="product_id", how="left").with_columns(name=pl.coalesce("name", "product_id"))
    return named.select("person", "kind", "rank", "name", "reason").sort("person", "kind", "rank")


def _bought(lake: Lake, number: pl.DataFrame) -> pl.DataFrame:
    orders, items = (lake.silver(CONTRACTS[f"CUSTOMER_TRANSACTION{end}"]) for end in ("S", "_ITEMS"))
    none = pl.DataFrame(schema={"person": pl.Int64, "product_id": pl.String, "reason": pl.String, "kind": pl.String,
                                "rank": pl.Int64})  # fmt: skip
    if open_table(orders) is None or open_table(items) is None or not number.height:
        return none
    mine = (("CUSTOMER_ID", "in", number["customer_id"].to_list()), ("TRANSACTION_TYPE", "=", "PURCHASE"))
    columns = ("TRANSACTION_ID", "CUSTOMER_ID", "TRANSACTION_DATE")
    made = pl.DataFrame(read_table(orders, columns=columns, where=mine))
    if not made.height:
        return none
    told = (("TRANSACTION_ID", "in", made["TRANSACTION_ID"].to_list()),)
    lines = pl.DataFrame(read_table(items, columns=("TRANSACTION_ID", "PRODUCT_ID"), where=told))
    rows = lines.drop_nulls().join(made, on="TRANSACTION_ID")
    rows = rows.join(number, left_on="CUSTOMER_ID", right_on="customer_id")
    rows = rows.sort("TRANSACTION_DATE", "PRODUCT_ID", descending=[True, False])
    last = rows.unique(["person", "PRODUCT_ID"], keep="first", maintain_order=True)
    last = last.with_columns(rank=pl.int_range(1, pl.len() + 1).over("person")).filter(pl.col("rank") <= _SHOWN)
    return last.select("person", "rank", product_id="PRODUCT_ID", reason=pl.lit(""), kind=pl.lit("bought"))


def _names(lake: Lake, products: list[str]) -> pl.DataFrame:
    uri = lake.silver(CONTRACTS["CUSTOMER_TRANSACTION_ITEMS"])
    if open_table(uri) is None:
        return pl.DataFrame(schema={"product_id": pl.String, "name": pl.String})
    told = read_table(uri, columns=("PRODUCT_ID", "PRODUCT_NAME"), where=(("PRODUCT_ID", "in", products),))
    named = pl.DataFrame(told).group_by(product_id="PRODUCT_ID")
    return named.agg(name=pl.col("PRODUCT_NAME").drop_nulls().last())


def offers(facts: ReportFacts) -> str:
    """Where the offers come from, and what a few persons bought and are offered, and why."""
    rows = facts.rows("offers")
    if not rows:
        return ""
    total = sum(row["offers"] for row in rows)
    labels, counts = [row["algorithm"] for row in rows], [row["offers"] for row in rows]
    texts = [f"{words.count(count)} ({words.share(count, total)})" for count in counts]
    says = f"{words.of(total, 'offer')} by {rows[0]['model']}; the source named is the one that ranks it highest."
    draw = plots.svg("offers", "Bars: offers by source", plots.bars(labels, counts, texts), 0.7 + 0.3 * len(rows))
    parts = [figure("Offers by the source that ranks them highest", draw, says)]
    for person, group in groupby(facts.rows("offered"), key=lambda row: row["person"]):
        listed = list(group)
        had = ", ".join(row["name"] for row in listed if row["kind"] == "bought")
        parts.append(paragraph(f"Person {person} bought last: {had or 'nothing'}."))
        lines = [
            [words.count(row["rank"]), escape(row["name"]), escape(row["reason"])]
            for row in listed
            if row["kind"] == "offered"
        ]
        parts.append(table(("rank", "offered", "why"), lines, (0,)))
    return "".join(parts)
