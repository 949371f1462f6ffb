"""What is kept with a table outlives its commits, its rows and its checkpoints."""

import pyarrow as pa

from transforms.io.delta import open_table, overwrite_rows, read_table
from transforms.io.delta_property import keep_property, table_property

ROWS = pa.table({"a": [1, 2]})


def test_a_property_is_kept_through_commits_and_checkpoints_and_can_be_changed(tmp_path):
    uri = str(tmp_path / "t")
    assert table_property(uri, "c360.x") is None
    keep_property(uri, ROWS.schema, "c360.x", "one")
    overwrite_rows(uri, ROWS, whole_table=True)
    open_table(uri).create_checkpoint()
    assert table_property(uri, "c360.x") == "one" and read_table(uri).num_rows == 2
    keep_property(uri, ROWS.schema, "c360.x", "two")
    keep_property(uri, ROWS.schema, "c360.y", "more")
    version = open_table(uri).version()
    keep_property(uri, ROWS.schema, "c360.y", "more")  # says so already
    assert open_table(uri).version() == version
    overwrite_rows(uri, ROWS.slice(1), whole_table=True)
    assert (table_property(uri, "c360.x"), table_property(uri, "c360.y")) == ("two", "more")
    assert read_table(uri)["a"].to_pylist() == [2] and table_property(uri, "c360.z") is None
