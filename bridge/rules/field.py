"""A number in a ROS 2 message, by its path: `wrench.force.z`, `position[3]`, `position[panda_joint1]`.

Brackets pick from an array by number, or by the name that stands at the same place in the array of names beside it (`name` in a
JointState). The same language as that of evidence, so that what a rule saw is read back from the log by the same words.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple, cast

from bridge.errors import SiteError
from bridge.rules.tree import Scalar

_STEP = re.compile(r"(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<keys>(?:\[[^\[\]]+\])*)")
_KEY = re.compile(r"\[([^\[\]]+)\]")
_PLAIN = frozenset({bool, int, float, str})
_LABELS = ("name", "names", "joint_names")
EXAMPLE = "for example wrench.force.z, position[3] or position[finger_joint1]"


class _Step(NamedTuple):
    attribute: str
    keys: tuple[str, ...]


class FieldPath:
    """A path into a message. Remembers where a name was found last, and looks again only when it is there no more.

    Raises `SiteError` for a text that is no path.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: list[_Step] = []
        self._places: dict[str, int] = {}
        position = 0
        while True:
            match = _STEP.match(text, position)
            end = -1 if match is None else match.end()
            if match is None or (end < len(text) and text[end] != "."):
                raise SiteError(f"{text!r} is no path to a field", hint=EXAMPLE)
            keys = tuple(key.strip().strip("'\"") for key in _KEY.findall(match["keys"]))
            self._steps.append(_Step(match["name"], keys))
            if end == len(text):
                break
            position = end + 1

    def value(self, message: Any) -> Scalar:
        """The value in a decoded message; None where the message does not have it. Never raises."""
        value = message
        for step in self._steps:
            parent, value = value, getattr(value, step.attribute, None)
            for key in step.keys:
                value = self._pick(parent, value, key)
            if value is None:
                return None
        if type(value) in _PLAIN:
            return cast(Scalar, value)
        item = getattr(value, "item", None)  # a number of NumPy's, which may also be a subclass of float
        plain = item() if item is not None and getattr(value, "size", 0) == 1 else None
        return plain if isinstance(plain, (bool, int, float, str)) else None

    def _pick(self, parent: Any, array: Any, key: str) -> Any:
        length = len(array) if hasattr(array, "__len__") and hasattr(array, "__getitem__") else 0
        place = self._place(parent, key)
        return array[place] if place is not None and -length <= place < length and not isinstance(array, str) else None

    def _place(self, parent: Any, key: str) -> int | None:
        for label in _LABELS:
            names: Sequence[str] | None = getattr(parent, label, None)
            if names is None or isinstance(names, str):
                continue
            place = self._places.get(key, -1)
            if 0 <= place < len(names) and names[place] == key:
                return place
            for i, name in enumerate(names):
                if name == key:
                    self._places[key] = i
                    return i
        digits = key.removeprefix("-")
        return int(key) if digits.isascii() and digits.isdecimal() else None
