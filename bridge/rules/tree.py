"""What an expression is made of, and its two ways of being computed: by compiled code, and node by node.

The compiled code is quick and knows only values that are there and fit; wherever one is missing or does not fit it hands over
to the evaluation node by node, which has the three-valued logic. Both give the same value for every input.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

Scalar = bool | int | float | str | None

ARITHMETIC: dict[str, Callable[[Any, Any], Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
}
COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
FUNCTIONS: dict[str, Callable[..., Any]] = {"abs": abs, "min": min, "max": max}
_FAULTS = (ArithmeticError, TypeError, ValueError)
_NUMBERS = frozenset({bool, int, float})


class _Kind:
    """What a node's value can be: `number` (truth values are 0 and 1), `text`, or `any` for an input."""

    def kind(self) -> str:
        """`number`, `text` or `any`."""
        return "number"


@dataclass(frozen=True)
class Constant(_Kind):
    """A number, a truth value or text."""

    value: bool | int | float | str

    def kind(self) -> str:
        """By its value."""
        return "text" if isinstance(self.value, str) else "number"


@dataclass(frozen=True)
class Name(_Kind):
    """An input, by its place."""

    index: int

    def kind(self) -> str:
        """Known only when it comes."""
        return "any"


@dataclass(frozen=True)
class Not(_Kind):
    """Logical negation."""

    item: Node


