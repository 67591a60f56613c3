"""Conditions of rules: a small language over named inputs, read once, then fast; it can not do anything but compute.

A text such as `cycle_done and alarm_code == 0` is read by Python's own parser, every node of the tree is compared with a short
list of what is allowed, and what is left is compiled. Nothing else can be written: no attributes, subscripts, powers, shifts,
calls (except `abs`, `min`, `max`), so a site file from a stranger can compute and nothing more.

The logic has three values (Kleene): an input without a value, because it was never seen or its quality is bad, is unknown
(None), and so is all that depends on it: `false and unknown` is false, `true and unknown` is unknown. What can not be computed
(text < number, a division by zero) is unknown too, and counted; no evaluation raises.
"""

from __future__ import annotations

import ast
import math
import unicodedata
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bridge.errors import SiteError
from bridge.names import nearest
from bridge.rules.tree import (
    ARITHMETIC,
    FUNCTIONS,
    Arithmetic,
    Both,
    Comparison,
    Constant,
    Either,
    Function,
    Member,
    Name,
    Negation,
    Node,
    Not,
    Scalar,
    evaluate,
    fast_source,
    names_in,
    truth_of,
)

LONGEST = 500
DEEPEST = 40
ALLOWED = (
    "allowed are the inputs' names, numbers, 'text', true and false, and or not, == != < <= > >=, in (1, 2), "
    "+ - * / // %, abs() min() max() and parentheses"
)
WORDS = {"true": True, "false": False, "True": True, "False": False}
RESERVED = frozenset({*WORDS, *FUNCTIONS})

_COMPARISONS: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_OPERATORS: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.FloorDiv: "//",
    ast.Mod: "%",
}
_REFUSED: dict[type[ast.AST], str] = {
    ast.Attribute: "a dotted name",
    ast.Subscript: "an index in brackets",
    ast.Call: "a call",
    ast.Lambda: "a function",
    ast.IfExp: "an if",
    ast.NamedExpr: "an assignment",
    ast.JoinedStr: "a formatted text",
    ast.ListComp: "a loop",
    ast.SetComp: "a loop",
    ast.DictComp: "a loop",
    ast.GeneratorExp: "a loop",
    ast.Tuple: "a list, other than after 'in',",
    ast.List: "a list, other than after 'in',",
    ast.Set: "a set, other than after 'in',",
    ast.Dict: "a map",
    ast.Starred: "a star",
    ast.Await: "await",
    ast.Yield: "yield",
    ast.YieldFrom: "yield",
    ast.Pow: "a power (**)",
    ast.LShift: "a shift (<<)",
    ast.RShift: "a shift (>>)",
    ast.BitAnd: "& (write 'and')",
    ast.BitOr: "| (write 'or')",
    ast.BitXor: "^",
    ast.MatMult: "@",
    ast.Invert: "~ (write 'not')",
    ast.Is: "'is' (write ==)",
    ast.IsNot: "'is not' (write !=)",
}
_MEANT = {"&&": "and", "||": "or", "<>": "!=", "===": "=="}


class Expression:
    """A compiled expression.

    `text` is what was written, `names` the inputs that it uses in the order of their first use, `indices` their places in the
    sequence of names that it was compiled against, `tree` what it was compiled from. `mismatches` counts evaluations that
    came out unknown because the values did not fit (text where a number is needed, a division by zero).
    """

    __slots__ = ("_all", "_fast", "indices", "mismatches", "names", "text", "tree")

    def __init__(self, text: str, tree: Node, all_names: tuple[str, ...]) -> None:
        self.text = text
        self.tree = tree
        used = list(dict.fromkeys(names_in(tree)))
        self.indices = tuple(used)
        self.names = tuple(all_names[index] for index in used)
        self.mismatches = 0
        self._all = all_names
        source, space = fast_source(tree)
        space["_slow"] = self._slow
        exec(compile(source, "<rule>", "exec"), space)
        self._fast: Callable[[Sequence[Scalar]], Scalar] = space["_fast"]

    def __call__(self, values: Sequence[Scalar] | Mapping[str, Scalar]) -> Scalar:
        """The value for the inputs' values, in the order of the names compiled against, or by name; None is unknown."""
        if values.__class__ is not list and isinstance(values, Mapping):
            values = [values.get(name) for name in self._all]
        return self._fast(values)

    def truth(self, values: Sequence[Scalar]) -> bool | None:
        """Whether the condition holds; None is unknown. A number holds when it is not 0; text is neither."""
        value = self._fast(values)
        if value is None or value is True or value is False:
            return value
        known = truth_of(value)
        if known is None:
            self.mismatches += 1
        return known

    def __repr__(self) -> str:
        return f"Expression({self.text!r})"

    def _slow(self, values: Sequence[Scalar]) -> Scalar:
        faults: list[str] = []
        value = evaluate(self.tree, values, faults)
        if faults:
            self.mismatches += 1
        return value


