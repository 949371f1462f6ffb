"""How often a commit that others came in between of is tried again, and how long it waits."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator

from transforms.errors import UserError

ATTEMPTS = 60


def attempts(uri: str) -> Iterator[int]:
    """Numbers of tries; whoever asks for another one has lost a race, and waits a while first.

    Raises:
      UserError: there were ATTEMPTS of them.
    """
    for attempt in range(ATTEMPTS):
        yield attempt
        pause(attempt)
    raise UserError(f"gave up after {ATTEMPTS} attempts, other writers were always faster", uri, "run again later")


def pause(attempt: int) -> None:
    """Waits after a race that was lost: longer from one to the next, and never as long as the other writer does."""
    time.sleep(random.random() * min(1.0, 0.01 * 2**attempt))
