"""Turns a tree into a typed value and notes every fault on the way, where `msgspec.convert` would stop at the first.

The types are read through `msgspec.inspect`, so that a site file's own types and an adapter's `Options` are checked alike:
strictly (an unknown key is a fault), with the place of each fault and, for what looks like a slip, what was probably meant.
"""

from __future__ import annotations

import functools
import math
import re
from typing import Any, Final
from uuid import UUID

import msgspec
from msgspec import inspect

from bridge.errors import DariError
from bridge.names import nearest
from bridge.site.document import Mapping, Node, Scalar, Sequence
from bridge.site.problem import Mark, Problems, dotted
from bridge.site.secret import HOW, Secret
from bridge.site.words import choices, expected, found, plain, real, trap, truth, unwrap, whole

Path = tuple[str, ...]


class Faulty:
    """What stands in for a value that could not be made; its fault is noted."""


FAULTY: Final = Faulty()


@functools.lru_cache(maxsize=256)
def type_info(kind: Any) -> inspect.Type:
    """`msgspec.inspect.type_info`, remembered."""
    return inspect.type_info(kind)


class Walker:
    """Makes typed values of a tree; faults go to `problems`, secrets that were met to `secrets`."""

    def __init__(self, problems: Problems) -> None:
        self.problems = problems
        self.secrets: list[tuple[Path, Mark, Secret]] = []

    def make(self, node: Node, kind: inspect.Type, path: Path, at: Mark) -> Any:
        """The value of `node` as `kind`, or `FAULTY`. `at` is the mark of the key above, for what is missing."""
        words = kind
        kind, _ = unwrap(kind)
        if isinstance(kind, inspect.AnyType):
            return plain(node)
        if isinstance(kind, inspect.UnionType):
            return self._union(node, kind, path, at)
        if isinstance(kind, inspect.StructType):
            return self._struct(node, kind, path, at)
        if isinstance(kind, inspect.DictType):
            return self._dict(node, kind, path, at)
        if isinstance(
            kind,
            (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType, inspect.TupleType),
        ):
            return self._list(node, kind, path, at)
        if not isinstance(node, Scalar):
            return self._wrong(node, words, path, at)
        return self._scalar(node, kind, words, path, at)

    def _wrong(self, node: Node, kind: inspect.Type, path: Path, at: Mark, hint: str = "") -> Faulty:
        """Note that something else was expected."""
        mark = at if isinstance(node, Scalar) and node.tag == "null" else node.mark
        if isinstance(node, Scalar):
            allowed = choices(unwrap(kind)[0])
            close = nearest(node.text, allowed) if allowed else None
            if close is not None:
                hint = f"did you mean {close!r}?"
            elif node.tag == "null" and not hint:
                hint = "write a value after the colon, or take the line out"
        self.problems.add(f"expected {expected(kind)}, found {found(node)}", mark, path, hint=hint)
        return FAULTY

    def _scalar(self, node: Scalar, kind: inspect.Type, words: inspect.Type, path: Path, at: Mark) -> Any:
        """A single value of a type that is neither a container nor a union."""
        if isinstance(kind, inspect.BoolType):
            if node.tag == "bool":
                return truth(node.text)
            hint = "take the quotes away" if node.quoted and node.text.lower() in ("true", "false") else ""
            return self._wrong(node, words, path, at, hint)
        if isinstance(kind, (inspect.IntType, inspect.FloatType)):
            return self._number(node, kind, words, path, at)
        if isinstance(kind, inspect.StrType):
            return self._text(node, kind, words, path, at)
        if isinstance(kind, inspect.NoneType):
            return None if node.tag == "null" else self._wrong(node, words, path, at)
        if isinstance(kind, (inspect.EnumType, inspect.LiteralType)):
            values = [m.value for m in kind.cls] if isinstance(kind, inspect.EnumType) else list(kind.values)
            value = node.text if node.quoted or node.tag == "timestamp" else plain(node)
            if any(value == known and type(value) is type(known) for known in values):
                return kind.cls(value) if isinstance(kind, inspect.EnumType) else value
            hint = ""
            if node.text in values:  # `on`, `12:30`: written right, and read by YAML as something else
                hint = f"put it in quotes: '{node.text}'"
            return self._wrong(node, words, path, at, hint)
        if isinstance(kind, inspect.UUIDType):
            try:
                return UUID(node.text)
            except ValueError:
                return self._wrong(node, words, path, at)
        raise TypeError(f"a site file can not hold a value of type {kind}: it is at {dotted(path)}")

    def _number(
        self, node: Scalar, kind: inspect.IntType | inspect.FloatType, words: inspect.Type, path: Path, at: Mark
    ) -> Any:
        """A number within its limits."""
        sly = trap(node)
        if sly is not None:
            self.problems.add(sly, node.mark, path, hint="write the number that is meant, in decimal")
            return FAULTY
        value: float | int
        if node.tag == "int":
            value = whole(node.text)
        elif node.quoted:
            hint = "take the quotes away" if real(node.text) is not None else ""
            return self._wrong(node, words, path, at, hint)
        else:
            number = real(node.text) if node.tag in ("float", "str") else None
            if number is None:
                octal = re.match(r"^0o[0-7]+$", node.text)
                return self._wrong(node, words, path, at, f"write {int(node.text, 8)}" if octal else "")
            value = number
        if not math.isfinite(value):
            return self._wrong(node, words, path, at, "write a finite number")
        if isinstance(kind, inspect.IntType):
            if isinstance(value, float):
                return self._wrong(node, words, path, at, f"write {value:.0f}" if value.is_integer() else "")
        else:
            value = float(value)
        low = (kind.ge is not None and value < kind.ge) or (kind.gt is not None and value <= kind.gt)
        high = (kind.le is not None and value > kind.le) or (kind.lt is not None and value >= kind.lt)
        if low or high or (kind.multiple_of is not None and value % kind.multiple_of):
            return self._wrong(node, words, path, at)
        return value

    def _text(self, node: Scalar, kind: inspect.StrType, words: inspect.Type, path: Path, at: Mark) -> Any:
        """Text. What YAML reads as something else must stand in quotes, since no one can tell what was meant."""
        if node.tag in ("bool", "int", "float"):
            sly = trap(node)
            hint = f"put it in quotes: '{node.text}'" + (f" ({sly})" if sly else "")
            return self._wrong(node, words, path, at, hint)
        if node.tag == "null":
            return self._wrong(node, words, path, at)
        text = node.text
        fits = (kind.min_length is None or len(text) >= kind.min_length) and (
            kind.max_length is None or len(text) <= kind.max_length
        )
        if not fits or (kind.pattern is not None and re.search(kind.pattern, text) is None):
            return self._wrong(node, words, path, at)
        if "${" in text:
            self.problems.add(
                "nothing is filled in here: the text is taken as it stands, with its ${",
                node.mark,
                path,
                hint="a secret is named as {env: NAME}; anything else is written out",
                warning=True,
            )
        return text

    def _dict(self, node: Node, kind: inspect.DictType, path: Path, at: Mark) -> Any:
        """Names with values below them. Empty is what one gets by commenting out all that was there."""
        if isinstance(node, Scalar) and node.tag == "null":
            return {}
        if not isinstance(node, Mapping):
            return self._wrong(node, kind, path, at)
        name_kind, _ = unwrap(kind.key_type)
        made: dict[Any, Any] = {}
        faulty = False
        for name, entry in node.entries.items():
            here = (*path, name)
            key: Any = name
            if isinstance(name_kind, inspect.StrType):
                if name_kind.pattern is not None and re.search(name_kind.pattern, name) is None:
                    self.problems.add(f"{name!r} is not {expected(kind.key_type)}", entry.key, here, hint="rename it")
                    faulty = True
            else:
                scalar = Scalar(entry.key, name, "int" if re.match(r"^[-+]?\d+$", name) else "str", False)
                key = self._scalar(scalar, name_kind, kind.key_type, here, entry.key)
            value = self.make(entry.value, kind.value_type, here, entry.key)
            if value is FAULTY or key is FAULTY:
                faulty = True
            else:
                made[key] = value
        return FAULTY if faulty else made

    def _list(self, node: Node, kind: Any, path: Path, at: Mark) -> Any:
        """A list, tuple or set."""
        if isinstance(node, Scalar) and node.tag == "null" and not isinstance(kind, inspect.TupleType):
            items: tuple[Node, ...] = ()
        elif isinstance(node, Sequence):
            items = node.items
        else:
            hint = "write it as a list: [" + (node.text if isinstance(node, Scalar) else "...") + "]"
            return self._wrong(node, kind, path, at, hint)
        if isinstance(kind, inspect.TupleType):
            if len(items) != len(kind.item_types):
                return self._wrong(node, kind, path, at)
            kinds = list(kind.item_types)
        else:
            kinds = [kind.item_type] * len(items)
        made = [
            self.make(item, k, (*path, f"[{i}]"), item.mark)
            for i, (item, k) in enumerate(zip(items, kinds, strict=True))
        ]
        if any(value is FAULTY for value in made):
            return FAULTY
        if isinstance(kind, inspect.ListType):
            return made
        if isinstance(kind, inspect.SetType):
            return set(made)
        return frozenset(made) if isinstance(kind, inspect.FrozenSetType) else tuple(made)

    def _union(self, node: Node, kind: inspect.UnionType, path: Path, at: Mark) -> Any:
        """The one alternative that fits; where none does, the faults of the one that comes nearest."""
        null = isinstance(node, Scalar) and node.tag == "null"
        if null and kind.includes_none:
            return None
        some = [item for item in kind.types if not isinstance(unwrap(item)[0], inspect.NoneType)]
        if len(some) == 1:
            return self.make(node, some[0], path, at)
        secret = [item for item in some if _is_secret(item)]
        if secret and not isinstance(node, Mapping):
            return self.make(node, secret[0], path, at)
        fitting = [item for item in some if _fits(node, item)]
        if not fitting:
            return self._wrong(node, kind, path, at)
        best: list[Any] | None = None
        for item in fitting:
            trial = Walker(Problems(self.problems.path))
            value = trial.make(node, item, path, at)
            if value is not FAULTY:
                self.problems.all += trial.problems.all
                self.secrets += trial.secrets
                return value
            if best is None or len(trial.problems.all) < len(best):
                best = trial.problems.all
        if isinstance(node, Scalar):
            return self._wrong(node, kind, path, at)
        self.problems.all += best or []
        return FAULTY

    def _struct(self, node: Node, kind: inspect.StructType, path: Path, at: Mark) -> Any:
        """A mapping with known keys."""
        secret = issubclass(kind.cls, Secret)
        if isinstance(node, Scalar) and node.tag == "null" and not secret:
            node = Mapping(at, {}, 1, 1)
        if not isinstance(node, Mapping):
            if not secret or _is_null(node):
                return self._wrong(node, kind, path, at, HOW if secret else "")
            what = "a secret must not stand in a site file, which is copied, shared and written into every log"
            self.problems.add(what, node.mark, path, hint=HOW, secret=True)
            return FAULTY
        fields = {field.encode_name: field for field in kind.fields}
        unsaid = {name for name, field in fields.items() if field.required and name not in node.entries}
        values: dict[str, Any] = {}
        faulty = False
        for name, entry in node.entries.items():
            if name == kind.tag_field:
                continue
            if name not in fields:
                faulty = True
                meant = self._unknown(name, entry.key, path, list(fields), set(node.entries), secret)
                if meant:
                    unsaid.discard(meant)  # one slip, one fault
                continue
            value = self.make(entry.value, fields[name].type, (*path, name), entry.key)
            if value is FAULTY:
                faulty = True
            else:
                values[fields[name].name] = value
        for name in [name for name in fields if name in unsaid]:
            faulty = True
            want = expected(fields[name].type)
            self.problems.add(f"the key {name!r} is missing", at, path, hint=f"write {name}: ({want})")
        if faulty or any(field.required and field.name not in values for field in kind.fields):
            return FAULTY
        try:
            made = kind.cls(**values)
        except DariError as error:
            self.problems.add(error.what, at, path, hint=error.hint)
            return FAULTY
        except (ValueError, TypeError) as error:
            self.problems.add(str(error), at, path)
            return FAULTY
        if isinstance(made, Secret):
            self.secrets.append((path, at, made))
        return made

    def _unknown(
        self, name: str, mark: Mark, path: Path, known: list[str], present: set[str], secret: bool
    ) -> str | None:
        """Note an unknown key; returns the key that was probably meant."""
        if any(problem.mark == mark for problem in self.problems.all):
            return None  # YAML's own reading of this key is a fault that was told already
        meant = nearest(name.lower().replace("-", "_"), [word for word in known if word not in present])
        hint = (
            HOW if secret else f"did you mean {meant!r}?" if meant else f"known keys here: {', '.join(known) or 'none'}"
        )
        self.problems.add(f"the key {name!r} is not known here", mark, (*path, name), hint=hint, secret=secret)
        return meant


