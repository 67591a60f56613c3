"""The leg without DDS: the adapter `standin` against the real process, held against what truly happened."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from standin_run import StandinRun, started, wait_for

from bridge import messages
from bridge.adapter import Source
from bridge.errors import NotConnectedError
from bridge.schema import Correction, Failure, FailureCode, Space, State, Task
from bridge.testing import RecordingPort, make_source
from twin.testbed.link import StandinAdapter, StandinOptions


class Listening:
    """The adapter in a thread, with a port that keeps everything."""

    def __init__(self, address: str, source: Source | None = None) -> None:
        self.port = RecordingPort(source or make_source("robot", Space.TESTBED, "arm"))
        self.adapter = StandinAdapter(self.port.source, StandinOptions(address=address, silence_s=0.5), {})
        self._thread = threading.Thread(target=self.adapter.run, args=(self.port,))

    def __enter__(self) -> Listening:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.port.stopping.set()
        self._thread.join(10.0)
        assert not self._thread.is_alive()


def test_channels_and_task_events_are_those_of_a_ros_2_robot(tmp_path: Path) -> None:
    link = f"ipc://{tmp_path}/link"
    with started(tmp_path, "--no-ros", "--link", link, "--seed", "2") as run, Listening(link) as listening:
        port = listening.port
        port.wait_for(lambda p: len(p.samples) > 300, 30.0)
        # Seed 2 begins with a part that slips: wait until the retry has come to its end.
        assert port.wait_for(lambda p: any(b.result is not None for b in p.bodies(Correction)), 60.0)  # type: ignore[attr-defined]
        run.stop()
        assert port.wait_for(lambda p: p.connections[-1][0] == "disconnected", 30.0), "silence is said"
        tasks_true = run.truth("task")
        shown = run.clock("joint")
    assert {"joint_states", "gripper/state", "wrench"} <= {channel.name for channel in port.declared}
    by_name = {c.name: c for c in port.declared}
    assert by_name["joint_states"].topic == "/testbed/arm/joint_states"
    assert by_name["joint_states"].type_name == by_name["gripper/state"].type_name == "sensor_msgs/msg/JointState"
    assert by_name["wrench"].type_name == "geometry_msgs/msg/WrenchStamped"
    assert not port.losses
    joints = [s for s in port.samples if s.channel.name == "joint_states"]
    message = messages.deserialize("sensor_msgs/msg/JointState", joints[-1].payload)
    assert list(message.name)[:2] == ["panda_joint1", "panda_joint2"] and len(message.position) == 9
    delays = [shown(s.alt_stamp) - s.stamp for s in joints if s.stamp is not None and s.alt_stamp is not None]
    assert len(delays) == len(joints) and 0 <= min(delays) < 20_000_000
    states: dict[object, list[State]] = {}
    for event in port.events:
        if isinstance(event.body, Task):
            states.setdefault((event.task_id, event.attempt), []).append(event.body.state)
        assert event.flags == ()
    for life in states.values():
        assert life in (
            [State.READY, State.RUNNING, State.SUCCEEDED],
            [State.READY, State.RUNNING, State.FAILED],
            [State.READY, State.RUNNING],
            [State.UNKNOWN, State.RUNNING, State.SUCCEEDED],
            [State.UNKNOWN, State.RUNNING, State.FAILED],
        ), life
    failures = [event for event in port.events if isinstance(event.body, Failure)]
    assert [f.body.code for f in failures] == [FailureCode.UNKNOWN] * len(failures), "an abort carries no reason"  # type: ignore[union-attr]
    failed_true = [t for t in tasks_true if not t["succeeded"] and t["reason"] != "shutdown"]
    assert len(failures) == len(failed_true) >= 1
    first = failures[0]
    corrections = [event.body for event in port.events if isinstance(event.body, Correction)]
    assert corrections[0].corrects == first.id and corrections[0].result is None
    assert corrections[1].completes is not None and corrections[1].result is not None
    retried = [e for e in port.events if isinstance(e.body, Task) and e.attempt == 2]
    assert retried and retried[0].task_id == first.task_id
    # The abort was sent when the skill ended, by the true clock.
    assert first.time.source_ns is not None
    assert 0 <= first.time.source_ns - failed_true[0]["t1_true_ns"] < 200_000_000


def test_who_joins_late_enters_through_unknown_and_hears_what_runs(standin: StandinRun) -> None:
    with Listening(standin.ready["link"]) as listening:
        port = listening.port
        assert port.wait_for(lambda p: any(isinstance(e.body, Task) for e in p.events), 60.0)
        wait_for(lambda: {"joint_states", "gripper/state", "wrench"} <= {c.name for c in port.declared}, "all channels")
        assert port.connections[0][0] == "connected"


@pytest.mark.parametrize(("address", "word"), [("robot", "begins with neither"), ("ipc:///tmp/x", "")])
def test_an_address_is_checked_without_connecting(address: str, word: str) -> None:
    found = StandinAdapter(make_source(), StandinOptions(address=address), {}).check()
    assert bool(found) == bool(word) and all(word in fault for fault in found)


def test_an_address_that_can_not_be_is_an_error_that_names_it() -> None:
    adapter = StandinAdapter(make_source(), StandinOptions(address="tcp://127.0.0.1:notaport"), {})
    with pytest.raises(NotConnectedError, match="can not connect") as caught:
        adapter.run(RecordingPort())
    assert "notaport" in str(caught.value)
