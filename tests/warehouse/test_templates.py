"""The SQL of the warehouse is held to what it says it is: parsed, commented, clustered, masked, as wide as gold."""

import pyarrow as pa
import pytest

from transforms.contracts import CONTRACTS
from transforms.errors import UserError
from transforms.gold import fields
from transforms.warehouse.ddl import FOLDER, POLICY, migrations, parsed, tables
from transforms.warehouse.sources import SOURCES
from transforms.warehouse.targets import targets

STATEMENTS = [statement for migration in migrations() for statement in migration.statements]
# sqlglot 30 knows no masking policy, and no row access policy outside a CREATE TABLE: these and no others.
OPAQUE = {
    "CREATE MASKING POLICY IF NOT EXISTS OPS.MASK_TEXT",
    "CREATE MASKING POLICY IF NOT EXISTS OPS.MASK_DATE",
    "CREATE ROW ACCESS POLICY IF NOT EXISTS OPS.BY_COUNTRY",
    "ALTER TABLE CUSTOMER_360.DIM_CUSTOMER ADD ROW ACCESS POLICY OPS.BY_COUNTRY",
    "ALTER TABLE CUSTOMER_360.CUSTOMER_360 ADD ROW ACCESS POLICY OPS.BY_COUNTRY",
}
PERSONAL = {name for table in CONTRACTS.values() for name in table.personal}
PERSONAL |= {field.name.upper() for field in fields.FIELDS if field.personal}


@pytest.mark.parametrize("statement", STATEMENTS, ids=lambda statement: " ".join(statement.split())[:70])
def test_every_statement_parses(statement):
    if POLICY.match(statement):
        named = any(statement.startswith(opaque) for opaque in OPAQUE)
        assert named or "SET MASKING POLICY OPS.MASK_" in statement
    else:
        assert parsed(statement).key in {"create"}


def test_a_statement_sqlglot_does_not_know_is_refused():
    with pytest.raises(UserError, match="does not understand"):
        parsed("CREATE STREAM S ON TABLE T")


def test_everything_has_a_comment():
    assert all(table.comment for table in tables().values())
    assert not [(n, c.name) for n, table in tables().items() for c in table.columns if len(c.comment) < 4]
    views = [s for s in STATEMENTS if s.startswith("CREATE OR REPLACE VIEW")]
    assert len(views) >= 8
    assert all("COMMENT = '" in view.split(" AS\n")[0] for view in views)


def test_facts_are_clustered_and_refer_to_their_dimensions():
    facts = [target for target in targets() if ".FACT_" in target.name]
    assert len(facts) == 6
    for fact in facts:
        assert fact.spec.clustered, fact.name
        referred = {reference.column for reference in fact.spec.references}
        keys = {name for name in fact.columns if name.endswith("_KEY")} - set(fact.key) - {"TRANSACTION_KEY"}
        assert referred == keys, fact.name


def test_references_name_keys_of_tables():
    for target in targets():
        for reference in target.spec.references:
            parent = tables()[reference.table]
            assert reference.key in parent.key
            assert target.spec[reference.column].type == parent[reference.key].type


def test_personal_columns_are_masked_and_free_text_stays_out():
    masked = {
        (words[2], words[5]) for words in (s.split() for s in STATEMENTS) if words[6:9] == ["SET", "MASKING", "POLICY"]
    }
    held = {(t.name, column) for t in tables().values() for column in t.names if column in PERSONAL}
    assert masked == held
    assert not {column for _, column in held} & {"MESSAGE_CONTENT", "INTERACTION_DESCRIPTION", "SEARCH_QUERY"}


def test_customer_360_is_as_gold_declares_it():
    table, kinds = tables()["CUSTOMER_360.CUSTOMER_360"], {"NUMBER(18, 0)": pa.int64(), "FLOAT": pa.float64()}
    assert table.names[1:] == tuple(name.upper() for name in fields.SCHEMA.names)
    for field in fields.SCHEMA:
        column = table[field.name.upper()]
        written = column.type.sql("snowflake").replace("DECIMAL", "NUMBER").replace("DOUBLE", "FLOAT")
        kind = kinds.get(written)
        assert column.nullable == field.nullable, field.name
        assert kind is None or kind == field.type, (field.name, written)
        if pa.types.is_decimal(field.type):
            assert written == f"NUMBER({field.type.precision}, {field.type.scale})"


def test_every_source_is_read_and_every_table_loaded():
    assert {name for target in targets() for name in target.sources} == set(SOURCES)
    assert {target.name for target in targets()} == {name for name in tables() if not name.startswith("OPS.")}


def test_text_is_as_wide_as_its_source():
    lengths = {c.name: c.type.max_length for table in CONTRACTS.values() for c in table.columns if c.type.max_length}
    for target in targets():
        for name in target.columns:
            if (limit := target.spec[name].max_length) and name in lengths:
                assert limit >= lengths[name], (target.name, name)


def test_an_odd_file_among_the_migrations_is_refused(tmp_path):
    (tmp_path / "extra.sql").write_text("SELECT 1;")
    with pytest.raises(UserError, match="no name of a migration"):
        migrations(tmp_path)
    with pytest.raises(UserError, match="there is no migration"):
        migrations(tmp_path / "nothing")
    assert FOLDER.is_dir()
