"""The warehouse's commands as a person runs them."""

import json

import pytest

from pipelines.warehouse import open_warehouse, run_check, run_init, run_load, run_query
from tests.pipelines.conftest import WHEN, Run
from tests.warehouse.small_lake import fill
from transforms.errors import UsageError


def said(capsys):
    return json.loads(capsys.readouterr().out)


def test_a_lake_is_loaded_checked_and_asked(tmp_path, capsys):
    lake, path = str(fill(tmp_path / "lake")), str(tmp_path / "w.duckdb")
    run_init(path, True)
    assert len(said(capsys)["applied"]) == 7
    for status in ("loaded", "unchanged"):
        run_load(path, lake, Run("warehouse", started_at=WHEN), True)
        assert {table["status"] for table in said(capsys)["tables"]} == {status}
    run_check(path, lake, True)
    assert said(capsys)["good"] is True
    run_query(path, "SELECT CUSTOMER_ID FROM CUSTOMER_360.V_CUSTOMER ORDER BY 1", 2, True)
    assert said(capsys) == {"rows": [{"CUSTOMER_ID": "C0"}, {"CUSTOMER_ID": "C1"}], "more": True}
    with open_warehouse(path) as warehouse:
        warehouse.run("DELETE FROM CUSTOMER_360.FACT_TRANSACTION WHERE TRANSACTION_ID = 'T1'")
    with pytest.raises(SystemExit) as ended:
        run_check(path, lake, True)
    assert ended.value.code == 1
    found = {table["table"]: table["found"] for table in said(capsys)["tables"]}
    assert found.pop("CUSTOMER_360.FACT_TRANSACTION") == "1 missing"
    assert set(found.values()) == {"good"}


def test_an_unknown_sort_of_warehouse_is_wrong_use():
    with pytest.raises(UsageError, match="is no warehouse"):
        open_warehouse("oracle://somewhere")
