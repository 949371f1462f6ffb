"""Orders as the other parts need them, made up or real."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl


@dataclass(frozen=True)
class Orders:
    """Who bought what, when.

    Attributes:
      frame: TRANSACTION_ID, record (row of the population's records, -1 for a guest), at (microseconds), sold (a
        purchase that went through), returned (goods or money went back), channel, total (cents), campaign (row of
        the campaign that the buyer had clicked in the hours before, or -1).
      lines: order (row of `frame`), product (row of the catalogue), in order of `order`.
    """

    frame: pl.DataFrame
    lines: pl.DataFrame
