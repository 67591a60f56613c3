"""One number out of a decoded message, by a path: dotted names, and brackets that pick from arrays by number or by name."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterator
from typing import Any, Final

import numpy as np

from bridge.errors import UsageError

_STEP: Final = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<keys>(?:\[[^\[\]]*\])*)")
_KEY: Final = re.compile(r"\[([^\[\]]*)\]")


def parse_path(field: str, text: str) -> list[tuple[str, list[str]]]:
    """The steps of a path: each a name and the keys in brackets behind it. `text` is what errors quote.

    Raises `UsageError` for what is no path.
    """
    steps, at = [], 0
    while True:
        match = _STEP.match(field, at)
        if match is None:
            raise UsageError(
                f"the field {field!r} of {text!r} is no path",
                hint="for example wrench.force.z or position[panda_joint1]",
            )
        steps.append((match["name"], [key.strip().strip("'\"") for key in _KEY.findall(match["keys"])]))
        at = match.end()
        if at == len(field):
            return steps
        if field[at] != ".":
            raise UsageError(f"the field {field!r} of {text!r} is no path", hint="parts of a path are joined by dots")
        at += 1


class FieldReader:
    """Takes one field's number out of decoded messages."""

    def __init__(self, field: str) -> None:
        self._steps = parse_path(field, field)

    def number(self, message: Any) -> float | None:
        """The number, or None: no such name, an empty array, no value (bad quality, or text)."""
        value = message
        for name, keys in self._steps:
            parent, value = value, getattr(value, name, None)
            if value is None and keys:
                # `value[TAG]` of a table: its column is the plural.
                value = getattr(parent, f"{name}s", None)
            for key in keys:
                value = _pick(parent, value, key)
            if value is None:
                return None
        return _number(value)


def _pick(parent: Any, value: Any, key: str) -> Any:
    if not isinstance(value, (list, tuple, np.ndarray)):
        return None
    index = _named(parent, value, key)
    if index is None and key.lstrip("-").isdecimal() and len(key) < 10:
        index = int(key)
    if index is None or not -len(value) <= index < len(value):
        return None
    return value[index]


def _named(parent: Any, value: Any, key: str) -> int | None:
    """The index of the item that has the name `key`: in the list of names beside the array, or in the item itself."""
    for labels in ("name", "names", "tag", "tags", "joint_names"):
        beside = getattr(parent, labels, None)
        if isinstance(beside, (list, tuple)) and key in beside:
            return beside.index(key)
    if len(value) and dataclasses.is_dataclass(value[0]):
        return next((i for i, item in enumerate(value) if key in _labels(item)), None)
    return None


def _labels(item: Any, depth: int = 0) -> Iterator[str]:
    """What a message in a list can be picked by: its name or id, or the UUID in it (of a goal, in hex without dashes)."""
    for name in ("name", "id", "tag", "child_frame_id"):
        found = getattr(item, name, None)
        if isinstance(found, (str, int)):
            yield str(found)
    uuid = getattr(item, "uuid", None)
    if isinstance(uuid, np.ndarray) and uuid.dtype == np.uint8:
        yield uuid.tobytes().hex()
    if depth < 2:
        for name in ("goal_info", "goal_id"):
            if hasattr(item, name):
                yield from _labels(getattr(item, name), depth + 1)


def _number(value: Any) -> float | None:
    if isinstance(value, (bool, int, float, np.bool_, np.number)):
        number = float(value)
        return None if math.isnan(number) else number
    return None
