"""Words for what is wrong with a record: an error that names the field, the value and the cure."""

from __future__ import annotations

import re
import types
import typing
from enum import Enum
from typing import Any

import msgspec

from bridge.errors import SchemaError
from bridge.names import nearest

_AT = re.compile(r" - at (?:`key` in )?`\$(?P<path>[^`]*)`$")
_STEP = re.compile(r"\.(?P<key>[^.\[\]]+)|\[(?P<index>\d+|\.\.\.)\]")
_KINDS = {
    "object": "a map",
    "array": "a list",
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "null",
    "bytes": "bytes",
    "uuid": "a UUID",
    "ext": "a msgpack extension",
}
_SHOWN = 60
_SEE = "docs/reference/task-event.md tells what every field holds"


def explain(error: Exception, type_: Any, raw: Any) -> SchemaError:
    """The `SchemaError` for what msgspec says of `raw`, a record that should be a `type_`."""
    text = str(error)
    match = _AT.search(text)
    path = match["path"] if match else ""
    message = text[: match.start()] if match else text
    value, target = _follow(raw, type_, path)
    where = path.lstrip(".")
    if message.startswith("Object missing required field"):
        field = message.split("`")[1]
        where = f"{where}.{field}" if where else field
        return SchemaError("this field is missing", where=where, hint="give it: it has no default")
    if match and "`key` in" in match[0]:
        return SchemaError("a key of this map is not text", where=where, hint="write every key as text")
    what, hint = _plain(message, value, target, where)
    return SchemaError(what, where=where or "the record", hint=hint)


def _plain(message: str, value: Any, target: Any, where: str) -> tuple[str, str]:
    found = _show(value)
    words = _words(target)
    if message.startswith("Invalid enum value") and words:
        close = nearest(str(value), words) if isinstance(value, str) else None
        hint = f"did you mean {close!r}? " if close else ""
        if where == "schema":
            return (
                f"{found} is not the version that is read here",
                f"this dari reads {', '.join(words)}; newer needs newer",
            )
        return f"{found} is not one of the words of this field", f"{hint}known are: {', '.join(words)}"
    if message.startswith("Invalid value") and where.endswith("kind"):
        kinds = [str(member.__struct_config__.tag) for member in _members(target)]
        return f"{found} is no kind of body", f"known are: {', '.join(kinds)}" if kinds else ""
    if message.startswith("Invalid UUID"):
        return f"{found} is no UUID", "give 16 bytes in msgpack, the 36 characters of the canonical form in JSON"
    if "matching regex" in message:
        if where.endswith("verb"):
            return f"{found} is no verb", "use a core verb or a reverse-DNS name such as com.example.insert"
        return f"{found} has not the form that is wanted here", f"it must match {message.split('regex ')[-1]}"
    limit = re.match(r"Expected `\w+` (>=|<=|>|<) (\S+)$", message)
    if limit:
        side = {">=": "at least", "<=": "at most", ">": "more than", "<": "less than"}[limit[1]]
        bound = limit[2]
        if isinstance(value, float) and value != value:
            return f"{found} is not a finite number", "leave the field out where there is no number"
        if abs(float(bound)) > 1e308:
            return f"{found} is not a finite number", "leave the field out where there is no number"
        return f"{found} is out of range: it must be {side} {bound}", "correct the value where it is made"
    if re.match(r"Expected `str` of length >= 1$", message):
        return "this text is empty", "give at least one character"
    length = re.match(r"Expected `array` of (?:at least )?length (\d+)", message)
    if length:
        return f"this list should have {length[1]} items", _SEE
    wrong = re.match(r"Expected `([^`]+)`, got `([^`]+)`", message)
    if wrong:
        wanted = " or ".join(_KINDS.get(word.strip(), word.strip()) for word in wrong[1].split("|"))
        got = _KINDS.get(wrong[2], wrong[2])
        shown = found if wrong[2] in {"int", "float", "str", "bool"} else ""
        return f"expected {wanted}, found {got}{f' ({shown})' if shown else ''}", _SEE
    return message, _SEE


def _show(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _words(target: Any) -> list[str]:
    for member in _members(target):
        if isinstance(member, type) and issubclass(member, Enum):
            return [str(item.value) for item in member]
        if typing.get_origin(member) is typing.Literal:
            return [str(item) for item in typing.get_args(member)]
    return []


def _members(target: Any) -> list[Any]:
    """The alternatives of a type: its union taken apart, annotations taken off."""
    if typing.get_origin(target) is typing.Annotated:
        return _members(typing.get_args(target)[0])
    if typing.get_origin(target) in {typing.Union, types.UnionType}:
        return [member for argument in typing.get_args(target) for member in _members(argument)]
    return [target]


def _follow(raw: Any, target: Any, path: str) -> tuple[Any, Any]:
    """The value at a path and the type that is wanted there, as far as both can be followed."""
    for step in _STEP.finditer(path):
        members = _members(target)
        if step["key"] is not None:
            structs = [m for m in members if isinstance(m, type) and issubclass(m, msgspec.Struct)]
            kind = raw.get("kind") if isinstance(raw, dict) else None
            if step["key"] != "kind":
                tagged = [m for m in structs if m.__struct_config__.tag == kind]
                structs = tagged or structs
                hints = typing.get_type_hints(structs[0], include_extras=True) if structs else {}
                target = hints.get(step["key"])
            raw = raw.get(step["key"]) if isinstance(raw, dict) else None
        elif step["index"] == "...":
            raw, target = None, None
        else:
            index = int(step["index"])
            raw = raw[index] if isinstance(raw, (list, tuple)) and index < len(raw) else None
            inner = [m for m in members if typing.get_origin(m) in {tuple, list}]
            structs = [m for m in members if isinstance(m, type) and issubclass(m, msgspec.Struct)]
            if inner:
                arguments = typing.get_args(inner[0])
                target = arguments[0] if len(arguments) <= 2 else arguments[min(index, len(arguments) - 1)]
            elif structs:  # a struct that is written as an array
                names = structs[0].__struct_fields__
                target = typing.get_type_hints(structs[0]).get(names[index]) if index < len(names) else None
            else:
                target = None
    return raw, target
