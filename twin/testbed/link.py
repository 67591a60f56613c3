"""The adapter for the stand-in's leg without DDS: same channels, same task events, over ZeroMQ.

Used only where neither the ROS 2 wheels nor a sourced ROS 2 exist. It imports nothing of the stand-in: what both know is the
frame that `twin.testbed.wire` describes.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import msgspec

from bridge import messages
from bridge.adapter import Adapter, Channel, Options, Port, Rate, Requirement
from bridge.errors import NotConnectedError
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
    Relation,
    Result,
    State,
    Strategy,
    Task,
    Verb,
)
from bridge.schema.states import TERMINAL, from_goal_status

_ENVELOPE = struct.Struct("<qq")
_GOAL_STATUS = "action_msgs/msg/GoalStatusArray"
_SUFFIX = "/_action/status"


class StandinOptions(Options, frozen=True, kw_only=True):
    """`address` is what the stand-in was given as `--link`; silence of `silence_s` is said to be a lost connection; a goal that
    begins within `retry_within_ms` of an abort of the same action is taken as its retry, and said to be inferred."""

    address: str
    silence_s: float = 2.0
    retry_within_ms: float = 5000.0


class StandinAdapter(Adapter):
    """Takes the stand-in's messages from its ZeroMQ publisher."""

    options_type = StandinOptions
    requirements = (Requirement("zmq", "twin"),)
    summary = "the demo's testbed robot where there is no ROS 2"
    prior_delay_ns = 200_000

    def check(self) -> list[str]:
        """An address that ZeroMQ would not take."""
        address = self._options.address
        if not address.startswith(("ipc://", "tcp://")):
            return [f"options.address: {address!r} begins with neither 'ipc://' nor 'tcp://'"]
        return []

    @property
    def _options(self) -> StandinOptions:
        assert isinstance(self.options, StandinOptions)
        return self.options

    def run(self, port: Port) -> None:
        """Subscribe, and hand over what comes until `port.stopping`. ZeroMQ connects again by itself."""
        import zmq

        context = zmq.Context()
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 20_000)
        socket.setsockopt(zmq.SUBSCRIBE, b"")
        try:
            socket.connect(self._options.address)
        except zmq.ZMQError as error:
            socket.close()
            context.term()
            raise NotConnectedError(
                f"can not connect: {error.strerror}", where=self._options.address, hint="check options.address"
            ) from error
        try:
            self._take(port, socket)
        finally:
            socket.close()
            context.term()

    def _take(self, port: Port, socket: Any) -> None:
        receiver = _Receiver(port, round(self._options.retry_within_ms * 1e6))
        silent_after = round(self._options.silence_s * 1e9)
        heard = time.monotonic_ns()
        connected = False
        while not port.stopping.is_set():
            if not socket.poll(100):
                if time.monotonic_ns() - heard > silent_after:
                    port.disconnected(f"nothing from {self._options.address} for {self._options.silence_s:g} s")
                    connected = False
                continue
            heard = time.monotonic_ns()
            if not connected:
                port.connected(self._options.address)
                connected = True
            topic, type_name, envelope, payload = socket.recv_multipart()
            sequence, sent_ns = _ENVELOPE.unpack(envelope)
            receiver.take(topic.decode(), type_name.decode(), sequence, sent_ns, payload, heard)


class _Goal(msgspec.Struct):
    """One goal: an attempt of a task."""

    id: UUID
    task_id: UUID
    attempt: int
    began_ns: int
    state: State | None = None
    status: int = 0
    retries: _Abort | None = None
    correction: UUID | None = None


class _Abort(msgspec.Struct, frozen=True):
    """An abort that a goal soon after would be a retry of."""

    task_id: UUID
    attempt: int
    arrival: int
    failed: UUID
    failure: UUID


