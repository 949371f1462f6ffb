"""Session ids that say nothing and are the same in every run."""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from transforms.silver.keys import column_hashes, key_hashes

_HEX = np.array([f"{byte:02x}".encode() for byte in range(256)]).view(np.uint16)


def session_ids(
    visitor: pa.Array, started_us: np.ndarray, first_event: pa.Array, campaign: pa.Array | None = None
) -> pa.Array:
    """32 hexadecimal digits from who, when and the first event's id.

    The same rows give the same id however they are split, ordered or streamed. A late row that becomes a session's
    first event gives the session another id.

    Args:
      campaign: where campaigns cut, since then two sessions of a visitor may begin in one microsecond.
    """
    parts = {"visitor": visitor, "start": pa.array(started_us), "event": first_event}
    if campaign is not None:
        parts["campaign"] = campaign
    hashes = pa.table({name: pa.array(column_hashes(values).view(np.int64)) for name, values in parts.items()})
    names = hashes.column_names
    words = np.empty((len(visitor), 2), ">u8")
    words[:, 0], words[:, 1] = key_hashes(hashes, names), key_hashes(hashes, names[::-1])
    return hexadecimal(words)


def hexadecimal(words: np.ndarray) -> pa.Array:
    """Rows of two big-endian 64-bit words -> their 32 hexadecimal digits."""
    text = _HEX[words.view(np.uint8)]
    places = np.arange(len(words) + 1, dtype=np.int32) * 32
    return pa.Array.from_buffers(pa.string(), len(words), [None, pa.py_buffer(places), pa.py_buffer(text)])
