"""A bench for one rule set: values in by name and millisecond, events out, every one of them shown to the ledger."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

import msgspec

from bridge.rules.draft import EventDraft, Reading
from bridge.rules.engine import RuleEngine
from bridge.rules.plan import plan_rules
from bridge.rules.stage import RuleEvent
from bridge.rules.tree import Scalar
from bridge.schema import Correction, Decision, Failure, Measure, Task, TaskEvent, codec, ids
from bridge.schema.transitions import Ledger
from bridge.site.model import RuleSet
from bridge.testing import make_source

MS = 1_000_000
BASE = 1_760_000_000_000_000_000
RUN = UUID(int=7)


def rule_set(**changes: Any) -> RuleSet:
    """A rule set as the site file's loader would give it; inputs may be given by name alone."""
    inputs = changes.pop("inputs", ["start", "done", "alarm", "retry", "force", "text"])
    if isinstance(inputs, list):
        inputs = {name: {} for name in inputs}
    given = {name: {"source": "plc", "tag": name, **item} for name, item in inputs.items()}
    base = {"task": "pick", "verb": "grasp", "space": "field", "asset": "cell1", "inputs": given, "rules": []}
    return msgspec.convert({**base, **changes}, RuleSet)


def word(event: TaskEvent) -> str:
    """An event in a word or two."""
    body = event.body
    if isinstance(body, Task):
        return f"{body.state.value}" + (f"/{event.attempt}" if event.attempt > 1 else "")
    if isinstance(body, Failure):
        return f"failure {body.code.value}"
    if isinstance(body, Correction):
        return f"correction {body.strategy.value}" if body.result is None else f"corrected {body.result.value}"
    if isinstance(body, Measure):
        return f"measure {body.name}={body.value:g}{body.unit}"
    assert isinstance(body, Decision)
    return f"decision {body.chosen}"


class Bench:
    """One engine, and everything that it has said."""

    def __init__(self, rules: RuleSet, directory: str = ".") -> None:
        self.plan = plan_rules("set", rules, directory)
        self.engine = RuleEngine(
            self.plan, partial(ids.task_key, RUN, "rules.set"), partial(ids.event_id, RUN, "rules.set", 0)
        )
        self.places = {item.name: place for place, item in enumerate(self.plan.inputs)}
        self.ledger = Ledger()
        self.events: list[TaskEvent] = []
        self.violations: list[str] = []
        self.voice = msgspec.structs.replace(make_source("rules.set"), run_id=RUN)

    def put(self, t_ms: float, late: bool = False, **values: Scalar) -> list[str]:
        """Values of inputs at a time; what is said of them."""
        t = BASE + round(t_ms * MS)
        readings = [
            Reading(self.places[name], value, t, 1000, f"/field/cell1/{name}", "value")
            for name, value in values.items()
        ]
        return self._say(self.engine.feed(t, readings, late=late))

    def wait(self, t_ms: float) -> list[str]:
        """The watermark reaches a time."""
        return self._say(self.engine.advance(BASE + round(t_ms * MS)))

    def gap(self, t0_ms: float, t1_ms: float, *names: str) -> list[str]:
        """Nothing is heard of some inputs (all, when none is named)."""
        places = [self.places[name] for name in names or self.places]
        return self._say(
            self.engine.gap(BASE + round(t0_ms * MS), BASE + round(t1_ms * MS), places, "no data from plc")
        )

    def _say(self, drafts: list[EventDraft]) -> list[str]:
        said = []
        for draft in drafts:
            assert draft.sequence == len(self.events)
            event = RuleEvent(source=self.voice, draft=draft).make_event(RUN, draft.sequence, draft.t_ns + 5 * MS)
            event, violations = self.ledger.observe(event)
            codec.decode(codec.encode(event))
            self.violations += violations
            self.events.append(event)
            said.append(word(event))
        return said

    def at(self, number: int) -> float:
        """When the event numbered so was, ms."""
        return (self.events[number].time.aligned_ns - BASE) / MS

    def body(self, kind: type[Any], number: int = -1) -> Any:
        """The body of the last event of a kind, or of another by number."""
        return [event for event in self.events if isinstance(event.body, kind)][number].body
