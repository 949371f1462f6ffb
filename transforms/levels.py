"""Figures of this process as they stand now, for who watches it from outside.

Beam's metrics do not tell them: they are sums and distributions over a whole job, which engines report late or never.
"""

from __future__ import annotations

import threading

_LEVELS: dict[str, dict[str, float]] = {}
_GUARD = threading.Lock()


def set_level(name: str, part: str, value: float) -> None:
    """The figure `name` of one part (a bucket, a partition, a shard) is `value` now."""
    with _GUARD:
        _LEVELS.setdefault(name, {})[part] = value


def raise_level(name: str, part: str, by: float) -> None:
    """Adds to a figure that counts from this process's start."""
    with _GUARD:
        parts = _LEVELS.setdefault(name, {})
        parts[part] = parts.get(part, 0) + by


def levels() -> dict[str, dict[str, float]]:
    """name -> part -> value."""
    with _GUARD:
        return {name: dict(parts) for name, parts in _LEVELS.items()}
