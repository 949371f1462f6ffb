"""What a stream must have made of a hub of page views: the hub itself is the oracle of bronze, and bronze of the rest.

Whatever a sender had to send twice is in the hub twice, under two sequence numbers; so bronze must hold the hub's
events place by place, and every row that was sent. The sessions, with their ids, and the late rows behind them follow
from the hub's events in their order; the features are those of the batch kernel over all of bronze.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc
from azure.eventhub import EventData

from pipelines.config import Lake
from tests.event_hubs import LoopbackProcess, receive
from tests.sessions.views_stream import cut_views
from tests.stream_views import COLUMNS, HUB, TABLE
from tests.streaming import CONTENT_TYPES, PLACE
from transforms.bronze.envelope import columns_for_silver
from transforms.contracts import contract
from transforms.gold.realtime import features, fold
from transforms.gold.realtime_table import read_features
from transforms.gold.touches import TOUCHES, read_touches
from transforms.io.delta import read_table
from transforms.sessions.live import bronze_columns, events_of
from transforms.sessions.rules import SessionRules
from transforms.sessions.summarise import SESSIONS
from transforms.silver.to_silver import to_silver

_EVENTS_AT_ONCE = 100_000


@dataclass
class Compared:
    """How much was compared, and what was wrong (nothing, that is)."""

    rows: int = 0
    events: int = 0
    sessions: int = 0
    late: int = 0
    persons: int = 0
    wrong: list[str] = field(default_factory=list)


def compare(server: LoopbackProcess, folder: Path, rows_sent: int, late_seconds: float) -> Compared:
    """Holds bronze to the hub and to E0 to E(rows_sent - 1); sessions, late rows and features to bronze."""
    made, lake = Compared(), Lake(str(folder))
    _compare_bronze(made, server, lake, rows_sent)
    _compare_sessions(made, lake, late_seconds)
    _compare_features(made, lake)
    return made


def _compare_bronze(made: Compared, server: LoopbackProcess, lake: Lake, rows_sent: int) -> None:
    found = pl.DataFrame(pl.from_arrow(read_table(lake.bronze(contract(TABLE)), columns=[*COLUMNS, *PLACE])))
    found = found.sort(PLACE)
    expected = hub_rows(server).select(found.columns).cast(dict(found.schema))
    made.rows, made.events = found.height, found.select("_file", "_position").unique().height
    if found.select(PLACE).is_duplicated().any():
        made.wrong.append(f"{found.select(PLACE).is_duplicated().sum()} rows share a place")
    for name, left, right in (("missing", expected, found), ("too many", found, expected)):
        lost = left.join(right, on=PLACE, how="anti")
        if lost.height:
            made.wrong.append(f"{lost.height} rows {name}, first {lost.select(PLACE).row(0)}")
    if not made.wrong and not found.equals(expected):
        made.wrong.append("contents differ")
    sent = pl.select(pl.format("E{}", pl.int_range(rows_sent)).alias("EVENT_ID"))["EVENT_ID"]
    if not sent.is_in(found["EVENT_ID"].implode()).all() or found["EVENT_ID"].n_unique() != rows_sent:
        made.wrong.append("the rows are not those that were sent")


def _compare_sessions(made: Compared, lake: Lake, late_seconds: float) -> None:
    """Those that left, and the rows that were late, by the oracle over what bronze has of each partition."""
    sessions, late = list[pl.DataFrame](), list[tuple]()
    rows = read_table(lake.bronze(contract(TABLE)), columns=bronze_columns()).sort_by("_position")
    for log in pc.unique(rows["_file"]).to_pylist():
        events = events_of(rows.filter(pc.equal(rows["_file"], log)))
        left = cut_views(events, SessionRules(), late_seconds)
        sessions.append(left.sessions)
        late += [(log, position) for position in left.late]
    found = pl.DataFrame(pl.from_arrow(read_table(lake.live_sessions, columns=SESSIONS.names)))
    expected = pl.concat(sessions).select(found.columns).cast(dict(found.schema))
    kept = read_table(lake.late, columns=("_log", "position")).to_pylist()
    of_log = [(row["_log"].rpartition("/")[0], row["position"]) for row in kept]
    made.sessions, made.late = found.height, len(kept)
    if sorted(of_log) != sorted(late):
        made.wrong.append(f"{len(kept)} late rows, not {len(late)}")
    if not found.sort("session_id").equals(expected.sort("session_id")):
        lost = expected.join(found, on=expected.columns, how="anti", nulls_equal=True).height
        made.wrong.append(f"{found.height} sessions, not these {expected.height}: {lost} of them are not there")


def _compare_features(made: Compared, lake: Lake) -> None:
    """Those of the kernel over all of bronze at once."""
    table = contract(TABLE)
    silver = to_silver(read_table(lake.bronze(table), columns=columns_for_silver(table)), table).accepted
    none = pl.DataFrame(pl.from_arrow(TOUCHES.empty_table()))
    known = fold(none, pl.DataFrame(pl.from_arrow(read_touches(TABLE, silver))))
    expected = features(known, datetime(1970, 1, 1, tzinfo=UTC)).drop_columns(["updated_at"])
    found = read_features(lake.realtime_features).drop_columns(["updated_at"])
    made.persons = found.num_rows
    if not found.equals(expected):
        made.wrong.append(f"features of {found.num_rows} persons, not these of {expected.num_rows}")


def hub_rows(server: LoopbackProcess) -> pl.DataFrame:
    """What the hub holds, read by the unmodified client: PLACE and COLUMNS, in order of place."""
    frames = []
    for number, log in enumerate(server.control.state()["hubs"][HUB]):
        at = 0
        while at < log["end"]:  # some at a time: an event of the client is 3 KB
            wanted = min(_EVENTS_AT_ONCE, log["end"] - at)
            events = receive(server, wanted, at, str(number), HUB, seconds=300, inclusive=True)
            assert events, f"{HUB}/{number} gave nothing from {at} on"
            frames += [_rows_of(events, kind, number) for kind in {made.content_type for made in events}]
            at = events[-1].sequence_number + 1
    return pl.concat(frames).sort(PLACE)


def _rows_of(events: list[EventData], kind: str, number: int) -> pl.DataFrame:
    """PLACE and COLUMNS of the events of one content type."""
    of_kind = [made for made in events if made.content_type == kind]
    rows, counts = decoded([b"".join(made.body) for made in of_kind], kind)
    places = {
        "_file": pl.repeat(f"{HUB}/{number}", rows.height, eager=True),
        "_position": pl.Series(np.repeat([made.sequence_number for made in of_kind], counts)),
        "_row": pl.Series(np.concatenate([np.arange(count, dtype=np.int32) for count in counts])),
    }
    return rows.select(COLUMNS).with_columns(**places)


def decoded(bodies: list[bytes], kind: str) -> tuple[pl.DataFrame, list[int]]:
    """The rows of events of one content type, and how many each has."""
    if kind == CONTENT_TYPES["arrow"]:
        tables = [pa.ipc.open_stream(body).read_all() for body in bodies]
        return pl.DataFrame(pl.from_arrow(pa.concat_tables(tables))), [table.num_rows for table in tables]
    rows = pl.read_ndjson(b"\n".join(bodies), schema_overrides={"EVENT_DATE": pl.String}, infer_schema_length=None)
    when = pl.col("EVENT_DATE").str.to_datetime(time_unit="us", time_zone="UTC")
    return rows.with_columns(when), [len(body.splitlines()) for body in bodies]
