"""The lake's tables that the warehouse is loaded from, by the name they have in the loads' SQL (`SRC.name`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import pyarrow as pa

from transforms.contracts import contract
from transforms.gold.attribution.attribute import LEVELLED
from transforms.gold.fields import SCHEMA as CUSTOMER_360
from transforms.sessions.summarise import SESSIONS

_AT = pa.timestamp("us", tz="UTC")
_RECOMMENDATIONS = {"recommendation_id": pa.string(), "customer_id": pa.string(), "product_id": pa.string()}
_RECOMMENDATIONS |= {"algorithm": pa.string(), "model_version": pa.string(), "placement": pa.string()}
_RECOMMENDATIONS |= {"rank_in_list": pa.int64(), "score": pa.float64(), "made_at": _AT}
_PERSONALIZATION = {"event_id": pa.string(), "recommendation_id": pa.string(), "customer_id": pa.string()}
_PERSONALIZATION |= {"product_id": pa.string(), "event_at": _AT, "event_type": pa.string()}
_PERSONALIZATION |= {"revenue_amount": pa.decimal128(18, 2)}


@dataclass(frozen=True)
class Source:
    """A table of the lake; one that is not there yet is loaded as an empty one.

    Attributes:
      path: below the lake.
      schema: its columns; one that the table lacks is loaded as null.
      whole: every column must be loaded, so that none that gold gains is forgotten.
    """

    path: str
    schema: pa.Schema
    whole: bool = False


def _silver(name: str) -> Source:
    table = contract(name)
    return Source(f"silver/{table.path}", table.arrow)


SOURCES: Mapping[str, Source] = MappingProxyType(
    {
        "CUSTOMERS": _silver("customers"),
        "TRANSACTIONS": _silver("transactions"),
        "ITEMS": _silver("items"),
        "SESSIONS": _silver("sessions"),
        "BEHAVIORAL": _silver("behavioral"),
        "ENGAGEMENT": _silver("engagement"),
        "SERVICE": _silver("service"),
        "TICKETS": _silver("tickets"),
        "CAMPAIGNS": _silver("campaigns"),
        "CUT_SESSIONS": Source("silver/sessions", SESSIONS),
        "CUSTOMER_360": Source("gold/customer_360", CUSTOMER_360, whole=True),
        "ATTRIBUTION": Source("gold/attribution", LEVELLED, whole=True),
        "RECOMMENDATIONS": Source("gold/recommendations", pa.schema(_RECOMMENDATIONS)),
        "PERSONALIZATION_EVENTS": Source("gold/personalization_events", pa.schema(_PERSONALIZATION)),
    }
)
