"""`$cbs`, where a client shows its token, and `$management`, where it asks about hubs and partitions."""

from __future__ import annotations

from typing import Any

from transforms.io.event_hubs_loopback.codec import Array, Int, Raw, Timestamp, decode, elements, encode
from transforms.io.event_hubs_loopback.hub import Hub
from transforms.io.event_hubs_loopback.log import PartitionLog
from transforms.io.event_hubs_loopback.messages import sections
from transforms.io.event_hubs_loopback.namespace import Namespace
from transforms.io.event_hubs_loopback.tokens import Grant, TokenRefused, check

CBS, MANAGEMENT = "$cbs", "$management"


def answer_token(message: bytes, namespace: Namespace) -> tuple[bytes, Grant | None]:
    """The reply to a put-token, and what the token grants."""
    request = _Request(message)
    try:
        grant = check(_text(request.value), namespace.keys, namespace.config.bearer_tokens)
    except TokenRefused as refusal:
        return request.reply(401, str(refusal)), None
    return request.reply(202, "Accepted"), grant


def answer_question(message: bytes, namespace: Namespace) -> bytes:
    """The reply to a READ of a hub's or a partition's properties."""
    request = _Request(message)
    asked = request.properties
    name, kind = _text(asked.get("name")), asked.get("type")
    try:
        allowed = check(_text(asked.get("security_token")), namespace.keys, namespace.config.bearer_tokens).allows(name)
    except TokenRefused as refusal:
        return request.reply(401, str(refusal))
    if not allowed:
        return request.reply(401, "Unauthorized access: the token is for another entity.")
    hub = namespace.hub(name)
    if hub is None:
        return request.reply(404, f"The messaging entity '{name}' could not be found.")
    if kind == "com.microsoft:eventhub":
        return request.reply(200, "OK", _hub_properties(hub))
    if kind != "com.microsoft:partition" or asked.get("operation") != "READ":
        return request.reply(400, f"The operation {asked.get('operation')!r} of {kind!r} is not known here.")
    number = _text(asked.get("partition"))
    if not number.isdigit() or int(number) >= len(hub.partitions):
        return request.reply(
            400, f"The specified partition is invalid for an EventHub partition sender or receiver: {number}"
        )
    return request.reply(200, "OK", _partition_properties(hub, number, hub.partitions[int(number)]))


def _hub_properties(hub: Hub) -> dict[str, Any]:
    return {
        "name": hub.name,
        "type": "com.microsoft:eventhub",
        "created_at": Timestamp(hub.created_ms),
        "partition_count": Int(len(hub.partitions)),
        "partition_ids": Array(tuple(str(number) for number in range(len(hub.partitions)))),
    }


def _partition_properties(hub: Hub, number: str, log: PartitionLog) -> dict[str, Any]:
    return {
        "name": hub.name,
        "type": "com.microsoft:partition",
        "partition": number,
        "begin_sequence_number": log.first,
        "last_enqueued_sequence_number": log.end - 1,
        "last_enqueued_offset": str(log.last_offset),
        "last_enqueued_time_utc": Timestamp(log.last_ms),
        "is_partition_empty": log.end == log.first,
    }


class _Request:
    def __init__(self, message: bytes) -> None:
        self.message_id = Raw(b"\x40")
        self.properties: dict[Any, Any] = {}
        self.value: Any = None
        for code, _, value, _ in sections(message):
            if code == 0x73:
                for begin, end in elements(message, value):
                    self.message_id = Raw(message[begin:end])
                    break
            elif code == 0x74:
                decoded = decode(message, value)[0]
                self.properties = decoded if isinstance(decoded, dict) else {}
            elif code == 0x77:
                self.value = decode(message, value)[0]

    def reply(self, status: int, text: str, body: dict[str, Any] | None = None) -> bytes:
        head = encode([None, None, None, None, None, self.message_id])
        # The client reads the text under one name from $cbs and under the other from $management.
        said = encode({"status-code": Int(status), "status-description": text, "statusDescription": text})
        return b"\x00\x53\x73" + head + b"\x00\x53\x74" + said + b"\x00\x53\x77" + encode(body)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
