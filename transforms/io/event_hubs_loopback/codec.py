"""AMQP 1.0 types: bytes to values and back (OASIS AMQP 1.0, part 1)."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any


class DecodeError(ValueError):
    """The peer's bytes are not AMQP 1.0."""


class Symbol(str):
    """An ASCII symbol; a plain `str` is a string."""


class UByte(int):
    """uint8."""


class UShort(int):
    """uint16."""


class UInt(int):
    """uint32."""


class ULong(int):
    """uint64."""


class Int(int):
    """int32; a plain `int` is int64."""


class Timestamp(int):
    """Milliseconds since 1970, UTC."""


class Raw(bytes):
    """A value that is encoded already."""


@dataclass(frozen=True)
class Described:
    """A described value: a performative, an outcome, an error, a filter."""

    descriptor: Any
    value: Any


@dataclass(frozen=True)
class Array:
    """An array of strings or of symbols."""

    items: tuple[str, ...]
    symbols: bool = False


_U32 = struct.Struct(">I")
_FIXED = {
    code: struct.Struct(">" + form)
    for code, form in {
        0x50: "B", 0x51: "b", 0x52: "B", 0x53: "B", 0x54: "b", 0x55: "b", 0x60: "H", 0x61: "h", 0x70: "I", 0x71: "i",
        0x72: "f", 0x80: "Q", 0x81: "q", 0x82: "d", 0x83: "q",
    }.items()
}  # fmt: skip
_CONSTANT = {0x40: None, 0x41: True, 0x42: False, 0x43: 0, 0x44: 0}
_WIDTH = {0x4: 0, 0x5: 1, 0x6: 2, 0x7: 4, 0x8: 8, 0x9: 16}  # by the constructor's high digit
_MAX_DEPTH = 32


def skip(data: bytes, at: int, depth: int = 0) -> int:
    """The position after the value at `at`, without decoding it; raises `DecodeError` where the bytes end too early."""
    try:
        code = data[at]
        kind = code >> 4
        if code == 0:
            if depth > _MAX_DEPTH:
                raise DecodeError("values nested too deeply")
            return skip(data, skip(data, at + 1, depth + 1), depth + 1)
        if kind in _WIDTH:
            end = at + 1 + _WIDTH[kind]
        elif kind in (0xA, 0xC, 0xE):
            end = at + 2 + data[at + 1]
        elif kind in (0xB, 0xD, 0xF):
            end = at + 5 + _U32.unpack_from(data, at + 1)[0]
        else:
            raise DecodeError(f"no AMQP type 0x{code:02x}")
    except (IndexError, struct.error):
        raise DecodeError("value cut short") from None
    if end > len(data):
        raise DecodeError("value cut short")
    return end


