"""JSON of the REST API to arrays and back, with the rules and words of TensorFlow Serving's json_tensor.cc."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from tensorflow.core.framework import types_pb2
from tensorflow.core.protobuf import meta_graph_pb2

from recsys.serve.errors import ServingError, invalid
from recsys.tensorflow import tf

Signature = Callable[[str], meta_graph_pb2.SignatureDef]
ROW, COLUMNAR = "row", "columnar"
_LONGEST = 200  # of a value in a message: a history of 10,000 items is no help there


def read_predict(body: bytes, signature: Signature) -> tuple[str, dict[str, np.ndarray], str]:
    """(name of the signature, inputs, form in which the answer is to be)."""
    document = _parse(body)
    name = document.get("signature_name", "")
    if not isinstance(name, str):
        raise invalid(
            f"JSON Value: {_told(document)} not formatted correctly. 'signature_name' key must be a string value."
        )
    infos = dict(signature(name or "serving_default").inputs)
    has_rows, has_columns = "instances" in document, "inputs" in document
    if has_rows and has_columns:
        words = "Not formatted correctly expecting only one of 'inputs' or 'instances' keys to exist "
        raise invalid(f"JSON Value: {_told(document)} {words}")
    if has_rows:
        rows = document["instances"]
        if not isinstance(rows, list):
            raise invalid(f"JSON Value: {_told(document)} Excepting 'instances' to be an list/array")
        if not rows:
            raise invalid(f"JSON Value: {_told(document)} No values in 'instances' array")
        return name, _rows(rows, infos), ROW
    if has_columns:
        return name, _columns(document["inputs"], infos), COLUMNAR
    raise invalid("Missing 'inputs' or 'instances' key")


def write_predict(outputs: Mapping[str, np.ndarray], form: str) -> bytes:
    """The answer as JSON: a list of rows, or columns."""
    made = {name: _plain(name, values) for name, values in outputs.items()}
    if form == COLUMNAR:
        answer: dict[str, Any] = {"outputs": made if len(made) > 1 else next(iter(made.values()))}
    elif len(made) == 1:
        answer = {"predictions": next(iter(made.values()))}
    else:
        names = list(made)
        rows = zip(*(made[name] for name in names), strict=True)
        answer = {"predictions": [dict(zip(names, row, strict=True)) for row in rows]}
    return json.dumps(answer, ensure_ascii=False).encode("utf-8", "surrogateescape")


def _parse(body: bytes) -> dict[str, Any]:
    if not body:
        raise invalid("JSON Parse error: The document is empty")
    try:
        document = json.loads(body)
    except json.JSONDecodeError as error:
        raise invalid(f"JSON Parse error: Invalid value. at offset: {error.pos}") from None
    except (UnicodeDecodeError, RecursionError):
        raise invalid("JSON Parse error: Invalid encoding in string. at offset: 0") from None
    if not isinstance(document, dict):
        raise invalid(f"JSON Value: {_told(document)} Is not object")
    return document


def _rows(rows: list[Any], infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, np.ndarray]:
    if not isinstance(rows[0], dict) and len(infos) > 1:
        raise invalid(
            "instances is a plain list, but expecting list of objects as multiple input tensors required as per"
            " tensorinfo_map"
        )
    named = isinstance(rows[0], dict) and not _is_b64(rows[0])
    made: dict[str, list[np.ndarray]] = {name: [] for name in infos}
    for place, row in enumerate(rows):
        if named != (isinstance(row, dict) and not _is_b64(row)):
            kinds = ("object", "list") if named else ("value/list", "object")
            raise invalid(f"Expecting {kinds[0]} but got {kinds[1]} at item {place} of input list")
        cells = row if named else {next(iter(infos)): row}
        for name, value in cells.items():
            key = f" key: {name}" if named else ""
            try:
                if name not in infos:
                    raise invalid(f"JSON object: does not have named input: {name}")
                values = _array(value, infos[name].dtype)
                if made[name] and made[name][0].size != values.size:
                    raise invalid(f"Expecting tensor size: {made[name][0].size} but got: {values.size}")
                if made[name] and made[name][0].shape != values.shape:
                    shapes = [f"[{','.join(map(str, one.shape))}]" for one in (made[name][0], values)]
                    raise invalid(f"Expecting shape {shapes[0]} but got: {shapes[1]}")
            except ServingError as error:
                words = f"INVALID_ARGUMENT: {error.message}"
                raise invalid(f"Failed to process element: {place}{key} of 'instances' list. Error: {words}") from None
            made[name].append(values)
        if named and set(cells) != set(infos):
            words = f"JSON object: {_told(row)} keys must be equal to: {','.join(sorted(infos))}"
            raise invalid(f"Failed to process element: {place} of 'instances' list. {words}")
    return {name: np.stack(values) for name, values in made.items()}


def _columns(value: Any, infos: Mapping[str, meta_graph_pb2.TensorInfo]) -> dict[str, np.ndarray]:
    if not isinstance(value, dict) or _is_b64(value):
        if len(infos) > 1:
            raise invalid(
                "inputs is a plain value/list, but expecting an object as multiple input tensors required as per"
                " tensorinfo_map"
            )
        name = next(iter(infos))
        return {name: _array(value, infos[name].dtype)}
    for name in infos:
        if name not in value:
            raise invalid(f"Missing named input: {name} in 'inputs' object.")
    return {name: _array(value[name], info.dtype) for name, info in infos.items()}


def _array(value: Any, dtype: int) -> np.ndarray:
    """A value or nested lists, all of one length at a level, as an array of a type of the signature."""
    shape, first = [], value
    while isinstance(first, list):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    flat: list[Any] = []
    _fill(value, 0, shape, dtype, flat)
    kind = tf.as_dtype(dtype)
    made = np.empty(len(flat), object) if kind == tf.string else np.zeros(len(flat), kind.as_numpy_dtype)
    made[:] = flat
    return made.reshape(shape)


def _fill(value: Any, level: int, shape: list[int], dtype: int, flat: list[Any]) -> None:
    if not isinstance(value, list):
        if level != len(shape):
            where = f"found at incorrect level: {level + 1} in the JSON DOM. Expected at level: {len(shape)}"
            raise invalid(f"JSON Value: {_told(value)} {where}")
        flat.append(_cell(value, dtype))
        return
    if level >= len(shape):
        raise invalid(f"Encountered list at unexpected level: {level} expected < {len(shape)}")
    if len(value) != shape[level]:
        where = f"at level: {level} expected size: {shape[level]}"
        raise invalid(f"Encountered list at unexpected size: {len(value)} {where}")
    for one in value:
        _fill(one, level + 1, shape, dtype, flat)


def _cell(value: Any, dtype: int) -> Any:
    kind = tf.as_dtype(dtype)
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if kind == tf.string:
        if _is_b64(value):
            try:
                return base64.b64decode(value["b64"], validate=True)
            except (binascii.Error, ValueError):
                raise invalid("Unable to base64 decode") from None
        if isinstance(value, dict):
            raise invalid(f"JSON Value: {_told(value)} not formatted correctly for base64 data")
        if isinstance(value, str):
            return value.encode("utf-8", "surrogatepass")
    elif kind.is_bool and isinstance(value, bool):
        return value
    elif kind.is_floating and number:
        if abs(value) > kind.max and np.isfinite(float(value)):
            word = types_pb2.DataType.Name(dtype)[3:].lower()
            raise invalid(f"Cannot convert JSON value: {_told(value)} to {word} without loss of precision.")
        return float(value)
    elif kind.is_integer and number and isinstance(value, int) and kind.min <= value <= kind.max:
        return value
    word = types_pb2.DataType.Name(dtype)[3:].lower()
    raise invalid(f"JSON Value: {_told(value)} Type: {_type(value)} is not of expected type: {word}")


def _is_b64(value: Any) -> bool:
    return isinstance(value, dict) and list(value) == ["b64"] and isinstance(value["b64"], str)


def _type(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return "Null" if value is None else str(value)
    kinds = ((dict, "Object"), (list, "Array"), (str, "String"))
    return next((name for kind, name in kinds if isinstance(value, kind)), "Number")


def _told(value: Any) -> str:
    text = json.dumps(value, indent=4, ensure_ascii=False)
    return text if len(text) <= _LONGEST else text[:_LONGEST] + "..."


def _plain(name: str, values: np.ndarray) -> Any:
    if values.dtype != object:
        return values.tolist()
    as_bytes = name.endswith("_bytes")

    def shown(value: Any) -> Any:
        if isinstance(value, list):
            return [shown(one) for one in value]
        return {"b64": base64.b64encode(value).decode()} if as_bytes else value.decode("utf-8", "surrogateescape")

    return shown(values.tolist())
