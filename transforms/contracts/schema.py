"""The vocabulary that a source table is declared in; parsing, checks, generation, docs and tests all read it."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Literal

import pyarrow as pa

_TIMESTAMP = pa.timestamp("us", tz="UTC")


@dataclass(frozen=True)
class Type:
    """A column type as the source's data dictionary writes it, with the Arrow type it has in the lake."""

    sql: str
    arrow: pa.DataType
    max_length: int | None = None

    def __str__(self) -> str:
        return self.sql


def varchar(length: int) -> Type:
    """Text of at most `length` characters; longer text is kept in bronze and cut, with a flag, in silver."""
    return Type(f"VARCHAR({length})", pa.string(), length)


def decimal(precision: int, scale: int) -> Type:
    """An exact decimal number."""
    return Type(f"DECIMAL({precision},{scale})", pa.decimal128(precision, scale))


TEXT = Type("TEXT", pa.string())
INTEGER = Type("INTEGER", pa.int64())
DATE = Type("DATE", pa.date32())
TIMESTAMP = Type("TIMESTAMP", _TIMESTAMP)
BOOLEAN = Type("BOOLEAN", pa.bool_())


@dataclass(frozen=True)
class Column:
    """One column of a source table.

    Attributes:
      nullable: False makes a row without a value a reject.
      allowed: the values of an enumeration; another value is a reject in silver.
      low, high: the plausible range, inclusive; a value outside is flagged in silver, not rejected.
      personal: the value identifies or describes a person and never reaches a log, a metric or a message.
      standard: the name of the standardiser that silver applies ("email", "phone", "name", "address",
        "city", "state", "postcode", "country", "currency", "code", "text").
    """

    name: str
    type: Type
    nullable: bool = True
    allowed: tuple[str, ...] = ()
    low: float | None = None
    high: float | None = None
    personal: bool = False
    standard: str = ""
    doc: str = ""


@dataclass(frozen=True)
class ForeignKey:
    """`column` holds keys of the table named `table`; a value without a parent makes the row an orphan."""

    column: str
    table: str


@dataclass(frozen=True)
class Rule:
    """A check over several columns of one row.

    Attributes:
      violated: a Polars SQL expression over the columns, true for a row that breaks the rule; null is no violation.
      action: "reject" sends the row to the rejects in silver, "flag" keeps it with the rule's name in `_flags`.
    """

    name: str
    violated: str
    doc: str
    columns: tuple[str, ...]
    action: Literal["reject", "flag"] = "flag"


@dataclass(frozen=True)
class Partition:
    """The lake folder a row lies in, cut from a date or timestamp column: `_day` (2010-12-01) or `_month` (2010-12)."""

    column: str
    by: Literal["day", "month"]

    @property
    def name(self) -> str:
        return f"_{self.by}"


@dataclass(frozen=True)
class Precedence:
    """What tells of two versions of a row which is later when nothing says when each was made.

    Attributes:
      values: the stages a row goes through, first to last, so that the further one is later; without them the greater
        value of the column is. Null is earliest.
    """

    column: str
    values: tuple[str, ...] = ()


class Arrival(Enum):
    """How a table reaches the lake in production; any table can also be read from files."""

    STREAM = "stream"
    BATCH = "batch"


@dataclass(frozen=True)
class Contract:
    """One source table.

    Attributes:
      path: the folder below `bronze/` and `silver/`.
      key: the primary key. Of several rows with one key the latest version is kept in silver.
      version: the columns that say which row is later (greatest wins); by default the event time. Of rows that tie
        the one ingested later wins; a table with neither (customers) goes by ingestion alone.
      precedence: which of the rows that one run ingested is later, before the content decides, so that the order of
        files does not matter. A stage may be taken back (a ticket reopened): seen in a later run, that row wins.
      event_time: when the thing happened (date or timestamp), or None for slowly changing tables.
      outliers: numeric columns whose statistical outliers silver flags.
    """

    name: str
    system: str
    path: str
    arrival: Arrival
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    foreign_keys: tuple[ForeignKey, ...] = ()
    event_time: str | None = None
    version: tuple[str, ...] = ()
    precedence: tuple[Precedence, ...] = ()
    partition: Partition | None = None
    rules: tuple[Rule, ...] = ()
    outliers: tuple[str, ...] = ()
    doc: str = ""
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {column.name: column for column in self.columns})
        named = [*self.key, *self.version, *self.outliers, *(key.column for key in self.foreign_keys)]
        named += [name for rule in self.rules for name in rule.columns]
        named += [stages.column for stages in self.precedence]
        named += [self.event_time] if self.event_time else []
        named += [self.partition.column] if self.partition else []
        unknown = sorted(set(named) - set(self._by_name))
        if unknown or len(self._by_name) != len(self.columns):
            raise ValueError(f"contract {self.name}: undeclared or repeated columns: {unknown or 'repeated'}")
        for stages in self.precedence:
            unranked = set(self._by_name[stages.column].allowed) ^ set(stages.values) if stages.values else set()
            if unranked:
                raise ValueError(
                    f"contract {self.name}: not both stage and value of {stages.column}: {sorted(unranked)}"
                )
        nullable_key = [name for name in self.key if self._by_name[name].nullable]
        if nullable_key:
            raise ValueError(f"contract {self.name}: key columns must not be nullable: {nullable_key}")

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def order_by(self) -> tuple[str, ...]:
        """The columns that decide which of two rows with one key is later."""
        return self.version or ((self.event_time,) if self.event_time else ())

    @property
    def personal(self) -> frozenset[str]:
        return frozenset(column.name for column in self.columns if column.personal)

    @property
    def arrow(self) -> pa.Schema:
        """The columns with their Arrow types, in declared order; required columns are not nullable."""
        return pa.schema([pa.field(c.name, c.type.arrow, c.nullable) for c in self.columns])

    @property
    def partition_by(self) -> tuple[str, ...]:
        return (self.partition.name,) if self.partition else ()
