"""What the migrations in `templates/snowflake` declare: tables, columns, keys, references. They are the one source."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

import sqlglot
from sqlglot import exp

from transforms.errors import UserError

FOLDER = Path(__file__).parents[2] / "templates" / "snowflake"
# Of Snowflake alone, and beyond sqlglot: passed on as they are, and left out elsewhere.
POLICY = re.compile(
    r"(CREATE (MASKING|ROW ACCESS) POLICY"
    r"|ALTER TABLE \S+ (MODIFY COLUMN \S+ SET MASKING POLICY|ADD ROW ACCESS POLICY))\b"
)


@dataclass(frozen=True)
class Migration:
    """One file `V001__name.sql`: statements that each end in `;` at the end of a line."""

    version: str
    name: str
    text: str

    @property
    def checksum(self) -> str:
        return hashlib.sha256(self.text.encode()).hexdigest()

    @property
    def statements(self) -> tuple[str, ...]:
        plain = "\n".join(line for line in self.text.splitlines() if not line.startswith("--"))
        return tuple(text.strip() for text in re.split(r";\s*(?:\n|$)", plain) if text.strip())


@dataclass(frozen=True)
class Column:
    """One column; `max_length` is of text, None for as long as Snowflake takes."""

    name: str
    type: exp.DataType
    nullable: bool
    comment: str

    @property
    def max_length(self) -> int | None:
        if not self.type.is_type(*exp.DataType.TEXT_TYPES) or not self.type.expressions:
            return None
        return int(self.type.expressions[0].name)


@dataclass(frozen=True)
class Reference:
    """`column` holds keys of `table`, whose column `key` they are."""

    column: str
    table: str
    key: str


@dataclass(frozen=True)
class TableSpec:
    """One table as the migrations leave it; `name` is SCHEMA.TABLE."""

    name: str
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    references: tuple[Reference, ...] = ()
    clustered: bool = False
    comment: str = ""
    _by_name: dict[str, Column] = field(init=False, repr=False, compare=False, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {column.name: column for column in self.columns})

    def __getitem__(self, name: str) -> Column:
        return self._by_name[name]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self._by_name)

    @property
    def has_history(self) -> bool:
        """Whether a row is a version of its key (type 2)."""
        return "VALID_FROM" in self.key


def migrations(folder: Path = FOLDER) -> tuple[Migration, ...]:
    """The migrations in their order.

    Raises:
      UserError: there is none, or a file's name is not V001__name.sql, or a number is there twice.
    """
    found = []
    for path in sorted(folder.glob("*.sql")):
        matched = re.fullmatch(r"(V\d{3})__\w+\.sql", path.name)
        if not matched:
            raise UserError(f"{path.name} is no name of a migration", str(folder), "name it V001__what.sql")
        found.append(Migration(matched[1], path.name, path.read_text()))
    if not found or len({migration.version for migration in found}) < len(found):
        what = "two migrations have one number" if found else "there is no migration"
        raise UserError(what, str(folder), "the folder templates/snowflake of the repository has them")
    return tuple(found)


def parsed(statement: str) -> exp.Expr:
    """One statement of Snowflake's; sqlglot understands all of it, or it raises."""
    found = sqlglot.parse_one(statement, read="snowflake")
    if found.find(exp.Command):
        raise UserError("sqlglot does not understand a statement", statement[:80], "write it in plainer SQL")
    return found


@cache
def tables(folder: Path = FOLDER) -> Mapping[str, TableSpec]:
    """Every table as it is after all migrations, in the order they make them."""
    found: dict[str, TableSpec] = {}
    for migration in migrations(folder):
        for statement in migration.statements:
            if POLICY.match(statement):
                continue
            tree = parsed(statement)
            if isinstance(tree, exp.Create) and tree.kind == "TABLE":
                spec = _created(tree)
                found[spec.name] = spec
            elif isinstance(tree, exp.Alter):
                name = _name(tree.this)
                added = tuple(_column(column) for column in tree.args["actions"] if isinstance(column, exp.ColumnDef))
                old = found[name]
                columns = (*old.columns, *added)
                found[name] = TableSpec(name, columns, old.key, old.references, old.clustered, old.comment)
    return MappingProxyType({name: _referring(spec, found) for name, spec in found.items()})


def _referring(spec: TableSpec, found: Mapping[str, TableSpec]) -> TableSpec:
    """With the references to tables with history: one key has many rows there, so that SQL cannot declare them."""
    histories = [other for other in found.values() if other.has_history and other is not spec]
    more = tuple(Reference(o.key[0], o.name, o.key[0]) for o in histories if o.key[0] in spec.names)
    return TableSpec(spec.name, spec.columns, spec.key, more + spec.references, spec.clustered, spec.comment)


def _created(tree: exp.Create) -> TableSpec:
    schema = tree.this
    key: tuple[str, ...] = ()
    references = []
    for part in schema.expressions:
        if isinstance(part, exp.PrimaryKey):
            key = tuple(column.name for column in part.expressions)
        elif isinstance(part, exp.ColumnDef) and (reference := part.find(exp.Reference)):
            parent = reference.this
            references.append(Reference(part.name, _name(parent.this), parent.expressions[0].name))
    comment = tree.find(exp.SchemaCommentProperty)
    return TableSpec(
        _name(schema.this),
        tuple(_column(part) for part in schema.expressions if isinstance(part, exp.ColumnDef)),
        key,
        tuple(references),
        tree.find(exp.ClusterProperty) is not None,
        comment.name if comment else "",
    )


def _column(part: exp.ColumnDef) -> Column:
    kinds = {type(constraint.kind): constraint.kind for constraint in part.constraints}
    comment = kinds.get(exp.CommentColumnConstraint)
    return Column(
        part.name, part.args["kind"], exp.NotNullColumnConstraint not in kinds, comment.name if comment else ""
    )


def _name(table: exp.Expr) -> str:
    return f"{table.args['db'].name}.{table.name}"
