"""What a shop wants to know about a person now: last events, counts over minutes and hours, spend, the cart.

A person's state is a set of touches, one a source row. Sets are joined by union, and what is pruned can never matter
again, so rows may come in any order, cut anyhow and any number of times: the features are those of all rows at once.

The table is written as changes: a row has the features in full, for whoever reads the newest row of a person, and in
`_events` only the touches that are new. All rows of a person together hold its state; `latest` makes one of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

from transforms.errors import UserError
from transforms.gold.fields import MONEY
from transforms.gold.frames import money
from transforms.gold.touches import LISTED, TOUCHES, identified

_AT = pa.timestamp("us", tz="UTC")
WINDOWS = {"5m": timedelta(minutes=5), "1h": timedelta(hours=1), "24h": timedelta(hours=24)}
HORIZON = WINDOWS["24h"]
COUNTED = {
    "page_views": "PAGE_VIEW",
    "clicks": "CLICK",
    "searches": "SEARCH",
    "cart_adds": "CART_ADD",
    "purchases": "PURCHASE",
    "messages_opened": "MESSAGE_OPENED",
    "messages_clicked": "MESSAGE_CLICKED",
}  # column -> type of touch
_COUNTS = tuple(f"{name}_{window}" for name in COUNTED for window in WINDOWS)
_LAST = ("at", "type", "product_id", "page_url", "channel")
_CART = pa.schema([("product_id", pa.string()), ("quantity", pa.int64()), ("added_at", _AT)])
_ORDER = [name for name in TOUCHES.names if name not in ("person_id", "key")]  # which version of a touch is later
assert _ORDER[:2] == ["at", "ingested_at"]  # pruning goes by `at`: a later version is never pruned before an older one
EVENTS, UPDATED = "_events", "updated_at"

FEATURES: pa.Schema = pa.schema(
    [
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("last_event_at", _AT, nullable=False),
        pa.field("counted_until", _AT, nullable=False),
        *(pa.field(name, pa.int64(), nullable=False) for name in _COUNTS),
        pa.field("spend_24h", MONEY, nullable=False),
        pa.field("spend_currency_24h", pa.string()),
        pa.field("cart", pa.list_(pa.struct(list(_CART)))),
        pa.field("last_events", pa.list_(pa.struct([TOUCHES.field(name) for name in _LAST]))),
        pa.field("is_truncated", pa.bool_(), nullable=False),
        pa.field(UPDATED, _AT, nullable=False),
        pa.field(EVENTS, pa.list_(pa.struct([f for f in TOUCHES if f.name != "person_id"]))),
    ]
)


@dataclass(frozen=True)
class Limits:
    """What bounds a person's state.

    Attributes:
      last_events: how many are listed, however old.
      touches: how many of the last 24 hours are kept, the latest; a person with more is marked `is_truncated`.
    """

    last_events: int = 20
    touches: int = 2_000

    def __post_init__(self) -> None:
        if not 1 <= self.last_events <= self.touches:
            raise UserError(
                f"{self.last_events} last events of {self.touches} touches kept",
                "Limits",
                "list at least 1 event, and keep at least as many touches",
            )


DEFAULTS = Limits()
_ANY = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING = pl.DataFrame(pl.from_arrow(TOUCHES.empty_table()))


def fold(known: pl.DataFrame, new: pl.DataFrame, limits: Limits = DEFAULTS) -> pl.DataFrame:
    """The union of two sets of touches, without those that can never count again.

    Columns TOUCHES, sorted by person, the latest first.

    Of touches with one key the later version stays: greatest `at`, then `ingested_at`, then content. Kept are those of
    the 24 hours before the person's last touch, at most `limits.touches`, and the last listed ones of any age.
    Associative, commutative and idempotent.
    """
    rows = _sorted(_versions_settled(pl.concat([known, new])))
    listed = pl.col("type").is_in(LISTED)
    rank = pl.int_range(pl.len()).over("person_id")
    fresh = pl.col("at") > pl.col("at").first().over("person_id") - HORIZON
    place = listed.cum_sum().over("person_id")
    return rows.filter((fresh & (rank < limits.touches)) | (listed & (place <= limits.last_events)))


class Updated(NamedTuple):
    """`fresh`: touches that were not known, to be added to the state. `rows`: FEATURES of their persons."""

    fresh: pl.DataFrame
    rows: pa.Table


def update(known: pl.DataFrame, new: pl.DataFrame, updated_at: datetime, limits: Limits = DEFAULTS) -> Updated:
    """Takes new touches into the state of some persons; touches met before change nothing and give no row.

    Args:
      known: the state of at least the persons in `new`; may hold more than `fold` would leave.
    """
    before = known.filter(pl.col("person_id").is_in(new["person_id"].unique().implode()))
    folded = fold(before, new, limits)
    fresh = folded.join(before, on=TOUCHES.names, how="anti", nulls_equal=True, maintain_order="left")
    changed = folded.filter(pl.col("person_id").is_in(fresh["person_id"].unique().implode()))
    return Updated(fresh, features(changed, updated_at, None, limits, fresh))


def features(
    touches: pl.DataFrame,
    updated_at: datetime,
    now: datetime | None = None,
    limits: Limits = DEFAULTS,
    told: pl.DataFrame | None = None,
) -> pa.Table:
    """FEATURES, one row a person, sorted by it, as of its last event, or of `now` where that is later.

    Args:
      touches: as `fold` leaves them, sorted by person, the latest first.
      told: the touches that `_events` has; by default all.

    Columns:
      `counted_until`: the moment T that windows end at; a window of w holds events of (T - w, T].
      `<what>_5m`, `_1h`, `_24h`: numbers of events; purchases are completed ones, messages those that reached.
      `spend_24h`: money of the purchases in the window's most frequent currency (`spend_currency_24h`, ties by name).
      `cart`: a product is in it while it was added in the last 24 hours and not bought since; `quantity` is how often
        it was added since then, `added_at` the last time. Latest first.
      `last_events`: the latest first; `page_url` and `product_id` as the table has them; `channel` is the till's, the
        message's, or the visitor's device.
      `is_truncated`: as many touches as are kept lie within 24 hours, so counts over 24 hours may be too low.
      `updated_at`: when the row was computed, by the wall clock. `_events`: touches, the latest first.
    """
    until = pl.col("at").max().over("person_id")
    rows = touches.with_columns(T=until if now is None else pl.max_horizontal(until, _moment(now)))
    recent = rows.filter(pl.col("at") > pl.col("T") - HORIZON)
    people = rows.group_by("person_id", maintain_order=True).agg(
        pl.col("at").first().alias("last_event_at"),
        pl.col("T").first().alias("counted_until"),
        *(_count(kind, length).alias(f"{name}_{w}") for name, kind in COUNTED.items() for w, length in WINDOWS.items()),
        (pl.col("at") > pl.col("T") - HORIZON).sum().ge(limits.touches).alias("is_truncated"),
        pl.struct(_LAST).filter(pl.col("type").is_in(LISTED)).head(limits.last_events).alias("last_events"),
    )
    for part in (_spend(recent), _cart(recent), _events(rows if told is None else told)):
        people = people.join(part, on="person_id", how="left", maintain_order="left")
    return _as_features(people.with_columns(_moment(updated_at).alias(UPDATED)))


def touches_of(rows: pa.Table) -> pl.DataFrame:
    """The state inside FEATURES rows, as TOUCHES; several rows of a person may repeat a touch: `fold` them."""
    state = pl.DataFrame(pl.from_arrow(rows.select(["person_id", EVENTS]))).explode(EVENTS).drop_nulls(EVENTS)
    return state.unnest(EVENTS).select(TOUCHES.names)


def latest(rows: pa.Table, limits: Limits = DEFAULTS) -> pa.Table:
    """One row a person out of all that were written, in any order: the union of what they hold, sorted by person."""
    return _again(rows, fold(_NOTHING, touches_of(rows), limits), None, limits)


def as_of(rows: pa.Table, now: datetime, limits: Limits = DEFAULTS) -> pa.Table:
    """FEATURES rows of `latest` as they are at `now`: what has left its window is not counted any more.

    Exact: the row that would have been computed then. A person whose last event is later than `now` stays as of that
    event, since older states are not kept.
    """
    return _again(rows, _sorted(touches_of(rows)), now, limits)


def condense(rows: pa.Table, limits: Limits = DEFAULTS) -> pa.Table:
    """One row a person out of some of its rows, which may stand for them: the newest one, with what all of them hold.

    For upkeep of the table: `latest` of all rows, and the newest row of a person, stay what they are.
    """
    order = pl.DataFrame(pl.from_arrow(rows.select(["person_id", UPDATED]))).with_row_index("row")
    newest = order.sort("person_id", UPDATED, "row").unique("person_id", keep="last", maintain_order=True)
    held = _events(fold(_NOTHING, touches_of(rows), limits))
    events = newest.select("person_id").join(held, on="person_id", how="left", maintain_order="left")[EVENTS]
    column = rows.schema.field(EVENTS)
    told = events.to_arrow(compat_level=pl.CompatLevel.oldest()).cast(column.type)
    return rows.take(newest["row"].to_arrow()).set_column(rows.schema.get_field_index(EVENTS), column, told)


def regroup(rows: pa.Table, person_of: pa.Table, limits: Limits = DEFAULTS) -> pa.Table:
    """Rows of any persons, as `latest` gives them, for another identity map; see `read_touches` for `person_of`.

    Exact where persons are joined. Where one is split, each part lists those of the last events that are its own.
    """
    touches = identified(touches_of(rows), person_of)
    when = pc.max(rows[UPDATED]).as_py() or _ANY
    return features(fold(_NOTHING, touches, limits), when, None, limits)


def _versions_settled(rows: pl.DataFrame) -> pl.DataFrame:
    shared = rows.select("person_id", "key").is_duplicated()
    if not shared.any():
        return rows
    versions = rows.filter(shared).sort("person_id", "key", *_ORDER, nulls_last=False)
    return pl.concat([rows.filter(~shared), versions.unique(["person_id", "key"], keep="last", maintain_order=True)])


def _sorted(touches: pl.DataFrame) -> pl.DataFrame:
    return touches.sort(["person_id", "at", "key"], descending=[False, True, True])


def _again(rows: pa.Table, touches: pl.DataFrame, now: datetime | None, limits: Limits) -> pa.Table:
    """The features of `touches`, each person's `updated_at` the latest of its `rows`."""
    updated = rows.group_by("person_id").aggregate([(UPDATED, "max")]).sort_by("person_id")[f"{UPDATED}_max"]
    made = features(touches, _ANY, now, limits)
    return made.set_column(FEATURES.get_field_index(UPDATED), FEATURES.field(UPDATED), updated)


