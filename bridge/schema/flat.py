"""Task events and signals as the messages that go to disk, and back.

`bridge.messages.serialize(message.type_name, message)` makes CDR of what these give; what `deserialize` gives goes back in.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from bridge.errors import SchemaError
from bridge.schema.bodies import Annotation, Correction, Decision, Episode, Failure, Health, Measure, Run, Task
from bridge.schema.codec import from_json, to_json
from bridge.schema.enums import Relation, Verb
from bridge.schema.event import TaskEvent
from bridge.schema.interfaces import (
    KIND_BOOL,
    KIND_FLOAT,
    KIND_INT,
    KIND_NULL,
    KIND_TEXT,
    NAN,
    NULL_I64,
    NULL_U64,
    STATE_NUMBER,
    Header,
    SignalMessage,
    SignalTableMessage,
    TaskEventMessage,
    Time,
)
from bridge.schema.signal import Quality, Signal, Value

_CORE = frozenset(verb.value for verb in Verb)
# Whole numbers up to here are exact in float64.
_EXACT = 2**53


def to_flat(event: TaskEvent) -> TaskEventMessage:
    """The event as `dari_msgs/msg/TaskEvent`. Raises `SchemaError` where it does not fit the schema."""
    time, native = event.time, event.native
    flat = TaskEventMessage(
        header=Header(stamp=Time.of(time.aligned_ns)),
        schema=event.schema,
        id=str(event.id),
        kind=event.kind,
        run_id=_text(event.run_id),
        episode_id=_text(event.episode_id),
        task_id=_text(event.task_id),
        parent_id=_text(event.parent_id),
        attempt=event.attempt,
        source=event.source,
        sequence=event.sequence,
        space=_text(event.space),
        asset=event.asset.path(),
        embodiment=event.embodiment.model if event.embodiment else "",
        origin=_text(event.origin),
        source_ns=_i64(time.source_ns),
        received_ns=time.received_ns,
        aligned_ns=time.aligned_ns,
        uncertainty_ns=NULL_U64 if time.uncertainty_ns is None else time.uncertainty_ns,
        clock_epoch=time.clock_epoch,
        retries=next((str(link.id) for link in event.links if link.rel is Relation.RETRIES), ""),
        link_rels=[str(link.rel) for link in event.links],
        link_ids=[str(link.id) for link in event.links],
        native_system=native.system if native else "",
        native_id=native.id if native else "",
        native_name=native.name if native else "",
        native_code=native.code if native else "",
        flags=list(event.flags),
        body_json=to_json(event),
    )
    _body(flat, event.body)
    return flat


def from_flat(message: Any) -> TaskEvent:
    """The event in a message that `to_flat` made or that was read from a log; taken from `body_json`, so lossless."""
    text = getattr(message, "body_json", None)
    if not isinstance(text, str):
        raise SchemaError(f"a {type(message).__name__} has no body_json", hint="give a dari_msgs/msg/TaskEvent")
    return from_json(text)


def to_signal_message(signal: Signal, aligned_ns: int, unit: str = "") -> SignalMessage:
    """The signal as `dari_msgs/msg/Signal`; `aligned_ns` since the UNIX epoch goes to the header."""
    kind, value, text = _value(signal.value)
    return SignalMessage(
        header=Header(stamp=Time.of(aligned_ns)),
        tag=signal.tag,
        kind=kind,
        value=value,
        text=text,
        quality=int(signal.quality),
        status=signal.status,
        unit=unit,
        source_ns=_i64(signal.source_ns),
        server_ns=_i64(signal.server_ns),
    )


def from_signal_message(message: Any) -> Signal:
    """The signal in a `dari_msgs/msg/Signal`."""
    return Signal(
        message.tag,
        _from_value(message.kind, message.value, message.text),
        Quality(message.quality),
        message.status,
        _from_i64(message.source_ns),
        _from_i64(message.server_ns),
    )


def to_signal_table(signals: Sequence[Signal], aligned_ns: int, units: Sequence[str] = ()) -> SignalTableMessage:
    """The signals as `dari_msgs/msg/SignalTable`, row by row; `units` in their order, or none."""
    values = [_value(signal.value) for signal in signals]
    texts = [text for _, _, text in values]
    statuses = [signal.status for signal in signals]
    return SignalTableMessage(
        header=Header(stamp=Time.of(aligned_ns)),
        tags=[signal.tag for signal in signals],
        kinds=np.array([kind for kind, _, _ in values], np.uint8),
        values=np.array([value for _, value, _ in values], np.float64),
        texts=texts if any(texts) else [],
        qualities=np.array([int(signal.quality) for signal in signals], np.uint8),
        statuses=statuses if any(statuses) else [],
        units=list(units) if any(units) else [],
        source_ns=np.array([_i64(signal.source_ns) for signal in signals], np.int64),
        server_ns=np.array([_i64(signal.server_ns) for signal in signals], np.int64),
    )


def from_signal_table(message: Any) -> list[Signal]:
    """The signals in a `dari_msgs/msg/SignalTable`, in its order."""
    n = len(message.tags)
    texts, statuses = message.texts or [""] * n, message.statuses or [""] * n
    columns = (message.kinds, message.values, message.qualities, message.source_ns, message.server_ns)
    kinds, values, qualities, source, server = (
        [*column] if not hasattr(column, "tolist") else column.tolist() for column in columns
    )
    return [
        Signal(
            message.tags[i],
            _from_value(kinds[i], values[i], texts[i]),
            Quality(qualities[i]),
            statuses[i],
            _from_i64(source[i]),
            _from_i64(server[i]),
        )
        for i in range(n)
    ]


def _body(flat: TaskEventMessage, body: Any) -> None:
    """Fill the columns that belong to one kind of body."""
    if isinstance(body, Task):
        _task(flat, body)
    elif isinstance(body, Failure):
        _failure(flat, body)
    elif isinstance(body, Decision):
        flat.question, flat.chosen = body.question, body.chosen or ""
        flat.code, flat.text = body.reason.code, body.reason.text
        flat.decider, flat.decider_kind = body.decider.name, str(body.decider.kind)
        flat.confidence = _f64(body.confidence)
    elif isinstance(body, Correction):
        flat.corrects, flat.strategy = str(body.corrects), str(body.strategy)
        flat.decider, flat.decider_kind = body.actor.name, str(body.actor.kind)
        flat.completes, flat.result = _text(body.completes), _text(body.result)
        flat.verified_by = _text(body.verified_by)
        flat.text = "; ".join(f"{change.path}: {change.before} -> {change.after}" for change in body.changes)
    elif isinstance(body, Measure):
        flat.measure, flat.value, flat.unit = body.name, float(body.value), body.unit
        flat.value_uncertainty, flat.target = _f64(body.uncertainty), _f64(body.target)
        if body.passed is not None:
            flat.passed = int(body.passed)
    elif isinstance(body, Health):
        flat.code, flat.channel, flat.text = str(body.code), body.channel, body.text
        flat.count = NULL_U64 if body.count is None else body.count
    elif isinstance(body, Annotation):
        flat.text = body.text
    elif isinstance(body, (Run, Episode)):
        flat.boundary, flat.seed, flat.text = str(body.boundary), _i64(body.seed), body.reason


def _task(flat: TaskEventMessage, body: Task) -> None:
    flat.verb = body.verb
    flat.base_verb = body.verb if body.verb in _CORE else _text(body.base_verb)
    flat.state, flat.state_name = STATE_NUMBER[body.state], body.state.value
    flat.previous_name = _text(body.previous)
    flat.object_id, flat.object_class = body.parameters.object_id or "", body.parameters.object_class or ""
    flat.text = body.message


def _failure(flat: TaskEventMessage, body: Failure) -> None:
    flat.code, flat.severity, flat.detected_by = str(body.code), str(body.severity), body.detected_by
    if body.onset is not None:
        flat.onset_t0_ns, flat.onset_t1_ns = _i64(body.onset.t0_ns), _i64(body.onset.t1_ns)
    flat.detected_ns = _i64(body.detected_ns)
    flat.evidence_channels = [item.channel for item in body.evidence]
    flat.text = body.explanation.text if body.explanation else ""


def _text(word: object) -> str:
    return "" if word is None else str(word)


def _i64(value: int | None) -> int:
    return NULL_I64 if value is None else value


def _from_i64(value: int) -> int | None:
    return None if value == NULL_I64 else int(value)


def _f64(value: float | None) -> float:
    return NAN if value is None else float(value)


def _value(value: Value) -> tuple[int, float, str]:
    if value is None:
        return KIND_NULL, NAN, ""
    if isinstance(value, bool):
        return KIND_BOOL, float(value), ""
    if isinstance(value, int):
        return KIND_INT, float(value), "" if -_EXACT <= value <= _EXACT else str(value)
    if isinstance(value, float):
        return KIND_FLOAT, value, ""
    return KIND_TEXT, NAN, value


def _from_value(kind: int, value: float, text: str) -> Value:
    if kind == KIND_BOOL:
        return bool(value)
    if kind == KIND_INT:
        return int(text) if text else int(value)
    if kind == KIND_FLOAT:
        return float(value)
    return text if kind == KIND_TEXT else None
