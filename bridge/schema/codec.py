"""Encoding and decoding of task events and signals: msgpack on the wire, JSON for people and the log's `body_json`.

Both directions validate, so that a record that could not be read back is refused where it is made. Fields that this
version does not know are let pass, since the schema only ever gains fields, with defaults. UUIDs are 16 bytes in
msgpack and the canonical text in JSON.
"""

from __future__ import annotations

import functools
import math
import typing
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol, TypeVar

import msgspec

from bridge.errors import SchemaError
from bridge.schema.bodies import Body
from bridge.schema.event import TaskEvent
from bridge.schema.explain import explain
from bridge.schema.signal import Signal

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)


class _Decoder(Protocol[T_co]):
    def decode(self, data: Any, /) -> T_co: ...


# The range of an integer that every msgpack reader knows.
SMALLEST, LARGEST = -(2**63), 2**64 - 1
DEEPEST = 32

_pack = msgspec.msgpack.Encoder(uuid_format="bytes")
_write = msgspec.json.Encoder(uuid_format="canonical")
_unpack_event = msgspec.msgpack.Decoder(TaskEvent)
_read_event = msgspec.json.Decoder(TaskEvent)
_unpack_signal = msgspec.msgpack.Decoder(Signal)
_unpack_signals = msgspec.msgpack.Decoder(list[Signal])
_unpack_body = msgspec.msgpack.Decoder(Body)


def encode(event: TaskEvent) -> bytes:
    """The event as msgpack. Raises a `SchemaError` that names the field by its path where the event does not fit."""
    return _encode(event, _unpack_event, TaskEvent)


def decode(data: bytes | memoryview) -> TaskEvent:
    """The event in msgpack bytes. Raises `SchemaError` for damaged bytes and for a record that does not fit."""
    event = _decode(data, _unpack_event, TaskEvent, msgspec.msgpack.decode, "msgpack")
    _check_open(event)
    return event


def to_json(event: TaskEvent) -> str:
    """The event as one line of JSON, lossless. Raises `SchemaError` as `encode` does."""
    _encode(event, _unpack_event, TaskEvent)
    return _write.encode(event).decode()


def from_json(text: str | bytes) -> TaskEvent:
    """The event in a JSON text. Raises `SchemaError` as `decode` does."""
    event = _decode(text, _read_event, TaskEvent, msgspec.json.decode, "JSON")
    _check_open(event)
    return event


def validate_body(body: Body) -> None:
    """Raise `SchemaError` where a body that was built in code does not fit the schema; building it checks no types."""
    _encode(body, _unpack_body, Body)


def encode_signal(signal: Signal) -> bytes:
    """One signal as msgpack. Raises `SchemaError` where a field has the wrong type."""
    return _encode(signal, _unpack_signal, Signal)


def decode_signal(data: bytes | memoryview) -> Signal:
    """The signal in msgpack bytes. Raises `SchemaError`."""
    return _decode(data, _unpack_signal, Signal, msgspec.msgpack.decode, "msgpack")


def encode_signals(signals: Sequence[Signal]) -> bytes:
    """A row batch of signals as msgpack. Raises `SchemaError` where a field of one has the wrong type."""
    return _encode(list(signals), _unpack_signals, list[Signal])


def decode_signals(data: bytes | memoryview) -> list[Signal]:
    """The signals in msgpack bytes. Raises `SchemaError`."""
    return _decode(data, _unpack_signals, list[Signal], msgspec.msgpack.decode, "msgpack")


def finite(value: float | None) -> float | None:
    """The number, or null where it is NaN or infinite: for numbers of a source that go into an event."""
    return None if value is None or not math.isfinite(value) else value


def _encode(record: Any, decoder: _Decoder[Any], type_: Any) -> bytes:
    try:
        data = _pack.encode(record)
    except (TypeError, OverflowError, UnicodeEncodeError, ValueError, RecursionError) as error:
        _check_open(record)
        raise SchemaError(
            f"this record can not be written: {error}", hint="use the types of bridge.schema and plain Python values"
        ) from None
    try:
        read_back = decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise explain(error, type_, msgspec.msgpack.decode(data)) from None
    if isinstance(record, msgspec.Struct):
        if type(read_back) is not type(record):
            raise SchemaError(f"this is a {type(record).__name__}, not a {type(read_back).__name__}")
        _check_open(record)
    return data


def _decode(data: Any, decoder: _Decoder[T], type_: Any, untyped: Callable[[Any], Any], form: str) -> T:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        try:
            raw = untyped(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as damage:
            raise _unreadable(form, damage) from None
        raise explain(error, type_, raw) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _unreadable(form, error) from None


def _unreadable(form: str, error: Exception) -> SchemaError:
    return SchemaError(
        f"this is no readable {form}: {error}",
        hint="the data was cut, damaged or is of another kind; take it again from its source",
    )


def _check_open(record: Any, path: str = "") -> None:
    """Raise where an open field (`ext`, `parameters.free`, a change's `before`) holds what JSON could not give back."""
    if isinstance(record, msgspec.Struct):
        for name, open_ended in _plan(type(record)):
            value = getattr(record, name)
            if value is not None:
                below = f"{path}.{name}" if path else name
                if open_ended:
                    _check_plain(value, below, 0)
                else:
                    _check_open(value, below)
    elif isinstance(record, (tuple, list)):
        for index, item in enumerate(record):
            _check_open(item, f"{path}[{index}]")


def _check_plain(value: Any, path: str, depth: int) -> None:
    if value is None or type(value) is bool:
        return
    problem = ""
    if depth > DEEPEST:
        problem = f"it is nested more than {DEEPEST} deep"
    elif isinstance(value, str):
        if any("\ud800" <= character <= "\udfff" for character in value):
            problem = "it is text with half a surrogate pair"
    elif isinstance(value, int):
        if not SMALLEST <= value <= LARGEST:
            problem = "it is a whole number outside of 64 bits"
    elif isinstance(value, float):
        if not math.isfinite(value):
            problem = f"it is {value}, which JSON can not hold"
    elif isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                problem = f"the key {key!r} is not text"
                break
            _check_plain(item, f"{path}.{key}", depth + 1)
    elif isinstance(value, (list, tuple)):
        for index, item in enumerate(value):
            _check_plain(item, f"{path}[{index}]", depth + 1)
    else:
        problem = f"it is a {type(value).__name__}"
    if problem:
        raise SchemaError(
            f"{problem}; an open field holds only what JSON can give back",
            where=path,
            hint="give null, true or false, a finite number, text, a list or a map with text keys",
        )


@functools.cache
def _plan(type_: type[msgspec.Struct]) -> tuple[tuple[str, bool], ...]:
    """The fields of a struct worth walking: (name, whether it is open ended). Fields of plain types are left out."""
    plan: list[tuple[str, bool]] = []
    for name, hint in typing.get_type_hints(type_).items():
        if name in type_.__struct_fields__:
            inside = set(_types_inside(hint))
            if Any in inside:
                plan.append((name, True))
            elif any(isinstance(item, type) and issubclass(item, msgspec.Struct) for item in inside):
                plan.append((name, False))
    return tuple(plan)


def _types_inside(hint: Any) -> Iterable[Any]:
    arguments = typing.get_args(hint)
    if not arguments:
        yield hint
    for argument in arguments:
        yield from _types_inside(argument)
