"""What was learned: how often records of one person, of relatives and of strangers agree on each level."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np

from transforms.identity.kinds import KINDS
from transforms.identity.rules import HOME, Comparison

# Who the two persons are to each other, and whether the two homes are one: the classes of pairs, in this order.
PERSONS = ("same", "related", "stranger")
CLASSES = tuple((person, home) for person in PERSONS for home in ("home", "away"))
SAME = np.array([person == "same" for person, _ in CLASSES])
STRANGER = np.array([person == "stranger" for person, _ in CLASSES])


@dataclass(frozen=True)
class LinkModel:
    """Parameters of Fellegi and Sunter's model (1969), with classes for those who share a home.

    A comparison about the person says how often records agree of the same person (`agree`) and of strangers (`chance`);
    relatives do as the same person in a share (`shared`), and else as strangers. A comparison about the home says it of
    one home and of two; who moved, or lives apart, does in a share as if the home were one.

    Attributes:
      comparisons: what was compared; a comparison of columns that no record has is left out.
      agree: name -> probability of each level of its kind (the first, missing, is 1) for the same person or home.
      chance: name -> the same for strangers or other homes.
      shared: name -> how much relatives have in common by it, or two homes of a person.
      classes: share of all pairs of records that is of each of CLASSES.
    """

    comparisons: tuple[Comparison, ...]
    agree: dict[str, np.ndarray]
    chance: dict[str, np.ndarray]
    shared: dict[str, float]
    classes: np.ndarray

    def of_class(self, comparison: Comparison, person: str, home: str) -> np.ndarray:
        """The probability of each level within a class of pairs."""
        agree, chance = self.agree[comparison.name], self.chance[comparison.name]
        share = agreeing(comparison, person, home, self.shared[comparison.name])
        return share * agree + (1 - share) * chance

    def only(self, comparisons: tuple[Comparison, ...]) -> LinkModel:
        """The model without the comparisons for which other records have no values."""
        return replace(self, comparisons=comparisons)

    def tables(self) -> list[np.ndarray]:
        """For each comparison the natural logarithms of its levels' probabilities: levels by classes."""
        return [np.log(np.stack([self.of_class(c, *k) for k in CLASSES], axis=1)) for c in self.comparisons]

    def to_json(self) -> str:
        """The model as JSON, to be kept beside the identities it made."""
        return json.dumps({
            "comparisons": [vars(c) for c in self.comparisons],
            "agree": {name: list(map(float, p)) for name, p in self.agree.items()},
            "chance": {name: list(map(float, p)) for name, p in self.chance.items()},
            "shared": self.shared,
            "classes": list(map(float, self.classes)),
        }, sort_keys=True)  # fmt: skip

    @staticmethod
    def from_json(text: str) -> LinkModel:
        held = json.loads(text)
        comparisons = tuple(Comparison(**{**c, "fields": tuple(c["fields"])}) for c in held["comparisons"])
        agree, chance = ({n: np.array(p) for n, p in held[side].items()} for side in ("agree", "chance"))
        return LinkModel(comparisons, agree, chance, held["shared"], np.array(held["classes"]))

    def weights(self) -> list[dict[str, object]]:
        """What each level adds, in bits, where the alternative is a stranger: one row a comparison and level."""
        rows = []
        for c in self.comparisons:
            with np.errstate(divide="ignore"):
                bits = np.log2(self.agree[c.name] / self.chance[c.name])
            rows += [
                {"comparison": c.name, "level": name, "agree": float(a), "chance": float(u), "bits": float(w)}
                for name, a, u, w in list(
                    zip(KINDS[c.kind].names, self.agree[c.name], self.chance[c.name], bits, strict=True)
                )[1:]
            ]
        return rows


def agreeing(comparison: Comparison, person: str, home: str, shared: float) -> float:
    """The share of a class that agrees on a comparison as the same person, or the same home, does."""
    if comparison.about == HOME:
        return 1.0 if home == "home" else 0.0 if person == "stranger" else shared
    return {"same": 1.0, "related": shared, "stranger": 0.0}[person]
