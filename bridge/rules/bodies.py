"""The bodies of a rule's events: failures with their evidence, measures, decisions."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bridge.rules.alarms import alarm_key
from bridge.rules.evidence import Finding, findings, readings, throughout
from bridge.rules.plan import Plan, PlannedRule
from bridge.rules.tree import Comparison, Constant, Scalar
from bridge.schema import (
    ChannelWindow,
    Decider,
    DeciderKind,
    Decision,
    Evidence,
    Explanation,
    Failure,
    FailureCode,
    Interval,
    Measure,
    Native,
    Reason,
    Severity,
)


class Seen(Protocol):
    """Where an input's last sample stands in the log."""

    topic: str
    field: str
    record_ns: int


def plain(value: Scalar) -> Scalar:
    """A value as an event can hold it: NaN and infinity, which JSON has not, are null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def make_failure(
    plan: Plan,
    rule: PlannedRule,
    seen: Sequence[Seen],
    values: Sequence[Scalar],
    onset_ns: int,
    detected_ns: int,
    extremes: Mapping[int, tuple[float, float]],
) -> tuple[Failure, Native | None]:
    """The failure that a rule has found, and the controller's own words for it.

    Its code is the rule's, or what the table of alarms says of the code that the controller shows; without any evidence it is
    `unknown`, whatever the rule says.
    """
    author = f"rules.{plan.name}"
    code, text, native = FailureCode.UNKNOWN, rule.message, None
    severity, retriable = Severity.FAULT, None
    if rule.code_input is None:
        code = FailureCode(rule.code)
    else:
        source = plan.inputs[rule.code_input]
        key = alarm_key(values[rule.code_input])
        alarm = plan.alarms.get(key)
        if alarm is not None:
            code, severity, retriable = alarm.code, alarm.severity, alarm.retriable
            text = alarm.text or text
        if key:
            native = Native(
                system=source.source,
                id=source.tag or (source.field.text if source.field is not None else ""),
                name=alarm.text if alarm is not None else "",
                code=key,
            )
    evidence = _evidence(plan, rule, seen, values, onset_ns, detected_ns, extremes)
    if not evidence and code is not FailureCode.UNKNOWN:
        text = f"{text}; " if text else ""
        text += f"the rule says {code.value}, but no input shows it"
        code = FailureCode.UNKNOWN
    failure = Failure(
        code=code,
        detected_by=author,
        severity=severity,
        onset=Interval(t0_ns=onset_ns, t1_ns=onset_ns),
        detected_ns=detected_ns,
        evidence=evidence,
        retriable=retriable,
        explanation=Explanation(text=text, author=author) if text else None,
    )
    return failure, native


def _found(plan: Plan, rule: PlannedRule, values: Sequence[Scalar]) -> list[Finding]:
    """The comparisons that show what the rule has seen."""
    if rule.when is None:
        # Nothing came: shown by what a success would have been seen by.
        awaited = [other.when for other in plan.rules if other.emit == "succeeded" and other.when is not None]
        found: list[Finding] = []
        for expression in awaited:
            found += findings(expression.tree, values) or readings(expression.tree, values)
        return list(dict.fromkeys(found))
    tree = rule.when.tree
    if rule.trigger == "change":
        return readings(tree, values)
    if rule.trigger == "cross":
        tree = Comparison((tree, Constant(rule.level)), (">=",))
    return findings(tree, values)


def _evidence(
    plan: Plan,
    rule: PlannedRule,
    seen: Sequence[Seen],
    values: Sequence[Scalar],
    onset_ns: int,
    detected_ns: int,
    extremes: Mapping[int, tuple[float, float]],
) -> tuple[Evidence, ...]:
    held = rule.trigger == "hold" and rule.when is not None and throughout(rule.when.tree)
    out = []
    for finding in _found(plan, rule, values):
        where = seen[finding.place]
        if not where.topic:
            continue
        value = values[finding.place]
        aggregate = "last"
        # A value that had to last before it was believed may have been another in between.
        if held and finding.place in extremes and not plan.inputs[finding.place].debounce_ns:
            aggregate = finding.aggregate_throughout()
            low, high = extremes[finding.place]
            value = {"min": low, "max": high}.get(aggregate, value)
        out.append(
            Evidence(
                channel=where.topic,
                field=where.field,
                # The record that brought the value is in the window, though it may have come before the onset.
                window=Interval(t0_ns=min(onset_ns, where.record_ns), t1_ns=max(detected_ns, where.record_ns)),
                predicate=f"{aggregate}({where.field}) {finding.op} {_literal(finding.threshold)}",
                value=_number(value),
                threshold=_number(finding.threshold),
                unit=plan.inputs[finding.place].unit,
            )
        )
    return tuple(out)


def _literal(value: bool | int | float | str) -> str:
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return str(int(value)) if isinstance(value, bool) else repr(value)


def _number(value: Scalar) -> float | None:
    if value is None or isinstance(value, str):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def make_measure(plan: Plan, rule: PlannedRule, values: Sequence[Scalar]) -> Measure | None:
    """The number that the rule measures; None where there is none now."""
    expression = rule.measure if rule.measure is not None else rule.when
    if expression is None:
        return None
    number = _number(expression(values))
    if number is None:
        return None
    units = {plan.inputs[place].unit for place in expression.indices}
    unit = rule.unit or (units.pop() if len(units) == 1 else "")
    return Measure(name=expression.text.strip(), value=number, unit=unit or "1")


def make_decision(
    plan: Plan, rule: PlannedRule, seen: Sequence[Seen], values: Sequence[Scalar], onset_ns: int, t_ns: int
) -> Decision:
    """What the controller decided. What it could have chosen beside that, it does not show: options are null."""
    expression = rule.measure if rule.measure is not None else rule.when
    chosen: Any = values[rule.capture[0]] if rule.capture else None
    if chosen is None and expression is not None:
        chosen = expression(values)
    code = rule.code
    text = rule.message
    if rule.code_input is not None:
        code = alarm_key(values[rule.code_input])
        alarm = plan.alarms.get(code)
        text = alarm.text if alarm is not None and alarm.text else text
    places = dict.fromkeys((*(rule.when.indices if rule.when is not None else ()), *rule.capture))
    return Decision(
        question=rule.message or f"what the program of {plan.task} chose",
        chosen=_word(chosen),
        reason=Reason(code=code or "program", text=text),
        decider=Decider(kind=DeciderKind.PLC, name=plan.name),
        options=None,
        inputs=tuple(
            ChannelWindow(
                channel=seen[place].topic,
                field=seen[place].field,
                window=Interval(t0_ns=min(onset_ns, seen[place].record_ns), t1_ns=max(t_ns, seen[place].record_ns)),
            )
            for place in places
            if seen[place].topic
        ),
    )


def _word(value: Scalar) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    return None if value is None else str(value)
