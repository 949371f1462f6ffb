"""Whether a commit that raised an error is in the table all the same."""

from __future__ import annotations

import logging
import uuid
from enum import Enum

from transforms.io import storage
from transforms.io.delta_notes import commit_info

ATTEMPT = "txnId"  # the name Spark has for it


class Outcome(Enum):
    """What became of a commit."""

    LANDED = "landed"
    LOST = "lost"
    UNKNOWN = "unknown"  # it may still land: its files must stay, vacuum takes them if it does not


def new_attempt() -> str:
    """A name for one try to commit, to be written into the commit's metadata as `ATTEMPT`."""
    return uuid.uuid4().hex


def landed(uri: str, version: int, attempt: str, error: Exception) -> Outcome:
    """Asks the log, after `error`, whether the entry of `version` is that of `attempt`; one small read.

    An error alone says nothing: a commit stands although the checkpoint after it could not be written, or although the
    storage's answer was lost. A version is written once only, so another's entry means that ours never lands; no entry
    means so on a local disk, while on Azure a request may still be under way.
    """
    try:
        found = commit_info(storage.filesystem(uri), version)
    except FileNotFoundError:
        return Outcome.UNKNOWN if storage.is_azure(uri) else Outcome.LOST
    except (OSError, ValueError):
        return Outcome.UNKNOWN
    if found.get(ATTEMPT) != attempt:
        return Outcome.LOST
    what = str(error).split("\n")[0][:200]
    logging.getLogger(__name__).warning("version %d of %s is committed, in spite of: %s", version, uri, what)
    return Outcome.LANDED
