"""Customers of the generator's making, of whom it is known which records are one person."""

from __future__ import annotations

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.persons import draw_mail
from transforms.generator.population import draw_synthetic
from transforms.generator.records import draw_records, write_customers
from transforms.generator.spec import GeneratorSpec

COLUMNS = {
    "CUSTOMER_ID": "record_key", "FIRST_NAME": "given_name", "LAST_NAME": "surname", "EMAIL_ADDRESS": "email",
    "PHONE_NUMBER": "phone", "DATE_OF_BIRTH": "birth_date", "GENDER": "gender", "ADDRESS_LINE_1": "street",
    "CITY": "city", "STATE_CODE": "state", "ZIP_CODE": "postcode", "COUNTRY_CODE": "country",
}  # fmt: skip
_SHARD = 20_000


def planted_customers(persons: int, seed: int = 7, families: float = 0.0) -> tuple[pa.Table, pl.Series]:
    """Records of so many persons, in random order, and who each record is of.

    About one person in eight has two or three records with typing errors, nicknames, a new surname, address, phone or
    e-mail; about one in six lives in another's household (same address, often the same phone and surname). Of the
    latter a share of `families` is a namesake of the one whose household it is, a generation apart, and as many are
    twins: same surname, address, phone and birth date, another given name.
    """
    spec = GeneratorSpec(seed=seed, customers=persons).clean
    shards = [_shard(spec, number, min(_SHARD, persons - number), families) for number in range(0, persons, _SHARD)]
    records = pl.concat([r for r, _ in shards])
    whose = pl.concat([w for _, w in shards])
    order = np.random.default_rng(seed).permutation(records.height)
    return records[order].to_arrow(compat_level=pl.CompatLevel.oldest()), whose.gather(order)


def _shard(spec: GeneratorSpec, first: int, size: int, families: float) -> tuple[pl.DataFrame, pl.Series]:
    rng = np.random.default_rng([spec.seed, first])
    persons = draw_synthetic(rng, spec, first, size)
    if families:
        persons = _with_families(rng, persons, families)
    drawn = draw_records(rng, persons)
    ids = pl.select(pl.format("C{}-{}", pl.lit(first), pl.int_range(drawn.height))).to_series()
    customers = write_customers(rng, drawn.with_columns(CUSTOMER_ID=ids), spec.end_us)
    frame = pl.DataFrame(pl.from_arrow(customers)).select(pl.col(old).alias(new) for old, new in COLUMNS.items())
    return frame, persons["person"].gather(drawn["person_row"].cast(pl.UInt32))


def _with_families(rng: np.random.Generator, persons: pl.DataFrame, share: float) -> pl.DataFrame:
    before = persons.shift(1)
    lodger = (persons["address"] == before["address"]).fill_null(False) & (persons["zip"] == before["zip"])
    draw = pl.Series(rng.random(persons.height))
    namesake, twin = lodger & (draw < share), lodger & (draw >= share) & (draw < 2 * share)
    near = namesake | twin
    changed = persons.with_columns(
        surname=before["surname"].zip_with(near, persons["surname"]),
        phone=before["phone"].zip_with(near, persons["phone"]),
        given=before["given"].zip_with(namesake, persons["given"]),
        woman=before["woman"].zip_with(namesake, persons["woman"]),
        birth=pl.when(namesake).then(before["birth"] + 9_500).when(twin).then(before["birth"]).otherwise("birth"),
    )
    mail = draw_mail(rng, changed["given"], changed["surname"], changed["number"].to_numpy())
    return changed.with_columns(mail=mail.zip_with(near, changed["mail"]))
