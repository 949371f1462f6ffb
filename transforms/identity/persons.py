"""Persons whose ids survive new data: yesterday's assignment and today's clusters give today's."""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.sessions.identifier import hexadecimal
from transforms.silver.keys import key_hashes

_TIME = pa.timestamp("us", tz="UTC")
IDENTITY_MAP = pa.schema(
    [
        pa.field("record", pa.string(), nullable=False),
        pa.field("person_id", pa.string(), nullable=False),
        pa.field("since", _TIME, nullable=False),  # when the record came to this person
    ]
)
CREATED, JOINED, MERGED, SPLIT, MOVED, LEFT = "created", "joined", "merged", "split", "moved", "left"
IDENTITY_EVENTS = pa.schema(
    [
        pa.field("record", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),
        pa.field("person_id", pa.string()),  # null for "left"
        pa.field("previous_person_id", pa.string()),
        pa.field("at", _TIME, nullable=False),
        pa.field("evidence_left", pa.string()),  # the link that brought the record there, or that was refused
        pa.field("evidence_right", pa.string()),
        pa.field("evidence_rule", pa.string()),
        pa.field("evidence_probability", pa.float64()),
        pa.field("run_id", pa.string()),
    ]
)
_OLDEST = pl.CompatLevel.oldest()


class Assigned(NamedTuple):
    """`map`: IDENTITY_MAP of today; `events`: IDENTITY_EVENTS without evidence; both ordered by record."""

    map: pa.Table
    events: pa.Table


def assign_persons(
    clusters: pa.Table, previous: pa.Table | None, at: datetime, history: pa.Table | None = None
) -> Assigned:
    """Gives each cluster of records a person, so that persons stay who they were.

    A person of yesterday goes where its founder goes: the record that has been with it longest (then: first seen, then
    the smaller key). Where the founders of several meet, the person that is older stays, of two that are as old the one
    of which more came. The other parts of a split,
    and clusters of new records, get back an id that their records had before and that nobody has now, else a new one,
    made of the key of the cluster's first record: the same input always gives the same ids.

    Args:
      clusters: CLUSTERS, and optionally `first_seen` timestamp, of every record of today.
      previous: IDENTITY_MAP of yesterday; None on the first day.
      at: the moment of the assignment, with a time zone; later than all of yesterday's.
      history: IDENTITY_EVENTS so far, for ids that come back.

    The kinds of events: "created" the first record of a new person; "joined" a new record; "merged" the person of the
    record is no more; "split" the record is another, new person; "moved" from one person to another, both of which
    stay; "left" the record is no longer there.
    """
    today, before = _today(clusters), _before(previous)
    placed = today.join(before, on="record", how="left").with_columns(
        since=pl.col("since").fill_null(pl.lit(at, pl.Datetime("us", "UTC")))
    )
    kept = _kept(placed.drop_nulls("person_id"), before)
    ids = pl.concat([kept, _given(placed.join(kept, on="cluster", how="anti"), kept["id"], before, history)])
    moved = placed.join(ids, on="cluster").with_columns(same=pl.col("id").eq_missing(pl.col("person_id")))
    now = pl.lit(at, pl.Datetime("us", "UTC"))
    map = moved.select("record", person_id="id", since=pl.when("same").then("since").otherwise(now)).sort("record")
    return Assigned(map.to_arrow(compat_level=_OLDEST).cast(IDENTITY_MAP), _events(moved, before, at))


def _today(clusters: pa.Table) -> pl.DataFrame:
    frame = pl.DataFrame(pl.from_arrow(clusters))
    if "first_seen" not in frame.columns:
        return frame.select("record", "cluster", first_seen=pl.lit(None, pl.Datetime("us", "UTC")))
    return frame.select("record", "cluster", pl.col("first_seen").cast(pl.Datetime("us", "UTC")))


def _before(previous: pa.Table | None) -> pl.DataFrame:
    table = IDENTITY_MAP.empty_table() if previous is None else previous
    return pl.DataFrame(pl.from_arrow(table.select(IDENTITY_MAP.names))).with_columns(
        born=pl.col("since").min().over("person_id")
    )


def _kept(known: pl.DataFrame, before: pl.DataFrame) -> pl.DataFrame:
    """cluster -> id of the oldest of the persons whose founders are in it."""
    order = ["since", "first_seen", "record"]
    shares = known.with_columns(share=pl.len().over("person_id", "cluster") / pl.len().over("person_id"))
    founders = shares.sort(["person_id", *order], nulls_last=True).unique(
        "person_id", keep="first", maintain_order=True
    )
    ranked = founders.sort(["born", -pl.col("share"), *order[1:]], nulls_last=True)  # who came whole before a part
    oldest = ranked.unique("cluster", keep="first", maintain_order=True)
    return oldest.select("cluster", id="person_id")


def _given(orphans: pl.DataFrame, taken: pl.Series, before: pl.DataFrame, history: pa.Table | None) -> pl.DataFrame:
    """cluster -> id, for clusters where no founder is: one that its records had, else a new one."""
    back = _former(orphans, taken, before, history)
    rest = orphans.join(back, on="cluster", how="anti")
    firsts = rest.sort("first_seen", "record", nulls_last=True).unique("cluster", keep="first", maintain_order=True)
    ids = _new_ids(firsts["record"], pl.concat([taken, back["id"]]))
    return pl.concat([back, firsts.select("cluster", id=ids)])


