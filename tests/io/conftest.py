"""An account of Snowflake's stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.warehouse.snowflake_account import Account


@pytest.fixture
def snowflake_account(free_port, monkeypatch) -> Iterator[Account]:
    """A fresh account with an empty database; the environment points at it during the test."""
    from tests.warehouse.snowflake_account import account  # the connector's import is for those who need it

    with account(free_port) as found:
        for name, value in found.environment.items():
            monkeypatch.setenv(name, value)
        yield found
