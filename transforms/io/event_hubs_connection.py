"""How to reach Event Hubs, and what the client's errors mean."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import urlsplit

from transforms.errors import Unreachable, UserError

if TYPE_CHECKING:
    from azure.eventhub import EventHubConsumerClient, EventHubProducerClient

SOCKET_SECONDS = 0.1  # the longest the client blocks on a silent socket
PATIENCE_SECONDS = 60.0

_SETTINGS: dict[str, Any] = {
    "retry_total": 0,
    "retry_backoff_factor": 0,
    "socket_timeout": SOCKET_SECONDS,
    "auth_timeout": 20,
}


@dataclass(frozen=True)
class HubConnection:
    """How to reach an Event Hubs namespace; neither `str` nor `repr` shows the key.

    Attributes:
      reference: a connection string, `sb://NAMESPACE.servicebus.windows.net` (Azure AD), `env:NAME` or `file:PATH`.
        The last two are read where they are used, so that no key travels with a pipeline.
      consumer_group: the group that reads.
    """

    reference: str = field(repr=False)
    consumer_group: str = "$Default"

    @classmethod
    def from_url(cls, reference: str, consumer_group: str = "$Default") -> HubConnection:
        """The connection that a command line's `--events` names.

        Raises:
          UserError: the variable or file is not there, or what it holds is no connection string.
        """
        connection = cls(reference.strip(), consumer_group)
        connection._settings()
        return connection

    @property
    def address(self) -> str:
        """`sb://host:port`, what may be shown."""
        return f"sb://{urlsplit(self._settings().get('endpoint', '')).netloc}"

    def __str__(self) -> str:
        return f"{self.address} ({self.consumer_group})"

    def __repr__(self) -> str:
        return f"HubConnection({self.address!r}, consumer_group={self.consumer_group!r})"

    def consumer(self, hub: str) -> EventHubConsumerClient:
        """A client that reads `hub`; it connects when it is used."""
        from azure.eventhub import EventHubConsumerClient

        with told(self, hub):
            settings = self._settings(hub)
            if "text" in settings:
                return EventHubConsumerClient.from_connection_string(
                    settings["text"], self.consumer_group, eventhub_name=hub, **_SETTINGS
                )
            host = urlsplit(settings["endpoint"]).netloc
            return EventHubConsumerClient(host, hub, self.consumer_group, credential=_identity(self), **_SETTINGS)

    def producer(self, hub: str) -> EventHubProducerClient:
        """A client that writes to `hub`; it connects when it is used."""
        from azure.eventhub import EventHubProducerClient

        with told(self, hub):
            settings = self._settings(hub)
            if "text" in settings:
                return EventHubProducerClient.from_connection_string(settings["text"], eventhub_name=hub, **_SETTINGS)
            host = urlsplit(settings["endpoint"]).netloc
            return EventHubProducerClient(host, hub, credential=_identity(self), **_SETTINGS)

    def _settings(self, hub: str = "") -> dict[str, str]:
        """The endpoint and, for a connection string, its text; never shown."""
        text, source = _resolve(self.reference)
        if text.lower().startswith("sb://") and ";" not in text:
            return {"endpoint": text.rstrip("/")}
        pairs = {k.strip().lower(): v for k, _, v in (part.partition("=") for part in text.split(";")) if v}
        missing = [name for name in ("endpoint",) if name not in pairs]
        if "sharedaccesssignature" not in pairs:
            missing += [name for name in ("sharedaccesskeyname", "sharedaccesskey") if name not in pairs]
        if missing:
            raise UserError(
                f"no connection string of Event Hubs: {', '.join(missing)} missing",
                source,
                "copy it from the namespace's access policies, or give sb://NAMESPACE.servicebus.windows.net",
            )
        bound = pairs.get("entitypath")
        if hub and bound and bound != hub:
            raise UserError(
                f"the connection string is for the hub {bound!r} alone, and {hub!r} is wanted",
                source,
                "use a connection string of the namespace",
            )
        return {"endpoint": pairs["endpoint"], "text": text}


def _resolve(reference: str) -> tuple[str, str]:
    """(the connection string, where it came from)"""
    kind, _, name = reference.partition(":")
    if kind == "env":
        value = os.environ.get(name, "").strip()
        if not value:
            raise UserError(f"the variable {name} is not set", "--events", "export it with the connection string")
        return value, reference
    if kind == "file":
        try:
            return Path(name.removeprefix("//")).read_text().strip(), reference
        except OSError as error:
            raise UserError(f"the file cannot be read: {error.strerror}", reference, "check the path") from None
    return reference, "--events"


def _identity(connection: HubConnection) -> Any:
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError:
        raise UserError(
            "signing in to Azure needs azure-identity", connection.address, "pip install azure-identity"
        ) from None
    return DefaultAzureCredential()


class CredentialsRefused(UserError):
    """The hub does not take the key or token, or no longer."""


class Transient(Exception):
    """The hub did not answer, or is busy; another try may succeed. `condition` is what it said."""

    def __init__(self, condition: str) -> None:
        self.condition = condition
        super().__init__(condition)


@contextlib.contextmanager
def told(connection: HubConnection, hub: str) -> Iterator[None]:
    """Turns the client's errors into `UserError`, or into `Transient` where trying again may help."""
    try:
        yield
    except (UserError, Transient):
        raise
    except Exception as error:
        _explain(error, connection, hub)


