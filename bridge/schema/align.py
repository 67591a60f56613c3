"""Alignment of the intervals inside a body: the source fills its own clock's pair, this fills the recorder's."""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from bridge.schema.bodies import Body, Failure, Interval

B = TypeVar("B", bound=Body)


def align_body(body: B, to_timeline: Callable[[int], int], *, detected_ns: int | None = None) -> B:
    """The body with every `Interval` in it filled, however deep it lies.

    Args:
        body: any body; it is not altered, and returned as it is where there is nothing to fill.
        to_timeline: from ns on the source's clock to ns since the UNIX epoch on the recorder's timeline.
        detected_ns: aligned time of the event itself; a `Failure` that does not say when it was detected takes it.

    An end that is already aligned is kept; one without a source time stays null.
    """
    aligned = _fill(body, to_timeline)
    if isinstance(aligned, Failure) and aligned.detected_ns is None and detected_ns is not None:
        aligned = msgspec.structs.replace(aligned, detected_ns=detected_ns)
    return typing.cast(B, aligned)


def _fill(value: Any, to_timeline: Callable[[int], int]) -> Any:
    if isinstance(value, Interval):
        t0, t1 = value.t0_ns, value.t1_ns
        if t0 is None and value.source_t0_ns is not None:
            t0 = to_timeline(value.source_t0_ns)
        if t1 is None and value.source_t1_ns is not None:
            t1 = to_timeline(value.source_t1_ns)
        if t0 == value.t0_ns and t1 == value.t1_ns:
            return value
        return msgspec.structs.replace(value, t0_ns=t0, t1_ns=t1)
    if isinstance(value, msgspec.Struct):
        changed = {}
        for name in _walked(type(value)):
            before = getattr(value, name)
            after = _fill(before, to_timeline)
            if after is not before:
                changed[name] = after
        return msgspec.structs.replace(value, **changed) if changed else value
    if isinstance(value, (tuple, list)):
        items = [_fill(item, to_timeline) for item in value]
        if all(after is before for after, before in zip(items, value, strict=True)):
            return value
        return type(value)(items)
    if isinstance(value, dict):
        filled = {key: _fill(item, to_timeline) for key, item in value.items()}
        return value if all(filled[key] is value[key] for key in value) else filled
    return value


@functools.cache
def _walked(type_: type[msgspec.Struct]) -> tuple[str, ...]:
    """The fields of a struct that hold structs; found from the types, so that a new body needs no change here."""
    hints = typing.get_type_hints(type_)
    return tuple(name for name in type_.__struct_fields__ if _holds_struct(hints[name]))


def _holds_struct(hint: Any) -> bool:
    if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
        return True
    return any(_holds_struct(argument) for argument in typing.get_args(hint))
