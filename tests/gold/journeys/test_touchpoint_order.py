"""What bears one time stays in its order: a message, the visit it brought, the page seen there."""

from datetime import UTC, datetime

import pyarrow as pa

from transforms.contracts import CONTRACTS
from transforms.gold.attribution.touchpoints import cut_paths
from transforms.gold.journeys.touchpoints import marketing_touches, read_touchpoints, steps_of
from transforms.gold.tables import GoldContext, count_bucket

AT = datetime(2010, 6, 1, 12, tzinfo=UTC)
LATER = datetime(2010, 7, 1, tzinfo=UTC)


def bucket() -> dict[str, pa.Table]:
    rows = {
        "CUSTOMER_SESSION_DATA": [{"SESSION_START": AT, "TRAFFIC_SOURCE": "ADS", "CAMPAIGN_ID": None}],
        "CUSTOMER_BEHAVIORAL_EVENTS": [{"EVENT_DATE": AT, "EVENT_TYPE": kind} for kind in ("CART_ADD", "PAGE_VIEW")],
        "CUSTOMER_ENGAGEMENT_EVENTS": [
            {"ENGAGEMENT_DATE": AT, "ENGAGEMENT_TYPE": "SMS", "ENGAGEMENT_ACTION": action, "CAMPAIGN_ID": "C"}
            for action in ("CLICKED", "OPENED")
        ],
        "CUSTOMER_TRANSACTIONS": [
            {"TRANSACTION_DATE": AT, "TRANSACTION_TYPE": "PURCHASE", "TRANSACTION_STATUS": "COMPLETED",
             "TOTAL_AMOUNT": 5, "CURRENCY_CODE": "GBP", "CHANNEL": "WEB"}
        ],
    }  # fmt: skip
    found = {}
    for name, some in rows.items():
        schema = CONTRACTS[name].arrow
        blank = dict.fromkeys(schema.names) | {f.name: "X" for f in schema if not f.nullable}
        nullable = pa.schema([field.with_nullable(True) for field in schema])
        found[name] = pa.Table.from_pylist([blank | {"CUSTOMER_ID": "A"} | row for row in some], nullable)
    return found


def test_paths_and_attribution_keep_the_order_of_one_moment():
    path = read_touchpoints(bucket(), LATER)
    steps = ["OPENED", "CLICKED", "VISIT", "PAGE_VIEW", "CART_ADD", "ORDER"]
    assert path["step"].to_list() == steps
    walked = cut_paths(steps_of(path, "GBP"))
    assert walked.touches["channel"].to_list() == ["OPENED SMS", "CLICKED SMS", "VISIT ADS", "PAGE_VIEW", "CART_ADD"]
    assert cut_paths(marketing_touches(path, "channel", "GBP")).touches["channel"].to_list() == ["SMS", "SMS", "ADS"]


def test_a_page_seen_as_the_visit_begins_is_behind_it_in_the_funnel():
    _, parts = count_bucket(bucket(), GoldContext(LATER))
    counted = {row["step"]: (row["persons"], row["seconds"]) for row in parts["funnel"].to_pylist()}
    assert counted == dict.fromkeys(("VISIT", "PAGE_VIEW", "CART_ADD", "ORDER"), (1, 0))
