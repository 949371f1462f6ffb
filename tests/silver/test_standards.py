"""The standard of one value at a time."""

import phonenumbers
import pycountry
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.silver.address import standard_address, standard_postcode, standard_state
from transforms.silver.country import alpha_2, standard_country
from transforms.silver.currency import standard_currency
from transforms.silver.email import standard_email
from transforms.silver.name import standard_city, standard_name
from transforms.silver.phone import standard_phone

# All values of the Country column of Online Retail II, years 2009 to 2011.
RETAIL_COUNTRIES = {
    "Australia": "AUS", "Austria": "AUT", "Bahrain": "BHR", "Belgium": "BEL", "Bermuda": "BMU", "Brazil": "BRA",
    "Canada": "CAN", "Channel Islands": None, "Cyprus": "CYP", "Czech Republic": "CZE", "Denmark": "DNK",
    "EIRE": "IRL", "European Community": None, "Finland": "FIN", "France": "FRA", "Germany": "DEU", "Greece": "GRC",
    "Hong Kong": "HKG", "Iceland": "ISL", "Israel": "ISR", "Italy": "ITA", "Japan": "JPN", "Korea": "KOR",
    "Lebanon": "LBN", "Lithuania": "LTU", "Malta": "MLT", "Netherlands": "NLD", "Nigeria": "NGA", "Norway": "NOR",
    "Poland": "POL", "Portugal": "PRT", "RSA": "ZAF", "Saudi Arabia": "SAU", "Singapore": "SGP", "Spain": "ESP",
    "Sweden": "SWE", "Switzerland": "CHE", "Thailand": "THA", "USA": "USA", "United Arab Emirates": "ARE",
    "United Kingdom": "GBR", "Unspecified": None, "West Indies": None,
}  # fmt: skip


@pytest.mark.parametrize(("written", "code"), RETAIL_COUNTRIES.items())
def test_countries_as_a_shop_writes_them(written, code):
    assert standard_country(written) == code
    assert standard_country(f"  {written.lower()} ") == code


@pytest.mark.parametrize("country", pycountry.countries, ids=lambda c: c.alpha_3)
def test_every_country_by_code_and_name(country):
    written = [country.alpha_2, country.alpha_3, country.name, country.name.upper(), country.alpha_2.lower()]
    assert {standard_country(value) for value in written} == {country.alpha_3}
    assert alpha_2(country.alpha_3) == country.alpha_2


@pytest.mark.parametrize(
    ("written", "code"),
    [("uk", "GBR"), ("U.S.A.", "USA"), ("Türkiye", "TUR"), ("the netherlands", "NLD"), ("cote d'ivoire", "CIV"),
     ("Côte d’Ivoire", "CIV"), ("Trinidad & Tobago", "TTO"), ("Atlantis", None), ("  ", "")],
)  # fmt: skip
def test_country_variants(written, code):
    assert standard_country(written) == code


def test_every_currency_stays_and_symbols_are_read():
    codes = {currency.alpha_3 for currency in pycountry.currencies} - {"XXX", "XTS"}
    assert {standard_currency(code.lower()) for code in codes} == codes
    assert [standard_currency(s) for s in ("£", "€", "$", "¥", "xxx", "coins", " ")] == [
        "GBP", "EUR", "USD", "JPY", None, None, ""]  # fmt: skip


@pytest.mark.parametrize(
    ("written", "standard"),
    [
        ("Jo.Bloggs+shop@Gmail.COM", "jo.bloggs+shop@gmail.com"),
        ("mailto:a@b.de", "a@b.de"),
        ("Jo Bloggs <jo@b.de>;", None),
        ("Jo Bloggs <jo@b.de>", "jo@b.de"),
        ("jo@b.de;", "jo@b.de"),
        ("e\u0301@exa\u0301mple.fr", "é@exámple.fr"),
        ("no at", None),
        ("a@b", None),
        ("a..b@c.de", None),
        ("a@-b.de", None),
        ("a@b-.de", None),
        ("a@b.123", None),
        ("a b@c.de", None),
        ("a@b@c.de", None),
        ("x" * 65 + "@b.de", None),
        ("", ""),
    ],
)
def test_email(written, standard):
    assert standard_email(written) == standard


@given(st.from_regex(r"[A-Za-z0-9]+([.+_-][A-Za-z0-9]+)?@([a-z0-9]+\.){1,3}[a-z]{2,6}", fullmatch=True))
def test_ordinary_addresses_are_only_lowered(address):
    if len(address.split("@")[0]) <= 64 and all(len(label) <= 63 for label in address.split("@")[1].split(".")):
        assert standard_email(address) == address.lower()


@given(st.text())
def test_email_of_anything_is_idempotent(value):
    once = standard_email(value)
    assert once is None or standard_email(once) == once


