"""What a record may say about a person: the columns that identity resolution knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Field:
    """One column of the records.

    Attributes:
      kind: how it is standardised (`standard.py`).
      synonyms: common names of such a column, without case, spaces and punctuation.
    """

    kind: str
    synonyms: tuple[str, ...] = ()


RECORD_KEY = "record_key"  # unique among all records of a run; everything else may be missing or null

# What every other column is compared as. A column is text, a date, a time or a number; `standard.py` reads them all.
FIELDS: Mapping[str, Field] = {
    "given_name": Field("name", ("firstname", "forename", "givenname", "givennames", "given", "first", "fname",
                                 "christianname", "vorname", "prenom", "nombre", "voornaam")),
    "middle_name": Field("name", ("middlename", "secondname", "middle", "mname")),
    "surname": Field("name", ("lastname", "familyname", "surname", "family", "last", "lname", "nachname", "nom",
                              "apellido", "apellidos", "cognome", "achternaam")),
    "name": Field("name", ("fullname", "name", "customername", "displayname", "artist", "artistname", "contactname")),
    "birth_date": Field("date", ("dateofbirth", "birthdate", "dob", "birthday", "geburtsdatum", "born")),
    "birth_year": Field("number", ("birthyear", "yearofbirth", "yob", "by")),
    "birth_month": Field("number", ("birthmonth", "monthofbirth", "bm")),
    "birth_day": Field("number", ("birthday", "dayofbirth", "bd")),
    "birth_place": Field("text", ("birthplace", "placeofbirth", "pob")),
    "gender": Field("gender", ("sex", "gender", "geschlecht")),
    "email": Field("email", ("emailaddress", "mail", "contactemail")),
    "email_verified": Field("flag", ("emailconfirmed", "emailisverified")),
    "phone": Field("phone", ("phonenumber", "telephone", "mobile", "tel", "phoneno", "mobilenumber", "cell")),
    "phone_verified": Field("flag", ("phoneconfirmed", "phoneisverified")),
    "street": Field("address", ("address", "addressline1", "address1", "streetaddress", "addr", "streetname")),
    "street_number": Field("text", ("streetnumber", "housenumber", "houseno", "streetno", "hausnummer")),
    "unit": Field("address", ("address2", "addressline2", "apartment", "unit", "flat")),
    "city": Field("place", ("town", "locality", "suburb", "ort", "placename")),
    "state": Field("code", ("statecode", "region", "province", "county")),
    "postcode": Field("code", ("zip", "zipcode", "postalcode", "plz", "postcodefake")),
    "country": Field("code", ("countrycode", "countryname")),
    "national_id": Field("code", ("socsecid", "ssn", "socialsecuritynumber", "nationalid", "taxid", "passport", "nino",
                                  "personalid", "passportnumber")),
    "loyalty_id": Field("code", ("loyaltyid", "loyaltynumber", "loyaltycard", "cardnumber")),
    "login": Field("code", ("username", "accountid", "useraccount")),
    "organisation": Field("place", ("company", "companyname", "organization", "employer")),
    "occupation": Field("text", ("job", "jobtitle", "profession")),
}  # fmt: skip
