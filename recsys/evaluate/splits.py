"""What is held out to judge by: each user's last basket, or all that came after a date."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np

from recsys.evaluate.metrics import Targets
from recsys.interactions import Histories, Log
from transforms.errors import UsageError


@dataclass(frozen=True)
class Split:
    """`train`: what may be learnt from. `users`: codes of those judged. `now`: when each is asked, in seconds.

    `targets`: what each of them took then; `repeats`: may a list have what the user has already?
    """

    train: Log
    users: np.ndarray
    now: np.ndarray
    targets: Targets
    repeats: bool

    @property
    def histories(self) -> Histories:
        return self.train.histories(self.users, self.now)


def leave_last_out(log: Log, repeats: bool = False) -> Split:
    """Holds out the last basket of each user; users with one basket are learnt from and not judged.

    Of rows whose time is that of the basket or later, none is learnt from, of the same user.
    """
    last_row = log.starts[1:] - 1
    last = np.zeros(len(log.user_ids), np.int64)
    np.maximum.at(last, log.users, log.baskets)
    held = log.baskets == last[log.users]
    first_held = np.full(len(log.user_ids), len(log), np.int64)
    np.minimum.at(first_held, log.users[held], log.cutoffs[held])
    alone = first_held <= log.starts[:-1]  # nothing before it
    train = np.arange(len(log)) < first_held[log.users]
    train |= alone[log.users]
    judged = held & ~alone[log.users]
    moments = log.seconds[np.minimum(first_held, last_row)]
    return _split(log, train, judged, moments, repeats)


def at_time(log: Log, seconds: float, repeats: bool = False) -> Split:
    """Learns from what came before a moment and judges by all that came after, for users known before."""
    early = log.seconds < seconds
    known = np.zeros(len(log.user_ids), bool)
    known[log.users[early]] = True
    return _split(log, early, ~early & known[log.users], np.full(len(log.user_ids), int(seconds)), repeats)


def parse_split(spec: str, log: Log, repeats: bool = False) -> Split:
    """`leave-last-out`, or `time:DATE` with a date of ISO 8601 (UTC when it names no zone).

    Raises:
      UsageError: it is neither, or nothing is left to learn from or to judge by.
    """
    name, _, date = spec.partition(":")
    if name == "leave-last-out" and not date:
        made = leave_last_out(log, repeats)
    elif name == "time" and date:
        try:
            moment = datetime.fromisoformat(date)
        except ValueError:
            raise UsageError(f"{date!r} is no date", "--evaluate", "write it as time:2010-11-01") from None
        made = at_time(log, (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp(), repeats)
    else:
        raise UsageError(f"{spec!r} is no way to evaluate", "--evaluate", "use leave-last-out or time:2010-11-01")
    if not len(made.train) or not len(made.users):
        missing = "to learn from" if not len(made.train) else "to judge by: no user has rows before and after"
        raise UsageError(f"{spec} leaves nothing {missing}", "--evaluate", "choose another date, or give more rows")
    return made


def _split(log: Log, train: np.ndarray, judged: np.ndarray, moments: np.ndarray, repeats: bool) -> Split:
    learnt = log.keep(train)
    rows = np.flatnonzero(judged)
    if not repeats:  # what the user has already is not asked for
        rows = rows[~known_pairs(learnt, log.users[rows], log.items[rows])]
    users, owners = np.unique(log.users[rows], return_inverse=True)
    targets = Targets.of(owners, log.items[rows], len(users))
    return Split(learnt, users, moments[users], targets, repeats)


def known_pairs(log: Log, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Of pairs, which are in the log."""
    width = np.int64(len(log.item_ids))
    return np.isin(users * width + items, log.users * width + log.items)
