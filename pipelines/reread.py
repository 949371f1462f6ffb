"""Rejects read again: their raw bytes as a file, through the same reader and kernels as the first time."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from transforms.bronze.envelope import bronze_schema
from transforms.bronze.ingest import IngestSpec, RawReading, ingest_batch
from transforms.io.files import discover, read_split, split
from transforms.silver.to_silver import to_silver


@dataclass(frozen=True)
class Attempt:
    """Rejects that went through again: those accepted now, as bronze rows, and those still refused."""

    accepted: pa.Table
    accepted_ids: list[str]
    refused: dict[str, tuple[str, str]]  # reject_id -> (rule, reason): today's if the contract refused it, else the old


def read_again(rejects: pa.Table, spec: IngestSpec) -> Attempt:
    """Sends rejects through reading and bronze once more; `accepted` are rows for bronze, with their old places.

    Rejects that were read alike are read together, as a file of their raw records.
    """
    attempts = list(_attempts(rejects, spec)) if rejects.num_rows else []
    return Attempt(
        pa.concat_tables([_none(spec), *(a.accepted for a in attempts)], promote_options="default"),
        [key for a in attempts for key in a.accepted_ids],
        {key: why for a in attempts for key, why in a.refused.items()},
    )


def _attempts(rejects: pa.Table, spec: IngestSpec) -> Iterator[Attempt]:
    kinds = ["raw_format", "raw_header", "raw_reading"]
    numbered = rejects.select(kinds).append_column("row", pa.array(range(rejects.num_rows), pa.int64()))
    for kind in numbered.group_by(kinds).aggregate([("row", "list")]).to_pylist():
        header = kind["raw_header"]
        rows = rejects.take(pa.array(sorted(kind["row_list"]), pa.int64()))
        yield from _halved(rows, spec, kind["raw_format"], header)


def _halved(rejects: pa.Table, spec: IngestSpec, raw_format: str, header: str | None) -> Iterator[Attempt]:
    """Together, or where a record swallows its neighbours (an open quote) in ever smaller parts."""
    found = _read_file(rejects, spec, raw_format, header)
    if found is not None:
        yield found
        return
    half = rejects.num_rows // 2
    yield from _halved(rejects.slice(0, half), spec, raw_format, header)
    yield from _halved(rejects.slice(half), spec, raw_format, header)


def _read_file(rejects: pa.Table, spec: IngestSpec, raw_format: str, header: str | None) -> Attempt | None:
    """None when the records do not come back one for one."""
    reading = RawReading.from_json(rejects["raw_reading"][0].as_py())
    spec = replace(spec, spelling=reading.spelling)
    offsets: dict[int, int] = {}
    with tempfile.TemporaryDirectory(prefix="c360-replay-") as folder:
        path = Path(folder) / f"rejects.{raw_format}"
        with path.open("wb") as file:
            if header is not None:
                file.write(header.encode() + b"\n")
            for i, raw in enumerate(rejects["raw"].to_pylist()):
                offsets[file.tell()] = i
                file.write(raw + b"\n")
        parts = [
            (parsed, ingest_batch(parsed, spec, replace(spec.origin, file=str(path))))
            for piece in split(replace(discover(str(path), raw_format)[0], renames=reading.renames))
            for parsed in read_split(piece, tuple(spec.business.names))
        ]
    positions = [p for _, (ok, bad, _) in parts for p in [*ok["_position"].to_pylist(), *bad["_position"].to_pylist()]]
    if sorted(positions) != sorted(offsets):
        if rejects.num_rows > 1:
            return None
        return Attempt(_none(spec), [], _as_before(rejects))
    ids, before = rejects["reject_id"].to_pylist(), _as_before(rejects)
    unread = {p for parsed, _ in parts for p in parsed.rejects["_position"].to_pylist()}
    rows = [row for _, (_, bad, _) in parts for row in bad.select(["_position", "rule", "reason"]).to_pylist()]
    now = {ids[offsets[row["_position"]]]: (row["rule"], row["reason"]) for row in rows}
    refused = now | {key: before[key] for key in (ids[offsets[position]] for position in unread)}
    accepted = pa.concat_tables([ok for _, (ok, _, _) in parts] or [_none(spec)], promote_options="default")
    order = pa.array([offsets[p] for p in accepted["_position"].to_pylist()], pa.int64())
    taken = rejects.take(order)
    return Attempt(_at_home(accepted, taken), taken["reject_id"].to_pylist(), refused)


def _as_before(rejects: pa.Table) -> dict[str, tuple[str, str]]:
    """Why they were refused when their file was read: a record alone says less than its file did."""
    rows = rejects.select(["reject_id", "rule", "reason"]).to_pylist()
    return {row["reject_id"]: (row["rule"], row["reason"]) for row in rows}


def through_silver(attempt: Attempt, spec: IngestSpec, country: str) -> Attempt:
    """What silver would still refuse of the accepted rows is refused."""
    rejected = to_silver(attempt.accepted, spec.contract, country).rejected
    bad = {
        (row["_file"], row["_position"]): (row["_rule"], row["_reason"])
        for row in rejected.select(["_file", "_position", "_rule", "_reason"]).to_pylist()
    }
    places = zip(attempt.accepted["_file"].to_pylist(), attempt.accepted["_position"].to_pylist(), strict=True)
    by_id = dict(zip(attempt.accepted_ids, places, strict=True))
    passed = [key for key, place in by_id.items() if place not in bad]
    keep = pa.array([place not in bad for place in by_id.values()], pa.bool_())
    refused = attempt.refused | {key: bad[place] for key, place in by_id.items() if place in bad}
    return Attempt(attempt.accepted.filter(keep), passed, refused)


def _at_home(accepted: pa.Table, rejects: pa.Table) -> pa.Table:
    """The rows with the file and position they first came from."""
    for name in ("file", "position"):
        at = accepted.schema.get_field_index(f"_{name}")
        column = rejects[name].cast(accepted.schema.field(at).type)
        accepted = accepted.set_column(at, accepted.schema.field(at), column)
    return accepted


def _none(spec: IngestSpec) -> pa.Table:
    return bronze_schema(spec.contract, spec.business).empty_table()
