"""Why an item is shown, in words for the person it is shown to."""

from __future__ import annotations

_WORDS = {
    "popularity": "many people have it",
    "popular": "many people have it",
    "trending": "many people take it now",
    "item kNN": "people who took what you took also have it",
    "ease": "it goes with what you took",
    "recency EASE": "it goes with what you took lately",
    "implicit ALS": "people with a taste like yours have it",
    "bought together": "it is often taken together with what you took",
    "two towers": "it is near to your last items",
    "content": "it is like what you took",
    "own most frequent": "you take it often",
    "repeat due": "you may need it again",
}


def reason(source: str, known: bool = True) -> str:
    """The words for a source of candidates; of who is not `known` nothing may be said that was taken before."""
    words = _WORDS[source]
    return words if known or "you" not in words else _WORDS["popular"]
