import json

from tests.silver.tables import NOW, rows_of
from transforms.contracts import contract
from transforms.io.source import RAW_LIMIT
from transforms.silver.refine import RefineSpec, silver_rejects
from transforms.silver.to_silver import to_silver

INTERACTIONS = contract("service")


def test_a_reject_holds_the_row_in_json_cut_at_a_mebibyte_and_says_how_long_it_was():
    rows = [{"CATEGORY": "none", "INTERACTION_DESCRIPTION": "é" * length} for length in (3, RAW_LIMIT)]
    table = rows_of(INTERACTIONS, *rows)
    table = table.append_column("_run_id", [["r1", "r1"]])
    refused = to_silver(table, INTERACTIONS).rejected
    spec = RefineSpec(INTERACTIONS, INTERACTIONS.arrow.empty_table().select([]).schema, NOW, "r2")
    short, long = silver_rejects(refused, spec).to_pylist()
    assert json.loads(short["raw"])["INTERACTION_DESCRIPTION"] == "ééé"
    assert short["raw_bytes"] == len(short["raw"])
    assert len(long["raw"]) == RAW_LIMIT and long["raw_bytes"] > 2 * RAW_LIMIT
    assert short["raw"][:20] == long["raw"][:20]
