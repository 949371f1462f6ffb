"""Persons, their records, and the truth about which is whose."""

from __future__ import annotations

from datetime import date

import numpy as np
import phonenumbers
import polars as pl
import pytest

from transforms.generator.mess import mistype, shorten, swap_day_and_month
from transforms.generator.places import COUNTRIES
from transforms.generator.randomness import fill, stream
from transforms.generator.records import CHANGES, SEVERAL_RECORDS
from transforms.generator.retailer import scramble

ALPHA2 = {"GBR": "GB", "UK": "GB", "IRL": "IE", "DEU": "DE", "FRA": "FR", "NLD": "NL", "USA": "US", "ESP": "ES",
          "CHE": "CH", "PRT": "PT", "BEL": "BE", "GGY": "GG", "SWE": "SE", "ITA": "IT", "AUS": "AU", "CYP": "CY",
          "AUT": "AT", "GRC": "GR", "ARE": "AE", "DNK": "DK", "NOR": "NO", "FIN": "FI", "JPN": "JP", "POL": "PL",
          "MLT": "MT", "LTU": "LT", "SGP": "SG", "ZAF": "ZA", "BHR": "BH", "CAN": "CA", "HKG": "HK", "THA": "TH",
          "ISR": "IL", "ISL": "IS", "KOR": "KR", "BRA": "BR", "BMU": "BM", "NGA": "NG", "LBN": "LB"}  # fmt: skip


def plain(column: str) -> pl.Expr:
    return pl.col(column).str.strip_chars().str.to_lowercase()


def with_truth(world) -> pl.DataFrame:
    return world.tables["CUSTOMERS"].join(
        world.truth["persons"], left_on="CUSTOMER_ID", right_on="customer_id", how="left", maintain_order="left"
    )


def test_each_record_belongs_to_one_person_with_one_first_record(world):
    persons = world.truth["persons"]
    assert sorted(persons["customer_id"]) == sorted(world.tables["CUSTOMERS"]["CUSTOMER_ID"])
    counts = persons.group_by("person").agg(records=pl.len(), first=(pl.col("change") == "first").sum())
    assert (counts["first"] == 1).all()
    assert counts["records"].max() == 3
    several = (counts["records"] > 1).mean()
    assert abs(several - SEVERAL_RECORDS) < 4 * (0.12 * 0.88 / counts.height) ** 0.5
    assert set(world.truth["churned"]["person"]) == set(counts["person"])


def test_a_change_is_visible_in_the_record_and_what_is_not_named_stays(world):
    people = with_truth(world)
    first = people.filter(pl.col("change") == "first")
    pairs = people.filter(pl.col("change") != "first").join(first, on="person", suffix="_1")
    named = {name: pl.col("change").str.split("+").list.contains(name) for name, _ in CHANGES}
    for column, reasons in (
        ("DATE_OF_BIRTH", ("birth_swapped",)),
        ("FIRST_NAME", ("nickname", "typo")),
        ("LAST_NAME", ("surname", "typo")),
        ("EMAIL_ADDRESS", ("email",)),
        ("CITY", ("moved",)),
    ):
        value = plain(column) if people[column].dtype == pl.String else pl.col(column)
        other = plain(f"{column}_1") if people[column].dtype == pl.String else pl.col(f"{column}_1")
        silent = pairs.filter(~pl.any_horizontal([named[reason] for reason in reasons]))
        assert silent.filter(value != other).is_empty(), column
        assert silent.filter(value == other).height > 20, column
    swapped = pairs.filter(named["birth_swapped"]).drop_nulls(["DATE_OF_BIRTH", "DATE_OF_BIRTH_1"])
    for new, old in zip(swapped["DATE_OF_BIRTH"], swapped["DATE_OF_BIRTH_1"], strict=True):
        assert new == date(old.year, old.day, old.month)
    assert swapped.height > 5
    for name in named:
        assert pairs.filter(named[name]).height > 5, name


def test_two_persons_never_share_a_mail_address_but_households_share_phone_and_address(world):
    people = with_truth(world)
    mails = people.drop_nulls("EMAIL_ADDRESS").group_by(plain("EMAIL_ADDRESS")).agg(pl.col("person").n_unique())
    assert mails["person"].max() == 1
    homes = people.group_by(plain("ADDRESS_LINE_1").alias("home"), plain("ZIP_CODE").str.replace(" ", "").alias("zip"))
    assert (homes.agg(pl.col("person").n_unique())["person"] > 1).sum() > 50
    digits = pl.col("PHONE_NUMBER").str.replace_all(r"\D", "").str.slice(-8)
    shared = people.drop_nulls("PHONE_NUMBER").group_by(digits).agg(pl.col("person").n_unique())
    assert (shared["person"] > 1).sum() > 30


