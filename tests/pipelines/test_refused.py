"""What a run says of the rows it refused, against what was planted."""

from pipelines.refused import describe, rules_of
from tests.pipelines.conftest import transaction, write_lines


def test_the_commonest_rules_of_this_run_are_said(shop):
    faults = [("TOTAL_AMOUNT", "x")] * 4 + [("TRANSACTION_DATE", "x")] * 3 + [("TRANSACTION_ID", None)] * 2
    bad = [transaction(i, **{name: value}) for i, (name, value) in enumerate(faults)]
    write_lines(shop.root / "t" / "0.jsonl", [b"an earlier run"])
    shop.bronze(transactions=shop.root / "t")
    write_lines(shop.root / "t" / "1.jsonl", [*bad, b"broken", transaction(99)])
    result = shop.bronze(transactions=shop.root / "t")
    run_id = shop.rejects()[-1]["run_id"]
    rules = rules_of(shop.lake, run_id)
    (counts,) = rules.values()
    assert sorted(counts.values()) == [1, 2, 3, 4] and counts["json_syntax"] == 1
    (line,) = describe(result.tables, rules)
    assert "not_a_number 4, " in line and "required 2 and 1 other rule; " in line and "`show rejects`" in line


def test_a_file_of_which_nothing_could_be_read_is_no_success(shop):
    (shop.root / "t").mkdir()
    (shop.root / "t" / "1.parquet").write_bytes(b"no Parquet")
    result = shop.bronze(transactions=shop.root / "t")
    lines = describe(result.tables, rules_of(shop.lake, shop.rejects()[0]["run_id"]))
    assert lines[0] == "customer_transactions: nothing in the input could be read; see why with `show rejects`"
    assert lines[1].startswith("rejected: truncated_file 1; ")


def test_without_rejects_nothing_is_said(shop):
    write_lines(shop.root / "t" / "1.jsonl", [transaction(1)])
    result = shop.bronze(transactions=shop.root / "t")
    assert describe(result.tables, rules_of(shop.lake, "none")) == []
