"""One client's connection: frames, sessions, links. Whatever a client sends ends only its own connection."""

from __future__ import annotations

import asyncio
import hmac
import logging
import struct
import time
import uuid
from collections.abc import Callable
from typing import Any

from transforms.io.event_hubs_loopback.attach import attach
from transforms.io.event_hubs_loopback.codec import (
    Array,
    DecodeError,
    UByte,
    UInt,
    UShort,
)
from transforms.io.event_hubs_loopback.control import ControlConnection
from transforms.io.event_hubs_loopback.frames import (
    AMQP_HEADER,
    EMPTY_FRAME,
    SASL_HEADER,
    AmqpError,
    Performative,
    frame,
    parse,
)
from transforms.io.event_hubs_loopback.intake import take_transfer
from transforms.io.event_hubs_loopback.links import Link, ReaderLink, Session
from transforms.io.event_hubs_loopback.namespace import Namespace
from transforms.io.event_hubs_loopback.tokens import Grant

_LOG = logging.getLogger(__name__)
_MECHANISMS = Array(("MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"), symbols=True)
_WINDOW = 1 << 20


class Connection(asyncio.Protocol):
    """Speaks AMQP with one client; a client that begins with anything else is handed to the control."""

    def __init__(self, namespace: Namespace, connections: set[Connection]) -> None:
        self.namespace, self._connections = namespace, connections
        self.peer_frame_bytes = 512
        self.peer_idle_seconds: float | None = None
        self.writable = True
        self.last_in = self.last_out = time.monotonic()
        self.grants: list[Grant] = []
        self._chunks: list[bytes] = []  # what came of frames that are not whole yet
        self._held_bytes, self._need = 0, 8
        self._opened = False
        self._sessions: dict[int, Session] = {}
        self._handlers: dict[int, Callable[[int, list[Any], bytes, int], None]] = {
            Performative.SASL_INIT: self._sasl_init,
            Performative.OPEN: self._open,
            Performative.BEGIN: self._begin,
            Performative.ATTACH: self._attach,
            Performative.FLOW: self._flow,
            Performative.TRANSFER: self._transfer,
            Performative.DISPOSITION: lambda *_: None,
            Performative.DETACH: self._detach,
            Performative.END: self._end,
            Performative.CLOSE: self._close,
        }

    # -- the transport
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.set_write_buffer_limits(high=1 << 20, low=256 << 10)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self._release(link for session in self._sessions.values() for link in session.links.values())
        self._sessions.clear()

    def pause_writing(self) -> None:
        self.writable = False

    def resume_writing(self) -> None:
        self.writable = True
        for session in self._sessions.values():
            self._pump(session)

    def write(self, data: bytes) -> None:
        if data and not self._transport.is_closing():
            self.last_out = time.monotonic()
            self._transport.write(data)

    def drop(self) -> None:
        """Ends the connection without a word, as a broken network does."""
        self.namespace.counts["dropped_connections"] += 1
        self._transport.abort()

    def close(self, error: AmqpError | None = None) -> None:
        """Says why and ends the connection."""
        if self._opened:
            self.write(frame(0, Performative.CLOSE, [error.value if error else None]))
        self._transport.close()

    def tick(self, now: float) -> None:
        """What time brings: an idle client is sent away, a waiting one gets a heartbeat, a token expires."""
        idle_ms = self.namespace.config.idle_timeout_ms
        if now - self.last_in > idle_ms / 1000:
            text = f"The connection was inactive for more than the allowed {idle_ms} milliseconds and is closed."
            return self.close(AmqpError("amqp:connection:forced", text))
        if self._opened and self.peer_idle_seconds and now - self.last_out > self.peer_idle_seconds / 2:
            self.write(EMPTY_FRAME)
        for session in self._sessions.values():
            for link in tuple(session.links.values()):
                if not link.node.startswith("$") and not self.allows(link.node):
                    self.detach(link, AmqpError("amqp:unauthorized-access", "ExpiredToken: The token is expired."))

    # -- frames
    def data_received(self, data: bytes) -> None:
        self.last_in = time.monotonic()
        self._chunks.append(data)
        self._held_bytes += len(data)
        if self._held_bytes < self._need:
            return
        try:
            self._frames()
        except DecodeError as error:
            self.close(AmqpError("amqp:decode-error", str(error)))
        except AmqpError as error:
            self.close(error)
        except Exception:  # this client's connection ends; the others' must not
            _LOG.exception("a connection failed")
            self.close(AmqpError("amqp:internal-error", "The stand-in failed; its log says why."))

    def _frames(self) -> None:
        data, at = b"".join(self._chunks), 0
        self._need = 8
        while len(data) - at >= 8 and not self._transport.is_closing():
            if data[at : at + 4] == b"AMQP" and not self._opened:
                self._header(data[at : at + 8])
                at += 8
                continue
            if at == 0 and not self._opened and data[:1].isalpha():
                return self._hand_over(data)
            size, offset, kind, channel = struct.unpack_from(">IBBH", data, at)
            if size > self.namespace.config.max_frame_bytes or size < 8 or not 8 <= offset * 4 <= size or kind > 1:
                raise AmqpError("amqp:connection:framing-error", f"a frame of {size} bytes, type {kind}")
            if len(data) - at < size:
                self._need = size
                break
            if size > offset * 4:
                self._frame(channel, data[at + offset * 4 : at + size])
            at += size
        self._chunks, self._held_bytes = [data[at:]], len(data) - at

    def _header(self, header: bytes) -> None:
        if header == SASL_HEADER:
            self.write(header + frame(0, Performative.SASL_MECHANISMS, [_MECHANISMS], sasl=True))
        else:
            self.write(AMQP_HEADER)
            if header != AMQP_HEADER:
                self._transport.close()

    def _hand_over(self, data: bytes) -> None:
        self._connections.discard(self)
        control = ControlConnection(self.namespace, self._connections)
        self._transport.set_protocol(control)
        control.connection_made(self._transport)
        control.data_received(data)

    def _frame(self, channel: int, body: bytes) -> None:
        code, fields, end = parse(body)
        handler = self._handlers.get(code)
        if handler is None:
            raise DecodeError(f"no performative 0x{code:02x}")
        if code not in (Performative.SASL_INIT, Performative.OPEN) and not self._opened:
            raise AmqpError("amqp:illegal-state", "the first performative is OPEN")
        try:
            handler(channel, fields, body, end)
        except (TypeError, AttributeError, IndexError, KeyError, struct.error) as error:
            _LOG.debug("fields of a wrong type", exc_info=True)
            raise DecodeError(f"fields of a wrong type in 0x{code:02x}: {type(error).__name__}") from None

    # -- connection and sessions
    def _sasl_init(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        outcome = 0
        if fields[0] == "PLAIN":
            _, name, key = (fields[1] or b"").split(b"\0", 2)
            known = self.namespace.keys.get(name.decode(), "")
            if known and hmac.compare_digest(known.encode(), key):
                self.grants.append(Grant("", float("inf")))
            else:
                outcome = 1
        self.write(frame(0, Performative.SASL_OUTCOME, [UByte(outcome), None], sasl=True))

    def _open(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        config = self.namespace.config
        self.peer_frame_bytes = max(512, min(fields[2] or 1 << 20, 1 << 20))
        self.peer_idle_seconds = fields[4] / 1000 if fields[4] else None
        self._opened = True
        name = f"event-hubs-loopback-{uuid.uuid4().hex[:8]}"
        answer = [name, None, UInt(config.max_frame_bytes), UShort(4999), UInt(config.idle_timeout_ms)]
        self.write(frame(0, Performative.OPEN, [*answer, None, None, None, None, {}]))

    def _begin(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        self._sessions[channel] = Session(channel, window=fields[2], next_in=fields[1])
        answer = [UShort(channel), UInt(1), UInt(_WINDOW), UInt(_WINDOW), UInt(255)]
        self.write(frame(channel, Performative.BEGIN, answer))

    def _end(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        session = self._sessions.pop(channel)
        self._release(session.links.values())
        self.write(frame(channel, Performative.END, []))

    def _close(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        self.write(frame(0, Performative.CLOSE, []))
        self._transport.close()

    # -- links
    def _attach(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        attach(self, self._sessions[channel], fields, body)

    def _transfer(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        take_transfer(self, self._sessions[channel], fields, body[end:])

    def allows(self, node: str) -> bool:
        """Whether a token shown on this connection is good for an address, now."""
        return any(grant.allows(node) and not grant.expired for grant in self.grants)

    def _detach(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        link = self._sessions[channel].links.pop(fields[0], None) if channel in self._sessions else None
        if link is not None:
            self._release([link])
            self.write(frame(channel, Performative.DETACH, [UInt(fields[0]), True]))

    def detach(self, link: Link, error: AmqpError) -> None:
        """Ends a link and says why."""
        link.session.links.pop(link.handle, None)
        self._release([link])
        self.write(frame(link.session.channel, Performative.DETACH, [UInt(link.handle), True, error.value]))

    def links(self) -> list[Link]:
        return [link for session in self._sessions.values() for link in session.links.values()]

    @staticmethod
    def _release(links: Any) -> None:
        for link in tuple(links):
            link.release()

    # -- flow
    def _flow(self, channel: int, fields: list[Any], body: bytes, end: int) -> None:
        session = self._sessions[channel]
        begun = 1 if fields[0] is None else fields[0]
        session.window = _distance(begun + fields[1], session.next_out)
        link = session.links.get(fields[4]) if fields[4] is not None else None
        if link is not None and link.sends:
            link.credit = _distance((fields[5] or 0) + (fields[6] or 0), link.delivery_count)
        self._pump(session)
        if link is not None and link.sends and fields[8] and link.credit > 0:  # drain: there is no more
            link.delivery_count += link.credit
            link.credit = 0
            link.flow(drain=True)

    @staticmethod
    def _pump(session: Session) -> None:
        for link in tuple(session.links.values()):
            if isinstance(link, ReaderLink):
                link.pump()


def _distance(ahead: int, behind: int) -> int:
    """How far `ahead` is before `behind` in 32-bit serial numbers; negative when it is not."""
    return ((ahead - behind + (1 << 31)) & 0xFFFFFFFF) - (1 << 31)
