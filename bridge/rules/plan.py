"""A rule set, checked and compiled: what the engine runs. Every fault of a rule set is found here, before anything runs."""

from __future__ import annotations

import keyword
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bridge.errors import DariError, SiteError
from bridge.names import nearest
from bridge.rules.alarms import AlarmTable, read_alarms
from bridge.rules.expression import RESERVED, Expression, compile_expression
from bridge.rules.field import FieldPath
from bridge.schema import FailureCode, Strategy, Verb

if TYPE_CHECKING:
    from bridge.site.model import Rule, RuleInput, RuleSet

EMITS = ("started", "progress", "decision", "failed", "corrected", "succeeded", "aborted")
TRIGGERS = ("rise", "fall", "change", "hold", "timeout", "cross", "count")
PHASES = ("idle", "active", "failed", "unknown")
BASELINE, INFER = "baseline", "infer"
GUARDS: dict[str, tuple[str, ...]] = {
    "started": ("idle", "failed", "unknown"),
    "progress": ("active",),
    "decision": ("active",),
    "failed": ("active",),
    "corrected": ("failed",),
    "succeeded": ("active",),
    "aborted": ("active",),
}
"""In which phases of its task a rule may fire where `from` does not say."""
_FROM: dict[str, tuple[str, ...]] = {
    "corrected": ("failed",),
    "succeeded": ("active", "unknown"),
    "aborted": ("active", "unknown"),
}
"""What `from` may say; for the others everything."""
_WANTS: dict[str, tuple[str, ...]] = {
    "rise": ("when",),
    "fall": ("when",),
    "change": ("when",),
    "hold": ("when", "for_ms"),
    "timeout": ("after", "for_ms"),
    "cross": ("when", "level"),
    "count": ("when", "count"),
}
_TRIGGER_KEYS: dict[str, tuple[str, ...]] = {
    "for_ms": ("hold", "timeout"),
    "level": ("cross",),
    "hysteresis": ("cross",),
    "count": ("count",),
    "within_ms": ("rise", "fall", "change", "hold", "cross", "count"),
}
_EMIT_KEYS: dict[str, tuple[str, ...]] = {"code": ("failed", "decision"), "strategy": ("corrected",)}


@dataclass(frozen=True)
class PlannedInput:
    """An input: where it comes from, and how long a new value must last before it is believed."""

    name: str
    source: str
    tag: str | None
    topic: str | None
    field: FieldPath | None
    debounce_ns: int
    unit: str


@dataclass(frozen=True)
class PlannedRule:
    """A rule with its times in ns, its expressions compiled and its inputs by place.

    `code` is a failure code, or for a decision the reason's code; `code_input` is the input whose value is looked up instead.
    """

    number: int
    emit: str
    trigger: str
    guard: frozenset[str]
    when: Expression | None
    measure: Expression | None
    for_ns: int
    within_ns: int | None
    after: str | None
    code: str
    code_input: int | None
    strategy: Strategy
    capture: tuple[int, ...]
    level: float
    hysteresis: float
    count: int
    unit: str
    message: str


@dataclass(frozen=True)
class Plan:
    """A rule set, ready to run. `uses[i]` are the numbers of the rules to look at when input i changes."""

    name: str
    task: str
    verb: str
    base_verb: Verb | None
    object_class: str | None
    inputs: tuple[PlannedInput, ...]
    rules: tuple[PlannedRule, ...]
    alarms: AlarmTable
    infer: bool
    uses: tuple[tuple[int, ...], ...]


def plan_rules(name: str, rule_set: RuleSet, directory: str | Path = ".") -> Plan:
    """Check and compile a rule set. Raises `SiteError` that holds every fault in `problems`.

    `directory` is the site file's, for the table of alarms.
    """
    planner = _Planner(name, rule_set, Path(directory))
    plan = planner.plan()
    problems = planner.problems
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        first = problems[0]
        raise SiteError(first.what + more, where=first.where, hint=first.hint, problems=tuple(problems))
    return plan


def check_rules(name: str, rule_set: RuleSet, directory: str | Path = ".") -> list[DariError]:
    """Every fault of a rule set; `where` of each is the key in the site file, with a column for one in an expression."""
    planner = _Planner(name, rule_set, Path(directory))
    planner.plan()
    return planner.problems


