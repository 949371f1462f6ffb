"""Records about persons from people's own files, ready to be compared."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl
import pyarrow as pa

from pipelines.console import counted
from pipelines.own_files import BATCH_ROWS, Refusals, Source, column_names, plan
from transforms.errors import UsageError, UserError
from transforms.identity.fields import FIELDS, RECORD_KEY
from transforms.identity.standard import standardise_records
from transforms.io.column_map import Target, has, named
from transforms.io.files import discover, read_split, split

ID = "record_id"
_IDS = ("recordid", "recid", "id", "customerid", "custid", "customerno", "customernumber", "contactid", "clientid",
        "memberid", "leadid", "voterid", "userid", "uuid", "rowid", "kundennummer", "customer")  # fmt: skip
TARGETS = (Target(ID, False, _IDS), *(Target(name, False, field.synonyms) for name, field in FIELDS.items()))


@dataclass(frozen=True)
class OwnRecords:
    """Records of some files.

    Attributes:
      table: `record_key` ("file:id") and the columns that any file has, as `standardise_records` gives them.
      named: `record_key`, `source` (the file's name) and `record_id` as the file has it, in order of reading.
      notes: what the reader should know about ids.
    """

    table: pa.Table
    named: pl.DataFrame
    notes: tuple[str, ...]


def plan_records(locations: Sequence[str], explicit: Mapping[str, str], format: str | None = None) -> list[Source]:
    """The files of all locations, each with its own columns recognised; a given column may be in some files only.

    Raises:
      UserError: a given column is in no file, or a file has no column about a person.
    """
    headers = {f: column_names(f) for place in dict.fromkeys(locations) for f in discover(place, format)}
    everywhere = [name for names in headers.values() for name in names]
    for column in explicit.values():
        if everywhere and not _among(column, everywhere):
            raise UsageError(
                f"--map wants the column {column!r}", has("the input", everywhere, TARGETS), "check its name"
            )
    sources = []
    for file, names in headers.items():
        if names:
            here = {target: column for target, column in explicit.items() if _among(column, names)}
            sources += plan(file.path, TARGETS, here, format)
    for source in sources:
        if not set(source.columns.columns) - {ID}:
            raise UserError(
                "no column says anything about a person",
                f"{source.file.path}; {has('the file', column_names(source.file), TARGETS)}",
                "name columns with --map given_name=COLUMN --map surname=COLUMN ...",
            )
    if not sources:
        raise UserError("the files are empty", where=", ".join(locations), remedy="give files with records")
    return sources


def _among(column: str, names: Sequence[str]) -> bool:
    return column.strip().lower() in {name.strip().lower() for name in names}


def read_records(sources: Sequence[Source], refusals: Refusals) -> OwnRecords:
    """All records of the files. Each file is standardised for itself, so that types may differ between files.

    A record without an id, or with one that another of its file had before, is named by its row.
    """
    labels = _labels(sources)
    tables, named_parts, notes = [], [], []
    for source in sources:
        rows = _rows(source, refusals)
        if not rows.height:
            continue
        label = labels[source.file.path]
        keys, note = _keys(rows, label)
        named_parts.append(keys)
        records = rows.drop(ID, strict=False).insert_column(0, keys[RECORD_KEY])
        try:
            tables.append(standardise_records(records.to_arrow(compat_level=pl.CompatLevel.oldest())))
        except UserError as error:
            raise UserError(error.what, f"{source.file.path}; {error.where}", error.remedy) from None
        notes += note + _not_understood(records, tables[-1], label)
    if not tables:
        raise _without_records(sources, refusals)
    whole = pa.concat_tables(tables, promote_options="default").combine_chunks()
    return OwnRecords(whole.replace_schema_metadata(tables[0].schema.metadata), pl.concat(named_parts), tuple(notes))


def _without_records(sources: Sequence[Source], refusals: Refusals) -> UserError:
    where = sources[0].file.path
    if not refusals.counts:
        return UserError("the files have no record", where, "give files with records")
    why = ", ".join(f"{count:,} {rule}" for rule, count in sorted(refusals.counts.items()))
    return UserError(f"no record can be read ({why})", where, "see the rows with --rejects FILE; text is read as UTF-8")


def _not_understood(rows: pl.DataFrame, standard: pa.Table, source: str) -> list[str]:
    """What to say about columns most of whose values are nothing of their kind, and about records that say nothing."""
    known = pl.DataFrame(pl.from_arrow(standard))
    told = []
    for name in (n for n in known.columns if n in rows.columns and n != RECORD_KEY and known[n].dtype == pl.String):
        lost = known[name].null_count() - rows[name].null_count()
        if 2 * lost <= rows.height - rows[name].null_count():
            continue
        blank = rows[name].cast(pl.String, strict=False).str.strip_chars() == ""
        given = rows.height - rows[name].null_count() - int(blank.sum())
        understood = known.height - known[name].null_count()
        if 2 * understood < given:
            told.append(f"{source}: {understood:,} of {counted(given, 'value')} of {name} are understood")
    values = [n for n in known.columns if n != RECORD_KEY and known[n].dtype == pl.String]
    silent = known.select(pl.all_horizontal(pl.col(values).is_null()).sum()).item() if values else known.height
    if silent:
        alone = counted(silent, "record")
        told.append(f"{source}: {alone} without any value to compare, each a person of its own")
    return told


def _labels(sources: Sequence[Source]) -> dict[str, str]:
    """The name of each file, or its path where two have the same name."""
    names = Counter(os.path.basename(path) for path in {source.file.path for source in sources})
    return {s.file.path: n if names[n := os.path.basename(s.file.path)] == 1 else s.file.path for s in sources}


def _rows(source: Source, refusals: Refusals) -> pl.DataFrame:
    """The rows of one file with the target columns that it has; values as the file types them."""
    renames = tuple((column, target) for target, column in source.columns.columns.items())
    wanted, parts = list(source.columns.columns), []
    for part in split(replace(source.file, renames=renames)):
        for parsed in read_split(part, wanted, BATCH_ROWS, [column for column, _ in renames]):
            refusals.unreadable(parsed, source.file.path)
            rows = parsed.rows.select([name for name in parsed.rows.schema.names if name in wanted])
            if rows.num_columns and rows.num_rows:
                parts.append(pl.DataFrame(pl.from_arrow(rows)))
    return pl.concat(parts, how="diagonal_relaxed") if parts else pl.DataFrame()


def _keys(rows: pl.DataFrame, source: str) -> tuple[pl.DataFrame, list[str]]:
    """(record_key, source, record_id) of each row, and what to say about ids."""
    number = pl.int_range(1, pl.len() + 1).cast(pl.String)
    if ID not in rows.columns:
        notes = [f"{source}: no column for {ID}; records are named by their row"]
        ids = rows.select(record_id=number, twice=pl.lit(False), missing=pl.lit(False))
    else:
        text = pl.col(ID).cast(pl.String).str.strip_chars()
        text = pl.when(text != "").then(text)
        twice = text.is_not_null() & ~text.is_first_distinct()
        ids = rows.select(record_id=text, twice=twice, missing=text.is_null())
        told = {"without an id": int(ids["missing"].sum()), "with the id of another": int(ids["twice"].sum())}
        notes = [f"{source}: {counted(n, 'record')} {what}, named by row" for what, n in told.items() if n]
    row = pl.lit("#") + number
    name = pl.when("missing").then(row).when("twice").then(pl.col("record_id") + row).otherwise("record_id")
    keys = ids.with_columns(name=name)
    clash = ~pl.col("name").is_first_distinct()  # an id that looks like such a name
    keys = keys.with_columns(name=pl.when(clash).then(pl.col("name") + row + row).otherwise("name"))
    return keys.select(
        (pl.lit(f"{source}:") + pl.col("name")).alias(RECORD_KEY), pl.lit(source).alias("source"), "record_id"
    ), notes


def find_record(asked: str, records: OwnRecords) -> str:
    """The key of the record that a person means by "id" or "file:id".

    Raises:
      UserError: there is none, or several files have this id.
    """
    known = records.named
    if known.filter(pl.col(RECORD_KEY) == asked).height:
        return asked
    found = known.filter(pl.col("record_id") == asked)[RECORD_KEY].to_list()
    if len(found) == 1:
        return str(found[0])
    if found:
        shown = named(known.filter(pl.col("record_id") == asked)["source"].unique(maintain_order=True).to_list())
        raise UserError(f"several records have the id {asked!r}", shown, "write it as FILE:ID")
    raise UserError(f"no record has the id {asked!r}", "the input", "write it as in the file, or as FILE:ID")
