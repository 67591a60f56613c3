"""Types and values in plain words: what was expected, what was found, and how YAML reads a plain value."""

from __future__ import annotations

import re
from enum import Enum
from typing import Any, Final

from msgspec import inspect

from bridge.site.document import Mapping, Node, Scalar, Sequence
from bridge.site.secret import Secret, mask

_YAML_1_2_FLOAT: Final = re.compile(r"^[-+]?[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?$")
_TRUE: Final = {"yes", "true", "on"}
_LONGEST: Final = 60
_ENDLESS: Final = 2**53
"""A limit this far away says only how a number is stored: it is not worth a word."""


def whole(text: str) -> int:
    """What YAML 1.1 reads a scalar of its type `int` as: decimal, 0b, 0x, octal with a leading 0, base 60 with colons."""
    plain = text.replace("_", "").lower()
    sign = -1 if plain.startswith("-") else 1
    plain = plain.lstrip("+-")
    if plain.startswith("0b"):
        return sign * int(plain[2:], 2)
    if plain.startswith("0x"):
        return sign * int(plain[2:], 16)
    if ":" in plain:
        value = 0
        for part in plain.split(":"):
            value = value * 60 + int(part)
        return sign * value
    if plain.startswith("0") and len(plain) > 1:
        return sign * int(plain, 8)
    return sign * int(plain)


def real(text: str) -> float | None:
    """A number as YAML 1.1 or 1.2 writes it (`1e3` is text to YAML 1.1, a number to everyone else); None for other text."""
    plain = text.replace("_", "").lower()
    bare = plain.lstrip("+-")
    if bare in (".inf", ".nan"):
        return float(plain.replace(".", "", 1))
    if ":" in plain:
        value = 0.0
        for part in bare.split(":"):
            value = value * 60 + float(part)
        return -value if plain.startswith("-") else value
    if _YAML_1_2_FLOAT.match(text) or re.match(r"^[-+]?\.[0-9]+(e[-+]?[0-9]+)?$", plain):
        return float(plain)
    return None


def truth(text: str) -> bool:
    """What YAML 1.1 reads a scalar of its type `bool` as."""
    return text.lower() in _TRUE


def trap(node: Scalar) -> str | None:
    """Why a plain number is not what it looks like, or None: base 60 and octal, which only YAML 1.1 has."""
    if node.quoted or node.tag not in ("int", "float"):
        return None
    if ":" in node.text:
        value = whole(node.text) if node.tag == "int" else real(node.text)
        return f"YAML reads {node.text} in base 60, as the number {value:g}"
    plain = node.text.lstrip("+-")
    if node.tag == "int" and len(plain) > 1 and plain[0] == "0" and plain[1] not in "xXbB":
        return f"YAML reads {node.text} in octal, as the number {whole(node.text)}"
    return None


def plain(node: Node) -> Any:
    """A node as builtins, by YAML's own types; dates stay text."""
    if isinstance(node, Mapping):
        return {key: plain(entry.value) for key, entry in node.entries.items()}
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    if node.tag == "null":
        return None
    if node.tag == "bool":
        return truth(node.text)
    if node.tag == "int":
        return whole(node.text)
    if node.tag == "float":
        return real(node.text)
    return node.text


def found(node: Node) -> str:
    """What stands there, in words; a password in a URL is masked."""
    if isinstance(node, Mapping):
        keys = ", ".join(list(node.entries)[:4]) + (", ..." if len(node.entries) > 4 else "")
        return f"a mapping with the keys {keys}" if keys else "an empty mapping"
    if isinstance(node, Sequence):
        return f"a list of {len(node.items)}" if node.items else "an empty list"
    if node.tag == "null":
        return "nothing"
    if node.tag == "bool":
        word = "true" if truth(node.text) else "false"
        return word if node.text == word else f"{node.text}, which YAML reads as {word}"
    if node.tag in ("int", "float"):
        return f"the number {node.text}"
    text = mask(node.text)
    return f"the text {text if len(text) <= _LONGEST else text[:_LONGEST] + '...'!r}" if text else "an empty text"


def unwrap(kind: inspect.Type) -> tuple[inspect.Type, str]:
    """The type without its notes, and the description among them."""
    words = ""
    while isinstance(kind, inspect.Metadata):
        words = words or str((kind.extra_json_schema or {}).get("description", ""))
        kind = kind.type
    return kind, words


def type_words(kind: Any) -> str:
    """What an annotated Python type wants, in words."""
    return expected(inspect.type_info(kind))


def choices(kind: inspect.Type) -> list[str] | None:
    """The words that an enumeration or a literal allows, or None for another type."""
    if isinstance(kind, inspect.EnumType):
        members: list[Enum] = list(kind.cls)
        return [str(member.value) for member in members]
    if isinstance(kind, inspect.LiteralType):
        return [str(value) for value in kind.values]
    return None


def expected(kind: inspect.Type) -> str:
    """What a type wants, in words: `a whole number from 1 to 65535`, `one of twin, testbed, field`."""
    kind, words = unwrap(kind)
    if words and not isinstance(kind, inspect.UnionType):
        return words
    allowed = choices(kind)
    if allowed is not None:
        return f"one of {', '.join(allowed)}" if len(allowed) > 1 else allowed[0]
    if isinstance(kind, inspect.BoolType):
        return "true or false"
    if isinstance(kind, (inspect.IntType, inspect.FloatType)):
        return _number(kind)
    if isinstance(kind, inspect.StrType):
        if kind.pattern:
            return f"text that matches {kind.pattern}"
        return "text that is not empty" if kind.min_length else "text"
    if isinstance(kind, inspect.NoneType):
        return "nothing"
    if isinstance(kind, inspect.TupleType):
        return f"a list of {len(kind.item_types)}: {', '.join(expected(item) for item in kind.item_types)}"
    if isinstance(kind, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)):
        return f"a list, each item {expected(kind.item_type)}"
    if isinstance(kind, inspect.DictType):
        return "a mapping (names with values below them)"
    if isinstance(kind, inspect.StructType):
        if issubclass(kind.cls, Secret):
            return "a secret kept elsewhere: {env: NAME} or {file: PATH}"
        names = [field.encode_name for field in kind.fields]
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        return f"a mapping with keys of {shown}" if names else "an empty mapping"
    if isinstance(kind, inspect.UnionType):
        some = [item for item in kind.types if not isinstance(item, inspect.NoneType)]
        return " or ".join(expected(item) for item in some)
    if isinstance(kind, inspect.AnyType):
        return "any value"
    return type(kind).__name__.removesuffix("Type").lower()


def _number(kind: inspect.IntType | inspect.FloatType) -> str:
    """A number's type with its limits."""
    what = "a whole number" if isinstance(kind, inspect.IntType) else "a number"
    low, high = kind.ge, kind.le
    if low is not None and low == high:
        return f"the number {_limit(low)}"
    if low is not None and high is not None and abs(low) < _ENDLESS and abs(high) < _ENDLESS:
        return f"{what} from {_limit(low)} to {_limit(high)}"
    limits = (("of at least", low), ("above", kind.gt), ("of at most", high), ("below", kind.lt))
    said = [f"{word} {_limit(value)}" for word, value in limits if value is not None and abs(value) < _ENDLESS]
    return " ".join([what, " and ".join(said)]).strip()


def _limit(value: float) -> str:
    """A limit as one writes it: 3600000, 0.5."""
    return f"{value:.16g}"
