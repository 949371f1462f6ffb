"""The statements, in Snowflake's SQL, that bring the rows of a table up to a staged table of what they should be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlglot import exp

from transforms.warehouse.targets import Target

BEGINNING, END = "'0001-01-01'", "'9999-12-31'"


def staged(source: str) -> str:
    """The staging table of a source's rows; a load has its own, of no schema."""
    return f"SRC_{source}"


def new_rows(target: Target) -> str:
    """The staging table of the rows that a table should have."""
    return f"NEW_{target.name.replace('.', '_')}"


@cache
def make_rows(target: Target) -> str:
    """CREATE TABLE of the rows the table should have, from the staged sources."""

    def renamed(node: exp.Expr) -> exp.Expr:
        if isinstance(node, exp.Table) and node.db == "SRC":
            return exp.to_table(staged(node.name), alias=node.alias or node.name)
        return node

    return (
        f"CREATE OR REPLACE TRANSIENT TABLE {new_rows(target)} AS {target.select.transform(renamed).sql('snowflake')}"
    )


def faults(target: Target) -> str:
    """SELECT of one row: keys that are there twice, then, a column each, missing and overlong values."""
    key, new = _list(target.key), new_rows(target)
    counted = [f"COUNT(*) - (SELECT COUNT(*) FROM (SELECT DISTINCT {key} FROM {new}) AS k) AS TWICE"]
    counted += [f"COUNT_IF({name} IS NULL)" for name in required(target)]
    counted += [f"COUNT_IF(LENGTH({name}) > {length})" for name, length in limited(target).items()]
    return f"SELECT {', '.join(counted)} FROM {new} AS n"


def required(target: Target) -> tuple[str, ...]:
    return tuple(name for name in target.columns if not target.spec[name].nullable)


def limited(target: Target) -> dict[str, int]:
    """Text columns with the length they have at most; keys are hashes and need no look."""
    found = {name: target.spec[name].max_length for name in target.columns if not name.endswith("_KEY")}
    return {name: length for name, length in found.items() if length is not None}


def apply_rows(target: Target, at: datetime, empty: bool = False) -> tuple[str, ...]:
    """Statements of one transaction: rows that are gone go, changed ones change, new ones come. Twice is as once.

    Args:
      empty: the table has no rows yet, so that there is nothing to look for.
    """
    if empty and not target.spec.has_history:
        columns = _list(target.columns)
        return (f"INSERT INTO {target.name} ({columns}) SELECT {columns} FROM {new_rows(target)}",)
    return _apply_history(target, at) if target.spec.has_history else _apply(target)


def _apply(target: Target) -> tuple[str, ...]:
    new, columns, attributes = new_rows(target), target.columns, target.attributes
    changed = _differs(attributes)
    return (
        f"DELETE FROM {target.name} WHERE NOT EXISTS (SELECT 1 FROM {new} AS n WHERE {_same(target.key, target.name)})",
        f"MERGE INTO {target.name} AS t USING {new} AS n ON {_same(target.key)}"
        f" WHEN MATCHED AND ({changed}) THEN UPDATE SET {', '.join(f'{name} = n.{name}' for name in attributes)}"
        f" WHEN NOT MATCHED THEN INSERT ({_list(columns)}) VALUES ({_list(columns, 'n.')})",
    )


def _apply_history(target: Target, at: datetime) -> tuple[str, ...]:
    """A member that the source has forgotten is forgotten in every version; an inferred one gives way to the real."""
    new, name, columns = new_rows(target), target.name, target.columns
    now = f"CAST('{at:%Y-%m-%d %H:%M:%S.%f}' AS TIMESTAMP_NTZ)"
    return (
        f"DELETE FROM {name} WHERE NOT EXISTS (SELECT 1 FROM {new} AS n"
        f" WHERE {_same(target.key, name)} AND n.IS_INFERRED = {name}.IS_INFERRED)",
        f"UPDATE {name} SET VALID_TO = {now}, IS_CURRENT = FALSE FROM {new} AS n"
        f" WHERE {_same(target.key, name)} AND {name}.IS_CURRENT AND ({_differs(target.attributes, name)})",
        f"INSERT INTO {name} ({_list(columns)}, VALID_FROM, VALID_TO, IS_CURRENT)"
        f" SELECT {_list(columns, 'n.')},"
        f" CASE WHEN p.VERSIONS IS NULL THEN CAST({BEGINNING} AS TIMESTAMP_NTZ) ELSE {now} END,"
        f" CAST({END} AS TIMESTAMP_NTZ), TRUE FROM {new} AS n"
        f" LEFT JOIN (SELECT {_list(target.key)}, COUNT(*) AS VERSIONS, COUNT_IF(IS_CURRENT) AS CURRENT_ONES"
        f" FROM {name} GROUP BY {_list(target.key)}) AS p ON {_same(target.key, 'p')}"
        f" WHERE COALESCE(p.CURRENT_ONES, 0) = 0",
    )


def compare_rows(target: Target) -> str:
    """SELECT of one row: rows missing in the table, rows it has too many, rows with other values."""
    rows = f"(SELECT * FROM {target.name}{' WHERE IS_CURRENT' if target.spec.has_history else ''})"
    key = target.key[0]
    return (
        f"SELECT COUNT_IF(t.{key} IS NULL), COUNT_IF(n.{key} IS NULL),"
        f" COUNT_IF(NOT t.{key} IS NULL AND NOT n.{key} IS NULL AND ({_differs(target.attributes) or 'FALSE'}))"
        f" FROM {new_rows(target)} AS n FULL OUTER JOIN {rows} AS t ON {_same(target.key)}"
    )


def doubled_keys(target: Target) -> str:
    """SELECT of the number of rows whose key another row has."""
    key = _list(target.spec.key)
    return f"SELECT COALESCE(SUM(N - 1), 0) FROM (SELECT COUNT(*) AS N FROM {target.name} GROUP BY {key}) AS k"


def broken_history(target: Target) -> str:
    """SELECT of the number of keys whose versions leave a gap, overlap, or have not one current version."""
    order = f"PARTITION BY {_list(target.key)} ORDER BY VALID_FROM"
    return (
        f"SELECT COUNT(*) FROM (SELECT {_list(target.key)} FROM (SELECT {_list(target.key)}, IS_CURRENT, VALID_TO,"
        f" LEAD(VALID_FROM) OVER ({order}) AS NEXT_FROM FROM {target.name}) AS v GROUP BY {_list(target.key)}"
        f" HAVING COUNT_IF(IS_CURRENT) <> 1 OR COUNT_IF(NEXT_FROM IS DISTINCT FROM VALID_TO AND NOT IS_CURRENT) > 0"
        f" OR COUNT_IF(IS_CURRENT AND NOT NEXT_FROM IS NULL) > 0) AS k"
    )


def orphans(target: Target) -> dict[str, str]:
    """Column -> SELECT of the number of rows whose value no row of the table it refers to has."""
    return {
        reference.column: f"SELECT COUNT(*) FROM {target.name} AS t WHERE NOT EXISTS"
        f" (SELECT 1 FROM {reference.table} AS p WHERE p.{reference.key} = t.{reference.column})"
        for reference in target.spec.references
    }


def _list(names: Sequence[str], prefix: str = "") -> str:
    return ", ".join(f"{prefix}{name}" for name in names)


def _same(key: Sequence[str], table: str = "t") -> str:
    return " AND ".join(f"n.{name} = {table}.{name}" for name in key)


def _differs(names: Sequence[str], table: str = "t") -> str:
    return " OR ".join(f"{table}.{name} IS DISTINCT FROM n.{name}" for name in names)
