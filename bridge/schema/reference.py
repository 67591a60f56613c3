"""The tables of the reference page, made from the types."""

from __future__ import annotations

import inspect
import re
import types
import typing
from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

from bridge.schema import bodies, enums, event
from bridge.schema.states import GOAL_STATUS, JOB_ORDER, LEGAL, PACKML, TERMINAL, VDA5050

_BLOCK = re.compile(r"(<!-- generated: (?P<name>[a-z]+) -->\n).*?(<!-- end -->)", re.DOTALL)
_NAMED = {
    "Nanoseconds": bodies.Nanoseconds,
    "Text": bodies.Text,
    "Fraction": bodies.Fraction,
    "Count": bodies.Count,
    "Integer": bodies.Integer,
    "Number": bodies.Number,
    "VerbName": bodies.VerbName,
}
_WORDS = {
    "Nanoseconds": "ns",
    "Text": "text, not empty",
    "Fraction": "0 to 1",
    "Count": "whole number from 0",
    "Integer": "whole number",
    "Number": "finite number",
    "VerbName": "verb",
}


def filled(page: str) -> str:
    """The page with the text between each `<!-- generated: NAME -->` and `<!-- end -->` made anew."""
    return _BLOCK.sub(lambda match: f"{match[1]}{_TABLES[match['name']]()}{match[3]}", page)


def _envelope() -> str:
    parts: list[type[msgspec.Struct]] = [
        event.TaskEvent,
        event.Stamp,
        event.Asset,
        event.Embodiment,
        event.Link,
        event.Native,
    ]
    return "\n".join(_struct(part) for part in parts) + "\n"


def _bodies() -> str:
    kinds = typing.get_args(bodies.Body)
    others = [
        part
        for part in vars(bodies).values()
        if isinstance(part, type) and issubclass(part, bodies.Part) and part is not bodies.Part and part not in kinds
    ]
    return "\n".join(_struct(part) for part in (*kinds, *others)) + "\n"


def _words() -> str:
    rows = ["| word list | words |", "|---|---|"]
    for item in (*vars(enums).values(), bodies.Boundary):
        if isinstance(item, type) and issubclass(item, enums.Word) and item is not enums.Word:
            rows.append(f"| {item.__name__}: {_first(item)} | {' '.join(f'`{word.value}`' for word in item)} |")
    return "\n".join(rows) + "\n"


def _transitions() -> str:
    rows = ["| from | to |", "|---|---|"]
    for before, after in LEGAL.items():
        if before not in TERMINAL:
            rows.append(f"| {before} | {' '.join(str(state) for state in enums.State if state in after)} UNKNOWN |")
    rows.append("| UNKNOWN | any |")
    return "\n".join(rows) + "\n"


def _others() -> str:
    tables: list[tuple[str, dict[Any, enums.State]]] = [
        ("ROS 2 GoalStatus", dict(GOAL_STATUS)),
        ("PackML state", dict(PACKML)),
        ("ISA-95 job order", dict(JOB_ORDER)),
        ("VDA 5050 action", dict(VDA5050)),
    ]
    rows = [f"| state | {' | '.join(name for name, _ in tables)} |", "|---" * (len(tables) + 1) + "|"]
    for state in enums.State:
        cells = [", ".join(str(key) for key, ours in table.items() if ours is state) or "-" for _, table in tables]
        if any(cell != "-" for cell in cells):
            rows.append(f"| {state} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def _struct(part: type[msgspec.Struct]) -> str:
    tag = part.__struct_config__.tag
    title = f"### {part.__name__}" + (f" (`kind`: `{tag}`)" if tag else "")
    hints = typing.get_type_hints(part, include_extras=True)
    rows = ["| field | type | default |", "|---|---|---|"]
    for field in msgspec.structs.fields(part):
        rows.append(f"| `{field.name}` | {_type(hints[field.name])} | {_default(field)} |")
    return f"{title}\n\n{inspect.cleandoc(part.__doc__ or '')}\n\n" + "\n".join(rows) + "\n"


def _type(hint: Any) -> str:
    for name, known in _NAMED.items():
        if hint == known:
            return _WORDS[name]
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint is type(None):
        return "null"
    if hint is Any:
        return "anything that JSON can hold"
    if origin is typing.Annotated:
        meta = next((item for item in arguments[1:] if isinstance(item, msgspec.Meta)), msgspec.Meta())
        limits = "" if meta.ge is None else f", from {meta.ge}"
        return _type(arguments[0]) + limits
    if origin in {typing.Union, types.UnionType}:
        return " or ".join(_type(argument) for argument in arguments)
    if origin is tuple:
        return f"list of {_type(arguments[0])}" if arguments[-1] is ... else f"{len(arguments)} x {_type(arguments[0])}"
    if origin is dict:
        return f"map of text to {_type(arguments[1])}"
    if origin is typing.Literal:
        return " or ".join(f"`{word}`" for word in arguments)
    if isinstance(hint, type) and issubclass(hint, (Enum, msgspec.Struct)):
        return hint.__name__
    name = str(hint.__name__)
    return {"int": "whole number", "float": "number", "str": "text", "bool": "true or false"}.get(name, name)


def _default(field: Any) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT:
        return "empty"
    if field.default is None:
        return "null"
    if isinstance(field.default, Enum):
        return f"`{field.default.value}`"
    if isinstance(field.default, msgspec.Struct) or field.default in ("", ()):
        return "empty"
    return f"`{field.default}`"


def _first(item: type) -> str:
    return (inspect.cleandoc(item.__doc__ or "").splitlines() or [""])[0].rstrip(".")


_TABLES: dict[str, Callable[[], str]] = {
    "envelope": _envelope,
    "bodies": _bodies,
    "words": _words,
    "transitions": _transitions,
    "others": _others,
}
