"""What a type of the site file can be told, field by field, read from the type: for `dari adapters` and the reference."""

from __future__ import annotations

import inspect as python_inspect
import re
from dataclasses import dataclass
from enum import Enum
from typing import Any

import msgspec
from msgspec import inspect

from bridge.site.words import expected, unwrap

_ATTRIBUTE = re.compile(r"^ {4}(\w+): (.*)$")


@dataclass(frozen=True)
class Field:
    """One key: what it takes in plain words, its default as one would write it (None where it must be given), its meaning."""

    name: str
    takes: str
    default: str | None
    meaning: str


def fields(kind: type[msgspec.Struct], without: type[msgspec.Struct] | None = None) -> list[Field]:
    """The keys of a struct type in the order of its definition, those that must be given first.

    With `without`, the keys that this base type has already are left out.
    """
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)
    _, meanings = described(kind)
    known = {f.encode_name for f in msgspec.structs.fields(without)} if without is not None else set()
    found = [
        Field(
            name=field.encode_name,
            takes=_takes(field.type),
            default=None if field.required else _written(_default(field)),
            meaning=meanings.get(field.encode_name, ""),
        )
        for field in info.fields
        if field.encode_name not in known
    ]
    return sorted(found, key=lambda field: field.default is not None)


def described(kind: type) -> tuple[str, dict[str, str]]:
    """A type's docstring as prose, and the meanings of its fields where it lists them under `Attributes:`."""
    text = python_inspect.cleandoc(kind.__doc__ or "")
    head, _, tail = text.partition("\nAttributes:\n")
    meanings: dict[str, str] = {}
    name = ""
    for line in tail.splitlines():
        match = _ATTRIBUTE.match(line)
        if match is not None:
            name = match[1]
            meanings[name] = match[2].strip()
        elif name and line.startswith(" " * 5):
            meanings[name] += " " + line.strip()
        elif line.strip():
            break
    return head.strip(), meanings


def nested(kind: type[msgspec.Struct]) -> list[type[msgspec.Struct]]:
    """The struct types that are met inside a type, each once, in the order in which they are met."""
    found: list[type[msgspec.Struct]] = []

    def look(info: inspect.Type) -> None:
        info, _ = unwrap(info)
        if isinstance(info, inspect.StructType):
            if info.cls not in found:
                found.append(info.cls)
                for field in info.fields:
                    look(field.type)
        elif isinstance(info, inspect.UnionType):
            for item in info.types:
                look(item)
        elif isinstance(info, inspect.DictType):
            look(info.value_type)
        elif isinstance(info, inspect.TupleType):
            for item in info.item_types:
                look(item)
        elif isinstance(info, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)):
            look(info.item_type)

    look(inspect.type_info(kind))
    return found[1:]


def _takes(kind: inspect.Type) -> str:
    """What a field takes; a mapping of known things says of what."""
    bare, _ = unwrap(kind)
    if isinstance(bare, inspect.UnionType):
        some = [item for item in bare.types if not isinstance(item, inspect.NoneType)]
        return " or ".join(_takes(item) for item in some)
    if isinstance(bare, inspect.StructType):
        return expected(kind) if bare.cls.__name__ == "Secret" else f"{bare.cls.__name__}"
    if isinstance(bare, inspect.DictType):
        value, _ = unwrap(bare.value_type)
        return (
            "names, each with any value" if isinstance(value, inspect.AnyType) else f"names, each with {_takes(value)}"
        )
    if isinstance(bare, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)):
        return f"a list, each item {_takes(bare.item_type)}"
    return expected(kind)


def _default(field: inspect.Field) -> Any:
    """The default value of a field that has one."""
    if field.default is not msgspec.NODEFAULT:
        return field.default
    return field.default_factory()


def _written(value: Any) -> str:
    """A default as one would write it in the file."""
    if value is None:
        return "not given"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, str):
        return value or "empty"
    if isinstance(value, float):
        return f"{value:.16g}"
    if isinstance(value, (dict, list, tuple, set, frozenset)):
        return ", ".join(_written(item) for item in value) if value else "empty"
    if isinstance(value, msgspec.Struct):
        return "its defaults"
    return str(value)