@given(st.text("0123456789+ ()-./x", max_size=18), st.sampled_from(["GBR", "USA", "FRA", "DEU", "ITA", None]))
def test_phone_is_what_the_library_says_one_by_one(value, country):
    try:
        parsed = phonenumbers.parse(value, alpha_2(country) or "GB")
        fits = phonenumbers.is_possible_number_with_reason(parsed) == phonenumbers.ValidationResult.IS_POSSIBLE
        fits = fits and len(set(str(parsed.national_number))) > 1
        wanted = phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164) if fits else None
    except phonenumbers.NumberParseException:
        wanted = None
    assert standard_phone(value, country, "GB") == (wanted if value.strip() else "")


@given(st.text("0123456789+ ()-./x", max_size=18), st.sampled_from(["GBR", "USA", "FRA", "DEU", "ITA", "ARG", None]))
def test_phone_is_idempotent_and_then_no_longer_needs_the_country(value, country):
    once = standard_phone(value, country, "GB")
    if once:
        assert standard_phone(once, None, "US") == once


@pytest.mark.parametrize(
    ("value", "country", "standard"),
    [("020 7946 0018", "GBR", "+442079460018"), ("020 7946 0018", None, "+442079460018"),
     ("(202) 555-0125", "USA", "+12025550125"), ("+33 6 12 34 56 78", "GBR", "+33612345678"),
     ("0000000000", "GBR", None), ("12", "GBR", None), ("ask at till", None, None), (" ", None, "")],
)  # fmt: skip
def test_phone(value, country, standard):
    assert standard_phone(value, country, "GB") == standard


@pytest.mark.parametrize(
    ("written", "standard"),
    [("MCDONALD", "McDonald"), ("McDonald", "McDonald"), ("o'brien", "O'Brien"), ("O’BRIEN", "O’Brien"),
     ("VAN DER BERG", "van der Berg"), ("van der Berg", "van der Berg"), ("JEAN-PIERRE", "Jean-Pierre"),
     ("de la cruz", "de la Cruz"), ("VAN", "Van"), ("ΓΙΩΡΓΟΣ", "Γιωργος"), ("李小龍", "李小龍"), ("محمد", "محمد"),
     ("j.r.", "J.R."), ("  anna   maria ", "Anna Maria"), ("mc", "Mc"), ("deVito", "deVito")],
)  # fmt: skip
def test_name(written, standard):
    assert standard_name(written) == standard


@pytest.mark.parametrize(
    ("written", "standard"),
    [("STOKE-ON-TRENT", "Stoke-on-Trent"), ("newcastle upon tyne", "Newcastle upon Tyne"),
     ("LA ROCHELLE", "La Rochelle"),
     ("KING'S LYNN", "King's Lynn"), ("London,", "London"), ("São Paulo", "São Paulo")],
)  # fmt: skip
def test_city(written, standard):
    assert standard_city(written) == standard


@pytest.mark.parametrize(
    ("written", "standard"),
    [("12 HIGH ST,", "12 High Street"), ("12 High Street", "12 High Street"), ("3 St James Rd", "3 St James Road"),
     ("221b baker st.", "221B Baker Street"), ("350 5TH AVE FL 3", "350 5th Avenue Floor 3"),
     ("1 Dr Martin Ave, Apt 4", "1 Dr Martin Avenue, Apartment 4"), ("10 Main St N", "10 Main Street N"),
     ("FLAT 2 ,10 DOWNING ST", "Flat 2, 10 Downing Street"), ("St. Mary's Ct", "St. Mary's Court"), (" , ", "")],
)  # fmt: skip
def test_address(written, standard):
    assert standard_address(written) == standard


ADDRESS_WORDS = "St St. ST rd Ave, 12 5TH High dr N apt fl , Mary's ste-x ı ß"


@given(st.lists(st.sampled_from(ADDRESS_WORDS.split(" ")), max_size=7))
def test_address_is_idempotent(words):
    once = standard_address(" ".join(words))
    assert standard_address(once) == once


@pytest.mark.parametrize(
    ("value", "country", "standard"),
    [("sw1a1aa", "GBR", "SW1A 1AA"), ("SW1A 1AA", None, "SW1A 1AA"), ("m1 1ae", "GBR", "M1 1AE"),
     ("12345", "GBR", None),
     ("12345", "USA", "12345"), ("123456789", "USA", "12345-6789"), ("12345-6789", "USA", "12345-6789"),
     ("1234", "USA", None), ("k1a0b1", "CAN", "K1A 0B1"), ("1012 ab", "NLD", "1012 AB"), ("75001", "FRA", "75001"),
     ("?", "FRA", None), (" - ", "GBR", "")],
)  # fmt: skip
def test_postcode(value, country, standard):
    assert standard_postcode(value, country, "GB") == standard
    if standard:
        assert standard_postcode(standard, country, "GB") == standard


@pytest.mark.parametrize(
    ("value", "country", "standard"),
    [("new york", "USA", "NY"), ("N.Y.", "USA", "NY"), ("ny", None, "NY"), ("ontario", "CAN", "ON"),
     ("Nowhere", "USA", None), ("new york", "FRA", None), ("", "USA", "")],
)  # fmt: skip
def test_state(value, country, standard):
    assert standard_state(value, country, "GB") == standard
