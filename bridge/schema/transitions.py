"""The ledger of tasks: keeps the state machine by (task, attempt), and says where a log departs from it.

A violation is told and flagged, never dropped: a field log must not lose reality.
"""

from __future__ import annotations

from collections import OrderedDict
from uuid import UUID

import msgspec

from bridge.schema.bodies import Correction, Failure, Task
from bridge.schema.enums import Origin, Relation, State
from bridge.schema.event import TaskEvent
from bridge.schema.states import (
    FIRST,
    LEGAL,
    TERMINAL,
    from_goal_status,
    from_job_order,
    from_packml,
    from_vda5050,
    legal,
)

__all__ = [
    "LEGAL",
    "TERMINAL",
    "Ledger",
    "from_goal_status",
    "from_job_order",
    "from_packml",
    "from_vda5050",
    "legal",
]

# A task retried more often than this is remembered by its latest attempts only.
ATTEMPTS_KEPT = 64


class _Attempt:
    """What has been seen of one attempt."""

    __slots__ = ("corrected", "failed", "state")

    def __init__(self) -> None:
        self.state: State | None = None
        self.failed = False  # a failure record was seen
        self.corrected = False  # a correction was seen since RECOVERING


class Ledger:
    """Keeps every task's state, and checks each event against it. Not for several threads at once.

    Args:
        remember: how many ended tasks, live tasks, failures and corrections are remembered, each; the oldest go
            first. What has been forgotten is as unknown as what was never seen.
    """

    def __init__(self, remember: int = 100_000) -> None:
        self._remember = max(1, remember)
        self._live: OrderedDict[UUID, dict[int, _Attempt]] = OrderedDict()
        self._ended: OrderedDict[UUID, dict[int, _Attempt]] = OrderedDict()
        self._failures: OrderedDict[UUID, None] = OrderedDict()
        self._corrections: OrderedDict[UUID, None] = OrderedDict()

    def __len__(self) -> int:
        """How many tasks are remembered."""
        return len(self._live) + len(self._ended)

    def state(self, task_id: UUID, attempt: int = 1) -> State | None:
        """The last state seen of an attempt, or None where none was seen or it is forgotten."""
        record = self._live.get(task_id) or self._ended.get(task_id) or {}
        return record[attempt].state if attempt in record else None

    def observe(self, event: TaskEvent) -> tuple[TaskEvent, list[str]]:
        """Take one event, in the order of the log; never raises and never drops.

        Returns the event, with `previous` filled where it was null and known, and `flags` extended by one text for each
        violation; and those texts.
        """
        body = event.body
        if isinstance(body, Task):
            return self._task(event, body)
        violations: list[str] = []
        if isinstance(body, Failure):
            self._keep(self._failures, event.id)
            if event.task_id is not None:
                self._attempt(event.task_id, event.attempt).failed = True
        elif isinstance(body, Correction):
            violations = self._correction(event, body)
        return _flagged(event, violations), violations

    def _task(self, event: TaskEvent, body: Task) -> tuple[TaskEvent, list[str]]:
        if event.task_id is None:
            violations = [f"the task event {body.state} names no task"]
            return _flagged(event, violations), violations
        attempt = self._attempt(event.task_id, event.attempt)
        before, after = attempt.state, body.state
        violations = self._enter(event, after) if before is None else _step(before, after, attempt, event.origin)
        if before is not None and body.previous is not None and body.previous is not before:
            violations.append(f"it says that it came from {body.previous}, the last state seen was {before}")
        if after is State.FAILED and not attempt.failed:
            violations.append("FAILED without a failure record before it")
        if after is State.RECOVERING:
            attempt.corrected = False
        attempt.state = after
        if after in TERMINAL and event.task_id in self._live:
            self._ended[event.task_id] = self._live.pop(event.task_id)
            self._trim(self._ended)
        if body.previous is None and before is not None:
            event = msgspec.structs.replace(event, body=msgspec.structs.replace(body, previous=before))
        return _flagged(event, violations), violations

    def _enter(self, event: TaskEvent, state: State) -> list[str]:
        """Violations of an attempt's first state."""
        violations = []
        if state not in FIRST:
            violations.append(f"entered at {state}, not at PENDING, READY or UNKNOWN")
        if event.attempt > 1 and state is not State.UNKNOWN:
            assert event.task_id is not None
            last = self.state(event.task_id, event.attempt - 1)
            if last is not State.FAILED:
                seen = "was not seen" if last is None else f"was {last}"
                violations.append(f"attempt {event.attempt} began while attempt {event.attempt - 1} {seen}, not FAILED")
            if not any(link.rel is Relation.RETRIES for link in event.links):
                violations.append(f"attempt {event.attempt} is not linked by 'retries'")
        return violations

    def _correction(self, event: TaskEvent, body: Correction) -> list[str]:
        violations = []
        if body.corrects not in self._failures:
            violations.append(f"it corrects {body.corrects}, a failure that was not seen")
        if body.completes is None:
            self._keep(self._corrections, event.id)
        elif body.completes not in self._corrections:
            violations.append(f"it completes {body.completes}, a correction that was not seen")
        if event.task_id is not None:
            for attempt in self._record(event.task_id).values():
                attempt.corrected = True
        return violations

    def _record(self, task_id: UUID) -> dict[int, _Attempt]:
        """The attempts of a task, touched so that they are forgotten last."""
        if task_id in self._ended:
            self._ended.move_to_end(task_id)
            return self._ended[task_id]
        record = self._live.setdefault(task_id, {})
        self._live.move_to_end(task_id)
        self._trim(self._live)
        return record

    def _attempt(self, task_id: UUID, number: int) -> _Attempt:
        record = self._record(task_id)
        if number not in record:
            if task_id in self._ended and number > max(record):  # a retry makes an ended task live again
                self._live[task_id] = self._ended.pop(task_id)
            record[number] = _Attempt()
            while len(record) > ATTEMPTS_KEPT:
                del record[min(record)]
        # An attempt older than all that are kept is judged, and not kept.
        return record.get(number) or _Attempt()

    def _keep(self, seen: OrderedDict[UUID, None], id_: UUID) -> None:
        seen[id_] = None
        seen.move_to_end(id_)
        self._trim(seen)

    def _trim(self, kept: OrderedDict[UUID, None] | OrderedDict[UUID, dict[int, _Attempt]]) -> None:
        while len(kept) > self._remember:
            kept.popitem(last=False)


def _step(before: State, after: State, attempt: _Attempt, origin: Origin) -> list[str]:
    """Violations of a step from one state to the next."""
    if not legal(before, after):
        return [f"illegal transition: {before} -> {after}"]
    if State.UNKNOWN in (before, after) and origin is not Origin.INFERRED:
        return [f"{before} -> {after} is not marked inferred"]
    if before is State.RECOVERING and after is State.RUNNING and not attempt.corrected:
        return ["RECOVERING -> RUNNING without a correction since RECOVERING"]
    return []


def _flagged(event: TaskEvent, violations: list[str]) -> TaskEvent:
    if not violations:
        return event
    return msgspec.structs.replace(event, flags=(*event.flags, *violations))
