"""The levels two values can agree on, worst to best, and how one person's records spread over them before any data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MISSING = 0  # the level where either record has no value: neutral


@dataclass(frozen=True)
class Kind:
    """`levels`: name -> shares of one person's pairs and of strangers' pairs, to start from where there is little data.

    The first level is numbered 1, the last is "same".
    """

    levels: Mapping[str, tuple[float, float]]

    @property
    def names(self) -> tuple[str, ...]:
        return ("missing", *self.levels)

    @property
    def agree(self) -> tuple[float, ...]:
        return (1.0, *(agree for agree, _ in self.levels.values()))

    @property
    def chance(self) -> tuple[float, ...]:
        return (1.0, *(chance for _, chance in self.levels.values()))


KINDS: Mapping[str, Kind] = {
    "given_name": Kind({"different": (0.04, 0.985), "similar": (0.03, 3e-3), "initial": (0.01, 5e-4),
                        "variant": (0.04, 2e-3), "swapped": (0.02, 2e-5), "typo": (0.1, 1e-3), "same": (0.76, 8e-3)}),
    "surname": Kind({"different": (0.05, 0.99), "similar": (0.03, 2e-3), "part": (0.02, 5e-4), "typo": (0.1, 1e-3),
                     "same": (0.8, 3e-3)}),
    "whole_name": Kind({"different": (0.03, 0.98), "similar": (0.07, 0.015), "part": (0.1, 2e-3), "typo": (0.15, 5e-4),
                        "same": (0.65, 1e-4)}),
    "date": Kind({"different": (0.02, 0.96), "same year": (0.02, 0.015), "two digits": (0.02, 0.02),
                  "one digit": (0.06, 2e-3), "swapped": (0.03, 2e-5), "same": (0.85, 6e-5)}),
    "email": Kind({"different": (0.25, 0.999), "same digits": (0.04, 2e-4), "typo": (0.03, 1e-5),
                   "same mailbox": (0.05, 1e-5), "same": (0.63, 1e-6)}),
    "phone": Kind({"different": (0.25, 0.999), "typo": (0.05, 1e-6), "same": (0.7, 1e-6)}),
    "identifier": Kind({"different": (0.03, 0.999), "typo": (0.07, 1e-5), "same": (0.9, 1e-6)}),
    "street": Kind({"different": (0.06, 0.99), "similar": (0.04, 2e-3), "same street": (0.05, 2e-3),
                    "typo": (0.15, 2e-5), "same": (0.7, 3e-5)}),
    "area": Kind({"different": (0.01, 0.8), "same state": (0.02, 0.15), "similar": (0.02, 5e-3),
                  "same city": (0.08, 0.03), "similar postcode": (0.07, 1e-3), "same postcode": (0.1, 5e-4),
                  "same": (0.7, 1e-3)}),
    "text": Kind({"different": (0.2, 0.97), "similar": (0.15, 0.01), "same": (0.65, 0.02)}),
    "code": Kind({"different": (0.05, 0.5), "same": (0.95, 0.5)}),
}  # fmt: skip
