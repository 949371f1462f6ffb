"""The rows that a written model is asked with, and those it answers with."""

from __future__ import annotations

import pyarrow as pa

HISTORIES: pa.Schema = pa.schema(
    [
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("history_items", pa.list_(pa.string()), nullable=False),  # oldest first
        pa.field("history_seconds", pa.list_(pa.int64()), nullable=False),  # since 1970
        pa.field("history_weights", pa.list_(pa.float32()), nullable=False),  # see SIGNAL_WEIGHTS
    ]
)
RECOMMENDATIONS: pa.Schema = pa.schema(
    [
        pa.field("recommendation_id", pa.string(), nullable=False),  # the same whenever the same is asked again
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("customer_id", pa.string(), nullable=False),
        pa.field("product_id", pa.string(), nullable=False),
        pa.field("rank_in_list", pa.int64(), nullable=False),  # 1 first
        pa.field("score", pa.float64(), nullable=False),  # comparable within a list
        pa.field("algorithm", pa.string(), nullable=False),  # the source that ranks it highest
        pa.field("reason", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("model_version", pa.string(), nullable=False),
        pa.field("placement", pa.string(), nullable=False),
        pa.field("made_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ]
)
