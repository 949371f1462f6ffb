"""From bronze rows to silver rows, as far as one batch can tell: the step before keys are compared."""

from __future__ import annotations

import pyarrow as pa

from transforms.contracts import Contract
from transforms.silver.checks import check_against
from transforms.silver.flags import count_flags
from transforms.silver.split import Silvered
from transforms.silver.standardise import standardise


def to_silver(table: pa.Table, contract: Contract, default_country: str = "GB") -> Silvered:
    """Standardises and checks a batch of bronze rows; accepted + rejected = all rows, each in input order.

    Args:
      table: the contract's columns in their Arrow types, other source columns, the bronze envelope.
      default_country: ISO 3166-1 alpha-2, for phone numbers and postcodes of rows without a country.

    Returns:
      `accepted`: the same columns, standardised, and `_flags` list<string>; the envelope is still there, since
        `latest_by_key` asks for `_ingested_at`. `rejected`: the bronze rows untouched, with `_rule` and `_reason`.
    """
    split = check_against(standardise(table, contract, default_country), table, contract)
    return Silvered(split.accepted, split.rejected, count_flags(split.accepted))
