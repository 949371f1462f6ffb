"""The source tables as events: what visitors did (CUSTOMER_BEHAVIORAL_EVENTS), what they bought online."""

from __future__ import annotations

import polars as pl
import pyarrow as pa

from transforms.sessions.event import complete

ANONYMOUS = "anonymous:"  # before the tracker's session id: who did not log in is a visitor of that session only
ONLINE = ("ECOMMERCE", "MOBILE", "SOCIAL")


def behavioural_events(rows: pa.Table) -> pa.Table:
    """CUSTOMER_BEHAVIORAL_EVENTS -> EVENTS, one row each, in order; rows with neither customer nor session have no
    visitor. The channel is the device, the source the host of the referrer."""
    frame = pl.DataFrame(pl.from_arrow(rows))
    return _events(
        frame.select(
            visitor=visitor_of("CUSTOMER_ID", "SESSION_ID"),
            event_time="EVENT_DATE",
            event_id="EVENT_ID",
            event_type="EVENT_TYPE",
            channel="DEVICE_TYPE",
            source=pl.col("REFERRER_URL").str.extract(r"^[a-z]+://([^/:?#]+)"),
            page="PAGE_URL",
            tracker_session="SESSION_ID",
        )
    )


def online_purchases(rows: pa.Table) -> pa.Table:
    """CUSTOMER_TRANSACTIONS -> EVENTS of type PURCHASE: purchases outside stores, so that sessions know what they led
    to. A purchase keeps a session open like any event; its value is the total amount."""
    frame = pl.DataFrame(pl.from_arrow(rows))
    kept = frame.filter(pl.col("CHANNEL").is_in(ONLINE), pl.col("TRANSACTION_TYPE") == "PURCHASE")
    return _events(
        kept.select(
            visitor="CUSTOMER_ID",
            event_time="TRANSACTION_DATE",
            event_id="TRANSACTION_ID",
            event_type=pl.lit("PURCHASE"),
            order_id="TRANSACTION_ID",
            value=pl.col("TOTAL_AMOUNT").cast(pl.Decimal(18, 4)),
        )
    )


def visitor_of(customer: str, session: str) -> pl.Expr:
    """The customer, or who had the tracker's session."""
    return pl.coalesce(pl.col(customer), pl.lit(ANONYMOUS) + pl.col(session))


def _events(frame: pl.DataFrame) -> pa.Table:
    return complete(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
