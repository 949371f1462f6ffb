"""The source tables of the retailer, declared once.

Another table is one `Contract` in a domain file and its name in `CONTRACTS`; reading, checking, bronze, silver, the
report and `show` follow from it. The generator makes rows for the tables it knows.
"""

from collections.abc import Mapping
from types import MappingProxyType

from transforms.contracts import campaigns, commerce, crm, digital, external, service
from transforms.contracts.schema import (
    Arrival,
    Column,
    Contract,
    ForeignKey,
    Partition,
    Precedence,
    Rule,
    Type,
)
from transforms.errors import UsageError

# Parents stand before children.
CONTRACTS: Mapping[str, Contract] = MappingProxyType(
    {
        contract.name: contract
        for contract in (
            campaigns.CAMPAIGNS,
            commerce.CUSTOMERS,
            commerce.TRANSACTIONS,
            commerce.ITEMS,
            digital.SESSION_DATA,
            digital.BEHAVIORAL_EVENTS,
            crm.ENGAGEMENT_EVENTS,
            crm.PREFERENCE_DATA,
            service.TICKETS,
            service.INTERACTIONS,
            external.PROFILES,
            external.SENTIMENT,
        )
    }
)


def contract(name: str) -> Contract:
    """The contract of a table by its full name, its folder name ("transactions") or its path, in any case."""
    wanted = name.strip().strip("/").lower()
    for table in CONTRACTS.values():
        if wanted in (table.name.lower(), table.path, table.path.rsplit("/", 1)[-1]):
            return table
    known = ", ".join(sorted(c.path.rsplit("/", 1)[-1] for c in CONTRACTS.values()))
    raise UsageError(f"no table named {name!r}", remedy=f"the tables are {known}")


__all__ = [
    "CONTRACTS",
    "Arrival",
    "Column",
    "Contract",
    "ForeignKey",
    "Partition",
    "Precedence",
    "Rule",
    "Type",
    "contract",
]
