"""Hypothesis strategies for events, made from the types, so that a new field is tried without a change here."""

from __future__ import annotations

import math
import types
import typing
from enum import Enum
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import assume
from hypothesis import strategies as st

from bridge.schema import Body, Failure, FailureCode, Pose, Signal, Task, TaskEvent, Verb
from bridge.schema.bodies import VerbName

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)
VERBS = st.sampled_from([*(verb.value for verb in Verb), "com.example.insert", "org.example-2.Weld_it"])


@st.composite
def poses(draw: st.DrawFn) -> Pose:
    """A pose with a unit quaternion."""
    number = st.floats(-1, 1)
    raw = draw(st.tuples(number, number, number, number))
    norm = math.hypot(*raw)
    assume(norm > 1e-3)
    position = draw(st.tuples(*[st.floats(-1e300, 1e300)] * 3))
    return Pose(
        frame=draw(st.sampled_from(["world", "base"])), position=position, orientation=tuple(x / norm for x in raw)
    )


def of_type(hint: Any) -> st.SearchStrategy[Any]:
    """Values that fit a type of the schema."""
    if hint == VerbName:
        return VERBS
    if hint is Any:
        return PLAIN
    if hint is Pose:
        return poses()
    if hint is type(None):
        return st.none()
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin is typing.Annotated:
        return _limited(arguments)
    if origin in {typing.Union, types.UnionType}:
        return st.one_of([of_type(argument) for argument in arguments])
    if origin is tuple:
        if arguments[-1] is ...:
            return st.lists(of_type(arguments[0]), max_size=2).map(tuple)
        return st.tuples(*[of_type(argument) for argument in arguments])
    if origin is dict:
        return st.dictionaries(TEXT, of_type(arguments[1]), max_size=2)
    if origin is typing.Literal:
        return st.sampled_from(arguments)
    if issubclass(hint, Enum):
        return st.sampled_from(list(hint))
    if issubclass(hint, msgspec.Struct):
        return st.deferred(lambda: structs(hint))
    return {
        str: TEXT,
        bool: st.booleans(),
        UUID: st.uuids(),
        int: st.integers(-(2**63), 2**64 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
    }[hint]


def _limited(arguments: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    meta = next(item for item in arguments[1:] if isinstance(item, msgspec.Meta))
    if arguments[0] is int:
        return st.integers(meta.ge, meta.le)
    if arguments[0] is float:
        return st.floats(meta.ge, meta.le)
    assert arguments[0] is str and meta.min_length == 1
    return TEXT.filter(bool)


@st.composite
def structs(draw: st.DrawFn, type_: type[msgspec.Struct]) -> Any:
    """A struct with every field drawn; what its own checks refuse is mended, not filtered, where that is simple."""
    hints = typing.get_type_hints(type_, include_extras=True)
    values = {}
    for field in msgspec.structs.fields(type_):
        if field.required or draw(st.booleans()):
            values[field.name] = draw(of_type(hints[field.name]))
    if type_ is Task and "." in values["verb"] and values.get("base_verb") is None:
        values["base_verb"] = draw(st.sampled_from(list(Verb)))
    if type_ is Failure and not values.get("evidence"):
        values["code"] = FailureCode.UNKNOWN
    try:
        return type_(**values)
    except ValueError:
        assume(False)


def bodies() -> st.SearchStrategy[Any]:
    """Any body."""
    return st.one_of([structs(kind) for kind in typing.get_args(Body)])


def events() -> st.SearchStrategy[TaskEvent]:
    """Any event."""
    return structs(TaskEvent)


def signals() -> st.SearchStrategy[Signal]:
    """Any signal, NaN left out since it differs from itself."""
    time = st.none() | st.integers(-(2**63) + 1, 2**63 - 1)
    value = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | TEXT
    quality = of_type(typing.get_type_hints(Signal)["quality"])
    return st.builds(Signal, TEXT, value, quality, TEXT, time, time)
