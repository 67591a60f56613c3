"""The journal of one episode: tasks with their legal transitions, decisions, failures, corrections, measures, as events.

A skill that runs again after it failed is the next attempt of the same task; one that runs again after it had succeeded
(the part slipped later, and is picked again) is another task.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from uuid import UUID

import msgspec

from bridge.schema import (
    Body,
    Change,
    ChannelWindow,
    Correction,
    Decider,
    DeciderKind,
    Decision,
    Explanation,
    Failure,
    Interval,
    Link,
    Measure,
    Parameters,
    Relation,
    Result,
    Severity,
    State,
    Strategy,
    Task,
    Verb,
)
from twin.detectors import Finding
from twin.faults import Injection
from twin.output import Draft, Output

RECOVERY = Decider(kind=DeciderKind.RULE, name="twin.recovery", version="1")


class OpenTask:
    """One attempt at a task: its ids, its state, and what later events link to."""

    def __init__(
        self, identity: UUID, parent: UUID | None, attempt: int, verb: str, base: Verb | None, parameters: Parameters
    ) -> None:
        self.id = identity
        self.parent = parent
        self.attempt = attempt
        self.verb = verb
        self.base = base
        self.parameters = parameters
        self.state: State | None = None
        self.last_event: UUID | None = None


class OpenCorrection:
    """A correction that has begun and whose outcome is not known."""

    def __init__(self, identity: UUID, body: Correction, skill: str, began_ns: int) -> None:
        self.id = identity
        self.body = body
        self.skill = skill
        self.began_ns = began_ns


class Journal:
    """Writes the events of one episode.

    Args:
        out: where they go.
        episode: parts that name the episode within the source; ids of tasks derive from them.
        now: the twin's clock, ns.
        injection: what is injected into the episode: it is told beside what was observed, never as it.
    """

    def __init__(
        self, out: Output, episode: Sequence[object], now: Callable[[], int], injection: Injection | None
    ) -> None:
        self._out = out
        self._name = tuple(episode)
        self._now = now
        self._injection = injection
        self._runs: dict[str, int] = {}
        self._before: dict[str, OpenTask] = {}
        self.episode_id = out.key("episode", *self._name)
        self.observed: list[str] = []
        self.corrections: list[OpenCorrection] = []

    def event(
        self,
        body: Body,
        task: OpenTask | None = None,
        *,
        links: tuple[Link, ...] = (),
        ext: dict[str, object] | None = None,
    ) -> UUID:
        """Write one event, now, of `task`."""
        draft = Draft(
            body=body,
            source_ns=self._now(),
            task_id=None if task is None else task.id,
            attempt=1 if task is None else task.attempt,
            parent_id=None if task is None else task.parent,
            episode_id=self.episode_id,
            links=links,
            ext=ext or {},
        )
        return self._out.event(draft)

    # -- tasks ---------------------------------------------------------------------------------------------------

    def begin(
        self,
        name: str,
        verb: str,
        parameters: Parameters,
        *,
        base: Verb | None = None,
        parent: OpenTask | None = None,
        decisions: Sequence[Decision] = (),
    ) -> OpenTask:
        """Start an attempt: PENDING, the decisions that led to its parameters, READY, RUNNING.

        After a failed attempt it is the next one of the same task.
        """
        before = self._before.get(name)
        again = before is not None and before.state is State.FAILED
        attempt = before.attempt + 1 if before is not None and again else 1
        if not again:
            self._runs[name] = self._runs.get(name, 0) + 1
        identity = self._out.key("task", *self._name, name, self._runs[name])
        task = OpenTask(identity, None if parent is None else parent.id, attempt, verb, base, parameters)
        links: tuple[Link, ...] = ()
        if before is not None and again and before.last_event is not None:
            links = (Link(rel=Relation.RETRIES, id=before.last_event),)
        self._before[name] = task
        self.step(task, State.PENDING, links=links)
        for decision in decisions:
            self.event(decision, task)
        self.step(task, State.READY)
        self.step(task, State.RUNNING)
        return task

    def step(self, task: OpenTask, state: State, *, message: str = "", links: tuple[Link, ...] = ()) -> UUID:
        """Take a task to another state."""
        body = Task(
            verb=task.verb,
            state=state,
            previous=task.state,
            base_verb=task.base,
            parameters=task.parameters,
            message=message,
        )
        identity = self.event(body, task, links=links)
        task.state, task.last_event = state, identity
        return identity

    def cancel(self, task: OpenTask, why: str) -> None:
        """Stop a live task: CANCELING, CANCELED."""
        if task.state in (State.RUNNING, State.PAUSED, State.RECOVERING):
            self.step(task, State.CANCELING, message=why)
            self.step(task, State.CANCELED, message=why)

    # -- what happens to them ------------------------------------------------------------------------------------

    def failure(self, task: OpenTask, finding: Finding, skill: str, *, retriable: bool) -> tuple[UUID, Failure]:
        """Write what a detector found. The injection is told as an explanation; the code is what was observed."""
        guard = finding.guard
        window = Interval(source_t0_ns=finding.t0_ns, source_t1_ns=finding.t1_ns)
        body = Failure(
            code=guard.code,
            detected_by=f"twin.detectors.{skill}",
            onset=Interval(source_t0_ns=finding.onset_ns, source_t1_ns=finding.detected_ns),
            evidence=(finding.evidence(self._out.topic(guard.channel), window),),
            retriable=retriable,
            explanation=self._explanation(),
        )
        return self.told(task, body), body

    def told(self, task: OpenTask, failure: Failure) -> UUID:
        """Write a failure that is made already, and count its code among the episode's observed ones."""
        self.observed.append(failure.code.value)
        return self.event(failure, task, ext=self._injected())

    def given_up(self, parent: OpenTask, failure: Failure, cause: UUID) -> UUID:
        """The job's own failure when nothing more is tried: the last one's evidence, linked to it."""
        body = msgspec.structs.replace(failure, severity=Severity.CRITICAL, retriable=False)
        return self.event(body, parent, links=(Link(rel=Relation.CAUSED_BY, id=cause),), ext=self._injected())

    def decide(self, decision: Decision, task: OpenTask, cause: UUID) -> UUID:
        """Write a decision about the failure `cause`."""
        return self.event(decision, task, links=(Link(rel=Relation.CAUSED_BY, id=cause),))

    def correct(
        self, parent: OpenTask, failure: UUID, skill: str, strategy: Strategy, changes: tuple[Change, ...]
    ) -> OpenCorrection:
        """A correction begins: the failed `skill` will be tried again."""
        body = Correction(corrects=failure, actor=RECOVERY, strategy=strategy, changes=changes)
        identity = self.event(body, parent, links=(Link(rel=Relation.CORRECTS, id=failure),))
        correction = OpenCorrection(identity, body, skill, self._now())
        self.corrections.append(correction)
        return correction

    def complete(
        self, parent: OpenTask, correction: OpenCorrection, result: Result, verified_by: OpenTask | None
    ) -> None:
        """What came of a correction: the second event, which names the first."""
        body = Correction(
            corrects=correction.body.corrects,
            actor=correction.body.actor,
            strategy=correction.body.strategy,
            changes=correction.body.changes,
            window=Interval(source_t0_ns=correction.began_ns, source_t1_ns=self._now()),
            completes=correction.id,
            result=result,
            verified_by=None if verified_by is None else verified_by.id,
        )
        self.corrections.remove(correction)
        self.event(body, parent, links=(Link(rel=Relation.CORRECTS, id=correction.body.corrects),))

    def measure(self, task: OpenTask, measure: Measure) -> None:
        """Write a measure."""
        self.event(measure, task)

    def window(self, channel: str, t0_ns: int, t1_ns: int, field: str = "") -> ChannelWindow:
        """A stretch of one of the source's channels, as an input of a decision."""
        window = Interval(source_t0_ns=t0_ns, source_t1_ns=t1_ns)
        return ChannelWindow(channel=self._out.topic(channel), window=window, field=field)

    def _explanation(self) -> Explanation | None:
        if self._injection is None:
            return None
        return Explanation(text=f"injected in this episode: {self._injection.text()}", author="twin.injection")

    def _injected(self) -> dict[str, object]:
        return {} if self._injection is None else {"injected": self._injection.record()}
