"""What clients send: deliveries put together from frames, stored, refused or answered."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from transforms.io.event_hubs_loopback import nodes
from transforms.io.event_hubs_loopback.codec import DecodeError, Described, UInt
from transforms.io.event_hubs_loopback.frames import ACCEPTED, AmqpError, Performative, frame
from transforms.io.event_hubs_loopback.hub import Hub
from transforms.io.event_hubs_loopback.links import Link, Session, WriterLink
from transforms.io.event_hubs_loopback.messages import BATCH_FORMAT, partition_key_of, read_event, unbatch

if TYPE_CHECKING:
    from transforms.io.event_hubs_loopback.connection import Connection


def take_transfer(connection: Connection, session: Session, fields: list[Any], payload: bytes) -> None:
    """Takes one frame of a delivery; with the last, the delivery."""
    link = session.links.get(fields[0])
    if not isinstance(link, WriterLink):
        return  # a link detached meanwhile
    limit = connection.namespace.config.max_message_bytes
    size = len(payload)
    if fields[5] or link.first is not None:
        link.first = link.first or fields
        link.partial_bytes += size
        if link.partial_bytes <= limit:
            link.partial += payload
        if fields[5]:
            return
        fields, payload, size = link.first, bytes(link.partial), link.partial_bytes
        link.first, link.partial, link.partial_bytes = None, bytearray(), 0
    session.next_in = (fields[1] + 1) & 0xFFFFFFFF  # the client counts deliveries, not frames
    link.delivery_count += 1
    link.credit -= 1
    if link.hub is None:
        _answer_node(connection, link, payload)
        _settle(link, fields, None)
    elif size > limit:
        text = f"The received message (delivery-id:{fields[1]}, size:{size} bytes) exceeds the limit ({limit} bytes)"
        return connection.detach(link, AmqpError("amqp:link:message-size-exceeded", text + " of the link."))
    else:
        _take(connection, link, link.hub, fields, payload)
    link.grant()


def _take(connection: Connection, link: WriterLink, hub: Hub, fields: list[Any], payload: bytes) -> None:
    """Stores a message or a batch, with what the fault plan does to it."""
    namespace = connection.namespace
    try:
        batch_key = partition_key_of(payload)
        messages = unbatch(payload) if fields[3] == BATCH_FORMAT else (payload,)
        events = [read_event(message, batch_key) for message in messages]
    except DecodeError as error:
        return _settle(link, fields, AmqpError("amqp:decode-error", str(error)))
    if not events:
        return _settle(link, fields, None)
    number = link.partition if link.partition is not None else hub.partition_for(batch_key)
    fault = namespace.plan.of_batch(len(events))
    if fault == "busy":
        namespace.counts["busy"] += 1
        text = "The request was terminated because the entity is being throttled. Please wait 4 seconds and try again."
        return _settle(link, fields, AmqpError("com.microsoft:server-busy", text))
    if fault == "drop":
        return connection.drop()

    def stored(failure: OSError | None) -> None:
        if fault == "lost_ack":
            namespace.counts["lost_acknowledgements"] += 1
            return connection.drop()
        error = AmqpError("amqp:internal-error", f"The event was not stored: {failure}.") if failure else None
        delay = namespace.plan.faults.delay_seconds
        if delay:
            asyncio.get_running_loop().call_later(delay, _settle, link, fields, error)
        else:
            _settle(link, fields, error)

    namespace.submit(hub.partitions[number], events, stored)


def _settle(link: Link, fields: list[Any], error: AmqpError | None) -> None:
    if fields[4]:
        return  # sent settled: nobody waits
    state: Described = error.rejected if error else ACCEPTED
    delivery_id = UInt(fields[1])
    answer = [True, delivery_id, delivery_id, True, state]
    link.connection.write(frame(link.session.channel, Performative.DISPOSITION, answer))


def _answer_node(connection: Connection, link: WriterLink, payload: bytes) -> None:
    if link.node == nodes.CBS:
        reply, grant = nodes.answer_token(payload, connection.namespace)
        if grant is not None:
            connection.grants = [known for known in connection.grants if known.path != grant.path] + [grant]
    else:
        reply = nodes.answer_question(payload, connection.namespace)
    for other in link.session.links.values():
        if other.sends and other.node == link.node:
            return other.send(reply)