def test_phones_are_real_numbers_of_their_country_in_several_spellings(world):
    known = world.tables["CUSTOMERS"].drop_nulls("PHONE_NUMBER").head(1_500)
    valid, kinds = 0, set()
    for number, country in zip(known["PHONE_NUMBER"], known["COUNTRY_CODE"], strict=True):
        parsed = phonenumbers.parse(number, ALPHA2.get(country, country))
        valid += phonenumbers.is_valid_number(parsed)
        kinds.add("+" if number[0] == "+" else "00" if number[:2] == "00" else "national")
    assert valid / known.height > 0.99
    assert kinds == {"+", "00", "national"}


def test_there_are_capitals_small_letters_blanks_and_names_beyond_ascii(world):
    names = world.tables["CUSTOMERS"]["LAST_NAME"]
    assert (names == names.str.to_uppercase()).mean() > 0.03
    assert (names == names.str.to_lowercase()).mean() > 0.02
    assert names.str.starts_with(" ").any()
    assert names.str.contains(r"[^\x00-\x7f]").any()


def test_nobody_does_anything_before_registering_or_after_leaving(made_up):
    truth = made_up.truth["persons"].join(made_up.truth["churned"], on="person")
    for name, moment in (
        ("CUSTOMER_TRANSACTIONS", "TRANSACTION_DATE"),
        ("CUSTOMER_BEHAVIORAL_EVENTS", "EVENT_DATE"),
        ("CUSTOMER_SERVICE_INTERACTIONS", "INTERACTION_DATE"),
    ):
        rows = made_up.tables[name].join(truth, left_on="CUSTOMER_ID", right_on="customer_id")
        slack = pl.duration(hours=2) if name == "CUSTOMER_BEHAVIORAL_EVENTS" else pl.duration()
        if name == "CUSTOMER_SERVICE_INTERACTIONS":  # a ticket may be answered after its writer left for good
            rows = rows.filter(pl.col("TICKET_ID").is_null())
        assert rows.filter(pl.col(moment) >= pl.col("churned_at") + slack).is_empty(), name
        assert rows.filter(pl.col(moment) + slack < pl.col("active_from")).is_empty(), name
        assert rows.height > 100
    assert 0.2 < made_up.truth["churned"]["churned_at"].is_not_null().mean() < 0.6


def test_tastes_sum_to_one_and_show_in_what_is_bought(made_up):
    tastes = made_up.truth["tastes"]
    sums = tastes.group_by("person").agg(pl.col("weight").sum())["weight"]
    assert sums.max() < 1 + 1e-9 and sums.min() > 0.88
    favourite = tastes.group_by("person", maintain_order=True).first()
    bought = (
        made_up.tables["CUSTOMER_TRANSACTION_ITEMS"]
        .join(made_up.tables["CUSTOMER_TRANSACTIONS"], on="TRANSACTION_ID")
        .join(made_up.truth["persons"], left_on="CUSTOMER_ID", right_on="customer_id")
        .join(favourite, on="person")
    )
    hit = (bought["CATEGORY"] == bought["category"]).mean()
    assert hit > 0.8 * bought["weight"].mean()  # TASTE_SHARE of the lines follow the taste


def test_ids_are_scrambled_one_to_one():
    some = np.unique(np.concatenate([np.arange(200_000), (1 << 30) - 1 - np.arange(200_000)]))
    made = scramble(some)
    assert len(np.unique(made)) == len(some)
    assert made.min() >= 0 and made.max() < 1 << 30


def test_a_typing_error_is_one_edit_away():
    words = pl.Series("w", ["Smith", "Müller", "O'Brien", "Li", "X"] * 200)
    wrong = mistype(stream(1, "typo"), words)
    for before, after in zip(words, wrong, strict=True):
        assert distance(before, after) <= 1
    assert (words != wrong).mean() > 0.6


def distance(a: str, b: str) -> int:
    """Damerau-Levenshtein distance (optimal string alignment), the slow plain way."""
    d = [[max(i, j) if 0 in (i, j) else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            cost = a[i - 1] != b[j - 1]
            d[i][j] = min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + cost)
            if i > 1 and j > 1 and a[i - 1] == b[j - 2] and a[i - 2] == b[j - 1]:
                d[i][j] = min(d[i][j], d[i - 2][j - 2] + 1)
    return d[-1][-1]


def test_nicknames_and_swapped_birthdays():
    assert shorten(pl.Series(["William", "Zoë"])).to_list() == ["Bill", "Zoë"]
    epoch = date(1970, 1, 1)
    days = [(date(1980, 2, 3) - epoch).days, (date(1980, 2, 25) - epoch).days]
    assert swap_day_and_month(pl.Series(days)).to_list() == [(date(1980, 3, 2) - epoch).days, days[1]]


@pytest.mark.parametrize("country", COUNTRIES, ids=lambda c: c.alpha3)
def test_phone_patterns_of_each_country_are_valid(country):
    made = fill(stream(3, country.alpha3), country.mobile, np.arange(60) % len(country.mobile))
    valid = [phonenumbers.is_valid_number(phonenumbers.parse(f"+{country.calling}{digits}")) for digits in made]
    assert all(valid)