def _moment(at: datetime) -> pl.Expr:
    return pl.lit(at.astimezone(UTC), pl.Datetime("us", "UTC"))


def _count(kind: str, length: timedelta) -> pl.Expr:
    return ((pl.col("type") == kind) & (pl.col("at") > pl.col("T") - length)).sum().cast(pl.Int64)


def _spend(recent: pl.DataFrame) -> pl.DataFrame:
    sums = recent.filter(pl.col("type") == "PURCHASE").group_by("person_id", "currency").agg(
        pl.len().alias("_rows"), pl.col("amount_cents").sum().alias("spend_24h")
    )  # fmt: skip
    ordered = sums.with_columns(pl.col("currency").is_null().alias("_unknown")).sort(
        ["person_id", "_unknown", "_rows", "currency"], descending=[False, False, True, False]
    )
    first = ordered.group_by("person_id", maintain_order=True).first()
    return first.select("person_id", "spend_24h", spend_currency_24h="currency")


def _cart(recent: pl.DataFrame) -> pl.DataFrame:
    about = recent.drop_nulls("product_id").with_columns(
        pl.col("at").filter(pl.col("type") == "ITEM_BOUGHT").max().over("person_id", "product_id").alias("_bought")
    )
    waiting = (pl.col("type") == "CART_ADD") & (pl.col("_bought").is_null() | (pl.col("at") > pl.col("_bought")))
    products = (
        about.filter(waiting)
        .group_by("person_id", "product_id")
        .agg(pl.len().cast(pl.Int64).alias("quantity"), pl.col("at").max().alias("added_at"))
        .sort(["person_id", "added_at", "product_id"], descending=[False, True, False])
    )
    return products.group_by("person_id", maintain_order=True).agg(pl.struct(_CART.names).alias("cart"))


def _events(touches: pl.DataFrame) -> pl.DataFrame:
    struct = pl.struct([name for name in TOUCHES.names if name != "person_id"])
    return touches.group_by("person_id", maintain_order=True).agg(struct.alias(EVENTS))


def _as_features(people: pl.DataFrame) -> pa.Table:
    none = pl.lit([], dtype=pl.List(pl.Struct(pl.Schema(_CART))))
    rows = people.with_columns(pl.col("spend_24h").fill_null(0), pl.col("cart").fill_null(none))
    table = rows.select(FEATURES.names).to_arrow(compat_level=pl.CompatLevel.oldest())
    index = FEATURES.get_field_index("spend_24h")
    return table.set_column(index, "spend_24h", money(table["spend_24h"])).cast(FEATURES)
