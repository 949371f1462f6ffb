"""CUSTOMER_BEHAVIORAL_EVENTS and CUSTOMER_SESSION_DATA: what a visitor does, step by step, and the visit as a whole."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.generator.catalogue import Catalogue
from transforms.generator.frames import SECOND, finish, identifiers
from transforms.generator.orders import Orders
from transforms.generator.places import COUNTRIES
from transforms.generator.population import DEVICES, Population
from transforms.generator.randomness import choose, gather, within
from transforms.generator.sessions import SOURCES

EVENT_TYPES = ("PAGE_VIEW", "CLICK", "SCROLL", "SEARCH", "CART_ADD")
_VIEW, _CLICK, _SCROLL, _SEARCH, _CART = range(5)
_BROWSING_MIX = (0.52, 0.15, 0.16, 0.11, 0.06)
LINES_SEEN, LONGEST_GAP = 4, 200  # products of an order that are looked at in its visit; seconds between two events
_MOST_BROWSED = 12
_SITE = "https://shop.example"
_BROWSERS = ("Chrome", "Safari", "Firefox", "Edge")
_SYSTEMS = (("Windows", "macOS"), ("Android", "iOS"), ("iPadOS", "Android"))
_REFERRERS = (None, "https://search.example/", "https://ads.example/", "https://social.example/",
              "https://blog.example/", None, None, None, None)  # fmt: skip


@dataclass(frozen=True)
class Behaviour:
    """Both tables in order of time, and `visitors`: session_id, customer_id of those who were not logged in."""

    events: pa.Table
    sessions: pa.Table
    visitors: pl.DataFrame


def draw_behaviour(
    rng: np.random.Generator,
    population: Population,
    catalogue: Catalogue,
    orders: Orders,
    visits: pl.DataFrame,
    campaigns: pl.DataFrame,
    shard: int,
    end_us: int,
) -> Behaviour:
    """Fills each visit with events: a landing page, browsing by taste, then view and cart for what was ordered.

    The last event of a visit with an order is seconds before it; two events of a visit are at most LONGEST_GAP
    seconds apart. Visits that would end after `end_us` are left out.
    """
    steps = _steps(rng, population, catalogue, orders, visits)
    session = _spans(steps, visits).with_columns(
        SESSION_ID=identifiers("W", shard, visits.height), **{c: visits[c] for c in visits.columns}
    )
    late = session["stop"].to_numpy() >= end_us
    steps = steps.with_columns(at=session["start"].gather(steps["visit"]) + steps["offset"])
    steps = steps.filter(~pl.Series(late).gather(steps["visit"])).sort("at", maintain_order=True)
    events = _write_events(rng, population, catalogue, session, steps, shard)
    kept = session.filter(~pl.Series(late)).sort("start", maintain_order=True)
    unknown = kept.filter((pl.col("record") < 0) & (pl.col("visitor") >= 0))
    visitors = pl.DataFrame({
        "session_id": unknown["SESSION_ID"], "customer_id": population.customer_ids(unknown["visitor"].to_numpy()),
    })  # fmt: skip
    return Behaviour(events, _write_sessions(population, orders, campaigns, kept), visitors)


def _steps(
    rng: np.random.Generator, population: Population, catalogue: Catalogue, orders: Orders, visits: pl.DataFrame
) -> pl.DataFrame:
    """One row an event, in order of visit: visit, kind, product (row or -1), offset from the visit's start, gap."""
    order = visits["order"].to_numpy()
    seen = np.bincount(orders.lines["order"].to_numpy(), minlength=orders.frame.height)
    seen = np.where(order >= 0, np.minimum(seen[np.maximum(order, 0)], LINES_SEEN), 0)
    browsed = np.minimum(rng.geometric(np.where(order >= 0, 0.45, 0.22)) - 1, _MOST_BROWSED)
    counts = 1 + browsed + 2 * seen
    visit = np.repeat(np.arange(visits.height), counts)
    place = within(counts)
    size = len(visit)
    kind = choose(rng, size, _BROWSING_MIX)
    ordered = place - 1 - browsed[visit]  # 0, 1: view and cart of the first product, 2, 3: of the second …
    kind = np.where(ordered >= 0, np.where(ordered % 2 == 0, _VIEW, _CART), np.where(place == 0, _VIEW, kind))
    taste = population.drawn_taste(rng, visits["visitor"].to_numpy())[visit]
    elsewhere = choose(rng, size, catalogue.popularity)
    product = catalogue.draw(rng, np.where(rng.random(size) < 0.75, taste, elsewhere))
    first_line = np.searchsorted(orders.lines["order"].to_numpy(), np.maximum(order, 0))[visit]
    bought = orders.lines["product"].to_numpy()
    if len(bought):
        product = np.where(ordered >= 0, bought[np.minimum(first_line + ordered // 2, len(bought) - 1)], product)
    product = np.where(place == 0, -1, product)
    gap = np.minimum(rng.lognormal(3.2, 0.9, size).astype(np.int64) + 1, LONGEST_GAP)
    total = np.cumsum(gap)
    offset = total - gap - np.repeat((total - gap)[np.cumsum(counts) - counts], counts)
    return pl.DataFrame({"visit": visit.astype(np.uint32), "kind": kind, "product": product,
                         "offset": offset * SECOND, "gap": gap})  # fmt: skip


def _spans(steps: pl.DataFrame, visits: pl.DataFrame) -> pl.DataFrame:
    """start, stop, views of each visit."""
    spans = steps.group_by("visit", maintain_order=True).agg(
        lasts=pl.col("offset").max() + pl.col("gap").last() * SECOND,
        views=(pl.col("kind") == _VIEW).sum().cast(pl.Int64),
        steps=pl.len(),
    )
    at, lasts = visits["at"], spans["lasts"]
    sells = visits["order"] >= 0
    start = (at - lasts).zip_with(sells, at)
    return spans.select("views", "steps", start=start, stop=start + lasts)


def _write_events(
    rng: np.random.Generator, population: Population, catalogue: Catalogue, session: pl.DataFrame,
    steps: pl.DataFrame, shard: int,
) -> pa.Table:  # fmt: skip
    size = steps.height
    visit, kind, product = steps["visit"], steps["kind"].to_numpy(), steps["product"].to_numpy()
    of_visit = session[visit]
    visitor = of_visit["visitor"].to_numpy()
    page = _pages(catalogue, kind, product)
    home = pl.Series(product < 0)
    known = np.where(visitor < 0, 0, visitor)
    device = np.where(visitor < 0, rng.integers(0, 3, session.height)[visit], population.habit("device", known))
    browser = np.where(device == 0, visitor % 4, visitor % 2)
    cities = population.records["city"].gather(known.astype(np.uint32)).set(pl.Series(visitor < 0), None)
    search, view = pl.Series(kind == _SEARCH), pl.Series(kind == _VIEW)
    depth = pl.Series((rng.beta(2, 2, size) * 100).astype(np.int64)).set(
        pl.Series(~np.isin(kind, (_SCROLL, _VIEW))), None
    )
    frame = pl.DataFrame({
        "EVENT_ID": identifiers("E", shard, size),
        "CUSTOMER_ID": population.customer_ids(of_visit["record"].to_numpy()),
        "SESSION_ID": of_visit["SESSION_ID"],
        "EVENT_TYPE": gather(EVENT_TYPES, kind),
        "EVENT_DATE": steps["at"],
        "PAGE_URL": page["url"],
        "PAGE_TITLE": page["title"],
        "PRODUCT_ID": page["PRODUCT_ID"].set(home | search, None),
        "CATEGORY_VIEWED": page["CATEGORY"].set(home | search, None),
        "SEARCH_QUERY": page["words"].set(~search, None),
        "TIME_ON_PAGE": steps["gap"].set(~view, None),
        "SCROLL_DEPTH": depth,
        "DEVICE_TYPE": gather(DEVICES, device),
        "BROWSER": gather(_BROWSERS, browser),
        "OPERATING_SYSTEM": gather([name for pair in _SYSTEMS for name in pair], device * 2 + visitor % 2),
        "LOCATION_COUNTRY": gather([c.alpha3 for c in COUNTRIES],
                                   np.where(visitor < 0, -1, population.habit("country", known))),
        "LOCATION_CITY": cities,
        "REFERRER_URL": gather(_REFERRERS, of_visit["source"].to_numpy()).set(steps["offset"] > 0, None),
    })  # fmt: skip
    return finish("CUSTOMER_BEHAVIORAL_EVENTS", frame)


def _pages(catalogue: Catalogue, kind: np.ndarray, product: np.ndarray) -> pl.DataFrame:
    """The page behind each event: PRODUCT_ID, CATEGORY, url, title, words (what one would search to find it)."""
    name = pl.col("PRODUCT_NAME").fill_null(pl.col("PRODUCT_ID")).str.strip_chars()
    pages = catalogue.products.select(
        "PRODUCT_ID", "CATEGORY",
        url=pl.lit(_SITE + "/p/") + pl.col("PRODUCT_ID").str.replace_all(" ", "-"),
        title=name.str.slice(0, 100),
        words=name.str.to_lowercase().str.split(" ").list.slice(0, 2).list.join(" ").str.slice(0, 100),
    )[np.maximum(product, 0)]  # fmt: skip
    search, home = pl.lit(pl.Series(kind == _SEARCH)), pl.lit(pl.Series(product < 0))
    return pages.with_columns(
        url=pl.when(home).then(pl.lit(_SITE + "/")).when(search).then(pl.lit(_SITE + "/search")).otherwise("url"),
        title=pl.when(home).then(pl.lit("Home")).when(search).then(pl.lit("Search")).otherwise("title"),
    )


def _write_sessions(population: Population, orders: Orders, campaigns: pl.DataFrame, session: pl.DataFrame) -> pa.Table:
    order, campaign = session["order"].to_numpy(), session["campaign"].to_numpy()
    sells = pl.Series(order >= 0)
    worth = (
        orders.frame["total"].gather(np.maximum(order, 0).astype(np.uint32)) if orders.frame.height else session["at"]
    )
    codes = campaigns["CAMPAIGN_ID"].gather(np.maximum(campaign, 0).astype(np.uint32))
    return finish("CUSTOMER_SESSION_DATA", pl.DataFrame({
        "SESSION_ID": session["SESSION_ID"],
        "CUSTOMER_ID": population.customer_ids(session["record"].to_numpy()),
        "SESSION_START": session["start"],
        "SESSION_END": session["stop"],
        "SESSION_DURATION": (session["stop"] - session["start"]) // SECOND,
        "PAGE_VIEWS": session["views"],
        "BOUNCE_RATE": (session["steps"] == 1).cast(pl.Int64) * 100,
        "CONVERSION_EVENT": sells,
        "CONVERSION_VALUE": worth.clip(0).set(~sells, None),
        "TRAFFIC_SOURCE": gather(SOURCES, session["source"].to_numpy()),
        "CAMPAIGN_ID": codes.set(pl.Series(campaign < 0), None),
    }))  # fmt: skip
