"""The ledger: legal walks pass, every illegal step is told, nothing raises and nothing is dropped."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_strategies import events

from bridge.schema import (
    Correction,
    Decider,
    DeciderKind,
    Failure,
    FailureCode,
    Ledger,
    Link,
    Origin,
    Relation,
    Result,
    Space,
    Stamp,
    State,
    Strategy,
    Task,
    TaskEvent,
    derived_id,
)
from bridge.schema.transitions import from_goal_status, from_job_order, from_packml, from_vda5050

# The table of the design, written out a second time and on purpose.
TABLE = """
PENDING    -> READY CANCELED SKIPPED FAILED
READY      -> RUNNING PENDING CANCELING CANCELED SKIPPED FAILED
RUNNING    -> PAUSED RECOVERING CANCELING SUCCEEDED FAILED
PAUSED     -> RUNNING CANCELING FAILED
RECOVERING -> RUNNING CANCELING FAILED
CANCELING  -> CANCELED SUCCEEDED FAILED
"""
NEXT = {State(line.split()[0]): {State(word) for word in line.split()[2:]} for line in TABLE.strip().splitlines()}
ENDS = {State.SUCCEEDED, State.FAILED, State.CANCELED, State.SKIPPED}
LIVE = set(State) - ENDS - {State.UNKNOWN}
TASK = derived_id("task")
WHO = Decider(kind=DeciderKind.RULE, name="r")


class Source:
    """Makes events one after the other, as a source would."""

    def __init__(self) -> None:
        self.sequence = 0

    def __call__(self, body: Any, *, attempt: int = 1, task: UUID | None = TASK, **more: Any) -> TaskEvent:
        self.sequence += 1
        return TaskEvent(
            id=derived_id(self.sequence),
            source="s",
            sequence=self.sequence,
            space=Space.TWIN,
            time=Stamp(received_ns=self.sequence, aligned_ns=self.sequence),
            body=body,
            task_id=task,
            attempt=attempt,
            **more,
        )

    def state(self, state: State, **more: Any) -> TaskEvent:
        return self(Task(verb="grasp", state=state), **more)

    def failure(self, **more: Any) -> TaskEvent:
        return self(Failure(code=FailureCode.UNKNOWN, detected_by="d"), **more)

    def correction(self, corrects: UUID, **more: Any) -> TaskEvent:
        return self(Correction(corrects=corrects, actor=WHO, strategy=Strategy.RETRY), **more)


def _told(*observed: TaskEvent) -> list[list[str]]:
    ledger = Ledger()
    return [ledger.observe(event)[1] for event in observed]


def _walk_to(state: State, source: Source) -> list[TaskEvent]:
    """The events of a shortest legal way to a state."""
    ways = {
        State.PENDING: [State.PENDING],
        State.READY: [State.READY],
        State.RUNNING: [State.READY, State.RUNNING],
        State.PAUSED: [State.READY, State.RUNNING, State.PAUSED],
        State.RECOVERING: [State.READY, State.RUNNING, State.RECOVERING],
        State.CANCELING: [State.READY, State.CANCELING],
        State.SUCCEEDED: [State.READY, State.RUNNING, State.SUCCEEDED],
        State.CANCELED: [State.READY, State.CANCELED],
        State.SKIPPED: [State.READY, State.SKIPPED],
        State.FAILED: [State.READY, State.FAILED],
        State.UNKNOWN: [State.UNKNOWN],
    }
    walk = []
    for step in ways[state]:
        if step is State.FAILED:
            walk.append(source.failure())
        walk.append(source.state(step, origin=Origin.INFERRED if step is State.UNKNOWN else Origin.OBSERVED))
    return walk


@pytest.mark.parametrize("before", list(State))
@pytest.mark.parametrize("after", list(State))
def test_every_pair_of_states_is_judged_as_the_table_says(before: State, after: State) -> None:
    source, ledger = Source(), Ledger()
    for event in _walk_to(before, source):
        assert ledger.observe(event)[1] == []
    failure = source.failure()
    ledger.observe(failure)  # so that FAILED and RECOVERING -> RUNNING lack nothing
    ledger.observe(source.correction(failure.id))
    event, told = ledger.observe(source.state(after, origin=Origin.INFERRED))
    legal = before is State.UNKNOWN or (before in LIVE and after is State.UNKNOWN) or after in NEXT.get(before, set())
    if legal:
        assert told == [] and event.flags == ()
    else:
        assert told == [f"illegal transition: {before} -> {after}"]
        assert event.flags == tuple(told)
    assert isinstance(event.body, Task) and event.body.previous is before
    assert ledger.state(TASK) is after


@st.composite
def legal_walks(draw: st.DrawFn) -> list[TaskEvent]:
    """Attempts of several tasks, each walked legally, woven into one another."""
    source = Source()
    tracks: list[list[TaskEvent]] = []
    for number in range(draw(st.integers(1, 3))):
        task, track, failed = derived_id("walk", number), [], None
        for attempt in range(1, draw(st.integers(1, 3)) + 1):
            more: dict[str, Any] = {"task": task, "attempt": attempt}
            state = draw(st.sampled_from([State.PENDING, State.READY, State.UNKNOWN]))
            links = (Link(rel=Relation.RETRIES, id=failed.id),) if failed else ()
            track.append(source.state(state, links=links, origin=Origin.INFERRED, **more))
            for _ in range(draw(st.integers(0, 8))):
                if state in ENDS:
                    break
                onward = set(State) - {State.UNKNOWN} if state is State.UNKNOWN else NEXT[state] | {State.UNKNOWN}
                new = draw(st.sampled_from(sorted(onward)))
                unseen = State.UNKNOWN in (state, new)
                if new is State.FAILED or (state is State.RECOVERING and new is State.RUNNING):
                    track.append(source.failure(**more))
                    track.append(source.correction(track[-1].id, **more))
                track.append(source.state(new, origin=Origin.INFERRED if unseen else Origin.OBSERVED, **more))
                state = new
            if state is not State.FAILED:
                break
            failed = track[-1]
        tracks.append(track)
    woven = []
    while any(tracks):
        track = draw(st.sampled_from([track for track in tracks if track]))
        woven.append(track.pop(0))
    return woven


@settings(deadline=None, max_examples=150)
@given(legal_walks())
def test_a_legal_walk_is_never_flagged(walk: list[TaskEvent]) -> None:
    ledger, last = Ledger(), {}
    for event in walk:
        seen, told = ledger.observe(event)
        assert told == []
        if isinstance(event.body, Task):
            key = (event.task_id, event.attempt)
            assert isinstance(seen.body, Task) and seen.body.previous is last.get(key)
            last[key] = event.body.state
            assert msgspec.structs.replace(seen, body=event.body) == event
        else:
            assert seen is event


@settings(deadline=None, max_examples=100)
@given(st.lists(events(), max_size=12), st.integers(1, 4), st.lists(st.integers(0, 3), min_size=12, max_size=12))
def test_it_never_raises_and_never_drops(batch: list[TaskEvent], remember: int, tasks: list[int]) -> None:
    ledger = Ledger(remember)
    for event, number in zip(batch, tasks, strict=False):
        event = msgspec.structs.replace(event, task_id=derived_id(number) if number else None)
        seen, told = ledger.observe(event)
        assert (seen.id, seen.kind, seen.time, seen.ext) == (event.id, event.kind, event.time, event.ext)
        assert seen.flags == (*event.flags, *told)
        assert len(ledger) <= 2 * remember


def test_failed_needs_a_failure_record_of_the_same_task_and_attempt() -> None:
    s = Source()
    begin = [s.state(State.READY), s.state(State.RUNNING)]
    words = ["FAILED without a failure record before it"]
    assert _told(*begin, s.state(State.FAILED))[-1] == words
    assert _told(*begin, s.failure(), s.state(State.FAILED))[-1] == []
    assert _told(*begin, s.failure(attempt=2), s.state(State.FAILED))[-1] == words
    assert _told(*begin, s.failure(task=derived_id("other")), s.state(State.FAILED))[-1] == words
    assert _told(s.failure(), *begin, s.state(State.FAILED))[-1] == []


def test_recovering_ends_by_a_correction_since() -> None:
    s = Source()
    words = ["RECOVERING -> RUNNING without a correction since RECOVERING"]
    failure = s.failure()
    begin = [failure, s.state(State.READY), s.state(State.RUNNING)]
    recover, run = s.state(State.RECOVERING), s.state(State.RUNNING)
    assert _told(*begin, recover, run)[-1] == words
    assert _told(*begin, s.correction(failure.id), recover, run)[-1] == words
    assert _told(*begin, recover, s.correction(failure.id), run)[-1] == []
    assert _told(*begin, recover, s.correction(failure.id, task=derived_id("other")), run)[-1] == words
    again = [s.state(State.RECOVERING), s.state(State.RUNNING)]
    assert _told(*begin, recover, s.correction(failure.id), run, *again)[-1] == words


def test_a_retry_follows_a_failure_and_is_linked() -> None:
    s = Source()
    first = [s.failure(), s.state(State.READY), s.state(State.FAILED)]
    link = (Link(rel=Relation.RETRIES, id=first[-1].id),)
    assert _told(*first, s.state(State.READY, attempt=2, links=link))[-1] == []
    assert _told(*first, s.state(State.READY, attempt=2))[-1] == ["attempt 2 is not linked by 'retries'"]
    early = _told(s.state(State.READY), s.state(State.READY, attempt=2, links=link))[-1]
    assert early == ["attempt 2 began while attempt 1 was READY, not FAILED"]
    unseen = _told(s.state(State.READY, attempt=3, links=link))[-1]
    assert unseen == ["attempt 3 began while attempt 2 was not seen, not FAILED"]
    # joined in the middle: what came before can not be known
    assert _told(s.state(State.UNKNOWN, attempt=3, origin=Origin.INFERRED))[-1] == []


def test_joining_in_the_middle_goes_through_unknown() -> None:
    s = Source()
    assert _told(s.state(State.RUNNING))[-1] == ["entered at RUNNING, not at PENDING, READY or UNKNOWN"]
    joined = [s.state(State.UNKNOWN, origin=Origin.INFERRED), s.state(State.RUNNING, origin=Origin.INFERRED)]
    assert _told(*joined, s.state(State.SUCCEEDED)) == [[], [], []]
    lost = [s.state(State.READY), s.state(State.UNKNOWN)]
    assert _told(*lost)[-1] == ["READY -> UNKNOWN is not marked inferred"]
    assert _told(joined[0], s.state(State.RUNNING))[-1] == ["UNKNOWN -> RUNNING is not marked inferred"]


def test_previous_is_filled_and_a_wrong_one_is_told() -> None:
    s, ledger = Source(), Ledger()
    first, _ = ledger.observe(s.state(State.READY))
    assert first.body.previous is None
    wrong, told = ledger.observe(s(Task(verb="grasp", state=State.RUNNING, previous=State.PAUSED)))
    assert told == ["it says that it came from PAUSED, the last state seen was READY"]
    assert wrong.body.previous is State.PAUSED
    assert _told(s.state(State.READY, task=None))[-1] == ["the task event READY names no task"]


def test_corrections_name_what_was_seen() -> None:
    s = Source()
    failure, other = s.failure(), derived_id("never")
    begun = s.correction(failure.id)
    done = Correction(
        corrects=failure.id,
        actor=WHO,
        strategy=Strategy.RETRY,
        completes=begun.id,
        result=Result.REPAIRED,
        verified_by=TASK,
    )
    assert _told(failure, begun, s(done)) == [[], [], []]
    assert _told(failure, s(done))[-1] == [f"it completes {begun.id}, a correction that was not seen"]
    assert _told(s.correction(other))[-1] == [f"it corrects {other}, a failure that was not seen"]


def test_memory_is_bounded_and_the_oldest_goes_first() -> None:
    s, ledger = Source(), Ledger(remember=10)
    for number in range(100):
        ledger.observe(s.state(State.READY, task=derived_id(number)))
        ledger.observe(s.state(State.CANCELED, task=derived_id(number)))
    assert len(ledger) == 10
    assert ledger.state(derived_id(99)) is State.CANCELED
    assert ledger.state(derived_id(89)) is None
    for number in range(200, 300):
        ledger.observe(s.state(State.READY, task=derived_id(number)))
    assert len(ledger) == 20
    for attempt in range(1, 500):
        ledger.observe(s.failure(attempt=attempt))
        ledger.observe(s.state(State.READY, attempt=attempt))
        ledger.observe(s.state(State.FAILED, attempt=attempt))
    assert ledger.state(TASK, 499) is State.FAILED
    assert ledger.state(TASK, 1) is None


def test_states_of_other_systems() -> None:
    assert [from_goal_status(n) for n in range(8)] == [
        None,
        State.READY,
        State.RUNNING,
        State.CANCELING,
        State.SUCCEEDED,
        State.CANCELED,
        State.FAILED,
        None,
    ]
    packml = {
        "Idle": "READY",
        "Execute": "RUNNING",
        "STATE_COMPLETING": "RUNNING",
        "HELD": "PAUSED",
        "Suspended": "PAUSED",
    }
    packml |= {
        "Stopping": "CANCELING",
        "Complete": "SUCCEEDED",
        "Stopped": "CANCELED",
        "Aborted": "FAILED",
        "Starting": "RUNNING",
    }
    assert {name: from_packml(name) for name in packml} == packml
    assert from_packml("Holding") is from_packml("") is None
    orders = {"NotAllowedToStart": "PENDING", "AllowedToStart": "READY", "Running": "RUNNING", "Interrupted": "PAUSED"}
    orders |= {"Ended": "SUCCEEDED", "Aborted": "FAILED"}
    assert {name: from_job_order(name) for name in orders} == orders
    actions = {"WAITING": "PENDING", "INITIALIZING": "RUNNING", "RUNNING": "RUNNING", "PAUSED": "PAUSED"}
    actions |= {"RETRIABLE": "RECOVERING", "FINISHED": "SUCCEEDED", "FAILED": "FAILED"}
    assert {name: from_vda5050(name) for name in actions} == actions
    assert from_vda5050("IDLE") is from_job_order("Execute") is None
