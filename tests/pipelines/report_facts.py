"""Facts of a made-up shop, one of everything, for the tests of the report."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa

from pipelines.report import ReportFacts
from pipelines.report.operations import BANDS

AT = datetime(2010, 12, 9, 20, tzinfo=UTC)


def _rows(names: str, *rows: tuple) -> pa.Table:
    return pa.Table.from_pylist([dict(zip(names.split(), row, strict=True)) for row in rows])


def _profile(column: str, personal: bool, low: str, high: str) -> tuple:
    return ("CUSTOMERS", column, personal, 100, 10, 90, low, high, None)


def facts(**changes: object) -> ReportFacts:
    """Facts with every table filled; `changes` replace some."""
    counted = ("orders", "sessions", "converted_sessions", "events", "page_views", "cart_adds", "tickets")
    counted += ("open_tickets", "interactions", "escalations")
    totals = {f"{name}_count": 40 for name in counted} | {
        "messages_sent_count": 90,
        "messages_delivered_count": 80,
        "messages_opened_count": 30,
        "messages_clicked_count": 9,
        "gross_revenue": 1000.0,
        "returned_amount": 125.0,
        "net_revenue": 875.0,
        "customers": 1234,
        "buyers": 500,
        "repeat_buyers": 250,
        "other_currency_customers": 0,
        "unsubscribed": 3,
        "average_satisfaction_score": 3.5,
        "average_resolution_minutes": 90.0,
    }
    runs = _rows(
        "command table started_at inputs output_version read accepted rejected duplicates conflicts",
        ("bronze", "CUSTOMERS", AT, ["/home/somebody/in/customers/a.jsonl@0123456789abcdef"], 1, 105, 100, 5, 0, 0),
        ("silver", "CUSTOMERS", AT, ["bronze/customer360/customers@1"], 1, 100, 97, 1, 2, 1),
        ("gold", "customer_360", AT, [f"silver/x@{n}" for n in range(5)], 2, 97, 97, 0, 0, 0),
    )
    given: dict[str, object] = {
        "lake": "lake",
        "as_of": AT,
        "currency": "GBP",
        "tracker": "30 agree, 2 differ (2 by end), 1 without events, 3 not sent by the tracker",
        "totals": totals,
        "runs": runs,
        "layers": _rows(
            "layer table rows version",
            ("gold", "customer_360", 97, 2),
            ("bronze", "CUSTOMERS", 100, 1),
            ("silver", "CUSTOMERS", 97, 1),
        ),
        "rejects": _rows(
            "table stage rule status rows",
            ("CUSTOMERS", "bronze", "not_json", "open", 5),
            ("CUSTOMER_TRANSACTION_ITEMS", "silver", "negative_quantity_sold", "replayed", 1),
        ),
        "quality": _rows("table band rows", ("CUSTOMERS", len(BANDS) - 1, 60), ("CUSTOMERS", 1, 40)),
        "profiles": _rows(
            "table_name column_name is_personal rows_count nulls_count distinct_count min max top_values",
            _profile("CUSTOMER_ID", False, "key-low", "key-high"),
            _profile("FIRST_NAME", True, "Aaron", "Zoe"),
            _profile("LOYALTY_POINTS", False, "3", "4711"),
        ),
        "drift": _rows(
            "table_name column_name verdict reason",
            ("CUSTOMERS", "GENDER", "major", "values moved"),
            ("CUSTOMERS", "CITY", "stable", ""),
        ),
        "monthly": _rows(
            "month orders returns gross returned",
            (date(2010, 11, 1), 30, 2, Decimal("600.00"), Decimal("100.00")),
            (date(2010, 12, 1), 10, 1, Decimal("400.00"), Decimal("25.00")),
        ),
        "hours": _rows("weekday hour orders", (1, 9, 12), (7, 23, 28)),
        "products": _rows("name units amount", ("Candle", 70, Decimal("70.00")), ("Cup", 3, Decimal("9.50"))),
        "categories": _rows("name units amount", ("Home", 73, Decimal("79.50"))),
        "segments": _rows(
            "segment customers net_revenue",
            ("champions", 100, Decimal("700.00")),
            ("hibernating", 400, Decimal("175.00")),
        ),
        "grid": _rows("recency_score frequency_score customers", (5, 5, 100), (1, 1, 400)),
        "channels": _rows("channel orders", ("ECOMMERCE", 30), ("POS", 10)),
        "concentration": _rows("share_customers share_revenue", *((n / 100, (n / 100) ** 0.5) for n in range(101))),
        "cohorts": _rows(
            "cohort months_later customers of",
            (date(2010, 10, 1), 0, 40, 40),
            (date(2010, 10, 1), 1, 10, 40),
            (date(2010, 11, 1), 0, 60, 60),
            (date(2010, 11, 1), 1, 30, 60),
            (date(2010, 12, 1), 0, 9, 9),
        ),
        "moves": _rows(
            "from_segment to_segment customers_count",
            ("loyal", "champions", 7),
            ("champions", "champions", 3),
            ("champions", "hibernating", 4),
            ("(new)", "new", 2),
        ),
        "calibration": _rows(
            "tenth model days foreseen came", *((n, "blend", 90, n / 5, n / 5 + 0.1) for n in range(1, 11))
        ),
        "models": _rows(
            "model served orders_mae value_mae orders_rank value_rank",
            ("blend", True, 1.25, 47.5, 0.5, 0.4),
            ("mean", False, 1.5, 77.0, 0.0, None),
        ),
        "forecasts": _rows(
            "measure currency day actual expected low_80 high_80 low_95 high_95 is_anomaly",
            *(
                (m, c, date(2010, 12, n), *(told if n < 8 else to_come), n == 3 if n < 8 else None)
                for m, c in (("net_revenue", "GBP"), ("orders_count", None))
                for n in range(1, 9)
                for told, to_come in [
                    ((10.0 * n, 9.0 * n, None, None, None, None), (None, 90.0, 70.0, 110.0, 60.0, 120.0))
                ]
            ),
        ),
        "funnel": _rows(
            "number step persons median_seconds_from_previous",
            (1, "VISIT", 200, None),
            (2, "PAGE_VIEW", 150, 30.0),
            (3, "CART_ADD", 50, 60.0),
            (4, "ORDER", 40, 240.0),
        ),
        "flows": _rows(
            "layer from_step to_step journeys",
            (0, "VISIT EMAIL", "PAGE_VIEW", 6),
            (0, "OPENED SMS", "no order", 4),
            (1, "PAGE_VIEW", "order", 6),
            (1, "no order", "no order", 4),
        ),
        "attribution": _rows(
            "channel model conversions conversions_share",
            ("EMAIL", "first", 6.0, 0.6),
            ("EMAIL", "last", 1.0, 0.1),
            ("PAID_SEARCH", "first", 2.0, 0.2),
            ("PAID_SEARCH", "last", 7.0, 0.7),
            ("(no touchpoint)", "first", 2.0, 0.2),
            ("(no touchpoint)", "last", 2.0, 0.2),
        ),
        "outlook": {
            "expected_value_90_days": 432.0,
            "expected_orders_90_days": 33.4,
            "active": 80.0,
            "churning": 20.2,
        },
        "satisfaction": _rows("score customers", (2, 1), (4, 3)),
        "stream": {
            "rows": 9000,
            "rejected": 4,
            "sessions": 321,
            "late": 17,
            "p50_seconds": 0.84,
            "p90_seconds": 2.0,
            "p99_seconds": 3.04,
            "max_seconds": 70.0,
        },
        "stream_delays": _rows("low_seconds high_seconds rows", (0.0, 1.0, 8000), (1.0, float("inf"), 1000)),
        "stream_rate": _rows("second arrived readable", (0, 30.0, 0.0), (1, 0.0, 25.5), (2, 0.0, 4.5)),
        "identity": {
            "records": 140,
            "persons": 120,
            "merged_today": 2,
            "created_today": 6,
            "joined_today": 5,
            "split_today": 1,
        },
        "identity_scores": _rows("low high pairs one_person", (0.0, 0.5, 31, 0), (0.5, 1.0, 22, 21)),
        "identity_sizes": _rows("records persons", (1, 102), (2, 17), (4, 1)),
        "identity_largest": _rows("rank records links proven weakest", (1, 4, 5, 1, 0.97), (2, 2, 1, 0, 0.99)),
        "identity_borderline": _rows(
            "probability same_person evidence",
            (0.91, True, "surname +4.1, birth_date -1.2"),
            (0.88, False, "phone +9.0, given_name -3.3"),
        ),
        "offers": _rows(
            "algorithm offers persons model",
            ("recency EASE", 610, 90, "recommend version 2"),
            ("trending", 390, 100, "recommend version 2"),
        ),
        "offered": _rows(
            "person kind rank name reason",
            (1, "bought", 1, "Red <cup>", ""),
            (1, "offered", 1, "Blue cup", "it goes with what you took lately"),
            (2, "offered", 1, "Tea", "many people take it now"),
        ),
    }
    return ReportFacts(**(given | changes))  # type: ignore[arg-type]
