"""Customer records: several about some persons, each written down in its own way."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator import mess
from transforms.generator.frames import DAY, finish
from transforms.generator.persons import draw_homes, draw_mail, draw_phone, draw_surname
from transforms.generator.places import COUNTRIES
from transforms.generator.population import CHANNELS
from transforms.generator.randomness import gather, within

SEVERAL_RECORDS, THIRD_RECORD = 0.12, 0.2

# How a further record differs from the first one; a record may differ in several ways, and differs in one at least.
CHANGES: tuple[tuple[str, float], ...] = (
    ("typo", 0.4), ("nickname", 0.2), ("moved", 0.25), ("surname", 0.12), ("birth_swapped", 0.1), ("email", 0.45),
    ("phone", 0.2),
)  # fmt: skip


def draw_records(rng: np.random.Generator, persons: pl.DataFrame) -> pl.DataFrame:
    """One row a record: person (row of `persons`), copy (0 is the first), since, change, and what it says.

    The columns of the person (given, surname, birth, address …) are changed as `change` names, joined by "+". A
    change that leaves a value as it was (no nickname known, a birthday on the 25th) is not named.
    """
    counts = 1 + (rng.random(persons.height) < SEVERAL_RECORDS).astype(np.int64)
    counts += (counts > 1) & (rng.random(persons.height) < THIRD_RECORD)
    person = np.repeat(np.arange(persons.height), counts)
    frame = persons[person].with_columns(person_row=person, copy=within(counts))
    joined, left = frame["joined"].to_numpy(), frame["left"].to_numpy()
    later = joined + (rng.random(len(person)) * np.maximum(left - joined - DAY, 0)).astype(np.int64) // DAY * DAY
    since = np.where(frame["copy"].to_numpy() == 0, joined, later)
    frame = frame.with_columns(since=since).sort("person_row", pl.col("copy") > 0, "since", maintain_order=True)
    return _change(rng, frame.with_columns(copy=within(counts)))


def _change(rng: np.random.Generator, frame: pl.DataFrame) -> pl.DataFrame:
    size = frame.height
    extra = frame["copy"].to_numpy() > 0
    wanted = rng.random((size, len(CHANGES))) < np.array([share for _, share in CHANGES])
    wanted[~wanted.any(axis=1), 5] = True
    wanted &= extra[:, None]
    versions = _versions(rng, frame)
    order = [name for name, _ in CHANGES]
    said = pl.DataFrame({"change": [""] * size})
    for name in versions:
        if name == "typo":
            versions[name] = _mistyped(rng, frame)
        chosen = pl.Series(wanted[:, order.index(name)])
        new = [values.alias(column).zip_with(chosen, frame[column]) for column, values in versions[name].items()]
        differs = pl.select(pl.any_horizontal(*[v.ne_missing(frame[v.name]) for v in new])).to_series()
        frame = frame.with_columns(new)
        label = pl.when(differs).then(pl.col("change") + f"+{name}").otherwise(pl.col("change"))
        said = said.with_columns(change=label)
    change = pl.when(pl.Series(extra)).then(said["change"].str.strip_chars("+")).otherwise(pl.lit("first"))
    return frame.with_columns(change=change).with_columns(change=pl.col("change").replace("", "copy"))


def _versions(rng: np.random.Generator, frame: pl.DataFrame) -> dict[str, dict[str, pl.Series]]:
    """What each change would make of the columns it touches, in the order the changes are made."""
    countries, number = frame["country"].to_numpy(), frame["number"].to_numpy()
    homes = draw_homes(rng, countries)
    return {
        "nickname": {"given": mess.shorten(frame["given"])},
        "surname": {"surname": draw_surname(rng, frame["culture"].to_numpy())},
        "typo": {},  # made in what the record says by then
        "moved": {name: homes[name] for name in ("address", "city", "state", "zip")},
        "birth_swapped": {"birth": mess.swap_day_and_month(frame["birth"])},
        "email": {"mail": draw_mail(rng, mess.shorten(frame["given"]), frame["surname"], number)},
        "phone": {"phone": draw_phone(rng, countries)},
    }


def _mistyped(rng: np.random.Generator, frame: pl.DataFrame) -> dict[str, pl.Series]:
    """A typing error in the given name or in the surname."""
    in_given = pl.Series(rng.random(frame.height) < 0.4)
    given, surname = mess.mistype(rng, frame["given"]), mess.mistype(rng, frame["surname"])
    return {
        "given": given.zip_with(in_given, frame["given"]),
        "surname": surname.zip_with(~in_given, frame["surname"]),
    }


def write_customers(rng: np.random.Generator, records: pl.DataFrame, end_us: int) -> pa.Table:
    """The CUSTOMERS table: what the records say, as forms and tills wrote it down.

    Args:
      records: columns of `draw_records` and CUSTOMER_ID.
    """
    size = records.height
    country = records["country"].to_numpy()
    rate, level = records["rate"].to_numpy(), records["price_level"].to_numpy()
    tier = np.digitize(rate + rng.normal(0, 2, size), (4, 9, 16))
    left, since = records["left"].to_numpy(), records["since"].to_numpy()
    login = np.maximum(np.minimum(left, end_us) - (rng.exponential(12, size) * DAY).astype(np.int64), since)
    status = np.where(records["churned"].to_numpy() & (rng.random(size) < 0.4), 1, 0)
    status = np.where(rng.random(size) < 0.004, 2, status)
    female = records["woman"].to_numpy()
    return finish("CUSTOMERS", pl.DataFrame({
        "CUSTOMER_ID": records["CUSTOMER_ID"],
        "FIRST_NAME": mess.restyle(rng, records["given"], 0.07, 0.04, 0.03),
        "LAST_NAME": mess.restyle(rng, records["surname"], 0.08, 0.04, 0.03),
        "EMAIL_ADDRESS": mess.forget(rng, mess.restyle(rng, records["mail"], 0.06, 0.0, 0.04), 0.06),
        "PHONE_NUMBER": mess.forget(rng, mess.write_phone(rng, records["phone"], country), 0.1),
        "DATE_OF_BIRTH": mess.forget(rng, records["birth"], 0.08),
        "GENDER": gather(("M", "F", "MALE", "FEMALE", None), np.where(
            rng.random(size) < 0.05, 4, female + 2 * (rng.random(size) < 0.1))),
        "ADDRESS_LINE_1": mess.restyle(rng, mess.sometimes(rng, records["address"], 0.25, mess.abbreviate),
                                       0.06, 0.03, 0.03),
        "CITY": mess.restyle(rng, records["city"], 0.08, 0.03, 0.02),
        "STATE_CODE": records["state"],
        "ZIP_CODE": mess.sometimes(rng, mess.sometimes(rng, records["zip"], 0.1, lambda v: v.str.replace(" ", "")),
                                   0.05, lambda v: v.str.to_lowercase()),
        "COUNTRY_CODE": mess.write_country(rng, gather([c.alpha3 for c in COUNTRIES], country)),
        "CUSTOMER_SEGMENT": gather(("BASIC", "STANDARD", "PREMIUM"), np.digitize(level, (-0.5, 1.0))),
        "LOYALTY_TIER": gather(("BRONZE", "SILVER", "GOLD", "PLATINUM"), tier),
        "LOYALTY_POINTS": (rng.gamma(1.2, 180, size) * (1 + tier)).astype(np.int64),
        "REGISTRATION_DATE": since // DAY,
        "LAST_LOGIN_DATE": login // DAY,
        "CUSTOMER_STATUS": gather(("ACTIVE", "INACTIVE", "BLOCKED"), status),
        "PREFERRED_CHANNEL": gather(CHANNELS, records["channel"].to_numpy()),
        "PREFERRED_STORE": "S" + pl.Series(rng.integers(1, 13, size)).cast(pl.String).str.zfill(3),
    }))  # fmt: skip
