"""The embedded warehouse: one DuckDB file, with Snowflake's SQL rewritten by sqlglot."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import duckdb
import pyarrow as pa
from sqlglot import ErrorLevel, exp

from transforms.errors import UserError
from transforms.io.warehouse import Row, Warehouse
from transforms.warehouse.ddl import POLICY, Migration, parsed

_NOT_THERE = (exp.PrimaryKeyColumnConstraint, exp.Reference, exp.CommentColumnConstraint)
_VERBATIM = ("BEGIN", "COMMIT", "ROLLBACK")


class DuckDb(Warehouse):
    """A warehouse in the file `path`; several may read it, one may write it.

    Raises:
      UserError: another process has it open, or it is no DuckDB file, or must exist and does not.
    """

    def __init__(self, path: str, read_only: bool = False) -> None:
        self.where = path
        if read_only and not Path(path).exists():
            raise UserError("there is no warehouse", path, "run `warehouse init` and `warehouse load`")
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._session = duckdb.connect(path, read_only=read_only)
        except (duckdb.Error, OSError) as error:
            raise _explained(error, path) from error
        self._session.execute("SET preserve_insertion_order = false")

    def run(self, statement: str) -> list[Row]:
        rows: list[Row] = []
        try:
            for sql in translated(statement):
                done = self._session.execute(sql)
                rows = done.fetchall() if done.description else []
        except duckdb.Error as error:
            raise _explained(error, self.where) from error
        return rows

    def stage(self, name: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self._session.register("arriving", pa.RecordBatchReader.from_batches(schema, batches))
        try:
            self._session.execute(f"CREATE OR REPLACE TEMPORARY TABLE {name} AS SELECT * FROM arriving")
        except duckdb.Error as error:
            raise _explained(error, self.where) from error
        finally:
            self._session.unregister("arriving")

    def query(self, sql: str, limit: int | None = None) -> pa.Table:
        try:
            found = self._session.sql(sql)
            if found is None:  # a statement without rows
                return pa.table({})
            return (found.limit(limit) if limit else found).to_arrow_table()
        except duckdb.Error as error:
            raise _explained(error, self.where) from error

    def migrate(self, migration: Migration) -> None:
        for statement in migration.statements:
            if not POLICY.match(statement):  # one file has one owner: nothing to mask, nobody to keep out
                self.run(statement)

    def close(self) -> None:
        self._session.close()


@lru_cache(1024)
def translated(statement: str) -> tuple[str, ...]:
    """A statement of Snowflake's as DuckDB's: comments apart, no clustering, no constraints that cost an index."""
    if statement in _VERBATIM:
        return (statement,)
    tree = parsed(statement)
    comments = tuple(_comments(tree)) if isinstance(tree, exp.Create) else ()
    schema = tree.this if isinstance(tree, exp.Create) else None
    if isinstance(schema, exp.Schema):
        kept = [part for part in schema.expressions if not isinstance(part, exp.PrimaryKey)]
        schema.set("expressions", kept)
        for part in kept:
            if isinstance(part, exp.ColumnDef):
                constraints = [
                    c for c in part.constraints if not isinstance(c.kind, _NOT_THERE) and not c.find(exp.Reference)
                ]
                part.set("constraints", constraints)
    if isinstance(tree, exp.Create) and tree.kind in ("TABLE", "VIEW", "SCHEMA"):
        staging = tree.find(exp.TransientProperty)  # seen by this session alone, and never written to the file
        tree.set("properties", exp.Properties(expressions=[exp.TemporaryProperty()]) if staging else None)
    return (tree.sql("duckdb", unsupported_level=ErrorLevel.IGNORE), *comments)  # a date's format as text is ISO


def _comments(tree: exp.Create) -> Iterator[str]:
    named = tree.this.this if isinstance(tree.this, exp.Schema) else tree.this
    name = named.sql("duckdb")
    comment = tree.find(exp.SchemaCommentProperty)
    if comment and tree.kind in ("TABLE", "VIEW"):
        yield f"COMMENT ON {tree.kind} {name} IS {comment.this.sql('duckdb')}"
    for part in tree.this.expressions if isinstance(tree.this, exp.Schema) else ():
        for constraint in part.constraints if isinstance(part, exp.ColumnDef) else ():
            if isinstance(constraint.kind, exp.CommentColumnConstraint):
                yield f"COMMENT ON COLUMN {name}.{part.name} IS {constraint.kind.this.sql('duckdb')}"


def _explained(error: Exception, path: str) -> UserError:
    said = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, OSError):
        return UserError(f"the warehouse cannot be made: {error.strerror}", path, "check the path and its permissions")
    lower = str(error).lower()
    if "lock" in lower and isinstance(error, duckdb.IOException):
        return UserError("another process has the warehouse open", path, "wait until it is done, or end it")
    if "no space" in lower or "disk full" in lower or "could not write" in lower:
        return UserError("the disk is full; nothing was loaded", path, "make room and run again")
    if "not a valid duckdb" in lower:
        return UserError("the file is no DuckDB database", path, "give another path with --warehouse")
    return UserError(said, path, "")
