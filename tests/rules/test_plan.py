"""Every fault of a rule set is found before it runs, with its key and what to do."""

from __future__ import annotations

from typing import Any

import pytest
from rules_bench import rule_set

from bridge.errors import SiteError
from bridge.messages import message
from bridge.rules.field import FieldPath
from bridge.rules.plan import EMITS, TRIGGERS, check_rules, plan_rules

START = {"emit": "started", "trigger": "rise", "when": "start"}


def faults(**changes: Any) -> list[tuple[str, str]]:
    """(key, text) of every fault."""
    return [
        (p.where.removeprefix("rules.pick."), f"{p.what} {p.hint}") for p in check_rules("pick", rule_set(**changes))
    ]


@pytest.mark.parametrize(
    ("rule", "key", "words"),
    [
        ({"emit": "start"}, "emit", "did you mean 'started'?"),
        ({"trigger": "rises"}, "trigger", "did you mean 'rise'?"),
        ({"when": None}, "", "needs when"),
        ({"when": "strat"}, "when, column 1", "did you mean 'start'?"),
        ({"measure": "force ** 2"}, "measure, column 1", "power"),
        ({"trigger": "hold"}, "", "needs for_ms"),
        ({"trigger": "timeout", "for_ms": 5}, "", "needs after"),
        ({"trigger": "cross"}, "", "needs level"),
        ({"trigger": "count"}, "", "needs count"),
        ({"for_ms": 50}, "for_ms", "hold, timeout"),
        ({"level": 50}, "level", "cross"),
        ({"hysteresis": 50}, "hysteresis", "cross"),
        ({"count": 2}, "count", "it is for count"),
        ({"trigger": "timeout", "after": "started", "for_ms": 5, "within_ms": 5}, "within_ms", "rise"),
        ({"trigger": "cross", "level": 1, "hysteresis": -1}, "hysteresis", "negative"),
        ({"trigger": "count", "count": 0}, "count", "begins at 1"),
        ({"code": "motion.timeout"}, "code", "failed"),
        ({"strategy": "retry"}, "strategy", "corrected"),
        ({"emit": "failed", "code": "motion.timout"}, "code", "did you mean 'motion.timeout'?"),
        ({"emit": "failed", "code": "alram"}, "code", "did you mean 'alarm'?"),
        ({"emit": "corrected", "strategy": "retri"}, "strategy", "did you mean 'retry'?"),
        ({"capture": ["strat"]}, "capture", "did you mean 'start'?"),
        ({"from": ["activ"]}, "from", "did you mean 'active'?"),
        ({"emit": "corrected", "from": ["active"]}, "from", "['failed']"),
        ({"emit": "succeeded", "from": ["failed"]}, "from", "has ended"),
        ({"emit": "aborted", "from": ["idle"]}, "from", "nothing to end"),
        ({"after": "begun"}, "after", "there are started"),
        ({"after": "decision"}, "after", "no rule here emits"),
        ({"emit": "progress"}, "", "measure"),
    ],
)
def test_faults_of_a_rule(rule: dict[str, Any], key: str, words: str) -> None:
    found = faults(rules=[START, {**START, **rule}])
    where = f"rules[1].{key}" if key else "rules[1]"
    assert [text for at, text in found if at == where and words in text], found


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"verb": "gripp"}, "verb", "did you mean 'grasp'?"),
        ({"verb": "com.acme.insert"}, "verb", "base_verb"),
        ({"verb": "com.acme.insert", "base_verb": "plac"}, "base_verb", "did you mean 'place'?"),
        ({"after_gap": "infr"}, "after_gap", "did you mean 'infer'?"),
        ({"alarms": "nowhere.csv"}, None, "relative to the site file"),
        ({"rules": []}, "rules", "no rules"),
        ({"rules": [{"emit": "succeeded", "trigger": "rise", "when": "done"}]}, "rules[0].emit", "nothing is started"),
        ({"inputs": {"and": {}}}, "inputs.and", "can not be named"),
        ({"inputs": {"abs": {}}}, "inputs.abs", "can not be named"),
        ({"inputs": {"true": {}}}, "inputs.true", "can not be named"),
        ({"inputs": {"start": {"topic": "x"}}}, "inputs.start", "either a tag or"),
        ({"inputs": {"start": {"tag": None}}}, "inputs.start", "either a tag or"),
        ({"inputs": {"start": {"tag": None, "topic": "x"}}}, "inputs.start", "field"),
        ({"inputs": {"start": {"field": "x"}}}, "inputs.start.field", "a tag has no fields"),
        ({"inputs": {"start": {"tag": None, "topic": "x", "field": "a..b"}}}, "inputs.start.field", "no path"),
    ],
)
def test_faults_of_a_rule_set(changes: dict[str, Any], key: str | None, words: str) -> None:
    found = faults(**{"rules": [START], **changes})
    assert [text for at, text in found if (key is None or at == key) and words in text], found


