"""The story of a failure: what was decided before it, what the telemetry shows, what was done after it, what came of that."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from bridge.errors import UsageError
from bridge.names import nearest
from bridge.schema import (
    Annotation,
    Correction,
    Decision,
    Evidence,
    Failure,
    Measure,
    Relation,
    Task,
    TaskEvent,
)
from recorder.predicate import Reading, read_evidence
from recorder.reader import Log
from recorder.wording import ShortIds

NEARBY_NS = 30_000_000_000
"""How long before a failure a decision of the same source still counts as the one before it, when no task joins them."""


@dataclass(frozen=True)
class EvidenceRead:
    """An evidence of a failure, and what the telemetry says of it; no reading where its predicate is not ours."""

    evidence: Evidence
    reading: Reading | None


@dataclass(frozen=True)
class CorrectionTold:
    """A correction of the failure, and the event that completes it, if the log has one."""

    begun: TaskEvent
    completed: TaskEvent | None


@dataclass(frozen=True)
class Story:
    """Everything in a log that belongs to one failure, in order of time.

    `decision_by` says how the decision was found: `link`, `attempt`, `task`, `job` or `source`. `history` is the task's states
    and what was measured of it.
    """

    failure: TaskEvent
    body: Failure
    evidence: list[EvidenceRead]
    decision: TaskEvent | None
    decision_by: str
    corrections: list[CorrectionTold]
    causes: list[TaskEvent]
    same: list[TaskEvent]
    notes: list[TaskEvent]
    history: list[TaskEvent]


class Events:
    """The events of a log by id and by task, for looking things up."""

    def __init__(self, log: Log) -> None:
        self.all = list(log.events())
        self.by_id = {event.id: event for event in self.all}
        self.short = ShortIds(
            [e.id for e in self.all]
            + [e.task_id for e in self.all if e.task_id]
            + [e.parent_id for e in self.all if e.parent_id]
        )

    @property
    def failures(self) -> list[tuple[TaskEvent, Failure]]:
        """The failures, in order of time."""
        return [(event, event.body) for event in self.all if isinstance(event.body, Failure)]

    def failure(self, prefix: str) -> tuple[TaskEvent, Failure]:
        """The failure whose id begins with `prefix`; dashes do not count.

        Raises `UsageError` for an unknown or ambiguous prefix, and for the id of an event that is no failure.
        """
        wanted = prefix.replace("-", "").lower()
        found = [(e, b) for e, b in self.failures if e.id.hex.startswith(wanted)] if wanted else []
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(f"{self.short(e.id)} ({b.code.value})" for e, b in found[:6])
            raise UsageError(
                f"{prefix!r} is the beginning of {len(found)} failures: {names}", hint="give more of the id"
            )
        other = next((e for e in self.all if wanted and e.id.hex.startswith(wanted)), None)
        if other is not None:
            raise UsageError(f"{prefix!r} is a {other.kind} event, not a failure", hint=self._hint(other))
        raise UsageError(f"no failure in this log has an id that begins with {prefix!r}", hint=self._suggest(wanted))

    def _hint(self, event: TaskEvent) -> str:
        if isinstance(event.body, Correction):
            return f"it corrects the failure {self.short(event.body.corrects)}"
        for failure, body in self.failures:
            if event.task_id is not None and failure.task_id == event.task_id:
                return f"its task has the failure {self.short(failure.id)} ({body.code.value})"
        return "`dari why LOG` lists the failures"

    def _suggest(self, wanted: str) -> str:
        known = [self.short(e.id) for e, _ in self.failures]
        if not known:
            return "this log has no failures; `dari events LOG` lists what it has"
        near = nearest(wanted[: self.short.length], known)
        if near is not None:
            return f"did you mean {near}? `dari why LOG` lists the failures"
        return f"there are {len(known)}: {', '.join(known[:6])}{' ...' if len(known) > 6 else ''}"

    def of_task(self, task_id: UUID | None) -> list[TaskEvent]:
        """The events of a task, in order of time."""
        return [e for e in self.all if e.task_id == task_id] if task_id is not None else []


def tell(log: Log, events: Events, failure: TaskEvent, body: Failure) -> Story:
    """Put together the story of one failure; reads its evidence back from the telemetry."""
    decision, decided_by = _decision(events, failure, body)
    completions = {
        e.body.completes: e for e in events.all if isinstance(e.body, Correction) and e.body.completes is not None
    }
    corrections = [
        CorrectionTold(e, completions.get(e.id))
        for e in events.all
        if isinstance(e.body, Correction) and e.body.corrects == failure.id and e.body.completes is None
    ]
    history = [e for e in events.of_task(failure.task_id) if isinstance(e.body, (Task, Measure))]
    return Story(
        failure=failure,
        body=body,
        evidence=[EvidenceRead(e, read_evidence(log, e, failure.time.uncertainty_ns)) for e in body.evidence],
        decision=decision,
        decision_by=decided_by,
        corrections=corrections,
        causes=_linked(events, failure, Relation.CAUSED_BY),
        same=_linked(events, failure, Relation.OBSERVES_SAME),
        notes=[
            e for e in events.all if isinstance(e.body, Annotation) and e.body.about in (failure.id, failure.task_id)
        ],
        history=history,
    )


def _linked(events: Events, failure: TaskEvent, relation: Relation) -> list[TaskEvent]:
    ids = [link.id for link in failure.links if link.rel is relation]
    found = [events.by_id[i] for i in ids if i in events.by_id]
    if relation is Relation.OBSERVES_SAME:
        found += [e for e in events.all if any(k.rel is relation and k.id == failure.id for k in e.links)]
    return found


def _decision(events: Events, failure: TaskEvent, body: Failure) -> tuple[TaskEvent | None, str]:
    """The decision before a failure: linked, else the last of its attempt, task, job, or source before the onset."""
    linked = [e for e in _linked(events, failure, Relation.CAUSED_BY) if isinstance(e.body, Decision)]
    if linked:
        return linked[-1], "link"
    until = failure.time.aligned_ns
    if body.onset is not None and body.onset.t0_ns is not None:
        until = min(until, body.onset.t0_ns)
    before = [
        e for e in events.all if isinstance(e.body, Decision) and e.time.aligned_ns <= until and e.id != failure.id
    ]
    task, parent = failure.task_id, failure.parent_id
    chances = (
        ("attempt", [e for e in before if task is not None and e.task_id == task and e.attempt == failure.attempt]),
        ("task", [e for e in before if task is not None and e.task_id == task]),
        ("job", [e for e in before if parent is not None and parent in (e.task_id, e.parent_id)]),
        (
            "source",
            [
                e
                for e in before
                if e.source == failure.source
                and until - e.time.aligned_ns <= NEARBY_NS
                and (failure.episode_id is None or e.episode_id == failure.episode_id)
            ],
        ),
    )
    for how, found in chances:
        if found:
            return found[-1], how
    return None, ""