def _former(orphans: pl.DataFrame, taken: pl.Series, before: pl.DataFrame, history: pa.Table | None) -> pl.DataFrame:
    """Ids that nobody has, each for the cluster with most of the records that had it; the latest for a cluster."""
    had = before.select("record", id="person_id", at="since")
    if history is not None:
        past = pl.DataFrame(pl.from_arrow(history.select(["record", "person_id", "at"])))
        had = pl.concat([had, past.rename({"person_id": "id"})])
    had = had.drop_nulls("id").filter(~pl.col("id").is_in(taken.implode())).join(orphans, on="record")
    claims = had.group_by("cluster", "id").agg(pl.col("record").n_unique().alias("records"), pl.col("at").max())
    claims = claims.sort("records", "at", "cluster", "id", descending=[True, True, False, False])
    one_each = claims.unique("id", keep="first", maintain_order=True)
    return one_each.unique("cluster", keep="first", maintain_order=True).select("cluster", "id")


def _new_ids(records: pl.Series, taken: pl.Series) -> pl.Series:
    """A new id for each record; where somebody has it already, the next one made of the same key."""
    keys = records.to_arrow(compat_level=_OLDEST).cast(pa.string())
    ids = pl.Series("id", person_ids(keys, 0))
    attempt = 0
    while (clash := ids.is_in(taken.implode()) | ~ids.is_first_distinct()).any():
        attempt += 1
        others = pl.Series("id", person_ids(keys, attempt))
        ids = pl.select(pl.when(clash).then(others).otherwise(ids).alias("id")).to_series()
    return ids


def person_ids(records: pa.Array, attempt: int = 0) -> pa.Array:
    """32 hexadecimal digits made of a record's key; `attempt` gives others."""
    number = pa.array(np.full(len(records), attempt, np.int64))
    table = pa.table({"record": records, "attempt": number})
    words = np.empty((len(records), 2), ">u8")
    words[:, 0], words[:, 1] = key_hashes(table, ("record", "attempt")), key_hashes(table, ("attempt", "record"))
    return hexadecimal(words)


def _events(moved: pl.DataFrame, before: pl.DataFrame, at: datetime) -> pa.Table:
    living, known = moved["id"].unique().implode(), before["person_id"].unique().implode()
    existed, lives = pl.col("id").is_in(known), pl.col("person_id").is_in(living)
    first = pl.col("record") == pl.col("record").sort_by("first_seen", "record", nulls_last=True).first().over("id")
    kind = (
        pl.when(pl.col("person_id").is_not_null() & ~existed).then(pl.lit(SPLIT))
        .when(pl.col("person_id").is_not_null() & lives).then(pl.lit(MOVED))
        .when(pl.col("person_id").is_not_null()).then(pl.lit(MERGED))
        .when(~existed & first).then(pl.lit(CREATED))
        .otherwise(pl.lit(JOINED))
    )  # fmt: skip
    changed = moved.with_columns(kind=kind).filter(~pl.col("same"))
    gone = before.join(moved, on="record", how="anti")
    events = pl.concat(
        [
            changed.select("record", "kind", person_id="id", previous_person_id="person_id"),
            gone.select(
                "record", kind=pl.lit(LEFT), person_id=pl.lit(None, pl.String), previous_person_id="person_id"
            ),
        ]
    ).with_columns(at=pl.lit(at, pl.Datetime("us", "UTC"))).sort("record")  # fmt: skip
    table = events.to_arrow(compat_level=_OLDEST)
    for field in list(IDENTITY_EVENTS)[table.num_columns :]:
        table = table.append_column(field, pa.nulls(table.num_rows, field.type))
    return table.cast(IDENTITY_EVENTS)


def map_of(events: pa.Table) -> pa.Table:
    """IDENTITY_MAP as all events up to now leave it."""
    frame = pl.DataFrame(pl.from_arrow(events.select(["record", "person_id", "at"])))
    latest = frame.sort("record", "at").unique("record", keep="last", maintain_order=True).drop_nulls("person_id")
    return latest.select("record", "person_id", since="at").to_arrow(compat_level=_OLDEST).cast(IDENTITY_MAP)


def persons_on(events: pa.Table, at: datetime) -> pa.Table:
    """Who each record was at a moment: `record`, `person_id`; records that were not there have no row."""
    frame = pl.DataFrame(pl.from_arrow(events.select(["record", "person_id", "at"])))
    latest = frame.filter(pl.col("at") <= at).sort("record", "at").unique("record", keep="last", maintain_order=True)
    return latest.drop_nulls("person_id").select("record", "person_id").to_arrow(compat_level=_OLDEST)


def touched_persons(events: pa.Table) -> list[str]:
    """The persons that are not as they were before these events, those that are no more included, in order."""
    frame = pl.DataFrame(pl.from_arrow(events.select(["person_id", "previous_person_id"])))
    return (
        pl.concat([frame["person_id"], frame["previous_person_id"].alias("person_id")])
        .drop_nulls()
        .unique()
        .sort()
        .to_list()
    )
