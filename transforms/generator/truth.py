"""What is true about generated data: the answer sheet for identity, churn, taste, attribution and cleaning."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.generator.population import Population

_MOMENT = pa.timestamp("us", tz="UTC")

SCHEMAS: dict[str, pa.Schema] = {
    # Which records are one person, and how a further record differs from the first ("typo+moved").
    "persons": pa.schema([("customer_id", pa.string()), ("person", pa.string()), ("change", pa.string())]),
    # How often each person truly buys while active, and when they left for good (null: still there at the end).
    "churned": pa.schema([("person", pa.string()), ("active_from", _MOMENT), ("churned_at", _MOMENT),
                          ("orders_per_year", pa.float64())]),
    # Share of each person's purchases that goes to a category; shares under 0.01 are left out.
    "tastes": pa.schema([("person", pa.string()), ("category", pa.string()), ("weight", pa.float64())]),
    # Orders that would not have happened without a touch. `lift` is the probability that such a click causes one
    # (null where the order is real and the touch was planted before it).
    "causes": pa.schema([("transaction_id", pa.string()), ("customer_id", pa.string()), ("campaign_id", pa.string()),
                         ("engagement_id", pa.string()), ("touched_at", _MOMENT), ("lift", pa.float64())]),
    # Who was behind an anonymous session.
    "visitors": pa.schema([("session_id", pa.string()), ("customer_id", pa.string())]),
    # Planted faults; `file` is relative to the data set, `position` as the readers count: byte offset of the line in
    # JSON lines, row number in Parquet.
    "broken": pa.schema([("table", pa.string()), ("key", pa.string()), ("fault", pa.string()), ("column", pa.string()),
                         ("stage", pa.string()), ("file", pa.string()), ("position", pa.int64())]),
    "duplicates": pa.schema([("table", pa.string()), ("key", pa.string()), ("kind", pa.string()),
                             ("file", pa.string()), ("position", pa.int64())]),
    "late": pa.schema([("table", pa.string()), ("key", pa.string()), ("event_at", _MOMENT), ("arrived_at", _MOMENT),
                       ("file", pa.string()), ("position", pa.int64())]),
}  # fmt: skip


def truth_of_people(population: Population, categories: tuple[str, ...]) -> dict[str, pa.Table]:
    """The tables `persons`, `churned` and `tastes` of one shard."""
    persons, records = population.persons, population.records
    left = pl.when("churned").then("left").cast(pl.Datetime("us", "UTC"))
    tastes = pl.DataFrame(population.tastes, schema=list(categories)).with_columns(persons["person"])
    tastes = tastes.unpivot(index="person", variable_name="category", value_name="weight")
    tastes = tastes.filter(pl.col("weight") >= 0.01).sort(
        "person", "weight", "category", descending=[False, True, False]
    )
    return {
        "persons": typed("persons", records.select(
            customer_id="CUSTOMER_ID", person=persons["person"].gather(records["person"]), change="change")),
        "churned": typed("churned", persons.select(
            "person", active_from=pl.col("active_from").cast(pl.Datetime("us", "UTC")), churned_at=left,
            orders_per_year="rate")),
        "tastes": typed("tastes", tastes),
    }  # fmt: skip


def typed(name: str, frame: pl.DataFrame) -> pa.Table:
    """The frame with exactly the columns and types of a truth table."""
    schema = SCHEMAS[name]
    return frame.select(schema.names).to_arrow(compat_level=pl.CompatLevel.oldest()).cast(schema)


def empty_truth() -> dict[str, pa.Table]:
    return {name: schema.empty_table() for name, schema in SCHEMAS.items()}
