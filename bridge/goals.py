"""The status of an action's goals becomes task events, with no type of the action's own.

`/<name>/_action/status` (`action_msgs/msg/GoalStatusArray`) lists every goal that the server remembers, again and again: only
changes are events. Publisher and transport may skip a state; what must have been in between is filled in and said to be
inferred. A rejected goal never appears. An aborted goal carries no reason, so its failure is `unknown`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple
from uuid import UUID

import msgspec

from bridge.adapter import Port
from bridge.goal_status import GoalStatus
from bridge.schema import (
    Correction,
    Decider,
    DeciderKind,
    Evidence,
    Failure,
    FailureCode,
    Interval,
    Link,
    Native,
    Origin,
    Parameters,
    Relation,
    Result,
    State,
    Strategy,
    Task,
    Verb,
)
from bridge.schema.bodies import VerbName
from bridge.schema.states import TERMINAL, from_goal_status

SUFFIX = "/_action/status"
STATUS_TYPE = "action_msgs/msg/GoalStatusArray"
ABORTED = 6
_READY, _RUN, _CANCELING = State.READY, State.RUNNING, State.CANCELING

# What lies between a state and the next one seen: rcl_action knows no other way (a goal aborts or succeeds only after it
# was executing, and is canceled only after it was canceling).
_BETWEEN: dict[tuple[State | None, State], tuple[State, ...]] = {
    (None, _RUN): (_READY,),
    (None, _CANCELING): (_READY,),
    (None, State.SUCCEEDED): (_READY, _RUN),
    (None, State.FAILED): (_READY, _RUN),
    (None, State.CANCELED): (_READY, _CANCELING),
    (_READY, State.SUCCEEDED): (_RUN,),
    (_READY, State.FAILED): (_RUN,),
    (_READY, State.CANCELED): (_CANCELING,),
    (_RUN, State.CANCELED): (_CANCELING,),
}


class ActionMap(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an action means: its verb (a core verb, or a reverse-DNS name beside a core `base_verb`) and its object."""

    verb: VerbName
    base_verb: Verb | None = None
    object_class: str | None = None


class Moment(NamedTuple):
    """When a status array was sent (the publisher's clock, ns, or None) and first seen (`time.monotonic_ns()`)."""

    stamp: int | None
    arrival: int


class _Goal:
    """One goal: an attempt of a task."""

    __slots__ = ("attempt", "began", "correction", "failure", "retries", "state", "status", "task_id")

    def __init__(self, task_id: UUID, attempt: int, began: Moment) -> None:
        self.task_id = task_id
        self.attempt = attempt
        self.began = began
        self.state: State | None = None
        self.status = 0
        self.retries: _Abort | None = None
        self.correction: UUID | None = None
        self.failure: UUID | None = None


class _Abort(NamedTuple):
    """An abort that a goal sent soon after would be a retry of."""

    task_id: UUID
    attempt: int
    at: int
    failed: UUID
    failure: UUID


def action_name(status_topic: str) -> str:
    """The action whose status a topic carries.

    >>> action_name("/arm/pick/_action/status")
    '/arm/pick'
    """
    return status_topic.removesuffix(SUFFIX)


def meaning(action: str, given: ActionMap | None) -> ActionMap:
    """What an action means: as the site file says, else its own name as the verb, which is a guess of nobody."""
    if given is not None:
        return given
    parts = [re.sub(r"[^A-Za-z0-9_-]", "-", part) for part in action.split("/") if part]
    return ActionMap(verb=".".join(["ros", "action", *(parts or ["x"])]), base_verb=Verb.MOVE)


