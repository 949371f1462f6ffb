"""What is compared, how records are brought together and what counts as proof: declared once, for all data."""

from __future__ import annotations

from dataclasses import dataclass

from transforms.errors import UsageError
from transforms.identity.kinds import KINDS

PERSON, HOME = "person", "home"


@dataclass(frozen=True)
class Comparison:
    """One comparison of two records, which ends in one of the levels of its kind, or in none where a value is missing.

    Attributes:
      kind: a name in KINDS: its levels, worst to best.
      fields: the standard columns it looks at; the first is the one whose frequent values weigh less.
      about: "person", or "home": what people who live together share and people who move lose.
      shared: of two relatives, or two homes of one person, the share that agree as one person's records do.
    """

    name: str
    kind: str
    fields: tuple[str, ...]
    about: str = PERSON
    shared: float = 0.0

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.about not in (PERSON, HOME) or not 0 <= self.shared < 1 or not self.fields:
            raise UsageError(f"comparison {self.name!r} is not valid", "identity rules", f"kinds are {sorted(KINDS)}")


@dataclass(frozen=True)
class BlockingRule:
    """Records that agree on all of `keys` are compared.

    Attributes:
      keys: names of block keys (`keys.py`).
      refine: further keys, asked one after the other only in blocks of more than `IdentityRules.block_rows` records.
      without: the rule is for records of which none has any of these keys, and who would hardly meet otherwise.
    """

    keys: tuple[str, ...]
    refine: tuple[str, ...] = ()
    without: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "+".join(self.keys)


@dataclass(frozen=True)
class DeterministicRule:
    """Two records with the same value are one person, unless names and birth date say otherwise.

    Attributes:
      field: a standard column.
      verified: a column that must be true in both records; a table without it has no such proof.
    """

    field: str
    verified: str | None = None

    @property
    def name(self) -> str:
        return f"same {self.field}"


COMPARISONS = (
    Comparison("given_name", "given_name", ("given_name", "surname"), shared=0.05),
    Comparison("surname", "surname", ("surname", "given_name"), shared=0.7),
    Comparison("name", "whole_name", ("name",), shared=0.05),
    Comparison("middle_name", "given_name", ("middle_name",), shared=0.05),
    Comparison("birth_date", "date", ("birth_date",), shared=0.015),
    Comparison("birth_place", "text", ("birth_place",), shared=0.4),
    Comparison("gender", "code", ("gender",)),
    Comparison("email", "email", ("email",), shared=0.05),
    Comparison("phone", "phone", ("phone",), shared=0.45),
    Comparison("national_id", "identifier", ("national_id",)),
    Comparison("loyalty_id", "identifier", ("loyalty_id",), shared=0.2),
    Comparison("login", "identifier", ("login",), shared=0.05),
    Comparison("street", "street", ("street",), HOME, shared=0.02),
    Comparison("unit", "text", ("unit",), HOME, shared=0.02),
    Comparison("area", "area", ("postcode", "city", "state"), HOME, shared=0.25),
    Comparison("organisation", "text", ("organisation",), HOME, shared=0.3),
    Comparison("occupation", "text", ("occupation",), shared=0.1),
)

_DETAIL = ("birth_date", "street", "city", "postcode", "given_name", "surname")
BLOCKING = (
    BlockingRule(("national_id",), _DETAIL),
    BlockingRule(("loyalty_id",), _DETAIL),
    BlockingRule(("login",), _DETAIL),
    BlockingRule(("email",), _DETAIL),
    BlockingRule(("phone",), ("given_sound", "surname_sound", *_DETAIL)),
    BlockingRule(("mailbox",), ("given_initial", "surname_sound", *_DETAIL)),
    BlockingRule(("names",), ("birth_year", "birth_day", "postcode", "city", "street")),
    BlockingRule(("surname_sound", "birth_parts"), ("given_initial", *_DETAIL)),
    BlockingRule(("given_sound", "birth_parts"), ("surname_initial", *_DETAIL)),
    BlockingRule(("postcode", "birth_parts"), ("given_initial", *_DETAIL)),
    BlockingRule(("surname_sound", "postcode"), ("given_initial", "birth_year", *_DETAIL)),
    BlockingRule(("given_sound", "postcode"), ("surname_initial", "birth_year", *_DETAIL)),
    BlockingRule(("street", "city"), ("given_initial", "birth_year", *_DETAIL)),
    BlockingRule(("birth_parts",), ("given_initial", "surname_initial", "city")),
    BlockingRule(("name_sounds",), ("city", "postcode", "street")),
    BlockingRule(("name_start", "city"), ("street", "postcode")),
    BlockingRule(("surname_sound", "birth_year"), ("given_initial", "city", *_DETAIL), without=("birth_parts",)),
    BlockingRule(("given_sound", "birth_year"), ("surname_initial", "city", *_DETAIL), without=("birth_parts",)),
    BlockingRule(("given_sound", "surname_sound"), ("city", *_DETAIL), without=("birth_year", "postcode")),
    BlockingRule(("street",), ("given_initial", "surname_initial"), without=("city",)),
)

DETERMINISTIC = (
    DeterministicRule("national_id"),
    DeterministicRule("loyalty_id"),
    DeterministicRule("login"),
    DeterministicRule("email", verified="email_verified"),
    DeterministicRule("phone", verified="phone_verified"),
)


@dataclass(frozen=True)
class IdentityRules:
    """Everything that decides which records are one person; the default is meant for every data set.

    Attributes:
      block_rows: a larger block is refined; what stays larger is compared in the order of its records' content, each
        record with its `window` neighbours only.
      holders: a value that more records have proves nothing by itself.
      match_probability: from here on two records are taken for one person.
      keep_probability: pairs below are not returned.
      training_pairs: parameters are learned from about this many candidate pairs, and a quarter as many random ones.
      chunk_pairs: so many pairs are in memory at a time.
    """

    comparisons: tuple[Comparison, ...] = COMPARISONS
    blocking: tuple[BlockingRule, ...] = BLOCKING
    deterministic: tuple[DeterministicRule, ...] = DETERMINISTIC
    block_rows: int = 40
    window: int = 8
    holders: int = 25
    match_probability: float = 0.95
    keep_probability: float = 0.05
    training_pairs: int = 1_000_000
    chunk_pairs: int = 1_000_000

    def __post_init__(self) -> None:
        names = [comparison.name for comparison in self.comparisons]
        if not self.comparisons or not self.blocking or len(set(names)) != len(names):
            raise UsageError("identity rules need comparisons of different names, and blocking rules", "identity rules")
        for name in ("block_rows", "window", "holders", "training_pairs", "chunk_pairs"):
            if getattr(self, name) < 2:
                raise UsageError(f"{name} is {getattr(self, name)}", "identity rules", "take 2 or more")
        if not 0 < self.keep_probability <= self.match_probability < 1:
            raise UsageError(
                f"keep_probability is {self.keep_probability}, match_probability {self.match_probability}",
                "identity rules",
                "take 0 < keep_probability <= match_probability < 1",
            )
