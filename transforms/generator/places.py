"""Countries the generated customers live in: how addresses, postcodes and phone numbers look there."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Country:
    """One country.

    Attributes:
      alpha3: ISO 3166-1 code.
      retail: the country's name in the Online Retail II lines.
      calling, trunk: the phone prefix from abroad and from inside.
      mobile: patterns of national numbers without trunk prefix; `#` is a digit.
      hours: time zone offset in winter.
      culture: the list of names most people there have.
      cities: "city|postcode pattern|state", `@` is a letter.
      streets: patterns of an address line; `{}` is the street name, "1" the house number.
    """

    alpha3: str
    retail: str
    calling: str
    trunk: str
    mobile: tuple[str, ...]
    hours: int
    culture: str
    cities: tuple[str, ...]
    streets: tuple[str, ...] = ("1 {}",)


_ENGLISH = ("1 {} Street", "1 {} Road", "1 {} Lane", "1 {} Avenue", "1 {} Close", "Flat 2, 1 {} Court")
_GERMAN = ("{}straße 1", "{}weg 1", "{}platz 1", "Am {} 1")
_FRENCH = ("1 rue {}", "1 avenue {}", "1 bd {}", "1 place {}")
_DUTCH = ("{}straat 1", "{}laan 1", "{}weg 1", "{}kade 1")
_SPANISH = ("Calle {} 1", "Avenida {} 1", "Plaza {} 1")
_NORDIC = ("{}gatan 1", "{}vägen 1", "{}gade 1")

# fmt: off
COUNTRIES: tuple[Country, ...] = (
    Country(
        "GBR", "United Kingdom", "44", "0", ("740#######", "771#######", "782#######", "797#######"), 0, "british",
        ("London|SW# #@@|", "London|E# #@@|", "London|N## #@@|", "Manchester|M## #@@|", "Birmingham|B## #@@|",
         "Leeds|LS# #@@|", "Glasgow|G## #@@|", "Edinburgh|EH# #@@|", "Liverpool|L## #@@|", "Bristol|BS# #@@|",
         "Sheffield|S## #@@|", "Cardiff|CF## #@@|", "Belfast|BT# #@@|", "Newcastle upon Tyne|NE# #@@|",
         "Nottingham|NG# #@@|", "Norwich|NR# #@@|", "Brighton|BN# #@@|", "Oxford|OX# #@@|", "Cambridge|CB# #@@|",
         "York|YO## #@@|"), _ENGLISH,
    ),
    Country(
        "IRL", "EIRE", "353", "0", ("85#######", "86#######", "87#######"), 0, "irish",
        ("Dublin|D0# @#@#|", "Cork|T12 @#@#|", "Galway|H91 @#@#|", "Limerick|V94 @#@#|"), _ENGLISH,
    ),
    Country(
        "DEU", "Germany", "49", "0", ("151########", "160#######", "171#######"), 1, "german",
        ("Berlin|101##|", "Hamburg|203##|", "München|803##|", "Köln|506##|", "Frankfurt am Main|603##|",
         "Stuttgart|701##|", "Leipzig|041##|", "Düsseldorf|402##|", "Nürnberg|904##|"), _GERMAN,
    ),
    Country(
        "FRA", "France", "33", "0", ("61#######", "62#######", "66#######"), 1, "french",
        ("Paris|7501#|", "Lyon|6900#|", "Marseille|1300#|", "Nantes|44000|", "Bordeaux|33000|", "Lille|59000|",
         "Orléans|45000|", "Besançon|25000|"), _FRENCH,
    ),
    Country(
        "NLD", "Netherlands", "31", "0", ("61#######", "62#######", "64#######"), 1, "dutch",
        ("Amsterdam|101# @@|", "Rotterdam|301# @@|", "Utrecht|351# @@|", "Eindhoven|561# @@|",
         "'s-Gravenhage|251# @@|"),
        _DUTCH,
    ),
    Country(
        "USA", "USA", "1", "", ("21223#####", "31246#####", "41555#####", "20657#####", "61724#####"), -6, "british",
        ("New York|1000#|NY", "Chicago|6060#|IL", "San Francisco|9411#|CA", "Seattle|9810#|WA", "Boston|0211#|MA",
         "Austin|7870#|TX", "Denver|8020#|CO", "Portland|9720#|OR"), _ENGLISH,
    ),
    Country("ESP", "Spain", "34", "", ("61#######", "65#######"), 1, "spanish",
            ("Madrid|280##|", "Barcelona|080##|", "Valencia|460##|", "Sevilla|410##|", "Málaga|290##|"), _SPANISH),
    Country("CHE", "Switzerland", "41", "0", ("78#######", "79#######"), 1, "german",
            ("Zürich|800#|", "Bern|300#|", "Basel|400#|", "Genève|120#|"), _GERMAN),
    Country("PRT", "Portugal", "351", "", ("91#######", "96#######"), 0, "spanish",
            ("Lisboa|1###-0##|", "Porto|4###-0##|", "Coimbra|3000-0##|"), ("Rua {} 1", "Avenida {} 1")),
    Country("BEL", "Belgium", "32", "0", ("470######", "485######"), 1, "french",
            ("Bruxelles|1000|", "Antwerpen|2000|", "Gent|9000|", "Liège|4000|"), _FRENCH + _DUTCH),
    Country("GGY", "Channel Islands", "44", "0", ("7781######",), 0, "british", ("St Peter Port|GY# #@@|",), _ENGLISH),
    Country("SWE", "Sweden", "46", "0", ("70#######", "73#######"), 1, "nordic",
            ("Stockholm|11# ##|", "Göteborg|41# ##|", "Malmö|21# ##|", "Uppsala|75# ##|"), _NORDIC),
    Country("ITA", "Italy", "39", "", ("32########", "34########"), 1, "italian",
            ("Roma|001##|", "Milano|201##|", "Torino|101##|", "Napoli|801##|"), ("Via {} 1", "Corso {} 1")),
    Country("AUS", "Australia", "61", "0", ("41#######", "42#######"), 10, "british",
            ("Sydney|200#|", "Melbourne|300#|", "Perth|600#|"), _ENGLISH),
    Country("CYP", "Cyprus", "357", "", ("99######",), 2, "greek", ("Λευκωσία|10##|", "Lemesos|30##|")),
    Country("AUT", "Austria", "43", "0", ("664#######",), 1, "german", ("Wien|10#0|", "Graz|80#0|", "Linz|40#0|"),
            _GERMAN),
    Country("GRC", "Greece", "30", "", ("694#######",), 2, "greek", ("Αθήνα|105 ##|", "Thessaloniki|546 ##|")),
    Country("ARE", "United Arab Emirates", "971", "0", ("50#######",), 4, "south_asian", ("Dubai||", "Abu Dhabi||")),
    Country("DNK", "Denmark", "45", "", ("221#####", "311#####"), 1, "nordic",
            ("København|21##|", "Aarhus|80##|", "Odense|50##|"), _NORDIC),
    Country("NOR", "Norway", "47", "", ("41######", "92######"), 1, "nordic", ("Oslo|01##|", "Bergen|50##|"), _NORDIC),
    Country("FIN", "Finland", "358", "0", ("40#######",), 2, "nordic", ("Helsinki|001##|", "Tampere|331##|"),
            ("{}katu 1", "{}tie 1")),
    Country("JPN", "Japan", "81", "0", ("9012######",), 9, "british", ("Tokyo|1##-00##|",)),
    Country("POL", "Poland", "48", "", ("501######", "602######"), 1, "polish",
            ("Warszawa|00-###|", "Kraków|30-###|", "Łódź|90-###|", "Gdańsk|80-###|"), ("ul. {} 1", "al. {} 1")),
    Country("MLT", "Malta", "356", "", ("9922####",), 1, "italian", ("Valletta|VLT 1###|",), _ENGLISH),
    Country("LTU", "Lithuania", "370", "0", ("612#####",), 2, "polish", ("Vilnius|01###|",)),
    Country("SGP", "Singapore", "65", "", ("9123####",), 8, "british", ("Singapore|23####|",), _ENGLISH),
    Country("ZAF", "RSA", "27", "0", ("82#######",), 2, "british", ("Cape Town|80##|", "Durban|40##|"), _ENGLISH),
    Country("BHR", "Bahrain", "973", "", ("3600####",), 3, "south_asian", ("Manama||",)),
    Country("CAN", "Canada", "1", "", ("41623#####", "60433#####"), -5, "british",
            ("Toronto|M#@ #@#|ON", "Vancouver|V#@ #@#|BC"), _ENGLISH),
    Country("HKG", "Hong Kong", "852", "", ("9123####",), 8, "british", ("Hong Kong||",), _ENGLISH),
    Country("THA", "Thailand", "66", "0", ("81#######",), 7, "british", ("Bangkok|10##0|",)),
    Country("ISR", "Israel", "972", "0", ("522######",), 2, "british", ("Tel Aviv|6###00#|",)),
    Country("ISL", "Iceland", "354", "", ("611####",), 0, "nordic", ("Reykjavík|10#|",), _NORDIC),
    Country("KOR", "Korea", "82", "0", ("10########",), 9, "british", ("Seoul|04###|",)),
    Country("BRA", "Brazil", "55", "0", ("119########",), -3, "spanish", ("São Paulo|01###-###|SP",), ("Rua {} 1",)),
    Country("BMU", "Bermuda", "1", "", ("441370####",), -4, "british", ("Hamilton|HM 1#|",), _ENGLISH),
    Country("NGA", "Nigeria", "234", "0", ("803#######",), 1, "british", ("Lagos|10####|",), _ENGLISH),
    Country("LBN", "Lebanon", "961", "0", ("3######",), 2, "french", ("Beyrouth||",), _FRENCH),
)
# fmt: on

BY_CODE: dict[str, int] = {country.alpha3: i for i, country in enumerate(COUNTRIES)}
BY_RETAIL_NAME: dict[str, str] = {country.retail: country.alpha3 for country in COUNTRIES}

# Where a synthetic retailer's customers live.
HOME_SHARES: dict[str, float] = {
    "GBR": 0.62, "IRL": 0.06, "DEU": 0.09, "FRA": 0.08, "NLD": 0.04, "USA": 0.05, "ESP": 0.02, "SWE": 0.015,
    "BEL": 0.01, "CHE": 0.005, "AUT": 0.005, "POL": 0.005,
}  # fmt: skip

STREET_NAMES: dict[str, str] = {
    "british": "High Church Mill Station Victoria Albert Park Green Kings Queens Manor Grange Orchard Willow Chestnut "
    "Beech Elm Oak Rose Primrose Springfield Highfield Northfield School Windsor Meadow Bridge Castle York Alexandra",
    "german": "Haupt Schul Garten Bahnhof Berg Wald Wiesen Linden Birken Goethe Schiller Mozart Kirch Mühlen Ring Dorf",
    "french": "Victor-Hugo de-la-République Pasteur Jean-Jaurès des-Écoles du-Moulin de-l'Église Gambetta Voltaire "
    "des-Lilas Saint-Michel du-Général-Leclerc",
    "dutch": "Kerk School Dorps Molen Stations Juliana Wilhelmina Beatrix Prinsen Eik Linden Heren Konings",
    "spanish": "Mayor Real del-Sol de-la-Constitución Cervantes San-Juan Nueva del-Río Goya de-la-Paz",
    "nordic": "Stor Kungs Drottning Skol Kyrko Björk Nörre Öster Väster Söder",
    "polish": "Polna Leśna Słoneczna Krótka Szkolna Ogrodowa Lipowa Łąkowa",
    "italian": "Roma Garibaldi Mazzini Dante Verdi Cavour Marconi Manzoni",
    "greek": "Ermou Athinas Stadiou Akadimias Ελευθερίας Patision",
}
