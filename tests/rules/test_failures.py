"""What a failure that a rule infers shows: evidence that is true, the controller's own alarm, and no invention."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rules_bench import BASE, MS, Bench

from bridge.errors import SiteError
from bridge.rules.alarms import read_alarms
from bridge.rules.evidence import findings
from bridge.rules.expression import compile_expression
from bridge.rules.tree import COMPARE
from bridge.schema import Failure, Severity

Make = Callable[..., Bench]
START = {"emit": "started", "trigger": "rise", "when": "start", "from": ["idle"]}
OFF: dict[str, Any] = {"start": False, "done": False, "alarm": 0}
TABLE = """code,failure_code,text,severity,retriable
1001,motion.collision,"Axis 3: collision, stop",critical,false
1002,grasp.miss,Gripper closed on nothing,,true
E7,part.missing,No part,warning,
"""


def failed(bench: Make, when: str, values: dict[str, Any], **rule: Any) -> Bench:
    given = {"emit": "failed", "trigger": "rise", "when": when, "code": "safety.stop", **rule}
    one = bench([START, given], inputs={"start": {}, "done": {}, "alarm": {}, "force": {"unit": "N"}, "text": {}})
    one.put(0, **OFF, force=9.0, text="OK")
    one.put(10, start=True)
    one.put(20, **values)
    one.wait(1000)
    return one


@pytest.mark.parametrize(
    ("when", "values", "shown"),
    [
        ("alarm != 0", {"alarm": 7}, [("alarm", "last(value) != 0", 7.0, 0.0)]),
        ("done", {"done": True}, [("done", "last(value) == 1", 1.0, 1.0)]),
        ("alarm", {"alarm": 7}, [("alarm", "last(value) != 0", 7.0, 0.0)]),
        ("force < 3", {"force": 2.0}, [("force", "last(value) < 3", 2.0, 3.0)]),
        ("3 > force", {"force": 2.0}, [("force", "last(value) < 3", 2.0, 3.0)]),
        ("not (force >= 3)", {"force": 2.0}, [("force", "last(value) < 3", 2.0, 3.0)]),
        (
            "start and force < 3",
            {"force": 2.0},
            [("start", "last(value) == 1", 1.0, 1.0), ("force", "last(value) < 3", 2.0, 3.0)],
        ),
        ("alarm == 7 or force < 3", {"force": 2.0}, [("force", "last(value) < 3", 2.0, 3.0)]),
        ("not (done or force >= 3)", {"force": 2.0},
         [("done", "last(value) == 0", 0.0, 0.0), ("force", "last(value) < 3", 2.0, 3.0)]),
        ("0 < force <= 3", {"force": 2.0},
         [("force", "last(value) > 0", 2.0, 0.0), ("force", "last(value) <= 3", 2.0, 3.0)]),
        ("alarm in (7, 8)", {"alarm": 8}, [("alarm", "last(value) == 8", 8.0, 8.0)]),
        ("force - 1 < 3", {"force": 2.0}, [("force", "last(value) == 2.0", 2.0, 2.0)]),
        ("abs(force) < 3", {"force": -2.0}, [("force", "last(value) == -2.0", -2.0, -2.0)]),
        ("force < alarm", {"alarm": 10},
         [("force", "last(value) < 10", 9.0, 10.0), ("alarm", "last(value) > 9.0", 10.0, 9.0)]),
        ("text == 'ERR'", {"text": "ERR"}, [("text", 'last(value) == "ERR"', None, None)]),
        ("text != 'OK'", {"text": 'a"b'}, [("text", 'last(value) != "OK"', None, None)]),
    ],
)  # fmt: skip
def test_the_comparisons_that_decided_are_shown(
    bench: Make, when: str, values: dict[str, Any], shown: list[tuple[str, str, float | None, float | None]]
) -> None:
    failure = failed(bench, when, values).body(Failure)
    assert failure.code.value == "safety.stop"
    assert [(e.channel.rpartition("/")[2], e.predicate, e.value, e.threshold) for e in failure.evidence] == shown
    for evidence in failure.evidence:
        assert evidence.field == "value"
        assert evidence.window.t0_ns <= evidence.window.t1_ns == BASE + 20 * MS
        assert evidence.unit == ("N" if evidence.channel.endswith("force") else "")


def test_a_hold_shows_the_extreme_of_its_time(bench: Make) -> None:
    one = bench(
        [
            START,
            {"emit": "failed", "trigger": "hold", "for_ms": 100, "when": "force < 3 and start", "code": "grasp.slip"},
        ]
    )
    one.put(0, **OFF, force=9.0)
    one.put(10, start=True)
    for t, force in ((100, 2.0), (120, 2.75), (140, 1.5), (160, 2.25)):
        one.put(t, force=force)
    assert one.wait(200) == ["failure grasp.slip", "FAILED"]
    force, start = one.body(Failure).evidence
    assert (force.predicate, force.value) == ("max(value) < 3", 2.75)
    assert (force.window.t0_ns, force.window.t1_ns) == (BASE + 100 * MS, BASE + 200 * MS)
    assert start.predicate == "last(value) == 1"
    assert start.window.t0_ns == BASE + 10 * MS  # where the value came that still holds


def test_a_hold_of_one_thing_or_another_claims_nothing_of_the_time_between(bench: Make) -> None:
    one = bench(
        [START, {"emit": "failed", "trigger": "hold", "for_ms": 50, "when": "force < 3 or done", "code": "grasp.slip"}]
    )
    one.put(0, **OFF, force=9.0)
    one.put(10, start=True)
    one.put(100, done=True)
    one.put(120, done=False, force=1.0)
    assert one.wait(150) == ["failure grasp.slip", "FAILED"]
    assert [e.predicate for e in one.body(Failure).evidence] == ["last(value) < 3"]


def test_a_fall_shows_what_is_false_now(bench: Make) -> None:
    failure = failed(bench, "force > 5 and text == 'OK'", {"force": 2.0}, trigger="fall").body(Failure)
    assert [e.predicate for e in failure.evidence] == ["last(value) <= 5"]


def test_a_change_shows_the_value(bench: Make) -> None:
    failure = failed(bench, "alarm", {"alarm": 4}, trigger="change").body(Failure)
    assert [e.predicate for e in failure.evidence] == ["last(value) == 4"]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "alarms.csv"
    path.write_text(TABLE, encoding="utf-8")
    return path


def alarmed(bench: Make, table: Path, value: object) -> Bench:
    rule = {"emit": "failed", "trigger": "hold", "for_ms": 5, "when": "alarm != 0 and alarm != '0'", "code": "alarm"}
    if isinstance(value, str):
        rule["when"] = "alarm != ''"
    else:
        rule["when"] = "alarm != 0"
    one = bench([START, rule], alarms=table.name, directory=str(table.parent))
    one.put(0, start=False, alarm="" if isinstance(value, str) else 0)
    one.put(10, start=True)
    one.put(20, alarm=value)  # type: ignore[arg-type]
    one.wait(100)
    return one


def test_an_alarm_is_looked_up(bench: Make, table: Path) -> None:
    one = alarmed(bench, table, 1001)
    failure, event = one.body(Failure), one.events[2]
    assert failure.code.value == "motion.collision"
    assert failure.severity is Severity.CRITICAL
    assert failure.retriable is False
    assert failure.explanation.text == "Axis 3: collision, stop"
    assert event.native is not None
    assert (event.native.system, event.native.id, event.native.code) == ("plc", "alarm", "1001")
    assert failure.evidence


@pytest.mark.parametrize(
    ("value", "code", "retriable", "severity"),
    [
        (1002.0, "grasp.miss", True, "fault"),
        ("1002", "grasp.miss", True, "fault"),
        ("E7", "part.missing", None, "warning"),
    ],
)
def test_a_code_is_the_same_in_every_type(
    bench: Make, table: Path, value: object, code: str, retriable: bool | None, severity: str
) -> None:
    failure = alarmed(bench, table, value).body(Failure)
    assert (failure.code.value, failure.retriable, failure.severity.value) == (code, retriable, severity)


def test_an_alarm_that_is_not_in_the_table_is_unknown_and_kept(bench: Make, table: Path) -> None:
    one = alarmed(bench, table, 4711)
    assert one.body(Failure).code.value == "unknown"
    assert one.events[2].native is not None
    assert one.events[2].native.code == "4711"
    assert one.engine.counts["unknown_alarms"] == 1


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        ("code,failure_kode\n1,unknown\n", ["alarms.csv:1", "failure_code"]),
        ("code,failure_code\n1,motion.colision\n", ["alarms.csv:2", "did you mean 'motion.collision'?"]),
        ("code,failure_code\n1,unknown\n1,unknown\n", ["alarms.csv:3", "twice"]),
        ("code,failure_code\n,unknown\n", ["alarms.csv:2", "missing"]),
        ("code,failure_code,text\n1,unknown,a,b\n", ["alarms.csv:2", "quotes"]),
        ("code,failure_code,severity\n1,unknown,bad\n", ["severity", "fault"]),
        ("code,failure_code,retriable\n1,unknown,maybe\n", ["retriable", "true"]),
        ("code,code,failure_code\n", ["twice"]),
        ("", ["missing", "code,failure_code"]),
        ('code,failure_code\n"1,unknown\n', ["CSV"]),
    ],
)
def test_a_faulty_table_is_refused_with_its_line(tmp_path: Path, text: str, faults: list[str]) -> None:
    path = tmp_path / "alarms.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        read_alarms(path)
    told = " ".join(str(problem) for problem in caught.value.problems)
    for fault in faults:
        assert fault in told


def test_every_fault_of_a_table_is_told(tmp_path: Path) -> None:
    path = tmp_path / "alarms.csv"
    path.write_text("code,failure_code\n1,x\n2,y\n3,unknown\n4,z\n", encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        read_alarms(path)
    assert [problem.where.rpartition(":")[2] for problem in caught.value.problems] == ["2", "3", "5"]


def test_a_table_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SiteError, match=r"can not be read"):
        read_alarms(tmp_path / "none.csv")


def test_a_table_from_a_spreadsheet(tmp_path: Path) -> None:
    path = tmp_path / "alarms.csv"
    path.write_bytes(b"\xef\xbb\xbf" + TABLE.replace("\n", "\r\n").encode())
    assert list(read_alarms(path)) == ["1001", "1002", "E7"]


NAMES = ["a", "b", "c"]
comparisons = st.builds(
    lambda name, op, n: f"{name} {op} {n}", st.sampled_from(NAMES), st.sampled_from(sorted(COMPARE)), st.integers(-2, 2)
)
conditions = st.recursive(
    comparisons | st.sampled_from(NAMES),
    lambda inner: st.one_of(
        st.builds(lambda x: f"not ({x})", inner),
        st.builds(lambda x, op, y: f"({x}) {op} ({y})", inner, st.sampled_from(["and", "or"]), inner),
    ),
    max_leaves=6,
)


@settings(max_examples=300, deadline=None)
@given(conditions, st.lists(st.none() | st.integers(-2, 2) | st.booleans(), min_size=3, max_size=3))
def test_whatever_is_shown_is_true_and_is_enough(text: str, values: list[Any]) -> None:
    expression = compile_expression(text, NAMES)
    found = findings(expression.tree, values)
    truth = expression.truth(values)
    assert bool(found) == (truth is not None)
    for finding in found:
        assert COMPARE[finding.op](values[finding.place], finding.threshold)
    if truth is not None:
        # What is not shown does not matter: with only these inputs known the answer is the same.
        shown = {finding.place for finding in found}
        assert expression.truth([value if place in shown else None for place, value in enumerate(values)]) is truth
