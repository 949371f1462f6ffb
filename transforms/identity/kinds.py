"""The levels two values can agree on, worst to best, and how one person's records spread over them before any data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MISSING = 0  # the level where either record has no value: neutral


@dataclass(frozen=True)
class Kind:
    """`levels`: name -> share of one person's pairs, to start from; the first is numbered 1, the last is "same"."""

    levels: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        return ("missing", *self.levels)

    @property
    def start(self) -> tuple[float, ...]:
        return (1.0, *self.levels.values())


KINDS: Mapping[str, Kind] = {
    "given_name": Kind({"different": 0.04, "similar": 0.03, "initial": 0.01, "variant": 0.04, "swapped": 0.02,
                        "typo": 0.1, "same": 0.76}),
    "surname": Kind({"different": 0.05, "similar": 0.03, "part": 0.02, "typo": 0.1, "same": 0.8}),
    "whole_name": Kind({"different": 0.03, "similar": 0.07, "part": 0.1, "typo": 0.15, "same": 0.65}),
    "date": Kind({"different": 0.02, "same year": 0.02, "two digits": 0.02, "one digit": 0.06, "swapped": 0.03,
                  "same": 0.85}),
    "email": Kind({"different": 0.25, "same digits": 0.04, "typo": 0.03, "same mailbox": 0.05, "same": 0.63}),
    "phone": Kind({"different": 0.25, "typo": 0.05, "same": 0.7}),
    "identifier": Kind({"different": 0.03, "typo": 0.07, "same": 0.9}),
    "street": Kind({"different": 0.06, "similar": 0.04, "same street": 0.05, "typo": 0.15, "same": 0.7}),
    "area": Kind({"different": 0.01, "same state": 0.02, "similar": 0.02, "same city": 0.08, "similar postcode": 0.07,
                  "same postcode": 0.1, "same": 0.7}),
    "text": Kind({"different": 0.2, "similar": 0.15, "same": 0.65}),
    "code": Kind({"different": 0.05, "same": 0.95}),
}  # fmt: skip