def decode(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The value at `at` and the position after it; raises `DecodeError`."""
    try:
        return _decode(data, at + 1, data[at], 0)
    except (IndexError, struct.error, UnicodeDecodeError, TypeError) as error:
        raise DecodeError(f"not AMQP: {type(error).__name__}") from None


def _decode(data: bytes, at: int, code: int, depth: int) -> tuple[Any, int]:
    if fixed := _FIXED.get(code):
        return fixed.unpack_from(data, at)[0], at + fixed.size
    if code in _CONSTANT:
        return _CONSTANT[code], at
    kind = code >> 4
    if kind in (0xA, 0xB):
        return _decode_bytes(data, at, code)
    if depth > _MAX_DEPTH:
        raise DecodeError("values nested too deeply")
    if kind in (0xC, 0xD, 0xE, 0xF) or code == 0x45:
        return _decode_many(data, at, code, depth + 1)
    if code == 0:
        descriptor, at = _decode(data, at + 1, data[at], depth + 1)
        value, at = _decode(data, at + 1, data[at], depth + 1)
        return Described(descriptor, value), at
    return _decode_rare(data, at, code)


def _decode_rare(data: bytes, at: int, code: int) -> tuple[Any, int]:
    if code == 0x56:
        return bool(data[at]), at + 1
    end = at + _WIDTH.get(code >> 4, 0)
    if end > len(data):
        raise DecodeError("value cut short")
    if code == 0x98:
        return uuid.UUID(bytes=bytes(data[at:end])), end
    if code == 0x73:
        return data[at:end].decode("utf-32-be"), end
    if code in (0x74, 0x84, 0x94):  # decimals stay bytes: nothing here calculates with them
        return bytes(data[at:end]), end
    raise DecodeError(f"no AMQP type 0x{code:02x}")


def _decode_bytes(data: bytes, at: int, code: int) -> tuple[Any, int]:
    if code < 0xB0:
        size, at = data[at], at + 1
    else:
        size, at = _U32.unpack_from(data, at)[0], at + 4
    end = at + size
    if end > len(data):
        raise DecodeError("value cut short")
    value = data[at:end]
    kind = code & 0xF
    if kind == 0:
        return bytes(value), end
    if kind == 1:
        return value.decode(), end
    if kind == 3:
        return Symbol(value.decode("ascii")), end
    raise DecodeError(f"no AMQP type 0x{code:02x}")


def _decode_many(data: bytes, at: int, code: int, depth: int) -> tuple[Any, int]:
    if code == 0x45:
        return [], at
    if code & 0x10:
        size, count = _U32.unpack_from(data, at)[0] - 4, _U32.unpack_from(data, at + 4)[0]
        at += 8
    else:
        size, count = data[at] - 1, data[at + 1]
        at += 2
    if count > len(data) or at + size > len(data):
        raise DecodeError("value cut short")
    values = []
    if code in (0xE0, 0xF0):
        end, item, at = at + size, data[at] if count else 0x40, at + 1
        for _ in range(count):
            value, at = _decode(data, at, item, depth)
            values.append(value)
        return values, end  # an empty array may or may not say of what
    for _ in range(count):
        value, at = _decode(data, at + 1, data[at], depth)
        values.append(value)
    if code in (0xC0, 0xD0):
        return values, at
    if code in (0xC1, 0xD1) and count % 2 == 0:
        return dict(zip(values[::2], values[1::2], strict=True)), at
    raise DecodeError(f"no AMQP type 0x{code:02x}")


def elements(data: bytes, at: int) -> Iterator[tuple[int, int]]:
    """(begin, end) of each element of the list or map at `at`, undecoded."""
    code = data[at]
    if code == 0x45:
        return
    if code not in (0xC0, 0xC1, 0xD0, 0xD1):
        raise DecodeError(f"neither list nor map: 0x{code:02x}")
    try:
        count, at = (_U32.unpack_from(data, at + 5)[0], at + 9) if code & 0x10 else (data[at + 2], at + 3)
    except (IndexError, struct.error):
        raise DecodeError("value cut short") from None
    for _ in range(count):
        end = skip(data, at)
        yield at, end
        at = end


def encode(value: Any) -> bytes:
    """The shortest sound encoding of a value by its type; raises `TypeError` for a type AMQP has not."""
    if value is None:
        return b"\x40"
    if isinstance(value, bool):
        return b"\x41" if value else b"\x42"
    if isinstance(value, int):
        return _encode_int(value)
    if isinstance(value, Raw):
        return bytes(value)
    if isinstance(value, str):
        symbol = isinstance(value, Symbol)
        return _sized(0xA3 if symbol else 0xA1, value.encode("ascii" if symbol else "utf-8"))
    if isinstance(value, bytes):
        return _sized(0xA0, value)
    if isinstance(value, Described):
        return b"\x00" + encode(value.descriptor) + encode(value.value)
    if isinstance(value, list | tuple):
        return compound(0xD0, len(value), b"".join(map(encode, value))) if value else b"\x45"
    if isinstance(value, dict):
        return compound(0xD1, 2 * len(value), b"".join(encode(part) for pair in value.items() for part in pair))
    return _encode_rare(value)


def _encode_rare(value: Any) -> bytes:
    if isinstance(value, float):
        return b"\x82" + struct.pack(">d", value)
    if isinstance(value, uuid.UUID):
        return b"\x98" + value.bytes
    if isinstance(value, Array):
        items = [item.encode() for item in value.items]
        body = b"".join(_U32.pack(len(item)) + item for item in items)
        return compound(0xF0, len(items), (b"\xb3" if value.symbols else b"\xb1") + body)
    raise TypeError(f"AMQP has no {type(value).__name__}")


_INTEGERS = {UByte: (b"\x50", ">B"), UShort: (b"\x60", ">H"), UInt: (b"\x70", ">I"), Int: (b"\x71", ">i")}
_INTEGERS |= {ULong: (b"\x80", ">Q"), Timestamp: (b"\x83", ">q"), int: (b"\x81", ">q")}


def _encode_int(value: int) -> bytes:
    code, form = _INTEGERS[type(value)]
    return code + struct.pack(form, value)


def _sized(code: int, value: bytes) -> bytes:
    if len(value) < 256:
        return bytes((code, len(value))) + value
    return bytes((code + 0x10,)) + _U32.pack(len(value)) + value


def compound(code: int, count: int, body: bytes) -> bytes:
    """A long list, map or array of `count` encoded elements."""
    return bytes((code,)) + _U32.pack(len(body) + 4) + _U32.pack(count) + body