def _is_secret(kind: inspect.Type) -> bool:
    kind, _ = unwrap(kind)
    return isinstance(kind, inspect.StructType) and issubclass(kind.cls, Secret)


def _is_null(node: Node) -> bool:
    return isinstance(node, Scalar) and node.tag == "null"


def _fits(node: Node, kind: inspect.Type) -> bool:
    """Whether a node of this shape can be this alternative of a union at all."""
    kind, _ = unwrap(kind)
    if isinstance(kind, inspect.AnyType):
        return True
    if isinstance(kind, inspect.StructType):
        if not isinstance(node, Mapping):
            return False
        tagged = node.entries.get(kind.tag_field) if kind.tag_field is not None else None
        return tagged is None or plain(tagged.value) == kind.tag
    if isinstance(kind, inspect.DictType):
        return isinstance(node, Mapping)
    if isinstance(node, Mapping):
        return False
    is_list = isinstance(
        kind,
        (inspect.ListType, inspect.VarTupleType, inspect.TupleType, inspect.SetType, inspect.FrozenSetType),
    )
    return is_list == isinstance(node, Sequence)


def convert(node: Node, kind: type[msgspec.Struct], walker: Walker, path: Path, at: Mark) -> Any:
    """The value of `node` as a struct type, or `FAULTY`."""
    return walker.make(node, type_info(kind), path, at)