def compile_expression(text: str, names: Sequence[str], *, where: str = "") -> Expression:
    """Read and compile an expression over `names`.

    Raises `SiteError` that says the column, what is allowed, and for an unknown name which was probably meant. `where` is put
    before the column: the key in the site file.
    """
    return Expression(text, _Reader(text, tuple(names), where).read(), tuple(names))


class _Reader:
    """Reads one text into a tree of what is allowed."""

    def __init__(self, text: str, names: tuple[str, ...], where: str) -> None:
        self._text = text
        self._names = names
        self._where = where
        # Python's parser gives names in this form, whatever the keyboard made of them.
        self._index = {unicodedata.normalize("NFKC", name): index for index, name in enumerate(names)}

    def read(self) -> Node:
        """The tree, or `SiteError`."""
        text = self._text
        if len(text) > LONGEST:
            raise self._error(f"the expression has {len(text)} characters, {LONGEST} at most are allowed", 0)
        # A condition may be folded over several lines of the file; the parser is to see one.
        line = "".join(" " if character.isspace() else character for character in text)
        stripped = line.lstrip()
        self._shift = len(line) - len(stripped)
        self._line = stripped
        if not stripped:
            raise self._error("the expression is empty", 0)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                parsed = ast.parse(stripped, mode="eval")
        except SyntaxError as error:
            raise self._syntax(error) from None
        except (ValueError, MemoryError, RecursionError, Warning) as error:
            raise self._error(f"the expression can not be read: {error or type(error).__name__}", 0) from None
        tree = self._node(parsed.body, 0)
        if isinstance(tree, Constant):
            raise self._error("the expression is a constant; it never changes", parsed.body)
        return tree

    # -- errors ----------------------------------------------------------------------------------------------------

    def _error(self, what: str, at: ast.AST | int, hint: str = ALLOWED) -> SiteError:
        column = at if isinstance(at, int) else self._column(at)
        where = f"{self._where}, column {column + 1}" if self._where else f"column {column + 1}"
        return SiteError(what, where=where, hint=hint)

    def _column(self, node: ast.AST) -> int:
        offset = getattr(node, "col_offset", 0)  # of bytes
        return self._shift + len(self._line.encode()[:offset].decode(errors="replace"))

    def _syntax(self, error: SyntaxError) -> SiteError:
        # At the end of the text the parser gives 0.
        column = self._shift + (error.offset - 1 if error.offset else len(self._line.rstrip()))
        for wrong, right in _MEANT.items():
            if wrong in self._line:
                at = self._shift + self._line.index(wrong)
                return self._error(f"{wrong!r} is not understood; write {right!r}", at)
        bare = self._line.replace("==", "").replace("<=", "").replace(">=", "").replace("!=", "")
        if "=" in bare:
            return self._error("a single '=' is not understood; write '==' to compare", column)
        if "!" in bare:
            return self._error("'!' is not understood; write 'not'", self._shift + self._line.index("!"))
        return self._error(f"the expression can not be read: {error.msg}", column)

    def _refused(self, node: ast.AST, inside: ast.AST) -> SiteError:
        what = _REFUSED.get(type(node), type(node).__name__)
        return self._error(f"{what} is not allowed in an expression", node if hasattr(node, "col_offset") else inside)

    # -- nodes -----------------------------------------------------------------------------------------------------

    def _node(self, node: ast.expr, depth: int) -> Node:
        if depth > DEEPEST:
            raise self._error(f"the expression is nested more than {DEEPEST} deep", node)
        depth += 1
        if isinstance(node, ast.Constant):
            return self._constant(node)
        if isinstance(node, ast.Name):
            return self._name(node)
        if isinstance(node, ast.BoolOp):
            items = tuple(self._condition(value, depth) for value in node.values)
            return Both(items) if isinstance(node.op, ast.And) else Either(items)
        if isinstance(node, ast.UnaryOp):
            if isinstance(node.op, ast.Not):
                return Not(self._condition(node.operand, depth))
            if isinstance(node.op, ast.Invert):
                raise self._refused(node.op, node)
            item = self._number(node.operand, depth)
            if isinstance(node.op, ast.UAdd):
                return item
            if isinstance(item, Constant) and not isinstance(item.value, str):
                return Constant(-item.value)
            return Negation(item)
        if isinstance(node, ast.BinOp):
            operator = _OPERATORS.get(type(node.op))
            if operator is None:
                raise self._refused(node.op, node)
            return Arithmetic(operator, self._number(node.left, depth), self._number(node.right, depth))
        if isinstance(node, ast.Compare):
            return self._compare(node, depth)
        if isinstance(node, ast.Call):
            return self._call(node, depth)
        raise self._refused(node, node)

    def _constant(self, node: ast.Constant) -> Constant:
        value: Any = node.value
        if isinstance(value, (bool, int, str)):
            return Constant(value)
        if isinstance(value, float):
            if not math.isfinite(value):
                raise self._error("this number is too large", node)
            return Constant(value)
        what = "None" if value is None else f"{type(value).__name__} {ast.unparse(node)}"
        raise self._error(f"the constant {what} is not allowed in an expression", node)

    def _name(self, node: ast.Name) -> Node:
        if node.id in WORDS:
            return Constant(WORDS[node.id])
        index = self._index.get(node.id)
        if index is not None:
            return Name(index)
        near = nearest(node.id, [*self._names, *WORDS])
        known = ", ".join(self._names) or "none"
        if node.id.lower() in ("and", "or", "not", "in"):
            near = node.id.lower()
        meant = f"did you mean {near!r}? " if near else ""
        raise self._error(f"no input is named {node.id!r}", node, f"{meant}inputs of this rule set: {known}")

    def _condition(self, node: ast.expr, depth: int) -> Node:
        item = self._node(node, depth)
        if isinstance(item, Constant) and isinstance(item.value, str):
            raise self._error("text is neither true nor false; compare it", node)
        return item

    def _number(self, node: ast.expr, depth: int) -> Node:
        item = self._node(node, depth)
        if isinstance(item, Constant) and isinstance(item.value, str):
            raise self._error("arithmetic is for numbers, this is text", node)
        return item

    def _compare(self, node: ast.Compare, depth: int) -> Node:
        if isinstance(node.ops[0], (ast.In, ast.NotIn)):
            return self._member(node, depth)
        items = [self._node(node.left, depth)]
        operators = []
        for op, right in zip(node.ops, node.comparators, strict=True):
            operator = _COMPARISONS.get(type(op))
            if operator is None:
                if isinstance(op, (ast.In, ast.NotIn)):
                    raise self._error("'in' stands alone; put parentheses around the rest", node)
                raise self._refused(op, node)
            item = self._node(right, depth)
            kinds = {items[-1].kind(), item.kind()}
            if kinds == {"text", "number"}:
                raise self._error("text is compared with a number here; that is never true nor false", node)
            operators.append(operator)
            items.append(item)
        return Comparison(tuple(items), tuple(operators))

    def _member(self, node: ast.Compare, depth: int) -> Node:
        options = node.comparators[0]
        if len(node.ops) != 1 or not isinstance(options, (ast.Tuple, ast.List, ast.Set)):
            raise self._error("after 'in' a list of constants is needed, as in: state in (3, 4)", options)
        item = self._node(node.left, depth)
        constants = [self._node(option, depth) for option in options.elts]
        values = [constant.value for constant in constants if isinstance(constant, Constant)]
        kinds = {isinstance(value, str) for value in values}
        if len(values) != len(constants) or len(kinds) != 1:
            raise self._error("after 'in' all must be constants, all numbers or all text", options)
        if item.kind() not in ("any", "text" if kinds == {True} else "number"):
            raise self._error("text is compared with a number here; that is never true nor false", node)
        return Member(item, tuple(values), isinstance(node.ops[0], ast.NotIn))

    def _call(self, node: ast.Call, depth: int) -> Node:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            raise self._refused(node, node)
        name = node.func.id
        if node.keywords or any(isinstance(argument, ast.Starred) for argument in node.args):
            raise self._error(f"{name}() takes plain values", node)
        items = tuple(self._number(argument, depth) for argument in node.args)
        if len(items) != 1 if name == "abs" else len(items) < 2:
            raise self._error(f"{name}() takes {'one value' if name == 'abs' else 'two values or more'}", node)
        return Function(name, items)


assert set(_OPERATORS.values()) == set(ARITHMETIC)
