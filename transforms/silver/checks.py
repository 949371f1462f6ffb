"""Judges standardised rows by their contract: keep, keep with a flag, or reject with a reason."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.contracts import Column, Contract, Rule
from transforms.silver.distinct import as_array
from transforms.silver.flags import add_flags
from transforms.silver.split import REASON, RULE, Split

_CLOCK_SLACK = timedelta(days=1)  # clocks of tills and time zones go wrong by less
_NO_CLOCK = datetime(1971, 1, 1, tzinfo=UTC)  # a clock that was never set counts from 1970; year 1 is an empty date
_WORD = r"^[A-Za-z_-]{1,20}$"  # what an unknown value of an enumeration looks like, if it is one


@dataclass(frozen=True)
class Breach:
    """Rows that are rejected for one reason: the rule, a mask over all rows, and the words for some of them."""

    rule: str
    mask: np.ndarray
    words: Callable[[pa.Table], pl.Series]


def check(table: pa.Table, contract: Contract) -> Split:
    """Splits standardised rows into those kept, with flags, and those rejected, with a reason; order is kept.

    Rejected, with `_rule`: a required value missing (`required`), a key or foreign key beyond its length
    (`too_long`), a value outside an enumeration (`allowed_values`), a rule of the contract that rejects (its name).
    Flagged in `_flags`: `out_of_range:COLUMN`, `future:COLUMN` (event time more than a day after the row's
    `_ingested_at`, so that it does not matter when the check is made), `past:COLUMN` (event time before 1971: a clock
    that was never set, or an empty date), and the names of the contract's flagging rules. A reason shows values of
    numbers, moments and enumerations only (of these single words), none personal.
    """
    return check_against(table, table, contract)


def check_against(table: pa.Table, before: pa.Table, contract: Contract) -> Split:
    """As `check`, but the rejected rows are those of `before`: the same rows as they came, so that none is changed."""
    found = _breaches(table, contract)
    flagged = add_flags(table, _flag_masks(table, contract))
    if not found:
        return Split(flagged, explain(before.slice(0, 0), table.slice(0, 0), []))
    bad = np.logical_or.reduce([breach.mask for breach in found])
    reject = pa.array(bad)
    found = [Breach(breach.rule, breach.mask[bad], breach.words) for breach in found]
    return Split(flagged.filter(pa.array(~bad)), explain(before.filter(reject), table.filter(reject), found))


def explain(rejected: pa.Table, values: pa.Table, found: list[Breach]) -> pa.Table:
    """`rejected` with `_rule` (the first that a row breaks) and `_reason` (all of them, worded from `values`)."""
    if not found:
        nothing = pa.nulls(rejected.num_rows, pa.string())
        return rejected.append_column(RULE, nothing).append_column(REASON, nothing)
    rules = np.array([breach.rule for breach in found])[np.array([breach.mask for breach in found]).argmax(axis=0)]
    words = [pl.select(pl.when(pl.Series(b.mask)).then(b.words(values)).alias(str(i))) for i, b in enumerate(found)]
    reasons = pl.concat(words, how="horizontal").select(pl.concat_str(pl.all(), separator="; ", ignore_nulls=True))
    return rejected.append_column(RULE, pa.array(rules.tolist(), pa.string())).append_column(
        REASON, reasons.to_series().to_arrow().cast(pa.string())
    )


def _breaches(table: pa.Table, contract: Contract) -> list[Breach]:
    """Why rows are rejected, in the order in which the reasons count; only reasons that some row has."""
    keys = dict.fromkeys([*contract.key, *(key.column for key in contract.foreign_keys)])
    found = [_missing(table, column) for column in contract.columns if not column.nullable]
    found += [_too_long(table, contract[name]) for name in keys]
    found += [_not_allowed(table, column) for column in contract.columns if column.allowed]
    found += [_broken(table, rule, contract) for rule in contract.rules if rule.action == "reject"]
    return [breach for breach in found if breach.mask.any()]


def _missing(table: pa.Table, column: Column) -> Breach:
    words = f"{column.name} is missing"
    return Breach("required", _numpy(table[column.name].is_null()), lambda rows: _constant(words, rows))


def _too_long(table: pa.Table, column: Column) -> Breach:
    longest, values = column.type.max_length, as_array(table[column.name])
    if longest is None or (pc.max(pc.binary_length(values)).as_py() or 0) <= longest:
        return Breach("too_long", np.zeros(table.num_rows, bool), lambda rows: _constant("", rows))
    mask = _numpy(pc.fill_null(pc.greater(pc.utf8_length(values), longest), False))
    return Breach("too_long", mask, lambda rows: _shown(rows, column) + f" has more than {longest} characters")


def _not_allowed(table: pa.Table, column: Column) -> Breach:
    values = as_array(table[column.name])
    known = pc.is_in(values, pa.array([*column.allowed, None], pa.string()))
    words = f" is not one of {', '.join(column.allowed)}"
    return Breach("allowed_values", ~_numpy(known), lambda rows: _shown(rows, column) + words)


def _broken(table: pa.Table, rule: Rule, contract: Contract) -> Breach:
    def words(rows: pa.Table) -> pl.Series:
        shown = [_shown(rows, contract[name]).alias(name) for name in rule.columns]
        found = pl.DataFrame(shown).select(pl.concat_str(pl.all(), separator=", ")).to_series()
        return f"{rule.doc}, not so with " + found

    return Breach(rule.name, _violated(table, rule), words)


def _violated(table: pa.Table, rule: Rule) -> np.ndarray:
    frame = pl.DataFrame(pl.from_arrow(table.select(list(rule.columns))))
    return frame.select(pl.sql_expr(rule.violated).fill_null(False).alias("violated"))["violated"].to_numpy()


def _shown(rows: pa.Table, column: Column) -> pl.Series:
    """ "COLUMN 'value'" for each row; the name alone where the value may be about a person.

    That is any text but a word where words are expected: cells get mixed up, and keys may be e-mail addresses.
    """
    name, is_text = column.name, pa.types.is_string(column.type.arrow)
    if column.personal or (is_text and not column.allowed):
        return _constant(name, rows)
    values = pl.Series(pl.from_arrow(rows[name])).cast(pl.String)
    shown = values.str.contains(_WORD).fill_null(True) if is_text else pl.lit(True)
    value = pl.format(name + " '{}'", values).fill_null(name + " empty")
    return pl.select(pl.when(shown).then(value).otherwise(pl.lit(name))).to_series()


def _constant(words: str, rows: pa.Table) -> pl.Series:
    return pl.select(pl.repeat(words, rows.num_rows, dtype=pl.String)).to_series()


def _flag_masks(table: pa.Table, contract: Contract) -> dict[str, np.ndarray]:
    masks = {f"out_of_range:{c.name}": _outside(table, c) for c in contract.columns if (c.low, c.high) != (None, None)}
    masks |= {rule.name: _violated(table, rule) for rule in contract.rules if rule.action == "flag"}
    if contract.event_time:
        times = table[contract.event_time]
        masks[f"future:{contract.event_time}"] = _future(times, table["_ingested_at"])
        masks[f"past:{contract.event_time}"] = _numpy(
            pc.fill_null(pc.less(times, pa.scalar(_NO_CLOCK, pa.timestamp("us", "UTC")).cast(times.type)), False)
        )
    return masks


def _outside(table: pa.Table, column: Column) -> np.ndarray:
    values = pl.Series(pl.from_arrow(table[column.name])).cast(pl.Float64)
    inside = values.is_between(
        -math.inf if column.low is None else column.low, math.inf if column.high is None else column.high
    )
    return (~inside).fill_null(False).to_numpy()


def _future(times: pa.ChunkedArray, ingested: pa.ChunkedArray) -> np.ndarray:
    limit = pc.add(ingested, pa.scalar(_CLOCK_SLACK, pa.duration("us"))).cast(times.type)
    return _numpy(pc.fill_null(pc.greater(times, limit), False))


def _numpy(mask: pa.Array | pa.ChunkedArray) -> np.ndarray:
    return mask.to_numpy() if isinstance(mask, pa.ChunkedArray) else mask.to_numpy(zero_copy_only=False)