class _Receiver:
    """Sorts messages into channels, and status arrays into task events."""

    def __init__(self, port: Port, retry_within_ns: int) -> None:
        self._port = port
        self._retry_within = retry_within_ns
        self._channels: dict[str, Channel] = {}
        self._next: dict[str, int] = {}
        self._goals: dict[str, dict[UUID, _Goal]] = {}
        self._aborts: dict[str, _Abort] = {}

    def take(self, topic: str, type_name: str, sequence: int, sent_ns: int, payload: bytes, arrival: int) -> None:
        """One message; `sent_ns` is the stand-in host's wall clock, as a DDS source timestamp would be."""
        stamp = messages.header_stamp_ns(payload) if messages.begins_with_header(type_name) else None
        channel = self._channels.get(topic)
        if channel is None:
            channel = self._channels[topic] = self._port.channel(
                topic.removeprefix("/"),
                type_name,
                metadata={"ros_topic": topic},
                rate=Rate.EVENT if type_name == _GOAL_STATUS else Rate.TELEMETRY,
                clock="header" if stamp is not None else "transport",
            )
        expected = self._next.get(topic, sequence)
        self._next[topic] = sequence + 1
        if sequence > expected:
            self._port.lost(channel.name, sequence - expected, text="the publisher's sequence has a hole")
        if stamp is None:
            self._port.emit(channel, payload, stamp=sent_ns, arrival=arrival)
        else:
            self._port.emit(channel, payload, stamp=stamp, alt_stamp=sent_ns, arrival=arrival)
        if type_name == _GOAL_STATUS:
            self._statuses(topic.removesuffix(_SUFFIX), payload, sent_ns, arrival)

    def _statuses(self, action: str, payload: bytes, sent_ns: int, arrival: int) -> None:
        joining = action not in self._goals
        goals = self._goals.setdefault(action, {})
        listed = list(_entries(payload))
        for id_, status in listed:
            state = from_goal_status(status)
            goal = goals.get(id_)
            if state is None or (goal is not None and goal.status == status):
                continue
            if goal is None:
                goal = goals[id_] = self._admit(action, id_, sent_ns, arrival, joining)
                if joining:
                    if state not in TERMINAL:
                        self._task(action, goal, State.UNKNOWN, sent_ns, arrival, Origin.INFERRED)
                        self._task(action, goal, state, sent_ns, arrival, Origin.INFERRED)
                    goal.state, goal.status = state, status
                    continue
                self._task(action, goal, State.READY, sent_ns, arrival, Origin.INFERRED)
            goal.status = status
            self._advance(action, goal, state, sent_ns, arrival)
        kept = {id_ for id_, _ in listed}
        for id_ in [i for i, goal in goals.items() if goal.state in TERMINAL and i not in kept]:
            del goals[id_]

    def _admit(self, action: str, id_: UUID, sent_ns: int, arrival: int, joining: bool) -> _Goal:
        abort = None if joining else self._aborts.pop(action, None)
        if abort is None or arrival - abort.arrival > self._retry_within:
            return _Goal(id_, id_, 1, sent_ns)
        goal = _Goal(id_, abort.task_id, abort.attempt + 1, sent_ns, retries=abort)
        body = Correction(corrects=abort.failure, actor=_client(action), strategy=Strategy.RETRY)
        goal.correction = self._event(body, action, goal, sent_ns, arrival, Origin.INFERRED, Relation.CORRECTS)
        return goal

    def _advance(self, action: str, goal: _Goal, state: State, sent_ns: int, arrival: int) -> None:
        origin = Origin.OBSERVED
        if state is State.SUCCEEDED and goal.state is State.READY:
            self._task(action, goal, State.RUNNING, sent_ns, arrival, Origin.INFERRED)
        if state is not State.FAILED:
            self._task(action, goal, state, sent_ns, arrival, origin)
        else:
            evidence = Evidence(
                channel=self._port.topic(f"{action}{_SUFFIX}"),
                window=Interval(source_t0_ns=goal.began_ns, source_t1_ns=sent_ns),
                predicate="status == 6 (ABORTED)",
                field="status_list.status",
                value=float(goal.status),
            )
            body = Failure(code=FailureCode.UNKNOWN, detected_by=f"action server of {action}", evidence=(evidence,))
            failure = self._event(body, action, goal, sent_ns, arrival, origin)
            cause = (Link(rel=Relation.CAUSED_BY, id=failure),)
            failed = self._task(action, goal, state, sent_ns, arrival, origin, cause)
            self._aborts[action] = _Abort(goal.task_id, goal.attempt, arrival, failed, failure)
        if state in TERMINAL and goal.correction is not None and goal.retries is not None:
            result = Correction(
                corrects=goal.retries.failure,
                actor=_client(action),
                strategy=Strategy.RETRY,
                completes=goal.correction,
                result=Result.REPAIRED if state is State.SUCCEEDED else Result.NONE,
            )
            self._event(result, action, goal, sent_ns, arrival, Origin.INFERRED, Relation.CORRECTS)

    def _task(
        self,
        action: str,
        goal: _Goal,
        state: State,
        sent_ns: int,
        arrival: int,
        origin: Origin,
        links: tuple[Link, ...] = (),
    ) -> UUID:
        previous, goal.state = goal.state, state
        if previous is None and goal.retries is not None:
            links = (*links, Link(rel=Relation.RETRIES, id=goal.retries.failed))
        core = {verb.value for verb in Verb}
        word = action.strip("/")
        verb, base = (word, None) if word in core else (f"ros.action.{word}", Verb.MOVE)
        body = Task(verb=verb, base_verb=base, state=state, previous=previous)
        return self._event(body, action, goal, sent_ns, arrival, origin, links=links)

    def _event(
        self,
        body: Task | Failure | Correction,
        action: str,
        goal: _Goal,
        sent_ns: int,
        arrival: int,
        origin: Origin,
        relation: Relation | None = None,
        links: tuple[Link, ...] = (),
    ) -> UUID:
        if relation is not None and goal.retries is not None:
            links = (*links, Link(rel=relation, id=goal.retries.failure))
        return self._port.event(
            body,
            source_ns=sent_ns,
            arrival=arrival,
            task_id=goal.task_id,
            attempt=goal.attempt,
            links=links,
            origin=origin,
            native=Native(system="ros2", id=goal.id.hex, name=action, code=str(goal.status)),
            clock="transport",
        )


def _client(action: str) -> Decider:
    return Decider(kind=DeciderKind.PLANNER, name=f"client of {action}")


def _entries(payload: bytes) -> Iterator[tuple[UUID, int]]:
    for entry in messages.deserialize(_GOAL_STATUS, payload).status_list:
        yield UUID(bytes=bytes(entry.goal_info.goal_id.uuid)), int(entry.status)
