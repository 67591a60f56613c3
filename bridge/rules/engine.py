"""The engine of one rule set: values of inputs in, drafts of task events out, in the time of the sources.

No clock is read here. Time is what the inputs carry, and what `advance` says has passed; so the same inputs give the same events,
live and on replay. At one instant values come before timers: a hold that is released at the moment at which it would have fired
does not fire.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from uuid import UUID

from bridge.rules.bodies import make_decision, make_failure, make_measure, plain
from bridge.rules.draft import EventDraft, Reading
from bridge.rules.plan import Plan, PlannedRule
from bridge.rules.task import Context, TaskLife
from bridge.rules.tree import Scalar
from bridge.rules.trigger import Firing, Trigger
from bridge.schema import Body


class _Input:
    """What is known of one input beside its value."""

    __slots__ = ("field", "last_ns", "pending", "pending_ns", "record_ns", "topic", "uncertainty_ns")

    def __init__(self) -> None:
        self.last_ns: int | None = None
        self.record_ns = 0
        self.uncertainty_ns: int | None = None
        self.topic = ""
        self.field = ""
        self.pending: Scalar = None  # a new value that has not yet lasted
        self.pending_ns: int | None = None  # since when


class RuleEngine:
    """Runs one rule set.

    Args:
        plan: the rule set, from `plan_rules`.
        task_id: the id of the n-th task that is started, n from 0.
        event_id: the id of the n-th event, n from 0.

    `counts` holds `superseded` (late inputs older than what was known), `guarded` (firings in a phase in which the rule may not
    fire), `undecided` (timeouts of something that can not be told), `unmeasured`, `unknown_alarms`, `gaps`.
    """

    def __init__(self, plan: Plan, task_id: Callable[[int], UUID], event_id: Callable[[int], UUID]) -> None:
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self._life = TaskLife(plan, task_id, event_id)
        self._values: list[Scalar] = [None] * len(plan.inputs)
        self._inputs = [_Input() for _ in plan.inputs]
        self._triggers = [Trigger(rule, plan.infer) for rule in plan.rules]
        self._holds = [trigger for trigger in self._triggers if trigger.rule.trigger == "hold"]
        self._now: int | None = None
        self._next: int | None = None  # the earliest end of a timer
        self._late = False

    @property
    def phase(self) -> str:
        """`idle`, `active`, `failed` or `unknown`."""
        return self._life.phase

    @property
    def mismatches(self) -> int:
        """How many evaluations came out unknown because the values did not fit."""
        expressions = (e for rule in self.plan.rules for e in (rule.when, rule.measure) if e is not None)
        return sum(expression.mismatches for expression in expressions)

    # -- the interface ---------------------------------------------------------------------------------------------

    def feed(self, t_ns: int, readings: Iterable[Reading], *, late: bool = False) -> list[EventDraft]:
        """Take values that the inputs have at the aligned time `t_ns`, all at once; no input twice.

        Times must not go back, except with `late`: then the events carry the value's own time and are marked late, and a value
        older than what is known of its input is passed over and counted.
        """
        self._late = late
        if self._now is not None and t_ns > self._now:
            self._run_timers(t_ns, False)
        now = self._now = t_ns if self._now is None else max(self._now, t_ns)
        changed: dict[int, int] = {}
        edge = False
        for reading in readings:
            place = reading.place
            known = self._inputs[place]
            if known.last_ns is not None and t_ns < known.last_ns:
                self.counts["superseded"] += 1
                continue
            known.last_ns = t_ns
            known.record_ns = reading.record_ns
            known.uncertainty_ns = reading.uncertainty_ns
            known.topic, known.field = reading.topic, reading.field
            before = self._values[place]
            if self._take(place, known, reading.value, t_ns):
                changed[place] = t_ns
                edge = edge or before is not None
        if changed:
            # What is only a first value says what is so now, however long ago its source set it.
            self._evaluate(t_ns if edge else now, changed)
        return self._done()

    def gap(
        self, t_ns: int, until_ns: int, places: Iterable[int], text: str, *, late: bool = False
    ) -> list[EventDraft]:
        """Between `t_ns` and `until_ns` nothing was heard of these inputs: a task under way becomes UNKNOWN at `t_ns`."""
        self._late = late
        if self._now is not None and t_ns > self._now:
            self._run_timers(t_ns, False)
        self._now = t_ns if self._now is None else max(self._now, t_ns)
        self.counts["gaps"] += 1
        lost = {}
        for place in places:
            known = self._inputs[place]
            known.pending = known.pending_ns = None
            # What has come since the gap ended is known.
            before = known.last_ns is not None and known.last_ns <= max(t_ns, until_ns - 1)
            if before and self._values[place] is not None:
                self._values[place] = None
                lost[place] = t_ns
        if not self.plan.infer:
            for trigger in self._triggers:
                trigger.due = None
        self._life.lost(Context(t_ns, None, {}, {}, text, late))
        self._evaluate(t_ns, lost)
        return self._done()

    def advance(self, watermark_ns: int) -> list[EventDraft]:
        """All inputs up to `watermark_ns` have come: run the timers that end by then."""
        self._late = False
        if self._now is None or watermark_ns >= self._now:
            self._run_timers(watermark_ns, True)
            self._now = watermark_ns
        return self._done()

    # -- inputs ----------------------------------------------------------------------------------------------------

    def _take(self, place: int, known: _Input, value: Scalar, t_ns: int) -> bool:
        """Take an input's value; whether what the rules see changes."""
        if isinstance(value, float) and value != value:
            value = None
        before = self._values[place]
        if value == before and type(value) is type(before):
            known.pending_ns = None
            return False
        debounce = self.plan.inputs[place].debounce_ns
        if debounce and value is not None and before is not None:
            if known.pending_ns is None or known.pending != value:
                known.pending, known.pending_ns = value, t_ns
                self._schedule()
            return False
        known.pending_ns = None
        self._values[place] = value
        return True

    # -- timers ----------------------------------------------------------------------------------------------------

    def _schedule(self) -> None:
        """Find the earliest end of a timer."""
        ends = [
            known.pending_ns + planned.debounce_ns
            for known, planned in zip(self._inputs, self.plan.inputs, strict=True)
            if known.pending_ns is not None
        ]
        ends += [end for trigger in self._triggers if (end := trigger.deadline()) is not None]
        self._next = min(ends, default=None)

    def _run_timers(self, limit: int, inclusive: bool) -> None:
        """Let timers end, in the order of their ends, before `limit` (or at it)."""
        while self._next is not None and (self._next < limit or (inclusive and self._next == limit)):
            end = self._next
            self._now = end if self._now is None else max(self._now, end)
            settled = {}
            for place, known in enumerate(self._inputs):
                since = known.pending_ns
                if since is not None and since + self.plan.inputs[place].debounce_ns <= end:
                    self._values[place] = known.pending
                    settled[place] = since
                    known.pending_ns = None
            if settled:
                self._evaluate(end, settled)
            for trigger in self._triggers:
                due = trigger.deadline()
                if due is not None and due <= end:
                    self._timer_ended(trigger, end)
            self._schedule()

    def _timer_ended(self, trigger: Trigger, end: int) -> None:
        rule = trigger.rule
        if rule.trigger == "hold":
            trigger.spent = True
            self._fire(trigger, Firing(end if trigger.since is None else trigger.since), end)
            return
        trigger.due = None
        if rule.when is not None and trigger.holds is None:
            self.counts["undecided"] += 1
        elif self._life.phase == "unknown" and not self.plan.infer:
            self.counts["undecided"] += 1  # it may have come while no one looked
        else:
            self._fire(trigger, Firing(self._life.marks.get(rule.after or "", end)), end)

    # -- rules -----------------------------------------------------------------------------------------------------

    def _evaluate(self, t_ns: int, changed: dict[int, int]) -> None:
        """Look at the rules that read the inputs in `changed` (place: when its change began), and fire."""
        numbers = {number for place in changed for number in self.plan.uses[place]}
        fired: list[tuple[Trigger, Firing]] = []
        for number in sorted(numbers):
            trigger = self._triggers[number]
            when = trigger.rule.when
            assert when is not None
            onset = min(changed[place] for place in when.indices if place in changed)
            firing = trigger.look(self._values, onset)
            if firing is not None:
                fired.append((trigger, firing))
        if self._life.phase == "failed":
            # A correction goes before a new start that comes with it.
            fired.sort(key=lambda pair: pair[0].rule.emit == "started")
        for trigger, firing in fired:
            self._fire(trigger, firing, t_ns)
        self._follow(t_ns)

    def _follow(self, t_ns: int) -> None:
        """After a change of values or of phase: which holds run."""
        for trigger in self._holds:
            trigger.follow(self._may(trigger.rule, t_ns), t_ns, self._values)
        self._schedule()

    def _may(self, rule: PlannedRule, t_ns: int) -> bool:
        """Whether a rule may fire now: the phase of the task, and the time since what it comes after."""
        life = self._life
        if not life.may(rule.emit, rule.guard):
            return False
        since = life.phase_ns
        if rule.after is not None and rule.trigger != "timeout":
            since = life.marks.get(rule.after)
            if since is None:
                return False
        if rule.within_ns is None or rule.trigger == "count" or since is None:
            return True
        return t_ns - since <= rule.within_ns

    def _fire(self, trigger: Trigger, firing: Firing, t_ns: int) -> None:
        rule = trigger.rule
        if not self._may(rule, t_ns):
            self.counts["guarded"] += 1
            return
        if rule.trigger == "count" and not trigger.count(t_ns):
            return
        self._emit(trigger, firing, t_ns)
        if rule.emit in ("started", "corrected"):
            for other in self._triggers:
                other.edges.clear()
        self._arm(rule.emit, t_ns)
        self._follow(t_ns)

    def _arm(self, emit: str, t_ns: int) -> None:
        """Start the timeouts that wait from this event on, and stop those whose attempt is over."""
        for trigger in self._triggers:
            rule = trigger.rule
            if rule.trigger != "timeout":
                continue
            if rule.after == emit:
                awaited = rule.when is not None and trigger.holds is True
                trigger.due = None if awaited else t_ns + rule.for_ns
            elif emit == "started" or not self._life.may(rule.emit, rule.guard):
                trigger.due = None

    def _emit(self, trigger: Trigger, firing: Firing, t_ns: int) -> None:
        rule, life, values = trigger.rule, self._life, self._values
        at = self._context(rule, firing, t_ns)
        bodies: list[Body] = []
        if rule.measure is not None or rule.emit == "progress":
            measure = make_measure(self.plan, rule, values)
            if measure is not None:
                bodies.append(measure)
            elif rule.emit != "decision":
                self.counts["unmeasured"] += 1
        if rule.emit == "started":
            life.started(at)
        elif rule.emit == "progress":
            life.said(at, "progress", bodies)
        elif rule.emit == "decision":
            life.said(at, "decision", [make_decision(self.plan, rule, self._inputs, values, firing.onset_ns, t_ns)])
        elif rule.emit == "failed":
            failure, native = make_failure(
                self.plan, rule, self._inputs, values, firing.onset_ns, t_ns, trigger.extremes
            )
            if native is not None and native.code not in self.plan.alarms:
                self.counts["unknown_alarms"] += 1
            life.failed(at, failure, native)
        elif rule.emit == "corrected":
            life.corrected(at, rule.strategy)
        elif rule.emit == "succeeded":
            life.succeeded(at, bodies)
        else:
            life.aborted(at)

    def _context(self, rule: PlannedRule, firing: Firing, t_ns: int) -> Context:
        used: Sequence[int] = rule.when.indices if rule.when is not None else ()
        known = [self._inputs[place].uncertainty_ns for place in used]
        uncertainties = [uncertainty for uncertainty in known if uncertainty is not None]
        ext: dict[str, object] = {"rule": rule.number}
        if firing.onset_ns != t_ns:
            ext["onset_ns"] = firing.onset_ns
        if firing.across:
            ext["across_gap"] = True
        captured = {self.plan.inputs[place].name: plain(self._values[place]) for place in rule.capture}
        return Context(t_ns, max(uncertainties, default=None), captured, ext, rule.message, self._late)

    def _done(self) -> list[EventDraft]:
        out, self._life.out = self._life.out, []
        return out
