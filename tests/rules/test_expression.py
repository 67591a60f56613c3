"""The language of conditions: what it computes, what it refuses, and that nothing else gets through."""

from __future__ import annotations

import ast
import math
import operator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.errors import SiteError
from bridge.rules.expression import LONGEST, Expression, compile_expression
from bridge.rules.tree import evaluate

NAMES = ["start", "done", "alarm", "force", "text", "온도"]


def value(expression: str, /, **values: object) -> object:
    return compile_expression(expression, NAMES)(values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("start", {"start": True}, True),
        ("not start", {"start": True}, False),
        ("done and alarm == 0", {"done": True, "alarm": 0}, True),
        ("done and alarm == 0", {"done": True, "alarm": 7}, False),
        ("force > 2.5 or start", {"force": 2.0, "start": False}, False),
        ("0 < force <= 5", {"force": 5}, True),
        ("0 < force <= 5", {"force": 5.1}, False),
        ("force - 2 * alarm >= -1", {"force": 5.0, "alarm": 3}, True),
        ("alarm // 2 % 3 == 1", {"alarm": 8}, True),
        ("abs(force - 3) < 0.5", {"force": 2.6}, True),
        ("max(force, alarm) == 7 and min(force, alarm, 1) == 1", {"force": 2, "alarm": 7}, True),
        ("alarm in (3, 4, 5)", {"alarm": 4}, True),
        ("alarm not in (3, 4, 5)", {"alarm": 4}, False),
        ("text == 'RUN'", {"text": "RUN"}, True),
        ("text in ('RUN', 'HOLD')", {"text": "STOP"}, False),
        ("start == true and done == false", {"start": True, "done": False}, True),
        ("start + done + (alarm > 0) >= 2", {"start": True, "done": False, "alarm": 1}, True),
        ("온도 > 80", {"온도": 81}, True),
        ("start\n  and done", {"start": True, "done": True}, True),
        ("force * 2", {"force": 1.5}, 3.0),
        ("-force", {"force": 1.5}, -1.5),
    ],
)
def test_it_computes(text: str, values: dict[str, object], expected: object) -> None:
    assert value(text, **values) == expected


UNKNOWN: dict[str, object] = {"start": None}


@pytest.mark.parametrize(
    ("text", "values", "expected"),
    [
        ("start and done", {"start": None, "done": False}, False),
        ("done and start", {"start": None, "done": False}, False),
        ("start and done", {"start": None, "done": True}, None),
        ("start or done", {"start": None, "done": True}, True),
        ("start or done", {"start": None, "done": False}, None),
        ("not start", {"start": None}, None),
        ("alarm == 0", {"alarm": None}, None),
        ("alarm in (1, 2)", {"alarm": None}, None),
        ("force + 1 > 0", {"force": None}, None),
        ("0 < force < 5", {"force": None}, None),
        ("10 < alarm < force", {"alarm": 3, "force": None}, False),
        ("done and alarm == 0", {"done": False}, False),
        ("force > 0", {"force": math.nan}, None),
        ("not (force > 0)", {"force": math.nan}, None),
        ("force", {"force": math.nan}, None),
        ("force == text", {"force": math.nan, "text": "x"}, None),
    ],
)
def test_what_is_not_known_is_unknown(text: str, values: dict[str, object], expected: object) -> None:
    assert value(text, **values) is expected


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("text < 3", {"text": "RUN"}),
        ("text == 3", {"text": "RUN"}),
        ("alarm == 'RUN'", {"alarm": 3}),
        ("alarm != 'RUN'", {"alarm": 3}),
        ("alarm in ('RUN', 'HOLD')", {"alarm": 3}),
        ("text + text == text", {"text": "RUN"}),
        ("text * 1000000000 == 1", {"text": "RUN"}),
        ("text % 3 == 1", {"text": "%s"}),
        ("force / alarm > 1", {"force": 1.0, "alarm": 0}),
        ("force % alarm > 1", {"force": 1.0, "alarm": 0}),
        ("force - alarm < 1", {"force": math.inf, "alarm": math.inf}),
        ("min(force - alarm, 3) == 3", {"force": math.inf, "alarm": math.inf}),
        ("not text", {"text": "RUN"}),
        ("text and true", {"text": "RUN"}),
        ("text > alarm", {"text": "RUN", "alarm": 3}),
        ("-text < 3", {"text": "RUN"}),
        ("abs(text) < 3", {"text": "RUN"}),
        ("force / alarm > 1", {"force": 10**400, "alarm": 3}),
    ],
)
def test_what_does_not_fit_is_unknown_and_counted(text: str, values: dict[str, object]) -> None:
    expression = compile_expression(text, NAMES)
    assert expression(values) is None  # type: ignore[arg-type]
    assert expression.mismatches == 1


