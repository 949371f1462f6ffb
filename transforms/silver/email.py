"""E-mail addresses."""

from __future__ import annotations

import re

from transforms.silver.text import standard_text

# RFC 5321 mailboxes without quoted local parts and address literals, which no shop's customer has; letters of any
# script are allowed (RFC 6531). A mailbox is never merged with another: dots and +tags stay as they are.
_ADDRESS = re.compile(
    r"[\w!#$%&'*+/=?^`{|}~-]+(?:\.[\w!#$%&'*+/=?^`{|}~-]+)*"
    r"@(?:[^\W_](?:(?:[^\W_]|-){0,61}[^\W_])?\.)+[^\W\d_](?:[^\W_]|-){0,61}[^\W_]"
)
_IN_BRACKETS = re.compile(r"<([^<>]*)>$")
_LOCAL_LIMIT, _LIMIT = 64, 254

CLEAN_EMAIL = r"^[a-z0-9]{1,20}([._+-][a-z0-9]{1,20}){0,2}@([a-z0-9]{1,62}\.){1,2}[a-z]{2,10}$"


def standard_email(value: str) -> str | None:
    """Lower case, without "mailto:" or a display name; None for what is no address."""
    value = standard_text(value)
    bracketed = _IN_BRACKETS.search(value)
    value = (bracketed.group(1) if bracketed else value).strip().lower()
    value = standard_text(value.removeprefix("mailto:")).rstrip(" .,;")
    if not value:
        return ""
    fits = len(value) <= _LIMIT and value.find("@") <= _LOCAL_LIMIT
    return value if fits and _ADDRESS.fullmatch(value) else None