def test_every_fault_is_told_at_once() -> None:
    rules = [{**START, "when": "x"}, {**START, "emit": "y"}, {**START, "trigger": "z"}]
    with pytest.raises(SiteError) as caught:
        plan_rules("pick", rule_set(rules=rules, verb="nothing"))
    assert len(caught.value.problems) == 4
    assert "and 3 more" in caught.value.what


def test_a_good_rule_set_has_no_faults() -> None:
    rules = [
        {"emit": "started", "trigger": "rise", "when": "start", "from": ["idle"], "capture": ["text"]},
        {"emit": "failed", "trigger": "hold", "for_ms": 50, "when": "alarm != 0", "code": "alarm", "from": ["active"]},
        {"emit": "failed", "trigger": "timeout", "after": "started", "for_ms": 8000, "code": "motion.timeout"},
        {"emit": "corrected", "trigger": "rise", "when": "retry", "from": ["failed"], "within_ms": 30000},
        {"emit": "succeeded", "trigger": "rise", "when": "done and alarm == 0", "from": ["active"]},
        {"emit": "aborted", "trigger": "count", "when": "retry", "count": 3, "from": ["any"]},
        {"emit": "progress", "trigger": "cross", "when": "force", "level": 1.5, "hysteresis": 0.1},
        {"emit": "decision", "trigger": "change", "when": "text", "code": "anything"},
    ]
    assert faults(rules=rules) == []
    plan = plan_rules("pick", rule_set(rules=rules))
    assert {rule.emit for rule in plan.rules} == set(EMITS)
    assert {rule.trigger for rule in plan.rules} == set(TRIGGERS) - {"fall"}
    assert plan.uses[plan.inputs.index(next(i for i in plan.inputs if i.name == "alarm"))] == (1, 4)


# -- fields ------------------------------------------------------------------------------------------------------------


def joints(*names: str) -> Any:
    numbers = [float(i) for i in range(len(names))]
    return message("sensor_msgs/msg/JointState", name=list(names), position=numbers, velocity=[], effort=[])


def test_a_joint_is_found_by_its_name_wherever_it_stands() -> None:
    path = FieldPath("position[finger]")
    assert path.value(joints("a", "finger")) == 1.0
    assert path.value(joints("a", "finger")) == 1.0
    assert path.value(joints("finger", "a")) == 0.0
    assert path.value(joints("a", "b")) is None
    assert type(path.value(joints("finger"))) is float


def test_paths() -> None:
    wrench = message("geometry_msgs/msg/WrenchStamped", wrench={"force": {"x": 0.0, "y": 0.0, "z": -4.5}})
    assert FieldPath("wrench.force.z").value(wrench) == -4.5
    assert FieldPath("wrench.force.w").value(wrench) is None
    assert FieldPath("wrench").value(wrench) is None
    assert FieldPath("wrench[3]").value(wrench) is None
    assert FieldPath("position[1]").value(joints("a", "b")) == 1.0
    assert FieldPath("position[-1]").value(joints("a", "b", "c")) == 2.0
    assert FieldPath("position[7]").value(joints("a", "b")) is None
    assert FieldPath("name[0]").value(joints("a", "b")) == "a"
    assert FieldPath("velocity[a]").value(joints("a", "b")) is None
    text = message("std_msgs/msg/String", data="RUN")
    assert FieldPath("data").value(text) == "RUN"
    assert FieldPath("data[0]").value(text) is None
    assert FieldPath("data").value(message("std_msgs/msg/Bool", data=True)) is True


@pytest.mark.parametrize("text", ["", ".", "a.", ".a", "a b", "a[]", "a[0", "a]0[", "1a", "a()", "a..b"])
def test_what_is_no_path_is_refused(text: str) -> None:
    with pytest.raises(SiteError, match="no path"):
        FieldPath(text)
