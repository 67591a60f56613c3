"""Records as they travel into the CDR messages that the log holds."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from bridge import messages
from bridge.adapter import Channel, ChannelKind, LogLine
from bridge.errors import SchemaError
from bridge.schema import Health, HealthCode, TaskEvent, codec, flat
from bridge.schema.interfaces import SignalMessage, SignalTableMessage, TaskEventMessage

LOG_TYPE = "rcl_interfaces/msg/Log"
LEVELS = {"debug": 10, "info": 20, "warning": 30, "error": 40}

Encoder = Callable[[memoryview, int], bytes]
"""From a record's payload and its aligned time in ns to CDR bytes. Raises `SchemaError`."""

_line = msgspec.msgpack.Decoder(LogLine)
_units = msgspec.json.Decoder(dict[str, str])

# What of the pipeline's own health is more than news.
_WORSE = {
    HealthCode.CONNECTED: "info",
    HealthCode.DUPLICATE: "info",
    HealthCode.SHADOW_RESIDUAL: "info",
    HealthCode.LOSS: "error",
    HealthCode.DROPPED: "error",
    HealthCode.GAP: "error",
}


def encoder_for(channel: Channel) -> Encoder | None:
    """What makes CDR of this channel's payloads; None for those that are CDR already."""
    if channel.kind is ChannelKind.CDR:
        return None
    if channel.kind is ChannelKind.SIGNAL:
        unit = channel.metadata.get("dari.unit", "")
        return lambda payload, aligned: signal(payload, aligned, unit)
    if channel.kind is ChannelKind.SIGNALS:
        try:
            units = _units.decode(channel.metadata.get("dari.units", "{}"))
        except msgspec.MsgspecError:
            units = {}
        return lambda payload, aligned: signal_table(payload, aligned, units)
    if channel.kind is ChannelKind.LOG:
        return log_line
    raise ValueError(f"events are encoded by `event`, not as {channel.kind}")


def signal(payload: memoryview, aligned_ns: int, unit: str) -> bytes:
    """One signal as `dari_msgs/msg/Signal`."""
    message = flat.to_signal_message(codec.decode_signal(payload), aligned_ns, unit)
    return messages.serialize(SignalMessage.type_name, message)


def signal_table(payload: memoryview, aligned_ns: int, units: dict[str, str]) -> bytes:
    """The signals of one poll as `dari_msgs/msg/SignalTable`; `units` by tag."""
    signals = codec.decode_signals(payload)
    message = flat.to_signal_table(signals, aligned_ns, [units.get(s.tag, "") for s in signals] if units else ())
    return messages.serialize(SignalTableMessage.type_name, message)


def event(payload: memoryview) -> tuple[TaskEvent, bytes]:
    """A task event, and it as `dari_msgs/msg/TaskEvent`."""
    found = codec.decode(payload)
    return found, messages.serialize(TaskEventMessage.type_name, flat.to_flat(found))


def log_line(payload: memoryview, aligned_ns: int) -> bytes:
    """A line of the bridge's own log as `rcl_interfaces/msg/Log`."""
    try:
        line = _line.decode(payload)
    except msgspec.MsgspecError as error:
        raise SchemaError(f"this is no log line: {error}") from error
    return log_message(line.level, line.name, line.text, aligned_ns)


def log_message(level: str, name: str, text: str, at_ns: int) -> bytes:
    """A text as `rcl_interfaces/msg/Log`; an unknown level counts as info."""
    seconds, nanoseconds = divmod(at_ns, 10**9)
    stamp = {"sec": min(max(seconds, -(2**31)), 2**31 - 1), "nanosec": nanoseconds}
    message = messages.message(LOG_TYPE, stamp=stamp, level=LEVELS.get(level, 20), name=name, msg=text)
    return messages.serialize(LOG_TYPE, message)


def health_line(found: TaskEvent) -> tuple[str, str, str] | None:
    """(level, name, text) of a health event for the log that people read; None for any other event."""
    body = found.body
    if not isinstance(body, Health):
        return None
    count = f" ({body.count})" if body.count is not None else ""
    parts = (f"{body.code.value}{count}", body.channel, body.text)
    return _WORSE.get(body.code, "warning"), found.source, " ".join(part for part in parts if part)
