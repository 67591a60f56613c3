"""The life of the task that a rule set follows: which events a rule's firing becomes, in a legal order.

`idle` -> started -> `active` -> succeeded or aborted -> `idle`; failed -> `failed` -> corrected -> `active`, one attempt later;
and `unknown` while the link to a source is lost in mid-task.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple
from uuid import UUID

import msgspec

from bridge.rules.draft import EventDraft
from bridge.rules.plan import Plan
from bridge.schema import (
    Body,
    Correction,
    Decider,
    DeciderKind,
    Failure,
    Link,
    Native,
    Parameters,
    Relation,
    Result,
    State,
    Strategy,
    Task,
)

_BY_HAND = frozenset({Strategy.MANUAL, Strategy.TELEOPERATE})


class Context(NamedTuple):
    """What is the same for all events of one firing: when (aligned ns), how sure, what was captured, which rule."""

    t_ns: int
    uncertainty_ns: int | None
    captured: dict[str, Any]
    ext: dict[str, Any]
    message: str
    late: bool


class TaskLife:
    """Follows one task at a time, and writes its events to `out`.

    Args:
        plan: the rule set.
        task_id: the id of the n-th task, n from 0.
        event_id: the id of the event numbered n, n from 0.
    """

    def __init__(self, plan: Plan, task_id: Callable[[int], UUID], event_id: Callable[[int], UUID]) -> None:
        self._plan = plan
        self._make_task_id = task_id
        self._make_event_id = event_id
        self.out: list[EventDraft] = []
        self.phase = "idle"
        self.phase_ns: int | None = None  # since when
        self.marks: dict[str, int] = {}  # when each kind of event was last emitted for this task
        self._tasks = 0
        self._sequence = 0
        self._task: UUID | None = None
        self._attempt = 1
        self._parameters = Parameters(object_class=plan.object_class)
        self._failure: tuple[UUID, int] | None = None  # the last failure and its attempt
        self._failed: UUID | None = None  # the event FAILED of the last attempt
        self._correction: tuple[UUID, Correction, int] | None = None  # begun, not yet completed

    def may(self, emit: str, guard: frozenset[str]) -> bool:
        """Whether a rule with this guard may fire now.

        A task whose link was lost may turn out to have gone on (`active`), or to have ended before the next one starts. An
        attempt that failed has ended, so that what may start from `idle` may start after it.
        """
        if self.phase in guard:
            return True
        if self.phase == "unknown":
            return ("idle" if emit == "started" else "active") in guard
        return self.phase == "failed" and emit == "started" and "idle" in guard

    # -- what a rule's firing becomes ------------------------------------------------------------------------------

    def started(self, at: Context) -> None:
        """A new task: READY and RUNNING. One that was under way is left UNKNOWN, since its end was not seen."""
        if self.phase == "active":
            self._state(at, State.UNKNOWN, "another task was started before this one was seen to end")
        self._task = self._make_task_id(self._tasks)
        self._tasks += 1
        self._attempt = 1
        self._failure = self._failed = self._correction = None
        self.marks = {}
        self._parameters = Parameters(object_class=self._plan.object_class)
        self._capture(at)
        self._state(at, State.READY)
        self._state(at, State.RUNNING, at.message)
        self._enter("active", at)
        self.marks["started"] = at.t_ns

    def said(self, at: Context, emit: str, bodies: list[Body]) -> None:
        """Measures or a decision. A task whose link was lost is seen to go on."""
        if self.phase == "unknown":
            self._state(at, State.RUNNING, "seen again")
            self._enter("active", at)
        for body in bodies:
            self._put(at, body)
        self.marks[emit] = at.t_ns

    def failed(self, at: Context, failure: Failure, native: Native | None) -> None:
        """A failure, and FAILED where an attempt is under way. A correction that was open did not repair it."""
        identity = self._put(at, failure, native=native)
        if self._task is not None:
            self._failure = (identity, self._attempt)
        if self.phase in ("active", "unknown"):
            self._failed = self._state(at, State.FAILED, at.message, links=(Link(rel=Relation.CAUSED_BY, id=identity),))
            self._complete(at, Result.NONE)
            self._enter("failed", at)
        self.marks["failed"] = at.t_ns

    def corrected(self, at: Context, strategy: Strategy) -> None:
        """A correction of the last failure, and the attempt that it begins."""
        if self._failure is None:
            return
        failure, attempt = self._failure
        by_hand = strategy in _BY_HAND
        actor = Decider(
            kind=DeciderKind.HUMAN if by_hand else DeciderKind.PLC, name="operator" if by_hand else self._plan.name
        )
        body = Correction(corrects=failure, actor=actor, strategy=strategy)
        links = (Link(rel=Relation.CORRECTS, id=failure),)
        self._correction = (self._put(at, body, links=links, attempt=attempt), body, attempt)
        self._attempt += 1
        self._capture(at)
        self._state(at, State.READY, links=(Link(rel=Relation.RETRIES, id=self._failed or failure),))
        self._state(at, State.RUNNING, at.message)
        self._enter("active", at)
        self.marks["corrected"] = at.t_ns

    def succeeded(self, at: Context, measures: list[Body]) -> None:
        """SUCCEEDED; a correction that was open has repaired it."""
        for body in measures:
            self._put(at, body)
        self._capture(at)
        self._state(at, State.SUCCEEDED, at.message)
        self._complete(at, Result.REPAIRED)
        self._end("succeeded", at)

    def aborted(self, at: Context) -> None:
        """CANCELING and CANCELED. Whether a correction that was open had helped, no one knows."""
        self._capture(at)
        self._state(at, State.CANCELING, at.message)
        self._state(at, State.CANCELED)
        self._end("aborted", at)

    def lost(self, at: Context) -> bool:
        """The link to a source was lost: a task under way is UNKNOWN until the next sign of it."""
        if self.phase != "active":
            return False
        self._state(at, State.UNKNOWN, at.message)
        self._enter("unknown", at)
        return True

    # -- writing ---------------------------------------------------------------------------------------------------

    def _enter(self, phase: str, at: Context) -> None:
        self.phase, self.phase_ns = phase, at.t_ns

    def _end(self, emit: str, at: Context) -> None:
        self._enter("idle", at)
        self.marks = {emit: at.t_ns}
        self._task = self._failure = self._failed = self._correction = None
        self._attempt = 1

    def _capture(self, at: Context) -> None:
        if not at.captured:
            return
        free = {**self._parameters.free, **at.captured}
        identity = free.pop("object_id", None)
        known = self._parameters.object_id if identity is None else str(identity)
        self._parameters = msgspec.structs.replace(self._parameters, free=free, object_id=known)

    def _complete(self, at: Context, result: Result) -> None:
        if self._correction is None:
            return
        begun, body, attempt = self._correction
        verified = self._task if result is Result.REPAIRED else None
        done = msgspec.structs.replace(body, completes=begun, result=result, verified_by=verified)
        self._put(at, done, links=(Link(rel=Relation.CORRECTS, id=body.corrects),), attempt=attempt)
        self._correction = None

    def _state(self, at: Context, state: State, message: str = "", links: tuple[Link, ...] = ()) -> UUID:
        body = Task(
            verb=self._plan.verb,
            base_verb=self._plan.base_verb,
            state=state,
            parameters=self._parameters,
            message=message,
        )
        return self._put(at, body, links=links)

    def _put(
        self,
        at: Context,
        body: Body,
        *,
        links: tuple[Link, ...] = (),
        native: Native | None = None,
        attempt: int | None = None,
    ) -> UUID:
        sequence = self._sequence
        self._sequence += 1
        identity = self._make_event_id(sequence)
        ext = {"task": self._plan.task, **at.ext}
        if at.captured and not isinstance(body, Task):
            ext["capture"] = at.captured
        self.out.append(
            EventDraft(
                sequence=sequence,
                id=identity,
                body=body,
                t_ns=at.t_ns,
                uncertainty_ns=at.uncertainty_ns,
                task_id=self._task,
                attempt=self._attempt if attempt is None else attempt,
                links=links,
                native=native,
                ext=ext,
                late=at.late,
            )
        )
        return identity