def test_a_mismatch_that_does_not_matter_changes_nothing() -> None:
    assert value("start and text < 3", start=False, text="x") is False
    assert value("text < 3 and start", start=False, text="x") is False
    assert value("text < 3 or start", start=True, text="x") is True


def test_truth_of_a_value_that_is_no_truth_value() -> None:
    text = compile_expression("text", NAMES)
    assert text.truth([None, None, None, None, "RUN", None]) is None
    assert text.mismatches == 1
    number = compile_expression("alarm", NAMES)
    assert [number.truth([None, None, n, None, None, None]) for n in (3, 0, None)] == [True, False, None]


def test_it_says_which_inputs_it_uses() -> None:
    expression = compile_expression("done and (alarm == 0 or not done)", NAMES)
    assert expression.names == ("done", "alarm")
    assert expression.indices == (1, 2)
    assert expression.text == "done and (alarm == 0 or not done)"


@pytest.mark.parametrize(
    ("text", "column", "words"),
    [
        ("start.real", 1, "dotted name"),
        ("start and done[0]", 11, "index"),
        ("start or exit()", 10, "call"),
        ("done and __import__('os')", 10, "call"),
        ("().__class__", 1, "dotted"),
        ("force ** 2", 1, "power"),
        ("1 << force", 1, "shift"),
        ("force >> 1", 1, "shift"),
        ("start & done", 1, "and"),
        ("start | done", 1, "or"),
        ("~start", 1, "not"),
        ("start if done else alarm", 1, "an if"),
        ("lambda: 1", 1, "function"),
        ("[x for x in start]", 1, "loop"),
        ("f'{start}' == text", 1, "formatted"),
        ("(start := 1)", 2, "assignment"),
        ("start, done", 1, "list"),
        ("{1: start}", 1, "map"),
        ("start is done", 1, "write =="),
        ("start is None", 1, "write =="),
        ("text == b'x'", 9, "bytes"),
        ("force > 3j", 9, "complex"),
        ("force > ...", 9, "ellipsis"),
        ("text == None", 9, "None"),
        ("force > 1e999", 9, "too large"),
        ("'a' + text == text", 1, "text"),
        ("'a' < 3", 1, "text"),
        ("'a' and start", 1, "text"),
        ("alarm in 3", 10, "list of constants"),
        ("alarm in (force, 1)", 10, "constants"),
        ("alarm in (1, 'a')", 10, "constants"),
        ("alarm in ()", 10, "constants"),
        ("(alarm > 1) in ('a', 'b')", 1, "text"),
        ("1 < alarm in (1, 2)", 1, "alone"),
        ("abs(start, done) > 1", 1, "one value"),
        ("min(start) > 1", 1, "two values"),
        ("max(start, key=done) > 1", 1, "plain values"),
        ("max(*start) > 1", 1, "plain values"),
        ("true", 1, "constant"),
        ("'RUN'", 1, "constant"),
        ("", 1, "empty"),
        (" \n ", 1, "empty"),
        ("start && done", 7, "'and'"),
        ("start || done", 7, "'or'"),
        ("alarm = 3", 7, "=="),
        ("!start", 1, "not"),
        ("start and", 10, "read"),
        ("start)", 6, "read"),
        ("start; done", 6, "read"),
        ("start and \x00", None, "read"),
        ("not " * 60 + "start", None, "nested"),
        ("-" * 400 + "1 > alarm", None, "nested"),
        ("start" + " " * LONGEST, 1, "500"),
    ],
)
def test_what_is_not_allowed_is_refused_with_its_column(text: str, column: int | None, words: str) -> None:
    with pytest.raises(SiteError) as caught:
        compile_expression(text, NAMES, where="rules.pick.rules[2].when")
    assert words in caught.value.what
    assert caught.value.where.startswith("rules.pick.rules[2].when, column ")
    if column is not None:
        assert caught.value.where == f"rules.pick.rules[2].when, column {column}"
    assert caught.value.hint


def test_an_unknown_name_gets_a_suggestion() -> None:
    with pytest.raises(SiteError) as caught:
        compile_expression("done and 온도 > 3 and alram == 0", NAMES)
    assert caught.value.where == "column 21"
    assert "did you mean 'alarm'?" in caught.value.hint
    assert "start, done, alarm" in caught.value.hint
    with pytest.raises(SiteError, match="Start"):
        compile_expression("Start", NAMES)
    with pytest.raises(SiteError) as caught:
        compile_expression("start AND done", NAMES)
    assert "column" in caught.value.where


# -- nothing but the whitelist, and never an exception -------------------------------------------------------------------

leaves = st.sampled_from(
    ["start", "done", "alarm", "force", "text", "온도", "1", "0", "2.5", "-3", "true", "false", "'RUN'", "1e308"]
)


