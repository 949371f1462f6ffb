"""The golden record: for each attribute of a person the value that survives, where it comes from, and by which rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import polars as pl
import pyarrow as pa

_OLDEST = pl.CompatLevel.oldest()
VERIFIED, TRUSTED, RECENT, FREQUENT, LONGEST = CRITERIA = ("verified", "trusted", "recent", "frequent", "longest")
ONLY, SMALLEST = "only", "smallest"  # no other value was there; nothing told them apart but their order


@dataclass(frozen=True)
class Attribute:
    """What survives as one: a column, or several that belong together, as an address does.

    Attributes:
      name: of the provenance columns `<name>_source`, `<name>_at`, `<name>_rule`.
      columns: the columns of the records that it is made of.
      by: CRITERIA, the first that tells two values apart decides.
      verified: a bool column that says whether the value was verified.
    """

    name: str
    columns: tuple[str, ...]
    by: tuple[str, ...] = (VERIFIED, RECENT, TRUSTED, FREQUENT, LONGEST)
    verified: str | None = None

    def __post_init__(self) -> None:
        unknown = [criterion for criterion in self.by if criterion not in CRITERIA]
        if unknown or not self.columns or not self.by:
            raise ValueError(
                f"attribute {self.name}: {unknown or 'nothing'} is no criterion; use {', '.join(CRITERIA)}"
            )


@dataclass(frozen=True)
class SurvivorshipRules:
    """Which attributes a person has, and which sources are believed more.

    Attributes:
      sources: the most trusted first; a source that is not named comes last.
    """

    attributes: tuple[Attribute, ...]
    sources: tuple[str, ...] = ()
    ranks: Mapping[str, int] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        names = [attribute.name for attribute in self.attributes]
        columns = [column for attribute in self.attributes for column in attribute.columns]
        if len(set(names)) != len(names) or len(set(columns)) != len(columns):
            raise ValueError("an attribute or a column is named twice in the survivorship rules")
        object.__setattr__(self, "ranks", MappingProxyType({name: at for at, name in enumerate(self.sources)}))

    def __reduce__(self) -> tuple:
        return SurvivorshipRules, (self.attributes, self.sources)


def survive_attributes(records: pa.Table, map: pa.Table, rules: SurvivorshipRules) -> pa.Table:
    """One row a person: what is known of them, each value with its source, date and the rule that chose it.

    A value that is null in a record does not compete. Equal values of several records stand as one, with the best of
    what speaks for it. Neither the order of rows nor how records are spread over tables matters.

    Args:
      records: `record`, `source` string, `updated_at` timestamp (may be null), and the columns of the rules; a column
        that is absent is null.
      map: `record`, `person_id`.

    Returns: `person_id`, `records` (how many), `sources` (sorted list), and for each attribute its columns and
    `<name>_source`, `<name>_at`, `<name>_rule`: one of CRITERIA, "only" or "smallest"; ordered by person_id.
    """
    known = pl.DataFrame(pl.from_arrow(map.select(["record", "person_id"])))
    frame = pl.DataFrame(pl.from_arrow(records)).join(known, on="record")
    if "updated_at" not in frame.columns:
        frame = frame.with_columns(updated_at=pl.lit(None, pl.Datetime("us", "UTC")))
    persons = frame.group_by("person_id").agg(
        pl.len().cast(pl.Int64).alias("records"), pl.col("source").drop_nulls().unique().sort().alias("sources")
    )
    for attribute in rules.attributes:
        persons = persons.join(_survivors(frame, attribute, rules), on="person_id", how="left")
    return persons.sort("person_id").to_arrow(compat_level=_OLDEST)


def survivors_schema(rules: SurvivorshipRules, types: Mapping[str, pa.DataType]) -> pa.Schema:
    """The columns of `survive_attributes`; `types` of the attributes' columns, text where not given."""
    fields = [pa.field("person_id", pa.string(), nullable=False), pa.field("records", pa.int64(), nullable=False)]
    fields.append(pa.field("sources", pa.list_(pa.string())))
    for attribute in rules.attributes:
        fields += [pa.field(column, types.get(column, pa.string())) for column in attribute.columns]
        fields += [pa.field(f"{attribute.name}_source", pa.string())]
        fields += [pa.field(f"{attribute.name}_at", pa.timestamp("us", tz="UTC"))]
        fields += [pa.field(f"{attribute.name}_rule", pa.string())]
    return pa.schema(fields)