class _Planner:
    def __init__(self, name: str, rule_set: RuleSet, directory: Path) -> None:
        self._name = name
        self._set = rule_set
        self._directory = directory
        self._names = tuple(rule_set.inputs)
        self.problems: list[DariError] = []

    def plan(self) -> Plan:
        """The plan; not to be run where `problems` is not empty."""
        rule_set = self._set
        root = f"rules.{self._name}"
        base = self._verb(root)
        if rule_set.after_gap not in (BASELINE, INFER):
            self._unknown(f"{root}.after_gap", "way to go on after a gap", rule_set.after_gap, (BASELINE, INFER))
        inputs = tuple(self._input(f"{root}.inputs.{key}", key, item) for key, item in rule_set.inputs.items())
        alarms: AlarmTable = {}
        if rule_set.alarms is not None:
            try:
                alarms = read_alarms(self._directory / rule_set.alarms)
            except SiteError as error:
                self.problems.extend(error.problems or (error,))
        if not rule_set.rules:
            self._problem(f"{root}.rules", "there are no rules", f"give at least one that says: emit: {EMITS[0]}")
        rules = tuple(self._rule(f"{root}.rules[{i}]", i, rule) for i, rule in enumerate(rule_set.rules))
        if rules and not any(rule.emit == "started" for rule in rules):
            for rule in rules:
                if rule.emit in ("succeeded", "aborted", "corrected"):
                    hint = "add a rule that says: emit: started"
                    self._problem(
                        f"{root}.rules[{rule.number}].emit", f"nothing is started that could be {rule.emit}", hint
                    )
                    break
        uses: list[list[int]] = [[] for _ in inputs]
        for rule in rules:
            for place in rule.when.indices if rule.when is not None else ():
                uses[place].append(rule.number)
        return Plan(
            name=self._name,
            task=rule_set.task,
            verb=rule_set.verb,
            base_verb=base,
            object_class=rule_set.object_class,
            inputs=inputs,
            rules=rules,
            alarms=alarms,
            infer=rule_set.after_gap == INFER,
            uses=tuple(tuple(numbers) for numbers in uses),
        )

    # -- faults ----------------------------------------------------------------------------------------------------

    def _problem(self, where: str, what: str, hint: str) -> None:
        self.problems.append(SiteError(what, where=where, hint=hint))

    def _unknown(self, where: str, what: str, word: str, words: tuple[str, ...]) -> None:
        near = nearest(word, words)
        meant = f"did you mean {near!r}? " if near else ""
        self._problem(where, f"there is no {what} {word!r}", f"{meant}there are {', '.join(words)}")

    # -- parts -----------------------------------------------------------------------------------------------------

    def _verb(self, root: str) -> Verb | None:
        core = tuple(verb.value for verb in Verb)
        base, verb = self._set.base_verb, self._set.verb
        if base is not None and base not in core:
            self._unknown(f"{root}.base_verb", "core verb", base, core)
            return None
        if verb not in core:
            if "." not in verb:
                self._unknown(f"{root}.verb", "core verb", verb, core)
            elif base is None:
                hint = f"add base_verb: one of {', '.join(core)}"
                self._problem(f"{root}.verb", f"beside the verb {verb!r} a core verb is needed", hint)
        return None if base is None else Verb(base)

    def _input(self, where: str, name: str, item: RuleInput) -> PlannedInput:
        if not name.isidentifier() or keyword.iskeyword(name) or name in RESERVED:
            self._problem(
                where, f"an input can not be named {name!r}", "letters, digits and _; no word of the expressions"
            )
        field = None
        if (item.tag is None) == (item.topic is None):
            self._problem(where, "an input is either a tag or a field of a topic", "give tag, or topic and field")
        elif item.topic is not None:
            if item.field is None:
                hint = "for example field: position[finger_joint1], or wrench.force.z"
                self._problem(where, "the field of the topic is missing", hint)
            else:
                try:
                    field = FieldPath(item.field)
                except SiteError as error:
                    self._problem(f"{where}.field", error.what, error.hint)
        elif item.field is not None:
            self._problem(f"{where}.field", "a tag has no fields", "leave field out, or give topic in place of tag")
        if item.debounce_ms < 0:
            self._problem(f"{where}.debounce_ms", "a time can not be negative", "give milliseconds, or leave it out")
        debounce = max(0, _ns(item.debounce_ms))
        return PlannedInput(name, item.source, item.tag, item.topic, field, debounce, item.unit)

    def _expression(self, where: str, text: str | None) -> Expression | None:
        if text is None:
            return None
        try:
            return compile_expression(text, self._names, where=where)
        except SiteError as error:
            self.problems.append(error)
            return None

    def _rule(self, where: str, number: int, rule: Rule) -> PlannedRule:
        if rule.emit not in EMITS:
            self._unknown(f"{where}.emit", "kind of event", rule.emit, EMITS)
        if rule.trigger not in TRIGGERS:
            self._unknown(f"{where}.trigger", "trigger", rule.trigger, TRIGGERS)
        else:
            self._keys(where, rule)
        measure = self._expression(f"{where}.measure", rule.measure)
        code, code_input = self._code(f"{where}.code", rule)
        return PlannedRule(
            number=number,
            emit=rule.emit,
            trigger=rule.trigger,
            guard=self._guard(f"{where}.from", rule),
            when=self._expression(f"{where}.when", rule.when),
            measure=measure,
            for_ns=_ns(rule.for_ms or 0.0),
            within_ns=None if rule.within_ms is None else _ns(rule.within_ms),
            after=rule.after,
            code=code,
            code_input=code_input,
            strategy=self._strategy(f"{where}.strategy", rule),
            capture=tuple(self._captured(f"{where}.capture", rule)),
            level=rule.level or 0.0,
            hysteresis=rule.hysteresis or 0.0,
            count=rule.count or 1,
            unit=rule.unit,
            message=rule.message,
        )

    def _keys(self, where: str, rule: Rule) -> None:
        """Keys that the trigger needs, and keys that mean nothing to it or to what is emitted."""
        for key in _WANTS[rule.trigger]:
            if getattr(rule, key) is None:
                self._problem(where, f"the trigger {rule.trigger!r} needs {key}", f"add {key}")
        for key, triggers in _TRIGGER_KEYS.items():
            if getattr(rule, key) is not None and rule.trigger not in triggers:
                hint = f"it is for {', '.join(triggers)}"
                self._problem(f"{where}.{key}", f"{key} means nothing to the trigger {rule.trigger!r}", hint)
        for key, emits in _EMIT_KEYS.items():
            if getattr(rule, key) is not None and rule.emit not in emits:
                hint = f"it is for emit: {', '.join(emits)}"
                self._problem(f"{where}.{key}", f"{key} means nothing to emit: {rule.emit}", hint)
        if rule.after is not None and rule.after not in EMITS:
            self._unknown(f"{where}.after", "kind of event", rule.after, EMITS)
        elif rule.after is not None and all(other.emit != rule.after for other in self._set.rules):
            self._problem(f"{where}.after", f"no rule here emits {rule.after!r}", "this one would never fire")
        times: dict[str, Any] = {"for_ms": rule.for_ms, "within_ms": rule.within_ms, "hysteresis": rule.hysteresis}
        for key, value in times.items():
            if value is not None and value < 0:
                self._problem(f"{where}.{key}", f"{key} can not be negative", "give 0 or more")
        if rule.count is not None and rule.count < 1:
            self._problem(f"{where}.count", "count begins at 1", "give 1 or more")
        if rule.emit == "progress" and rule.measure is None and rule.trigger not in ("change", "cross"):
            hint = "add measure: an input, or an expression over inputs"
            self._problem(where, "what is measured is not said", hint)

    def _guard(self, where: str, rule: Rule) -> frozenset[str]:
        allowed = _FROM.get(rule.emit, PHASES)
        for phase in rule.from_:
            if phase not in (*PHASES, "any"):
                self._unknown(where, "phase of a task", phase, (*PHASES, "any"))
            elif phase not in (*allowed, "any"):
                why = (
                    "an attempt that failed has ended" if phase == "failed" else "there is nothing to end or to repair"
                )
                self._problem(
                    where, f"{rule.emit!r} can not come from {phase!r}: {why}", f"from may be {list(allowed)}"
                )
        if "any" in rule.from_:
            return frozenset(allowed)
        return frozenset(rule.from_ or GUARDS.get(rule.emit, ()))

    def _code(self, where: str, rule: Rule) -> tuple[str, int | None]:
        if rule.code is None:
            return (FailureCode.UNKNOWN.value if rule.emit == "failed" else "", None)
        if rule.code in self._names:
            return "", self._names.index(rule.code)
        codes = tuple(code.value for code in FailureCode)
        if rule.emit == "failed" and rule.code not in codes:
            near = nearest(rule.code, (*codes, *self._names))
            meant = f"did you mean {near!r}? " if near else ""
            hint = f"{meant}codes: {', '.join(codes)}; inputs: {', '.join(self._names)}"
            self._problem(where, f"{rule.code!r} is neither a failure code nor an input", hint)
        return rule.code, None

    def _strategy(self, where: str, rule: Rule) -> Strategy:
        words = tuple(item.value for item in Strategy)
        if rule.strategy is not None and rule.strategy not in words:
            self._unknown(where, "strategy", rule.strategy, words)
            return Strategy.RETRY
        return Strategy(rule.strategy or Strategy.RETRY.value)

    def _captured(self, where: str, rule: Rule) -> list[int]:
        places = []
        for name in rule.capture:
            if name in self._names:
                places.append(self._names.index(name))
            else:
                self._unknown(where, "input", name, self._names)
        return places


def _ns(milliseconds: float) -> int:
    return round(milliseconds * 1e6)
