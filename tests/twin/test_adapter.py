"""The twin as an adapter: what reaches a port is what the core said, as CDR, and it stops when it is told to."""

from __future__ import annotations

import threading
import time

import msgspec
import pytest

from bridge.adapter import Source
from bridge.schema import Correction, Decision, Episode, Failure, Space, State, Task
from bridge.schema.transitions import Ledger
from bridge.testing import RecordingPort, make_source
from twin.adapter import TwinAdapter, TwinOptions
from twin.codec import decode
from twin.faults import FaultOptions
from twin.output import Kept
from twin.rerun import rerun


def source() -> Source:
    return make_source("twin", Space.TWIN, "arm")


@pytest.fixture(scope="module")
def port() -> RecordingPort:
    """A port that has taken four episodes, as fast as they went."""
    port = RecordingPort(source())
    TwinAdapter(port.source, TwinOptions(seed=1, episodes=4, pace=0.0), {}).run(port)
    return port


def test_the_channels_have_the_names_and_types_that_the_testbed_has_too(port):
    types = {channel.name: channel.type_name for channel in port.declared}
    assert types["joint_states"] == types["gripper/state"] == "sensor_msgs/msg/JointState"
    assert types["wrench"] == "geometry_msgs/msg/WrenchStamped"
    assert types["robot_description"] == "std_msgs/msg/String"
    topics = {channel.name: channel.topic for channel in port.declared}
    assert topics["joint_states"] == "/twin/arm/joint_states"


def test_every_message_decodes_and_carries_its_stamp(port):
    seen = set()
    for sample in port.samples:
        if sample.channel.name == "robot_description":
            continue
        stamp, value = decode(sample.channel.type_name, sample.payload)
        assert stamp == sample.stamp
        seen.add(sample.channel.name)
        if sample.channel.name == "joint_states":
            assert value.name == (
                *[f"panda_joint{n}" for n in range(1, 8)],
                "panda_finger_joint1",
                "panda_finger_joint2",
            )
    assert seen >= {"joint_states", "gripper/state", "wrench", "part_pose", "command/joint_states", "fixture/part_pose"}


def test_the_robots_description_comes_once(port):
    urdfs = [sample for sample in port.samples if sample.channel.name == "robot_description"]
    assert len(urdfs) == 1 and urdfs[0].stamp is None and b'<robot name="panda"' in urdfs[0].payload


def test_the_detectors_run_again_over_the_cdr_say_the_same(port):
    samples = [
        Kept(sample.channel.name, *decode(sample.channel.type_name, sample.payload))
        for sample in port.samples
        if sample.channel.name != "robot_description"
    ]
    told = {
        (event.task_id, event.attempt): event.body
        for event in port.events
        if isinstance(event.body, Failure) and event.parent_id is not None
    }
    found = {
        (verdict.task_id, verdict.attempt): verdict.finding
        for verdict in rerun(port.events, samples)
        if verdict.finding
    }
    assert found and set(found) == set(told)
    for key, finding in found.items():
        failure = told[key]
        assert (finding.guard.code, finding.value, finding.guard.predicate) == (
            failure.code,
            failure.evidence[0].value,
            failure.evidence[0].predicate,
        )


def test_the_ports_events_are_legal_and_of_every_kind(port):
    ledger = Ledger()
    assert [text for event in port.events for text in ledger.observe(event)[1]] == []
    kinds = {type(event.body) for event in port.events}
    assert {Episode, Task, Failure, Decision, Correction} <= kinds
    assert [kind for kind, _ in port.connections] == ["connected"]


def test_evidence_is_aligned_like_the_telemetry_that_it_names(port):
    slack = 20_000_000
    checked = 0
    for event in port.events:
        for evidence in event.body.evidence if isinstance(event.body, Failure) else ():
            window = evidence.window
            for sample in port.samples:
                if sample.channel.topic != evidence.channel:
                    continue
                if window.source_t0_ns <= sample.stamp <= window.source_t1_ns:
                    assert window.t0_ns - slack <= sample.aligned <= window.t1_ns + slack
                    checked += 1
    assert checked > 20


def test_a_twin_that_starts_again_gives_its_tasks_other_ids(port):
    again = RecordingPort(msgspec.structs.replace(port.source, epoch=1))
    TwinAdapter(again.source, TwinOptions(seed=1, episodes=1, pace=0.0), {}).run(again)
    ids = {event.task_id for event in port.events} - {None}
    assert not ids & {event.task_id for event in again.events}


def test_it_keeps_pace_and_stops_in_mid_episode_with_its_tasks_canceled():
    port = RecordingPort(source())
    adapter = TwinAdapter(port.source, TwinOptions(seed=1, faults=FaultOptions(rate=0.0), pace=1.0), {})
    started = time.monotonic()
    thread = threading.Thread(target=adapter.run, args=(port,))
    thread.start()
    try:
        assert port.wait_for(lambda p: any(isinstance(e.body, Task) and e.body.verb == "grasp" for e in p.events), 60.0)
    finally:
        port.stopping.set()
        thread.join(60.0)
    elapsed = time.monotonic() - started
    assert not thread.is_alive()
    last = {event.task_id: event.body.state for event in port.events if isinstance(event.body, Task)}
    assert set(last.values()) <= {State.SUCCEEDED, State.CANCELED} and State.CANCELED in last.values()
    assert port.events[-1].body.reason == "stopped"
    twin_s = max(sample.stamp for sample in port.samples if sample.stamp is not None) / 1e9
    assert twin_s <= elapsed + 0.1, "the twin's clock never runs ahead of its pace"


def test_a_missing_cell_is_said_by_check_and_not_by_a_traceback():
    adapter = TwinAdapter(source(), TwinOptions(cell="nowhere"), {})
    problems = adapter.check()
    assert len(problems) == 1 and "nowhere" in problems[0] and "panda_belt" in problems[0]
    assert TwinAdapter(source(), TwinOptions(), {}).check() == []
