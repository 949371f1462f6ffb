"""One person as a page: every line is there when there is something to say, and nothing personal unless asked for."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipelines.console import Output
from pipelines.identities import resolve_lake
from pipelines.portrait import portrait
from pipelines.show import show_customer
from tests.pipelines.conftest import customer, transaction, write_lines
from transforms.errors import UserError
from transforms.gold.fields import SCHEMA

AS_OF = datetime(2010, 12, 31, tzinfo=UTC)
_VALUES = {
    pa.string(): st.sampled_from(["new", "low", "medium", "days_since_last_order 120.0 (+0.84)"]),
    pa.int64(): st.integers(0, 900),
    pa.float64(): st.floats(0, 1),
    pa.bool_(): st.booleans(),
    pa.date32(): st.dates(date(1950, 1, 1)),
    pa.timestamp("us", tz="UTC"): st.just(AS_OF),
    pa.decimal128(18, 2): st.integers(0, 99_999).map(lambda cents: Decimal(cents).scaleb(-2)),
}
_rows = st.fixed_dictionaries(
    {f.name: _VALUES[f.type] if not f.nullable else st.none() | _VALUES[f.type] for f in SCHEMA}
)


def _possible(row: dict) -> dict:
    """What can be null alone, and what is null together."""
    if row["orders_count"]:
        row |= {name: row[name] or 1 for name in ("recency_days", "recency_score", "frequency_score", "monetary_score")}
        row["rfm_segment"], row["rfm_move"] = row["rfm_segment"] or "loyal", "fell" if row["rfm_move"] else "new"
        row["rfm_segment_30_days_ago"] = "new"
        row["average_order_amount"] = row["average_order_amount"] or Decimal(1)
    for days in (30, 90, 365):
        for what in ("orders", "value"):
            name = f"expected_{what}_{days}_days"
            row[name] = None if row["alive_probability"] is None else row[name] or 0.0
            row[f"{name}_high"] = None if row[f"{name}_low"] is None else 1.0
    if row["average_sentiment_score"] is not None:
        row["last_sentiment_score"] = 0.5
    if row["message_channel"]:
        row |= {"message_channel_source": "stated", "time_zone": "UTC"}
    if row["attribution_first_channel"]:
        row["attribution_last_channel"] = "EMAIL"
    if row["churn_probability"] is not None:
        row["churn_horizon_days"] = 90
    for name in ("payment_risk", "return_risk"):
        row[f"{name}_level"] = row[f"{name}_level"] and "medium"
        row[f"{name}_score"] = 30
    if row["messages_delivered_count"]:
        row["open_rate"] = row["open_rate"] or 0.0
    row["recency_days"] = row["recency_days"] or 0
    return row


@settings(max_examples=40, deadline=None)
@given(_rows.map(_possible))
def test_any_row_can_be_told_and_no_none_or_nan_is_read_out(row):
    told = dict(portrait(row, AS_OF))
    assert {"who", "worth", "risk"} <= set(told)
    text = "\n".join(line for lines in told.values() for line in lines)
    assert "None" not in text and "nan" not in text


@pytest.fixture
def person(shop):
    """Two records of one person, an order each, and gold over both."""
    born = {"DATE_OF_BIRTH": "1950-02-03", "ADDRESS_LINE_1": "1 Old Road", "CITY": "York", "ZIP_CODE": "YO1 1AA"}
    same = {"FIRST_NAME": "Ada", "LAST_NAME": "Lovelace", "EMAIL_ADDRESS": "ada@example.com"} | born
    others = [customer(n, FIRST_NAME=f"N{n}", LAST_NAME=f"Other{n}") for n in range(10, 40)]
    write_lines(shop.root / "c" / "1.jsonl", [customer(1, **same), customer(2, **same), *others])
    orders = [transaction(1, CUSTOMER_ID="C1"), transaction(2, CUSTOMER_ID="C2")]
    write_lines(shop.root / "t" / "1.jsonl", orders)
    shop.bronze(customers=shop.root / "c", transactions=shop.root / "t")
    shop.silver()
    resolve_lake(shop.lake, shop.run("resolve"), [("together", ("C1", "C2"))])
    shop.gold()
    return shop.lake


def test_a_person_is_found_by_each_record_and_by_their_id_with_all_their_orders(person, capsys):
    pages = {}
    for id in ("C1", "c2"):
        out = Output(as_json=True)
        show_customer(person, id, out)
        pages[id] = out.facts
    assert pages["C1"] == pages["c2"]
    row = pages["C1"]["customer"]
    assert row["customer_ids"] == "C1, C2" and row["orders_count"] == 2 == len(pages["C1"]["last_orders"])
    assert [touch["step"] for touch in pages["C1"]["last_touches"]] == ["ORDER", "ORDER"]
    out = Output(as_json=True)
    show_customer(person, row["person_id"], out)
    assert out.facts == pages["C1"]
    show_customer(person, "C1", Output())
    said = capsys.readouterr().out
    assert "records C1, C2" in said and "A*** L***" in said and "Lovelace" not in said
    show_customer(person, "C1", Output(), personal=True)
    assert "Ada Lovelace" in capsys.readouterr().out
    with pytest.raises(UserError, match="no customer 'C77'"):
        show_customer(person, "C77", Output())
