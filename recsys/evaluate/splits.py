"""What is held out to judge by: each user's last basket, or all that came after a date."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np

from recsys.evaluate.metrics import Targets
from recsys.interactions import Histories, Log, ranges
from transforms.errors import UsageError


@dataclass(frozen=True)
class Split:
    """`train`: what may be learnt from. `users`: codes of those judged, a row a list. `histories`: what each has taken
    when asked. `targets`: what each of them took then; `repeats`: may a list have what the user has already?
    """

    train: Log
    users: np.ndarray
    histories: Histories
    targets: Targets
    repeats: bool

    @property
    def now(self) -> np.ndarray:
        """When each is asked, in seconds."""
        return self.histories.now

    def some(self, lists: int, seed: int) -> Split:
        """Itself, or the lists of people drawn by chance until there are about so many."""
        if len(self.users) <= lists:
            return self
        people = np.unique(self.users)
        share = np.random.default_rng(seed).permutation(people)[: max(1, len(people) * lists // len(self.users))]
        rows = np.flatnonzero(np.isin(self.users, share))
        take, offsets = ranges(self.targets.offsets[rows], self.targets.offsets[rows + 1])
        targets = Targets(offsets, self.targets.items[take])
        return replace(self, users=self.users[rows], histories=self.histories.rows(rows), targets=targets)


def leave_last_out(log: Log, repeats: bool = False, most: int = 1) -> Split:
    """Holds out the last basket of each user; users with one basket are learnt from and not judged.

    Of rows whose time is that of the basket or later, none is learnt from, of the same user. Views and cart adds are
    held out only where nobody bought or rated anything.

    Args:
      most: so many last baskets of a user are held out, but one where they are less than a fifth of all; each is a
        list, asked with all that came before it.
    """
    counted = np.flatnonzero(log.bought)
    _, first, basket = np.unique(log.baskets[counted], return_index=True, return_inverse=True)
    rows = counted[first]  # of each basket, by user and moment
    owner = log.users[rows]
    sizes = np.bincount(owner, minlength=len(log.user_ids))
    behind = np.cumsum(sizes)[owner] - 1 - np.arange(len(rows))
    held = behind < np.clip(sizes // 5, 1, most)[owner]
    first_held = np.full(len(log.user_ids), len(log), np.int64)
    np.minimum.at(first_held, owner[held], log.cutoffs[rows[held]])
    alone = first_held <= log.starts[:-1]  # nothing before it
    train = (np.arange(len(log)) < first_held[log.users]) | alone[log.users]
    held &= ~alone[owner]
    asked, place = rows[held], np.cumsum(held) - 1
    mine = held[basket]
    owners, items = place[basket[mine]], log.items[counted[mine]]
    if not repeats:  # what the user has already is not asked for
        had, width = log.histories_before(asked), np.int64(len(log.item_ids))
        new = ~np.isin(owners * width + items, had.owners * width + had.items)
        owners, items = owners[new], items[new]
    lists, owners = np.unique(owners, return_inverse=True)
    asked = asked[lists]
    targets = Targets.of(owners, items, len(lists))
    histories = log.histories_before(asked, log.seconds[log.cutoffs[asked]])  # a basket may have begun with a view
    return Split(log.keep(train), log.users[asked], histories, targets, repeats)


def at_time(log: Log, seconds: float, repeats: bool = False) -> Split:
    """Learns from what came before a moment and judges by all that came after, for users known before."""
    early = log.seconds < seconds
    known = np.zeros(len(log.user_ids), bool)
    known[log.users[early]] = True
    learnt, rows = log.keep(early), np.flatnonzero(~early & log.bought & known[log.users])
    if not repeats:  # what the user has already is not asked for
        rows = rows[~known_pairs(learnt, log.users[rows], log.items[rows])]
    users, owners = np.unique(log.users[rows], return_inverse=True)
    histories = learnt.histories(users, np.full(len(users), int(seconds)))
    return Split(learnt, users, histories, Targets.of(owners, log.items[rows], len(users)), repeats)


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


def known_pairs(log: Log, users: np.ndarray, items: np.ndarray) -> np.ndarray:
    """Of pairs, which are in the log."""
    width = np.int64(len(log.item_ids))
    return np.isin(users * width + items, log.users * width + log.items)