def _survivors(frame: pl.DataFrame, attribute: Attribute, rules: SurvivorshipRules) -> pl.DataFrame:
    """The winning value of each person that has one."""
    absent = [pl.lit(None, pl.String).alias(name) for name in attribute.columns if name not in frame.columns]
    values = frame.with_columns(absent) if absent else frame
    columns = list(attribute.columns)
    there = values.filter(pl.any_horizontal(pl.col(c).is_not_null() for c in columns))
    verified = attribute.verified if attribute.verified in frame.columns else None
    rated = there.with_columns(
        pl.concat_str([pl.col(c).cast(pl.String).fill_null("") for c in columns], separator="\x1f").alias("_value"),
        (pl.col(verified).fill_null(False) if verified else pl.lit(False)).cast(pl.Int64).alias("_verified"),
        (-pl.col("source").replace_strict(dict(rules.ranks), default=len(rules.ranks), return_dtype=pl.Int64)).alias(
            "_trusted"
        ),
        pl.col("updated_at").cast(pl.Datetime("us", "UTC")).to_physical().fill_null(_NEVER).alias("_recent"),
    )
    rated = rated.with_columns(
        pl.len().over("person_id", "_value").cast(pl.Int64).alias("_frequent"),
        pl.col("_value").str.len_chars().cast(pl.Int64).alias("_longest"),
    )
    by = [f"_{criterion}" for criterion in attribute.by]
    order = ["person_id", *by, "_value", "record"]
    ranked = rated.sort(order, descending=[False, *[True] * len(by), False, False])
    first = ranked.unique("person_id", keep="first", maintain_order=True)
    return _with_rule(first, ranked, by).select(
        "person_id",
        *columns,
        pl.col("source").alias(f"{attribute.name}_source"),
        pl.col("updated_at").cast(pl.Datetime("us", "UTC")).alias(f"{attribute.name}_at"),
        pl.col("_rule").alias(f"{attribute.name}_rule"),
    )


_NEVER = -(2**62)


def _with_rule(first: pl.DataFrame, ranked: pl.DataFrame, by: Sequence[str]) -> pl.DataFrame:
    """The winners with the criterion by which each beat the best other value."""
    others = ranked.join(first.select("person_id", best="_value"), on="person_id").filter(
        pl.col("_value") != pl.col("best")
    )
    second = others.unique("person_id", keep="first", maintain_order=True).select("person_id", *by)
    both = first.join(second, on="person_id", how="left", suffix="_next")
    rule: Any = pl.when(pl.col(f"{by[0]}_next").is_null()).then(pl.lit(ONLY))
    for name in by:
        rule = rule.when(pl.col(name) != pl.col(f"{name}_next")).then(pl.lit(name[1:]))
    return both.with_columns(rule.otherwise(pl.lit(SMALLEST)).alias("_rule"))


def _attributes() -> tuple[Attribute, ...]:
    recent = (RECENT, TRUSTED, FREQUENT, LONGEST)
    sure = (VERIFIED, RECENT, TRUSTED, FREQUENT)
    return (
        Attribute("given_name", ("given_name",), (TRUSTED, FREQUENT, LONGEST, RECENT)),
        Attribute("surname", ("surname",), (RECENT, TRUSTED, FREQUENT, LONGEST)),
        Attribute("birth_date", ("birth_date",), (FREQUENT, TRUSTED, RECENT)),
        Attribute("gender", ("gender",), (FREQUENT, TRUSTED, RECENT)),
        Attribute("email", ("email",), sure, "email_verified"),
        Attribute("phone", ("phone",), sure, "phone_verified"),
        Attribute("address", ("street", "city", "state", "postcode", "country"), recent),
        Attribute("national_id", ("national_id",), (FREQUENT, TRUSTED, RECENT)),
        Attribute("loyalty_id", ("loyalty_id",), recent),
    )


PERSON_RULES = SurvivorshipRules(_attributes())
