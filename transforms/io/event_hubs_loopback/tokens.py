"""Shared access signatures, checked as the service checks them: signature, expiry, and what they are for."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, quote, unquote, urlsplit

_PREFIX = "SharedAccessSignature "


class TokenRefused(Exception):
    """Why a token does not count; the text never holds any of the token."""


@dataclass(frozen=True)
class Grant:
    """What a token allows: everything below `path` (empty: the namespace) until `expires` (seconds since 1970)."""

    path: str
    expires: float

    def allows(self, node: str) -> bool:
        path = node_path(node)
        return not self.path or path == self.path or path.startswith(self.path + "/")

    @property
    def expired(self) -> bool:
        return self.expires <= time.time()


def node_path(address: str) -> str:
    """`hub/ConsumerGroups/g/Partitions/0` of an address with or without scheme and host, in lower case."""
    path = urlsplit(address).path if "://" in address else address
    return path.strip("/").lower()


def check(token: str, keys: Mapping[str, str], bearer: Collection[str] = ()) -> Grant:
    """The grant of a signed token, or of one of the `bearer` tokens as they are; raises `TokenRefused`."""
    if any(hmac.compare_digest(token.encode(), known.encode()) for known in bearer):
        return Grant("", float("inf"))
    if not token.startswith(_PREFIX):
        raise TokenRefused("MalformedToken: the token is neither a shared access signature nor known here")
    fields = {name: values[0] for name, values in parse_qs(token[len(_PREFIX) :], keep_blank_values=True).items()}
    if not {"sr", "sig", "se", "skn"} <= fields.keys() or not fields["se"].isdigit():
        raise TokenRefused("MalformedToken: the token has not the fields sr, sig, se and skn")
    # What was signed is the resource as it stands in the token, still quoted.
    raw = dict(part.split("=", 1) for part in token[len(_PREFIX) :].split("&") if "=" in part)
    key = keys.get(fields["skn"])
    if key is None or not hmac.compare_digest(
        _sign(f"{raw['sr']}\n{raw['se']}", key).encode(), unquote(raw["sig"]).encode()
    ):
        raise TokenRefused("InvalidSignature: The token has an invalid signature.")
    grant = Grant(node_path(fields["sr"]), float(fields["se"]))
    if grant.expired:
        raise TokenRefused(f"ExpiredToken: The token is expired. Expiration time: '{fields['se']}'.")
    return grant


def sign(resource: str, key_name: str, key: str, expires: int) -> str:
    """A token for `resource` ("sb://localhost/hub"), valid until `expires` (seconds since 1970)."""
    quoted = quote(resource, safe="")
    signature = quote(_sign(f"{quoted}\n{expires}", key), safe="")
    return f"{_PREFIX}sr={quoted}&sig={signature}&se={expires}&skn={key_name}"


def _sign(text: str, key: str) -> str:
    return base64.b64encode(hmac.new(key.encode(), text.encode(), hashlib.sha256).digest()).decode()