_FATAL = {
    "unauthorized-access": ("Event Hubs refused the credentials", "check the key and its rights (Listen, Send)"),
    "not-found": ("there is no such hub, partition or consumer group", "check --hub and --consumer-group"),
    "argument-out-of-range": (
        "the hub has no such partition or position",
        "check that it is the hub bronze was read from",
    ),
    "argument-error": ("the hub has no such partition or position", "check that it is the hub bronze was read from"),
    "link:stolen": ("another reader took over this partition", "stop the other pipeline, or use a consumer group each"),
    "link:message-size-exceeded": ("the event is larger than the hub takes", "send smaller events"),
}


def _explain(error: Exception, connection: HubConnection, hub: str) -> NoReturn:
    """Raises what the client's error means. Its text is not passed on: it may hold a token."""
    from azure.core.exceptions import ClientAuthenticationError

    condition = _condition(error)
    where = f"{connection.address}/{hub}, consumer group {connection.consumer_group}"
    if isinstance(error, ClientAuthenticationError):
        raise UserError(
            "Azure gave no token", where, "sign in (az login), or set AZURE_CLIENT_ID and the like"
        ) from None
    if isinstance(error, ValueError):
        raise UserError("the connection string cannot be used", connection.address, "copy it anew") from None
    for known, (what, remedy) in _FATAL.items():
        if condition == known:
            kind = CredentialsRefused if known == "unauthorized-access" else UserError
            raise kind(what, where, remedy) from None
    if not isinstance(error, (OSError, TimeoutError)) and not type(error).__module__.startswith("azure."):
        raise error
    raise Transient(condition or type(error).__name__) from None


def _condition(error: BaseException) -> str:
    """The AMQP condition without its vendor ("not-found"), whether the client has wrapped its own error or not."""
    found: BaseException | None = error
    while found is not None:
        if status := getattr(found, "status_code", None):  # the answer to a token
            code = int(status) if str(status).isdigit() else 0
            return {401: "unauthorized-access", 403: "unauthorized-access", 404: "not-found"}.get(code, "no-token")
        condition = getattr(found, "condition", None)
        condition = getattr(condition, "value", condition)
        if condition:
            text = condition.decode() if isinstance(condition, bytes) else str(condition)
            return text.partition(":")[2] or text
        found = found.__context__
    return ""


def unreachable(connection: HubConnection, hub: str, seconds: float, condition: str) -> Unreachable:
    """The error for a hub that did not answer for so long."""
    return Unreachable(
        f"Event Hubs has not answered for {seconds:.0f} s ({condition})",
        f"{connection.address}/{hub}",
        "check the network, the firewall of the namespace, and whether it is throttled",
    )


def patiently(connection: HubConnection, hub: str, ask: Any, patience_seconds: float = PATIENCE_SECONDS) -> Any:
    """What `ask()` gives, tried again with growing pauses while the hub does not answer."""
    begun, pause = time.monotonic(), 0.1
    while True:
        try:
            with told(connection, hub):
                return ask()
        except Transient as error:
            waited = time.monotonic() - begun
            if waited + pause > patience_seconds:
                raise unreachable(connection, hub, waited, error.condition) from None
            time.sleep(pause)
            pause = min(pause * 2, 5.0)


def partitions(connection: HubConnection, hub: str, patience_seconds: float = 10.0) -> tuple[str, ...]:
    """The ids of the hub's partitions.

    Raises:
      UserError: wrong key, or unknown hub.
      Unreachable: no answer for `patience_seconds`.
    """
    with connection.consumer(hub) as client:
        return tuple(patiently(connection, hub, client.get_partition_ids, patience_seconds))
