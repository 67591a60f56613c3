"""When a rule fires: the memory of one rule between the values of its inputs."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import NamedTuple

from bridge.rules.plan import PlannedRule
from bridge.rules.tree import Scalar

LONGEST_COUNT = 100_000
"""Edges that a `count` rule remembers at most."""


class Firing(NamedTuple):
    """A rule's condition was met: `onset_ns` is when what it sees began; `across` that a gap lies between before and now."""

    onset_ns: int
    across: bool = False


class Trigger:
    """What one rule remembers. All times are aligned ns.

    A condition that becomes unknown is forgotten, so that the next known value is a new baseline and makes no edge; with `infer`
    it is remembered, and the edge that a gap hid is found after it.
    """

    __slots__ = (
        "across",
        "armed",
        "before",
        "due",
        "edges",
        "extremes",
        "holds",
        "infer",
        "rule",
        "since",
        "spent",
    )

    def __init__(self, rule: PlannedRule, infer: bool) -> None:
        self.rule = rule
        self.infer = infer
        self.before: Scalar = None  # the last known value of the condition
        self.across = False  # it has been unknown since
        self.armed: bool | None = None  # cross: below the band
        self.holds: bool | None = None  # the condition as it is now
        self.since: int | None = None  # hold: since when it has held in a phase in which the rule may fire
        self.spent = False  # hold: it has fired for this time
        self.due: int | None = None  # timeout: when
        self.edges: deque[int] = deque(maxlen=LONGEST_COUNT)
        self.extremes: dict[int, tuple[float, float]] = {}  # hold: smallest and largest of each number since `since`

    def look(self, values: Sequence[Scalar], onset_ns: int) -> Firing | None:
        """Look at new values, the first of which set in at `onset_ns`; whether an edge, a change or a crossing is in them."""
        rule = self.rule
        if rule.when is None:
            return None
        if rule.trigger == "change":
            return self._changed(rule.when(values), onset_ns)
        if rule.trigger == "cross":
            return self._crossed(rule.when(values), onset_ns)
        held = rule.when.truth(values)
        self.holds = held
        if held is None:
            self._forget()
            return None
        before, across = self.before, self.across
        self.before, self.across = held, False
        if rule.trigger == "timeout" and held:
            self.due = None  # what was waited for has come
        if before is None or before is held or rule.trigger in ("hold", "timeout"):
            return None
        return Firing(onset_ns, across) if held is not (rule.trigger == "fall") else None

    def deadline(self) -> int | None:
        """When this rule's timer ends; None where none runs."""
        if self.due is not None:
            return self.due
        if self.since is not None and not self.spent:
            return self.since + self.rule.for_ns
        return None

    def count(self, t_ns: int) -> bool:
        """Count an edge; whether it completes the number within the time."""
        rule = self.rule
        self.edges.append(t_ns)
        if rule.within_ns is not None:
            while self.edges[0] < t_ns - rule.within_ns:
                self.edges.popleft()
        if len(self.edges) < rule.count:
            return False
        self.edges.clear()
        return True

    def follow(self, may_fire: bool, t_ns: int, values: Sequence[Scalar]) -> None:
        """For `hold`: start or stop its time, and follow the numbers in it."""
        if not (may_fire and self.holds):
            self.since, self.spent = None, False
            self.extremes.clear()
            return
        if self.since is None:
            self.since = t_ns
        for place in self.rule.when.indices if self.rule.when is not None else ():
            value = values[place]
            if isinstance(value, (int, float)):
                low, high = self.extremes.get(place, (value, value))
                self.extremes[place] = (min(low, value), max(high, value))

    def _forget(self) -> None:
        if self.infer:
            self.across = True
        else:
            self.before = None
            self.armed = None

    def _changed(self, value: Scalar, onset_ns: int) -> Firing | None:
        if value is None:
            self._forget()
            return None
        before, across = self.before, self.across
        self.before, self.across = value, False
        return None if before is None or before == value else Firing(onset_ns, across)

    def _crossed(self, value: Scalar, onset_ns: int) -> Firing | None:
        if value is None or isinstance(value, str):
            self._forget()
            return None
        across, self.across = self.across, False
        level = self.rule.level
        if self.armed is None:
            self.armed = value < level
        elif value >= level:
            armed, self.armed = self.armed, False
            return Firing(onset_ns, across) if armed else None
        elif value < level - self.rule.hysteresis:
            self.armed = True
        return None