def combine(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    binary = st.sampled_from(["and", "or", "==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "//", "%"])
    return st.one_of(
        st.builds(lambda a, op, b: f"({a} {op} {b})", inner, binary, inner),
        st.builds(lambda a: f"(not {a})", inner),
        st.builds(lambda a: f"(-{a})", inner),
        st.builds(lambda a: f"abs({a})", inner),
        st.builds(lambda f, a, b: f"{f}({a}, {b})", st.sampled_from(["min", "max"]), inner, inner),
        st.builds(lambda a, n: f"({a} {n} (1, 2, 0))", inner, st.sampled_from(["in", "not in"])),
        st.builds(lambda a, n: f"({a} {n} ('RUN', 'x'))", inner, st.sampled_from(["in", "not in"])),
        st.builds(lambda a, b, c: f"({a} < {b} <= {c})", inner, inner, inner),
    )


texts = st.recursive(leaves, combine, max_leaves=12)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-5, 5),
    st.integers(-(2**63), 2**64 - 1),
    st.sampled_from([0.0, 2.5, -1.0, math.inf, -math.inf, math.nan, 1e308, 5e-324]),
    st.sampled_from(["", "RUN", "x", "%s%d"]),
)
values_of = st.lists(scalars, min_size=len(NAMES), max_size=len(NAMES))


def same(left: object, right: object) -> bool:
    return left is right or (type(left) is type(right) and left == right)


@settings(max_examples=400, deadline=None)
@given(texts, st.lists(values_of, min_size=1, max_size=4))
def test_compiled_code_and_three_valued_logic_agree_and_never_raise(text: str, rows: list[list[Any]]) -> None:
    try:
        expression = compile_expression(text, NAMES)
    except SiteError:
        return
    for row in rows:
        result = expression(row)
        assert same(result, evaluate(expression.tree, row, []))
        assert result is None or isinstance(result, (bool, int, float, str))
        assert not (isinstance(result, float) and math.isnan(result))
        assert expression.truth(row) in (True, False, None)


@settings(max_examples=300, deadline=None)
@given(texts, values_of, st.integers(0, len(NAMES) - 1), scalars)
def test_learning_an_unknown_never_turns_a_known_answer(text: str, row: list[Any], place: int, learnt: Any) -> None:
    """Kleene's logic is monotonic: what is known with an input missing stays so whatever that input turns out to be."""
    try:
        expression = compile_expression(text, NAMES)
    except SiteError:
        return
    row[place] = None
    before = expression(row)
    row[place] = learnt
    after = expression(row)
    if before is not None and after is not None:
        assert before == after


PLAIN = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}


@given(st.sampled_from(sorted(PLAIN)), st.integers(-3, 3), st.floats(-3, 3))
def test_comparisons_mean_what_they_mean_in_python(op: str, alarm: int, force: float) -> None:
    assert value(f"alarm {op} force", alarm=alarm, force=force) is PLAIN[op](alarm, force)


ALLOWED = (
    ast.Expression, ast.BoolOp, ast.And, ast.Or, ast.UnaryOp, ast.Not, ast.USub, ast.UAdd, ast.BinOp, ast.Add, ast.Sub,
    ast.Mult, ast.Div, ast.FloorDiv, ast.Mod, ast.Compare, ast.Eq, ast.NotEq, ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.In,
    ast.NotIn, ast.Constant, ast.Name, ast.Load, ast.Tuple, ast.List, ast.Set, ast.Call,
)  # fmt: skip
PIECES = (
    "start done alarm text and or not in is if else lambda for : := == != < > + - * ** / // % & | ^ ~ << >> @ ( ) [ ] { } "
    ". , ' \" 1 2.5 1e9 0x1F 1j None True true ... abs min max exec eval open __import__ __class__ getattr print f'' b'' "
    "yield await import \\ # ; = ! $ ? ` 온도 async del"
)
pieces = st.sampled_from([*PIECES.split(), "\n", "\t", "\x00", "\u2028", "ﬁ"])


@settings(max_examples=800, deadline=None)
@given(st.lists(pieces, max_size=14).map(" ".join) | st.text(max_size=40))
def test_nothing_but_the_whitelist_compiles(text: str) -> None:
    try:
        expression = compile_expression(text, NAMES)
    except SiteError as error:
        assert error.hint
        return
    assert isinstance(expression, Expression)
    parsed = ast.parse("".join(" " if c.isspace() else c for c in text).strip(), mode="eval")
    for node in ast.walk(parsed):
        assert isinstance(node, ALLOWED)
        if isinstance(node, ast.Call):
            assert isinstance(node.func, ast.Name)
            assert node.func.id in ("abs", "min", "max")
    assert expression([None] * len(NAMES)) in (None, True, False) or not expression.names
