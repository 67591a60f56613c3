"""Why a condition is what it is: the comparisons in it that decide, in the words of evidence.

A failure that a rule infers must show what in the telemetry it was inferred from. The condition is taken apart: of `a and b`
that holds both count, of `a or b` the one that holds, under `not` the other way round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from bridge.rules.tree import (
    COMPARE,
    Both,
    Comparison,
    Constant,
    Either,
    Member,
    Name,
    Negation,
    Node,
    Not,
    Scalar,
    evaluate,
    names_in,
    truth_of,
)

_INVERSE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_MIRRORED = {"==": "==", "!=": "!=", "<": ">", ">": "<", "<=": ">=", ">=": "<="}
_EXTREME = {">": "min", ">=": "min", "<": "max", "<=": "max"}


class Finding(NamedTuple):
    """One comparison that is true now: the input's place, the operator, what it is compared with."""

    place: int
    op: str
    threshold: bool | int | float | str

    def aggregate_throughout(self) -> str:
        """The aggregate whose comparison says that this one was true throughout a window."""
        return _EXTREME.get(self.op, "last")


def findings(tree: Node, values: Sequence[Scalar]) -> list[Finding]:
    """What decides that the condition is true, or false, for these values; empty where it is unknown.

    All of them are true statements about the values. No input is named twice with the same comparison.
    """
    held = truth_of(evaluate(tree, values, []))
    if held is None:
        return []
    return list(dict.fromkeys(_decisive(tree, values, held)))


def readings(tree: Node, values: Sequence[Scalar]) -> list[Finding]:
    """The inputs of an expression that have a value, each with the value that it has."""
    return [_is(index, values) for index in dict.fromkeys(names_in(tree)) if values[index] is not None]


def throughout(tree: Node) -> bool:
    """Whether each comparison in the condition holds all the time that the condition holds: only `and` joins them."""
    if isinstance(tree, Both):
        return all(throughout(item) for item in tree.items)
    return not isinstance(tree, (Not, Either, Member))


def _is(index: int, values: Sequence[Scalar]) -> Finding:
    value = values[index]
    assert value is not None
    return Finding(index, "==", value)


def _decisive(node: Node, values: Sequence[Scalar], held: bool) -> Iterator[Finding]:
    if isinstance(node, Not):
        yield from _decisive(node.item, values, not held)
    elif isinstance(node, (Both, Either)):
        everything = held if isinstance(node, Both) else not held
        for item in node.items:
            if everything or truth_of(evaluate(item, values, [])) is held:
                yield from _decisive(item, values, held)
    elif isinstance(node, Comparison):
        yield from _compared(node, values, held)
    elif isinstance(node, Name):
        value = values[node.index]
        if value is not None:
            # A bit that is set reads 1; any other number that counts as true is only known not to be 0.
            yield (
                Finding(node.index, "==", value)
                if isinstance(value, bool) or not value
                else Finding(node.index, "!=", 0)
            )
    else:
        yield from readings(node, values)


def _compared(node: Comparison, values: Sequence[Scalar], held: bool) -> Iterator[Finding]:
    for i, op in enumerate(node.operators):
        left, right = node.items[i], node.items[i + 1]
        a, b = evaluate(left, values, []), evaluate(right, values, [])
        if a is None or b is None or isinstance(a, str) is not isinstance(b, str) or COMPARE[op](a, b) is not held:
            continue  # of a chain that is false, only the link that breaks
        true_op = op if held else _INVERSE[op]
        for side, value, said in ((left, b, true_op), (right, a, _MIRRORED[true_op])):
            if isinstance(side, Name):
                yield Finding(side.index, said, value)
            elif isinstance(side, Negation) and isinstance(side.item, Name) and not isinstance(value, str):
                yield Finding(side.item.index, _MIRRORED[said], -value)
            elif not isinstance(side, Constant):
                # `force - weight > 2`: what the threshold can not be told of, by its value.
                yield from readings(side, values)
