"""What a kernel that judges rows hands back."""

from __future__ import annotations

from typing import NamedTuple

import pyarrow as pa

RULE, REASON = "_rule", "_reason"


class Split(NamedTuple):
    """Every row of the input is in one of the two, in input order.

    `rejected` has the columns `_rule` (the first rule broken) and `_reason` (all of them in words; no value of a
    personal column) besides its own.
    """

    accepted: pa.Table
    rejected: pa.Table


class Silvered(NamedTuple):
    """A `Split` with `flagged`: the number of accepted rows for each flag, by flag name."""

    accepted: pa.Table
    rejected: pa.Table
    flagged: dict[str, int]
