"""Figures that a process tells of itself."""

from __future__ import annotations

from transforms import levels


def test_a_level_is_what_was_said_last_and_a_count_what_was_added(monkeypatch):
    monkeypatch.setattr(levels, "_LEVELS", {})
    for value in (3, 5):
        levels.set_level("state", "a", value)
        levels.raise_level("events", "a", value)
    levels.set_level("state", "b", 1)
    told = levels.levels()
    assert told == {"state": {"a": 5, "b": 1}, "events": {"a": 8}}
    told["state"].clear()
    assert levels.levels()["state"] == {"a": 5, "b": 1}
