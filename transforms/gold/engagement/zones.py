"""Where it is what time: a time zone for each country, and for each state of the USA."""

from __future__ import annotations

import polars as pl

# The zone most people of a country live in; countries that are not here count in UTC.
ZONES: dict[str, str] = {
    "ARE": "Asia/Dubai", "ARG": "America/Argentina/Buenos_Aires", "AUS": "Australia/Sydney", "AUT": "Europe/Vienna",
    "BEL": "Europe/Brussels", "BGR": "Europe/Sofia", "BHR": "Asia/Bahrain", "BRA": "America/Sao_Paulo",
    "CAN": "America/Toronto", "CHE": "Europe/Zurich", "CHL": "America/Santiago", "CHN": "Asia/Shanghai",
    "COL": "America/Bogota", "CYP": "Asia/Nicosia", "CZE": "Europe/Prague", "DEU": "Europe/Berlin",
    "DNK": "Europe/Copenhagen", "EGY": "Africa/Cairo", "ESP": "Europe/Madrid", "EST": "Europe/Tallinn",
    "FIN": "Europe/Helsinki", "FRA": "Europe/Paris", "GBR": "Europe/London", "GRC": "Europe/Athens",
    "HKG": "Asia/Hong_Kong", "HRV": "Europe/Zagreb", "HUN": "Europe/Budapest", "IDN": "Asia/Jakarta",
    "IND": "Asia/Kolkata", "IRL": "Europe/Dublin", "ISL": "Atlantic/Reykjavik", "ISR": "Asia/Jerusalem",
    "ITA": "Europe/Rome", "JPN": "Asia/Tokyo", "KEN": "Africa/Nairobi", "KOR": "Asia/Seoul", "LBN": "Asia/Beirut",
    "LTU": "Europe/Vilnius", "LUX": "Europe/Luxembourg", "LVA": "Europe/Riga", "MAR": "Africa/Casablanca",
    "MEX": "America/Mexico_City", "MLT": "Europe/Malta", "MYS": "Asia/Kuala_Lumpur", "NGA": "Africa/Lagos",
    "NLD": "Europe/Amsterdam", "NOR": "Europe/Oslo", "NZL": "Pacific/Auckland", "PAK": "Asia/Karachi",
    "PER": "America/Lima", "PHL": "Asia/Manila", "POL": "Europe/Warsaw", "PRT": "Europe/Lisbon",
    "ROU": "Europe/Bucharest", "RUS": "Europe/Moscow", "SAU": "Asia/Riyadh", "SGP": "Asia/Singapore",
    "SRB": "Europe/Belgrade", "SVK": "Europe/Bratislava", "SVN": "Europe/Ljubljana", "SWE": "Europe/Stockholm",
    "THA": "Asia/Bangkok", "TUR": "Europe/Istanbul", "TWN": "Asia/Taipei", "UKR": "Europe/Kyiv",
    "USA": "America/New_York", "VNM": "Asia/Ho_Chi_Minh", "ZAF": "Africa/Johannesburg",
}  # fmt: skip
_STATES = {
    "America/Chicago": "AL AR IL IA KS LA MN MS MO NE ND OK SD TN TX WI",
    "America/Denver": "CO ID MT NM UT WY",
    "America/Phoenix": "AZ",
    "America/Los_Angeles": "CA NV OR WA",
    "America/Anchorage": "AK",
    "Pacific/Honolulu": "HI",
}
STATE_ZONES: dict[str, str] = {state: zone for zone, states in _STATES.items() for state in states.split()}
UTC = "UTC"


def zone_of(country: pl.Expr, state: pl.Expr) -> pl.Expr:
    """The time zone of an alpha-3 country code and, in the USA, a state code; UTC where it is not known."""
    by_state = pl.when(country == "USA").then(state.replace_strict(STATE_ZONES, default=None, return_dtype=pl.String))
    by_country = country.replace_strict(ZONES, default=None, return_dtype=pl.String)
    return pl.coalesce(by_state, by_country, pl.lit(UTC))


def local_hours(at: pl.Series, zone: pl.Series) -> pl.Series:
    """The hour of the day (0 to 23) of each moment in its own zone, summer time as it is there."""
    frame = pl.DataFrame({"at": at, "zone": zone}).with_row_index("row")
    parts = [
        some.select("row", pl.col("at").dt.convert_time_zone(str(name)).dt.hour().cast(pl.Int64).alias("hour"))
        for (name,), some in frame.group_by("zone")
    ]
    empty = pl.DataFrame(schema={"row": pl.UInt32, "hour": pl.Int64})
    return pl.concat([empty, *parts]).sort("row")["hour"]
