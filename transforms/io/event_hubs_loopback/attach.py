"""Opening a link: the address, the right to it, and where a reader begins."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from transforms.io.event_hubs_loopback import nodes
from transforms.io.event_hubs_loopback.codec import Described, Raw, UByte, UInt, ULong, elements
from transforms.io.event_hubs_loopback.frames import AmqpError, Performative, frame
from transforms.io.event_hubs_loopback.hub import Hub
from transforms.io.event_hubs_loopback.links import Link, ReaderLink, Session, WriterLink
from transforms.io.event_hubs_loopback.log import LogReader, Position

if TYPE_CHECKING:
    from transforms.io.event_hubs_loopback.connection import Connection

_NODE = re.compile(
    r"(?:[\w+.-]+://[^/]*)?/?(?P<hub>[^/]+)(?:/ConsumerGroups/(?P<group>[^/]+))?(?:/Partitions/(?P<partition>[^/]+))?/?",
    re.IGNORECASE,
)
_SELECTOR = re.compile(r"\s*amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-?time)\S*\s*(>=?)\s*'([^']*)'\s*")


def attach(connection: Connection, session: Session, fields: list[Any], body: bytes) -> None:
    """Opens the link that an ATTACH asks for, or refuses it with the reason."""
    sends = bool(fields[2])  # the client's role is ours turned round
    node = str((fields[5] if sends else fields[6]).value[0] or "")
    link: Link
    error = None
    try:
        if node in (nodes.CBS, nodes.MANAGEMENT):
            link = (Link if sends else WriterLink)(connection, session, fields[1], node, sends)
        elif sends:
            link = _reader(connection, session, fields, node)
        else:
            link = WriterLink(connection, session, fields[1], node, sends)
            link.hub, _, link.partition = _find(connection, node)
    except AmqpError as refusal:
        error = refusal
    _answer(connection, session, fields, body, error)
    if error:
        return
    session.links[link.handle] = link
    if isinstance(link, WriterLink):
        link.grant()


def _answer(connection: Connection, session: Session, fields: list[Any], body: bytes, error: AmqpError | None) -> None:
    sends = bool(fields[2])
    raw = [Raw(body[begin:end]) for begin, end in elements(body, 3)]
    source = None if error and sends else raw[5]
    target = None if error and not sends else raw[6]
    limit = ULong(connection.namespace.config.max_message_bytes)
    modes = [UByte(fields[3] or 0), UByte(fields[4] or 0)]
    answer: list[Any] = [raw[0], UInt(fields[1]), not fields[2], *modes, source, target, None, None]
    answer += [UInt(0) if sends else None, limit, None, None, {}]
    connection.write(frame(session.channel, Performative.ATTACH, answer))
    if error:
        connection.write(frame(session.channel, Performative.DETACH, [UInt(fields[1]), True, error.value]))


def _find(connection: Connection, node: str) -> tuple[Hub, str | None, int | None]:
    """The hub of an address, its consumer group and its partition; raises `AmqpError`."""
    found = _NODE.fullmatch(node)
    if not connection.allows(node):
        raise AmqpError("amqp:unauthorized-access", "Unauthorized access: there is no token for this entity.")
    hub = connection.namespace.hub(found["hub"]) if found else None
    if found is None or hub is None:
        raise AmqpError("amqp:not-found", f"The messaging entity '{node}' could not be found.")
    number = found["partition"]
    if number is not None and not (number.isdigit() and int(number) < len(hub.partitions)):
        raise AmqpError("com.microsoft:argument-out-of-range", f"The specified partition is invalid: {number}")
    return hub, found["group"], None if number is None else int(number)


def _reader(connection: Connection, session: Session, fields: list[Any], node: str) -> ReaderLink:
    hub, group, partition = _find(connection, node)
    if group is None or partition is None:
        raise AmqpError("amqp:not-allowed", "A receiver names a consumer group and a partition.")
    log, source = hub.partitions[partition], fields[5].value
    position = _position(source[7] if len(source) > 7 else None)
    try:
        sequence = log.find(position)
    except ValueError:
        raise AmqpError("amqp:invalid-field", f"The position {position.value!r} is no number.") from None
    link = ReaderLink(connection, session, fields[1], node, True)
    link.log, link.reader, link.group = log, LogReader(log, sequence), group.lower()
    link.epoch = (fields[13] or {}).get("com.microsoft:epoch")
    link.tracks_last = "com.microsoft:enable-receiver-runtime-metric" in (fields[12] or [])
    link.admit()
    return link


def _position(filters: dict[Any, Any] | None) -> Position:
    """Where a receiver's filter begins; without one, at the oldest event."""
    for value in (filters or {}).values():
        text = value.value if isinstance(value, Described) else value
        found = _SELECTOR.fullmatch(text if isinstance(text, str) else "")
        if found is None:
            raise AmqpError("amqp:invalid-field", f"The filter {text!r} is not known here.")
        kind = "enqueued-time" if found[1].startswith("enqueued") else found[1]
        return Position(kind, found[3], inclusive=found[2] == ">=")
    return Position("offset", "-1")