@dataclass(frozen=True)
class Both(_Kind):
    """All of the items hold."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Either(_Kind):
    """One of the items holds."""

    items: tuple[Node, ...]


@dataclass(frozen=True)
class Comparison(_Kind):
    """A chain: `items[0] operators[0] items[1] operators[1] ...`."""

    items: tuple[Node, ...]
    operators: tuple[str, ...]


@dataclass(frozen=True)
class Member(_Kind):
    """Equal to one of the constants, or with `negated` to none."""

    item: Node
    options: tuple[bool | int | float | str, ...]
    negated: bool


@dataclass(frozen=True)
class Arithmetic(_Kind):
    """Two numbers and an operator."""

    operator: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Negation(_Kind):
    """Minus."""

    item: Node


@dataclass(frozen=True)
class Function(_Kind):
    """`abs`, `min` or `max`."""

    name: str
    items: tuple[Node, ...]


Node = Constant | Name | Not | Both | Either | Comparison | Member | Arithmetic | Negation | Function


def children(node: Node) -> tuple[Node, ...]:
    """The nodes directly below."""
    if isinstance(node, (Not, Negation, Member)):
        return (node.item,)
    if isinstance(node, (Both, Either, Comparison, Function)):
        return node.items
    if isinstance(node, Arithmetic):
        return (node.left, node.right)
    return ()


def names_in(node: Node) -> Iterator[int]:
    """The places of all inputs in a tree, in the order of the text, with repetitions."""
    if isinstance(node, Name):
        yield node.index
    for child in children(node):
        yield from names_in(child)


def truth_of(value: Scalar) -> bool | None:
    """Whether a value holds: None for unknown, text and NaN."""
    if value is None or isinstance(value, str) or value != value:
        return None
    return bool(value)


# -- node by node, three-valued ----------------------------------------------------------------------------------------


def evaluate(node: Node, values: Sequence[Scalar], faults: list[str]) -> Scalar:
    """The value of a tree; None is unknown. What did not fit is told in `faults`. Never raises for a `Scalar`."""
    if isinstance(node, Constant):
        return node.value
    if isinstance(node, Name):
        value = values[node.index]
        return None if isinstance(value, float) and math.isnan(value) else value
    if isinstance(node, Not):
        held = _holds(node.item, values, faults)
        return None if held is None else not held
    if isinstance(node, Both):
        return _all([_holds(item, values, faults) for item in node.items])
    if isinstance(node, Either):
        held = _all([_inverse(_holds(item, values, faults)) for item in node.items])
        return _inverse(held)
    if isinstance(node, Comparison):
        items = [evaluate(item, values, faults) for item in node.items]
        pairs = zip(node.operators, items, items[1:])  # noqa: B905 - one more item than operators, and one less pair
        return _all([_compare(op, left, right, faults) for op, left, right in pairs])
    if isinstance(node, Member):
        value = evaluate(node.item, values, faults)
        equal = [_compare("==", value, option, faults) for option in node.options]
        among = _inverse(_all([_inverse(one) for one in equal]))
        return _inverse(among) if node.negated else among
    numbers = [_number(child, values, faults) for child in children(node)]
    known = [number for number in numbers if number is not None]
    if len(known) < len(numbers):
        return None
    try:
        if isinstance(node, Arithmetic):
            result = ARITHMETIC[node.operator](*known)
        elif isinstance(node, Negation):
            result = -known[0]
        else:
            result = FUNCTIONS[node.name](*known)
    except _FAULTS as error:
        faults.append(str(error))
        return None
    if result != result:
        faults.append("not a number")
        return None
    return result  # type: ignore[no-any-return]


def _holds(node: Node, values: Sequence[Scalar], faults: list[str]) -> bool | None:
    value = evaluate(node, values, faults)
    if isinstance(value, str):
        faults.append("text is neither true nor false")
    return truth_of(value)


def _number(node: Node, values: Sequence[Scalar], faults: list[str]) -> int | float | None:
    value = evaluate(node, values, faults)
    if isinstance(value, str):
        faults.append("arithmetic with text")
        return None
    return value


def _compare(op: str, left: Scalar, right: Scalar, faults: list[str]) -> bool | None:
    if left is None or right is None:
        return None
    if isinstance(left, str) is not isinstance(right, str):
        faults.append("text compared with a number")
        return None
    return COMPARE[op](left, right)


def _all(held: list[bool | None]) -> bool | None:
    if False in held:
        return False
    return None if None in held else True


def _inverse(held: bool | None) -> bool | None:
    return None if held is None else not held


# -- compiled ----------------------------------------------------------------------------------------------------------


def fast_source(tree: Node) -> tuple[str, dict[str, Any]]:
    """Source of a function `_fast(v)` that computes a tree, and the names that it needs beside `_slow`.

    It holds names that are made here, operators of the whitelist, and constants by reference: nothing of the text.
    """
    writer = _Writer()
    body = writer.write(tree)
    tests = []
    lines = ["def _fast(v):"]
    for index in dict.fromkeys(names_in(tree)):
        lines.append(f"    a{index} = v[{index}]")
        needs = writer.needs.get(index, set())
        if "text" in needs:
            tests.append(f"a{index}.__class__ is not _text")
        if "number" in needs:
            tests.append(f"a{index}.__class__ not in _numbers or a{index} != a{index}")
        if not needs:
            tests.append(f"a{index} is None or a{index} != a{index}")
    for left, right in writer.pairs:
        tests.append(f"(a{left}.__class__ is _text) is not (a{right}.__class__ is _text)")
    lines += [f"    if {' or '.join(tests)}:", "        return _slow(v)"] if tests else []
    lines += ["    try:", f"        return {body}", "    except _faults:", "        return _slow(v)"]
    space: dict[str, Any] = {"_numbers": _NUMBERS, "_text": str, "_faults": _FAULTS, "__builtins__": {}, **writer.space}
    return "\n".join(lines) + "\n", space


def _not_a_number() -> None:
    raise ArithmeticError("not a number")


class _Writer:
    """Writes a tree as Python, and notes what each input must be for that Python to mean what the tree means."""

    def __init__(self) -> None:
        self.needs: dict[int, set[str]] = {}
        self.pairs: list[tuple[int, int]] = []
        self.space: dict[str, Any] = {"_nan": _not_a_number, **FUNCTIONS}

    def write(self, node: Node, *, inside: bool = False) -> str:
        """Python for a node; `inside` arithmetic, where the result is not yet looked at."""
        if isinstance(node, Constant):
            name = f"c{len(self.space)}"
            self.space[name] = node.value
            return name
        if isinstance(node, Name):
            return f"a{node.index}"
        if isinstance(node, Not):
            return f"(not {self._condition(node.item)})"
        if isinstance(node, (Both, Either)):
            word = " and " if isinstance(node, Both) else " or "
            joined = word.join(self._condition(item) for item in node.items)
            plain = all(isinstance(item, (Not, Both, Either, Comparison, Member)) for item in node.items)
            return f"({joined})" if plain else f"(not not ({joined}))"
        if isinstance(node, Comparison):
            return self._comparison(node)
        if isinstance(node, Member):
            self._need(node.item, "text" if isinstance(node.options[0], str) else "number")
            name = f"c{len(self.space)}"
            self.space[name] = node.options
            return f"({self.write(node.item)} {'not in' if node.negated else 'in'} {name})"
        for child in children(node):
            self._need(child, "number")
        if isinstance(node, Arithmetic):
            text = f"({self.write(node.left, inside=True)} {node.operator} {self.write(node.right, inside=True)})"
        elif isinstance(node, Negation):
            text = f"(-{self.write(node.item, inside=True)})"
        else:
            # NaN must not reach min and max: they would hide it.
            text = f"{node.name}({', '.join(self.write(item) for item in node.items)})"
        if inside or isinstance(node, Function):
            return text
        name = f"t{len(self.space)}"
        self.space[name] = None  # takes the number, so that the next one differs
        return f"({name} if ({name} := {text}) == {name} else _nan())"

    def _condition(self, node: Node) -> str:
        self._need(node, "number")
        return self.write(node)

    def _need(self, node: Node, kind: str) -> None:
        if isinstance(node, Name):
            self.needs.setdefault(node.index, set()).add(kind)

    def _comparison(self, node: Comparison) -> str:
        text = self.write(node.items[0])
        for i, op in enumerate(node.operators):
            left, right = node.items[i], node.items[i + 1]
            if isinstance(left, Name) and isinstance(right, Name):
                self.pairs.append((left.index, right.index))
            elif isinstance(left, Name):
                self._need(left, right.kind())
            elif isinstance(right, Name):
                self._need(right, left.kind())
            text += f" {op} {self.write(right)}"
        return f"({text})"
