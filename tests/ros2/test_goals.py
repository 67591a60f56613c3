"""Goals of real actions become task events; and whatever the status topic skips, the state machine is kept."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ros2.options import ActionMap
from bridge.goal_status import GoalStatus, decode_status
from bridge.goals import ActionTracker, Moment, meaning
from bridge.schema import (
    Correction,
    DeciderKind,
    Failure,
    FailureCode,
    Origin,
    Relation,
    Result,
    State,
    Strategy,
    Task,
    TaskEvent,
    Verb,
)
from bridge.schema.transitions import TERMINAL, Ledger
from bridge.testing import RecordingPort

SUCCEED, ABORT, UNTIL_CANCELED = 1, 2, 3


def violations(events: list[TaskEvent]) -> list[str]:
    ledger = Ledger()
    return [text for event in events for text in ledger.observe(event)[1]]


def of_task(port: RecordingPort, task: UUID) -> list[TaskEvent]:
    return [event for event in port.events if event.task_id == task]


def states(events: list[TaskEvent]) -> list[State]:
    return [event.body.state for event in events if isinstance(event.body, Task)]


def ended(port: RecordingPort, task: UUID, attempt: int = 1) -> bool:
    return any(
        isinstance(e.body, Task) and e.body.state in TERMINAL and e.attempt == attempt for e in of_task(port, task)
    )


def until_heard(robot: Any, port: RecordingPort, action: str) -> None:
    """Wait until dari follows a server: a first goal has ended, and its end was heard."""
    robot("goal", name=action, order=SUCCEED)
    assert robot("end") == 4
    name = f"{action[1:]}/_action/status"
    assert port.wait_for(
        lambda p: any(s.channel.name == name and decode_status(s.payload)[-1].status == 4 for s in p.samples)
    )


def test_goals_of_a_real_action_server(robot: Any, listen: Any) -> None:
    port = (listening := listen(actions=_actions(), retry_within_ms=0)).port
    assert robot("serve", name="/pick")
    until_heard(robot, port, "/pick")
    good = UUID(robot("goal", name="/pick", order=SUCCEED))
    assert robot("end") == 4
    bad = UUID(robot("goal", name="/pick", order=ABORT))
    assert robot("end") == 6
    given_up = UUID(robot("goal", name="/pick", order=UNTIL_CANCELED))
    assert port.wait_for(lambda p: states(of_task(p, given_up))[-1:] == [State.RUNNING])
    robot("cancel")
    assert robot("end") == 5
    assert port.wait_for(lambda p: all(ended(p, task) for task in (good, bad, given_up)))
    listening.stop()

    assert states(of_task(port, good)) == [State.READY, State.RUNNING, State.SUCCEEDED]
    assert states(of_task(port, bad)) == [State.READY, State.RUNNING, State.FAILED]
    assert states(of_task(port, given_up)) == [State.READY, State.RUNNING, State.CANCELING, State.CANCELED]
    assert violations(port.events) == []

    first, last = of_task(port, good)[0], of_task(port, good)[-1]
    assert isinstance(first.body, Task) and first.body.verb == "grasp" and first.body.parameters.object_class == "box"
    assert first.native is not None and (first.native.system, first.native.name) == ("ros2", "/pick")
    assert first.native.id == good.hex
    assert first.ext["ros2.accepted_ns"] > 0
    assert last.origin is Origin.OBSERVED and last.native is not None and last.native.code == "4"
    assert last.time.source_ns is not None and last.time.source_ns <= last.time.received_ns
    failure = next(e for e in of_task(port, bad) if isinstance(e.body, Failure))
    assert isinstance(failure.body, Failure) and failure.body.code is FailureCode.UNKNOWN
    evidence = failure.body.evidence[0]
    assert evidence.channel == "/testbed/arm/pick/action/status"
    assert evidence.window.t0_ns is not None and evidence.window.t0_ns <= evidence.window.t1_ns
    assert of_task(port, bad)[-1].links[0] == _link(Relation.CAUSED_BY, failure.id)
    # The status itself is in the log too, untouched.
    status = [s for s in port.samples if s.channel.name == "pick/_action/status"]
    assert status and status[0].channel.type_name == "action_msgs/msg/GoalStatusArray"


def _actions() -> dict[str, ActionMap]:
    return {"pick": ActionMap(verb="grasp", object_class="box")}


def _link(relation: Relation, id_: UUID) -> Any:
    from bridge.schema import Link

    return Link(rel=relation, id=id_)


def test_a_goal_sent_again_soon_after_an_abort_is_the_next_attempt(robot: Any, listen: Any) -> None:
    port = (listening := listen(retry_within_ms=60_000)).port
    assert robot("serve", name="/arm/insert")
    until_heard(robot, port, "/arm/insert")
    task = UUID(robot("goal", name="/arm/insert", order=ABORT))
    assert robot("end") == 6
    assert port.wait_for(lambda p: ended(p, task))
    robot("goal", name="/arm/insert", order=ABORT)
    assert robot("end") == 6
    assert port.wait_for(lambda p: ended(p, task, 2))
    third = robot("goal", name="/arm/insert", order=SUCCEED)
    assert robot("end") == 4
    assert port.wait_for(lambda p: ended(p, task, 3))
    new = UUID(robot("goal", name="/arm/insert", order=SUCCEED))
    assert port.wait_for(lambda p: ended(p, new))
    listening.stop()

    assert violations(port.events) == []
    events = of_task(port, task)
    ready = [e for e in events if isinstance(e.body, Task) and e.body.state is State.READY]
    assert [e.attempt for e in ready] == [1, 2, 3]
    assert [e.origin for e in ready[1:]] == [Origin.INFERRED, Origin.INFERRED]
    assert isinstance(ready[0].body, Task)
    assert (ready[0].body.verb, ready[0].body.base_verb) == ("ros.action.arm.insert", Verb.MOVE)
    failed = [e for e in events if isinstance(e.body, Task) and e.body.state is State.FAILED]
    assert [_link(Relation.RETRIES, e.id) in r.links for e, r in zip(failed, ready[1:], strict=True)] == [True, True]
    assert ready[2].native is not None and ready[2].native.id == third
    corrections = [e for e in events if isinstance(e.body, Correction)]
    assert all(e.origin is Origin.INFERRED for e in corrections)
    bodies = [e.body for e in corrections if isinstance(e.body, Correction)]
    assert [b.result for b in bodies] == [None, Result.NONE, None, Result.REPAIRED]
    assert all(b.strategy is Strategy.RETRY and b.actor.kind is DeciderKind.PLANNER for b in bodies)
    assert bodies[1].completes == corrections[0].id and bodies[3].completes == corrections[2].id
    # After a success a goal is a new task.
    assert of_task(port, new)[0].attempt == 1


def test_joining_in_mid_task_enters_through_unknown_and_old_ends_are_no_events(robot: Any, listen: Any) -> None:
    assert robot("serve", name="/pick")
    old = UUID(robot("goal", name="/pick", order=SUCCEED))
    assert robot("end") == 4
    running = UUID(robot("goal", name="/pick", order=UNTIL_CANCELED))
    port = (listening := listen()).port
    assert port.wait_for(lambda p: states(of_task(p, running)) == [State.UNKNOWN, State.RUNNING])
    robot("cancel")
    assert robot("end") == 5
    assert port.wait_for(lambda p: ended(p, running))
    listening.stop()
    assert states(of_task(port, running)) == [State.UNKNOWN, State.RUNNING, State.CANCELING, State.CANCELED]
    assert of_task(port, old) == []
    assert violations(port.events) == []


def test_a_server_that_goes_leaves_its_goals_unknown(start_robot: Any, listen: Any) -> None:
    port = listen().port
    robot = start_robot()
    assert robot("serve", name="/pick")
    assert port.wait_for(lambda p: any(c.name == "pick/_action/status" for c in p.declared))
    goal = UUID(robot("goal", name="/pick", order=UNTIL_CANCELED))
    assert port.wait_for(lambda p: states(of_task(p, goal))[-1:] == [State.RUNNING])
    robot("stop_serving")
    assert port.wait_for(lambda p: states(of_task(p, goal))[-1:] == [State.UNKNOWN])
    last = of_task(port, goal)[-1]
    assert last.origin is Origin.INFERRED
    assert violations(port.events) == []


# -- what a status topic may show of a goal, whatever is skipped -----------------------------------------------------

# The ways of rcl_action: accepted, executing, perhaps canceling, an end.
WAYS = [(1, 2, 4), (1, 2, 6), (1, 2, 3, 5), (1, 3, 5), (1, 2, 3, 4), (1, 2, 3, 6), (1, 3, 6)]


def tracker(port: RecordingPort, retry_ms: float = 0) -> ActionTracker:
    return ActionTracker(
        port,
        "/pick",
        None,
        status_topic="/testbed/arm/pick/action/status",
        clock="transport",
        retry_within_ns=round(retry_ms * 1e6),
    )


@given(
    goals=st.lists(
        st.sampled_from(WAYS).flatmap(
            lambda way: st.sets(st.integers(0, len(way) - 1), min_size=1).map(
                lambda kept: [way[i] for i in sorted(kept)]
            )
        ),
        min_size=1,
        max_size=6,
    ),
    order=st.randoms(use_true_random=False),
    retry_ms=st.sampled_from([0, 1_000]),
    fresh=st.booleans(),
    servers=st.integers(1, 2),
)
@settings(max_examples=200, deadline=None)
def test_whatever_is_skipped_the_state_machine_is_kept(
    goals: list[list[int]], order: Any, retry_ms: float, fresh: bool, servers: int
) -> None:
    port = RecordingPort()
    follower = tracker(port, retry_ms)
    left = {UUID(int=i + 1): list(way) for i, way in enumerate(goals)}
    current: dict[UUID, int] = {}
    clock = 1_000_000_000
    while left:
        id_ = order.choice(sorted(left, key=str))
        current[id_] = left[id_].pop(0)
        if not left[id_]:
            del left[id_]
        clock += 10_000_000
        array = [GoalStatus(goal, 5, status) for goal, status in current.items()]
        moment = Moment(clock, clock)
        follower.observe(array, moment, server=bytes([order.randrange(servers)]), fresh=fresh)
        # Told again, it says nothing new.
        before = len(port.events)
        follower.observe(array, moment, server=b"\0", fresh=True)
        assert len(port.events) == before
    assert violations(port.events) == []
    last = {e.native.id: e.body.state for e in port.events if isinstance(e.body, Task) and e.native is not None}
    expected = {1: "READY", 2: "RUNNING", 3: "CANCELING", 4: "SUCCEEDED", 5: "CANCELED", 6: "FAILED"}
    if fresh:
        assert last == {id_.hex: State(expected[status]) for id_, status in current.items()}
    for event in port.events:
        if isinstance(event.body, Task) and event.native is not None and not event.native.code:
            assert event.origin is Origin.INFERRED, "what no status said must not pose as observed"


def test_a_goal_accepted_too_late_is_a_task_of_its_own() -> None:
    port = RecordingPort()
    follower = tracker(port, retry_ms=1_000)
    first, second = UUID(int=1), UUID(int=2)
    follower.observe([GoalStatus(first, 1, 6)], Moment(None, 1_000_000_000), server=b"", fresh=True)
    follower.observe([GoalStatus(second, 1, 1)], Moment(None, 2_100_000_000), server=b"", fresh=True)
    assert [(e.task_id, e.attempt) for e in port.events if isinstance(e.body, Task)][-1] == (second, 1)
    assert not [e for e in port.events if isinstance(e.body, Correction)]
    # Without stamps there is no window to name, and none is invented.
    assert [e.body.evidence for e in port.events if isinstance(e.body, Failure)] == [()]


@pytest.mark.parametrize(
    ("action", "verb"),
    [("/pick", "ros.action.pick"), ("/arm/move it", "ros.action.arm.move-it"), ("/", "ros.action.x")],
)
def test_an_action_without_a_meaning_keeps_its_name(action: str, verb: str) -> None:
    assert meaning(action, None) == ActionMap(verb=verb, base_verb=Verb.MOVE)