class ActionTracker:
    """Turns the status arrays of one action into task events.

    Args:
        port: where the events go.
        action: the action's name, with its leading slash.
        given: what the site file says that it means, or None.
        status_topic: the log's topic of the status channel, which an abort's evidence names.
        clock: the source's clock that stamps the status messages.
        retry_within_ns: a goal accepted this soon after an abort is a retry of it.
    """

    def __init__(
        self,
        port: Port,
        action: str,
        given: ActionMap | None,
        *,
        status_topic: str,
        clock: str,
        retry_within_ns: int,
    ) -> None:
        self._port = port
        self.action = action
        self._meaning = meaning(action, given)
        self._topic = status_topic
        self._clock = clock
        self._retry_within = retry_within_ns
        self._goals: dict[UUID, _Goal] = {}
        self._servers: set[bytes] = set()
        self._aborts: list[_Abort] = []

    def observe(self, statuses: Iterable[GoalStatus], moment: Moment, *, server: bytes, fresh: bool) -> None:
        """Take one status array.

        Args:
            statuses: its entries.
            moment: when it was sent and seen.
            server: the publisher's id; empty where the middleware does not tell it.
            fresh: it was published while dari was listening to this publisher, so that nothing came before it unseen.
        """
        listed = list(statuses)
        joining = server not in self._servers and not fresh
        self._servers.add(server)
        for entry in listed:
            state = from_goal_status(entry.status)
            goal = self._goals.get(entry.id)
            if state is None or (goal is not None and goal.status == entry.status and goal.state is not State.UNKNOWN):
                continue
            if goal is None:
                goal = self._admit(entry, state, moment, joining)
                if goal is None:
                    continue
            self._advance(goal, state, entry, moment)
        # The server forgets what ended some time ago; so do we, once it does.
        ids = {entry.id for entry in listed}
        for id_ in [i for i, goal in self._goals.items() if goal.state in TERMINAL and i not in ids]:
            del self._goals[id_]

    def server_gone(self, moment: Moment) -> None:
        """No server is left: what was under way is unknown from here on."""
        self._servers.clear()
        for id_, goal in self._goals.items():
            if goal.state is not None and goal.state not in TERMINAL and goal.state is not State.UNKNOWN:
                self._task(goal, State.UNKNOWN, id_, "", moment, Origin.INFERRED, message="the action server has gone")

    def _admit(self, entry: GoalStatus, state: State, moment: Moment, joining: bool) -> _Goal | None:
        """Begin to follow a goal; None when it had ended before dari came."""
        if joining and state in TERMINAL:
            goal = self._goals[entry.id] = _Goal(entry.id, 1, moment)
            goal.state, goal.status = state, entry.status
            return None
        abort = None if joining else self._aborted_before(moment)
        if abort is None:
            goal = _Goal(entry.id, 1, moment)
        else:
            goal = _Goal(abort.task_id, abort.attempt + 1, moment)
            goal.retries = abort
            goal.correction = self._correct(goal, abort, entry, moment)
        self._goals[entry.id] = goal
        if joining and state is not _READY:
            self._task(goal, State.UNKNOWN, entry.id, "", moment, Origin.INFERRED, message="joined in mid-task")
        return goal

    def _aborted_before(self, moment: Moment) -> _Abort | None:
        """The newest abort that a goal accepted now would be a retry of; each is retried once."""
        self._aborts = [a for a in self._aborts if moment.arrival - a.at <= self._retry_within]
        return self._aborts.pop() if self._aborts else None

    def _advance(self, goal: _Goal, state: State, entry: GoalStatus, moment: Moment) -> None:
        for skipped in _BETWEEN.get((goal.state, state), ()):
            self._task(
                goal, skipped, entry.id, "", moment, Origin.INFERRED, message="skipped by the status topic", entry=entry
            )
        links: tuple[Link, ...] = ()
        if state is State.FAILED:
            goal.failure = self._fail(goal, entry, moment)
            links = (Link(rel=Relation.CAUSED_BY, id=goal.failure),)
        origin = Origin.INFERRED if goal.state is State.UNKNOWN else Origin.OBSERVED
        goal.status = entry.status
        event = self._task(goal, state, entry.id, str(entry.status), moment, origin, links=links, entry=entry)
        if goal.failure is not None and state is State.FAILED and self._retry_within > 0:
            self._aborts.append(_Abort(goal.task_id, goal.attempt, moment.arrival, event, goal.failure))
        if state in TERMINAL:
            self._complete(goal, state, entry, moment)

    def _task(
        self,
        goal: _Goal,
        state: State,
        id_: UUID,
        code: str,
        moment: Moment,
        origin: Origin,
        *,
        message: str = "",
        links: tuple[Link, ...] = (),
        entry: GoalStatus | None = None,
    ) -> UUID:
        previous, goal.state = goal.state, state
        ext: dict[str, object] = {}
        if previous is None:
            if goal.retries is not None:
                # That it is the same task again is dari's inference: the goal has an id of its own.
                origin = Origin.INFERRED
                links = (*links, Link(rel=Relation.RETRIES, id=goal.retries.failed))
                message = message or f"a goal sent again within {self._retry_within / 1e9:g} s of an abort"
            if entry is not None and entry.accepted_ns > 0:
                ext["ros2.accepted_ns"] = entry.accepted_ns
        meant = self._meaning
        return self._port.event(
            Task(
                verb=meant.verb,
                base_verb=meant.base_verb,
                state=state,
                previous=previous,
                parameters=Parameters(object_class=meant.object_class),
                message=message,
            ),
            source_ns=moment.stamp,
            arrival=moment.arrival,
            task_id=goal.task_id,
            attempt=goal.attempt,
            links=links,
            origin=origin,
            native=self._native(id_, code),
            ext=ext,
            clock=self._clock,
        )

    def _fail(self, goal: _Goal, entry: GoalStatus, moment: Moment) -> UUID:
        evidence: tuple[Evidence, ...] = ()
        if goal.began.stamp is not None and moment.stamp is not None:
            window = Interval(source_t0_ns=min(goal.began.stamp, moment.stamp), source_t1_ns=moment.stamp)
            field = f"status_list[{entry.id.hex}].status"
            evidence = (
                Evidence(
                    channel=self._topic,
                    window=window,
                    predicate=f"last({field}) == {ABORTED}",
                    field=field,
                    value=float(entry.status),
                    threshold=float(ABORTED),
                ),
            )
        body = Failure(code=FailureCode.UNKNOWN, detected_by=f"action server of {self.action}", evidence=evidence)
        return self._event(body, goal, entry, moment, Origin.OBSERVED)

    def _correct(self, goal: _Goal, abort: _Abort, entry: GoalStatus, moment: Moment) -> UUID:
        body = Correction(corrects=abort.failure, actor=self._client(), strategy=Strategy.RETRY)
        return self._event(body, goal, entry, moment, Origin.INFERRED, Relation.CORRECTS, abort.failure)

    def _complete(self, goal: _Goal, state: State, entry: GoalStatus, moment: Moment) -> None:
        """Say what came of a retry, now that it has ended."""
        if goal.correction is None or goal.retries is None:
            return
        body = Correction(
            corrects=goal.retries.failure,
            actor=self._client(),
            strategy=Strategy.RETRY,
            completes=goal.correction,
            result=Result.REPAIRED if state is State.SUCCEEDED else Result.NONE,
        )
        self._event(body, goal, entry, moment, Origin.INFERRED, Relation.CORRECTS, goal.retries.failure)
        goal.correction = None

    def _client(self) -> Decider:
        # The status topic does not say who sends goals: what sends them again is the action's client, whoever that is.
        return Decider(kind=DeciderKind.PLANNER, name=f"client of {self.action}")

    def _event(
        self,
        body: Failure | Correction,
        goal: _Goal,
        entry: GoalStatus,
        moment: Moment,
        origin: Origin,
        relation: Relation | None = None,
        target: UUID | None = None,
    ) -> UUID:
        links = (Link(rel=relation, id=target),) if relation is not None and target is not None else ()
        return self._port.event(
            body,
            source_ns=moment.stamp,
            arrival=moment.arrival,
            task_id=goal.task_id,
            attempt=goal.attempt,
            links=links,
            origin=origin,
            native=self._native(entry.id, str(entry.status)),
            clock=self._clock,
        )

    def _native(self, id_: UUID, code: str) -> Native:
        return Native(system="ros2", id=id_.hex, name=self.action, code=code)
