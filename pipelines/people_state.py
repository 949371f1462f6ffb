"""What `resolve` keeps of a person's own files from one day to the next, in a folder.

The folder holds personal data, as the files do: the records as they are compared. A run writes beside what was there,
and `state.json` names what holds, so that a run that dies leaves yesterday's.
"""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from uuid import uuid4

import numpy as np
import polars as pl
import pyarrow as pa

from transforms.errors import UserError
from transforms.identity.encode import NONE, Column, Derived, Encoded
from transforms.identity.fields import RECORD_KEY
from transforms.identity.model import LinkModel
from transforms.identity.more import Compared, Met
from transforms.identity.pairs import Pairs
from transforms.identity.settle import Persons

FORMAT = 1  # of the files, and of what their numbers mean: another one is compared anew
_OLDEST = pl.CompatLevel.oldest()
_NAME = "state.json"


@dataclass(frozen=True)
class State:
    """What is kept.

    Attributes:
      named: `number` of the record in the order of keys, `source` and `record_id`, in order of reading.
      at: the moment of the run that kept it.
      generation: how many runs did before.
    """

    compared: Compared
    persons: Persons
    named: pl.DataFrame
    at: datetime
    generation: int = 0


def load_state(folder: str) -> State | None:
    """What was kept in a folder; None where there is no such folder, or nothing in it.

    Raises:
      UserError: the folder holds something else.
    """
    path = Path(folder)
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    try:
        said = json.loads((path / _NAME).read_text())
        return _read(path / said["folder"], said)
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        raise UserError("this is no folder that resolve keeps", folder, "give another with --state FOLDER") from None


def save_state(folder: str, state: State) -> None:
    """Keeps it in the folder.

    Raises:
      UserError: another run kept something there in the meantime, or the folder cannot be written.
    """
    path, name = Path(folder), f"run-{uuid4().hex}"
    compared = state.compared
    said = {"format": FORMAT, "folder": name, "generation": state.generation + 1, "at": state.at.isoformat(),
            "model": compared.model.to_json(), "every": compared.every, "rules": compared.rules}  # fmt: skip
    try:
        (path / name).mkdir(parents=True)
        _write(path / name, state)
        (path / f"{name}.json").write_text(json.dumps(said))
        if _generation(path) != state.generation:
            shutil.rmtree(path / name)
            raise UserError("another run kept its result at the same time", folder, "run again")
        os.replace(path / f"{name}.json", path / _NAME)
    except OSError as error:
        raise UserError(f"cannot be written ({error.strerror})", folder, "give another with --state FOLDER") from None
    for other in path.glob("run-*"):
        if other.name != name:
            shutil.rmtree(other, ignore_errors=True) if other.is_dir() else other.unlink(missing_ok=True)


def _generation(path: Path) -> int:
    """How many runs kept something there."""
    return int(json.loads((path / _NAME).read_text())["generation"]) if (path / _NAME).exists() else 0


def _write(path: Path, state: State) -> None:
    records, compared, persons = state.compared.records, state.compared, state.persons
    columns = {RECORD_KEY: records.keys.to_arrow(compat_level=_OLDEST), "_hash": pa.array(records.hashes)}
    for name, column in records.columns.items():
        columns[name] = _dictionary(column.codes, column.values)
        whole = {key: made for key, made in column.derived.items() if len(made.codes) == len(column.values)}
        if whole:
            _put(path / f"derived-{name}", pa.table({key: _dictionary(d.codes, d.values) for key, d in whole.items()}))
    columns |= {name: pa.array(flag) for name, flag in records.flags.items()}
    _put(path / "records", pa.table(columns))
    _put(path / "persons", pa.table({"code": persons.codes, "since": persons.since}))
    _put(path / "ids", pa.table({"id": _flat(persons.ids)}))
    _put(path / "former", persons.former)
    for name, met in (("sample", compared.sample), ("likely", compared.likely)):
        _put(path / name, _pairs(met.pairs).append_column("rules", pa.array(met.rules)))
    _put(path / "strangers", _pairs(compared.strangers))
    _put(path / "named", state.named.with_columns(pl.col("source").cast(pl.Categorical)).to_arrow(compat_level=_OLDEST))


def _read(path: Path, said: dict) -> State:
    table, same = _get(path / "records"), said["format"] == FORMAT
    columns: dict[str, Column] = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        if pa.types.is_dictionary(column.type):
            columns[name] = Column(*_coded(column), _derived(path / f"derived-{name}") if same else {})
    if {"given_name", "surname"} <= columns.keys():  # they share their values
        columns["surname"] = replace(columns["surname"], values=columns["given_name"].values)
    flags = {n: table[n].to_numpy() for n in table.column_names if pa.types.is_boolean(table[n].type)}
    keys = pl.Series(RECORD_KEY, pl.from_arrow(table[RECORD_KEY]))
    records = Encoded(keys, np.zeros(len(keys), bool), columns, flags)
    records.__dict__["hashes"] = table["_hash"].to_numpy()
    sample, likely = (Met(_paired(t), t["rules"].to_numpy()) for t in (_get(path / n) for n in ("sample", "likely")))
    compared = Compared(
        records, LinkModel.from_json(said["model"]), said["every"], sample, _paired(_get(path / "strangers")), likely,
        said["rules"] if same else "",
    )  # fmt: skip
    who = _get(path / "persons")
    ids = pl.Series("", pl.from_arrow(_get(path / "ids")["id"]))
    persons = Persons(who["code"].to_numpy(), ids, who["since"].to_numpy(), _get(path / "former"))
    named = pl.DataFrame(pl.from_arrow(_get(path / "named"))).with_columns(pl.col("source").cast(pl.String))
    return State(compared, persons, named, datetime.fromisoformat(said["at"]), said["generation"])


def _derived(path: Path) -> dict[str, Derived]:
    """What was made of the values of a column; nothing where a run of before did not keep it."""
    if not Path(f"{path}.arrow").exists():
        return {}
    table = _get(path)
    return {name: Derived(*_coded(column)) for name, column in zip(table.column_names, table.columns, strict=True)}


def _dictionary(codes: np.ndarray, values: pl.Series) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(codes, mask=codes < 0), _flat(values))


def _coded(column: pa.ChunkedArray) -> tuple[np.ndarray, pl.Series]:
    array = column.combine_chunks()
    codes = array.indices.fill_null(NONE).to_numpy(zero_copy_only=False)
    return codes, pl.Series("", pl.from_arrow(array.dictionary))


def _flat(values: pl.Series) -> pa.Array:
    return values.rechunk().to_arrow(compat_level=_OLDEST)


def _pairs(pairs: Pairs) -> pa.Table:
    return pa.table({"left": pairs.left, "right": pairs.right, "patterns": pairs.patterns})


def _paired(table: pa.Table) -> Pairs:
    return Pairs(*(table[name].to_numpy() for name in ("left", "right", "patterns")))


def _put(path: Path, table: pa.Table) -> None:
    with pa.OSFile(f"{path}.arrow", "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
        writer.write_table(table.combine_chunks())


def _get(path: Path) -> pa.Table:
    with pa.memory_map(f"{path}.arrow") as file:
        return pa.ipc.open_file(file).read_all()
