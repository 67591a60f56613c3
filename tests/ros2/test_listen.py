"""The adapter against a real robot process: bytes, stamps, losses, quality of service, who comes and goes."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from typing import Any

import pytest
from mcap_ros2._dynamic import generate_dynamic

from adapters.ros2 import tap
from bridge import messages
from bridge.adapter import Channel, Rate
from bridge.schema import HealthCode, Space
from bridge.testing import RecordingPort, make_source

JOINTS = "sensor_msgs/msg/JointState"
STRING = "std_msgs/msg/String"


def on(port: RecordingPort, topic: str) -> list[Any]:
    return [sample for sample in port.samples if sample.channel.metadata["dari.topic"] == topic]


def text(sample: Any) -> str:
    """The bytes of a std_msgs/String up to its end: RTPS pads what it sends to a multiple of four."""
    length = int.from_bytes(sample.payload[4:8], "little")
    assert len(sample.payload) % 4 == 0 and len(sample.payload) - (8 + length) < 4
    return sample.payload[: 8 + length].hex()


def test_bytes_stamps_and_names_of_a_real_publisher(robot: Any, listen: Any) -> None:
    robot("publisher", topic="/joint_states", type=JOINTS)
    port = (listening := listen()).port
    robot.until_matched("/joint_states")
    before = time.time_ns()
    skew = -3_600_000_000_000
    sent = robot("publish", topic="/joint_states", count=50, period_s=0.002, skew_ns=skew)
    after = time.time_ns()
    assert port.wait_for(lambda p: len(on(p, "/joint_states")) == 50)
    listening.stop()
    samples = on(port, "/joint_states")
    assert [s.payload.hex() for s in samples] == sent
    channel = samples[0].channel
    assert channel.topic == "/testbed/arm/joint_states"
    assert channel.clock == "header"
    assert channel.type_name == JOINTS
    assert channel.rate is Rate.TELEMETRY
    assert "string[] name" in channel.definition and "MSG: std_msgs/Header" in channel.definition
    assert channel.metadata["topic_type_hash"].startswith("RIHS01_")
    assert "reliability: reliable" in channel.metadata["offered_qos_profiles"]
    for sample in samples:
        # The header's clock is an hour slow and aligns; the DDS stamp is this machine's clock and goes beside it.
        assert before + skew <= sample.stamp <= after + skew
        assert before <= sample.alt_stamp <= after
        assert sample.alt_stamp - 1_000_000 <= sample.arrival <= time.time_ns()
    assert port.losses == []
    assert port.connections[0][0] == "connected"


def test_transport_aligns_where_the_site_file_says_so_or_there_is_no_header(robot: Any, listen: Any) -> None:
    robot("publisher", topic="/joint_states", type=JOINTS)
    robot("publisher", topic="/words", type=STRING)
    port = listen(align="transport", clocks={"/words": "speech"}).port
    robot.until_matched("/joint_states")
    robot.until_matched("/words")
    before = time.time_ns()
    robot("publish", topic="/joint_states", skew_ns=-3_600_000_000_000)
    robot("publish", topic="/words")
    assert port.wait_for(lambda p: on(p, "/words") and on(p, "/joint_states"))
    joints, words = on(port, "/joint_states")[0], on(port, "/words")[0]
    assert (joints.channel.clock, words.channel.clock) == ("transport", "speech")
    assert before <= joints.stamp <= time.time_ns()
    assert abs(joints.alt_stamp + 3_600_000_000_000 - joints.stamp) < 1_000_000_000
    assert before <= words.stamp and words.alt_stamp is None


def test_only_what_is_wanted_is_taken(robot: Any, listen: Any) -> None:
    for topic in ("/camera/left", "/camera/right", "/words", "/_hidden", "/log"):
        robot("publisher", topic=topic, type=STRING)
    port = listen(include=["/camera/.*", "/_hidden", "/log"], exclude=["/camera/right"]).port
    robot.until_matched("/camera/left")
    robot.until_matched("/log")
    for topic in ("/camera/right", "/words", "/_hidden", "/log", "/camera/left"):
        robot("publish", topic=topic)
    assert port.wait_for(lambda p: on(p, "/camera/left") and on(p, "/log"))
    assert {c.metadata["dari.topic"] for c in port.declared if c.metadata.get("dari.topic")} == {"/camera/left", "/log"}
    # A robot's topic /log is not dari's own log.
    assert on(port, "/log")[0].channel.topic == "/testbed/arm/log"


def test_latched_messages_reach_a_late_joiner(robot: Any, listen: Any) -> None:
    robot("publisher", topic="/robot_description", type=STRING, latched=True, depth=1)
    robot("publisher", topic="/tf_static", type=JOINTS, latched=True, depth=1)
    sent = robot("publish", topic="/robot_description", count=3)
    robot("publish", topic="/tf_static")
    time.sleep(0.5)  # what is latched is old by the time it is heard
    port = listen().port
    robot.until_matched("/robot_description")
    robot.until_matched("/tf_static")
    assert port.wait_for(lambda p: bool(on(p, "/robot_description")))
    assert [text(s) for s in on(port, "/robot_description")] == sent[-1:]
    # A stamp that is older than the connection tells nothing of the clock: it is kept, and does not align.
    assert port.wait_for(lambda p: bool(on(p, "/tf_static")))
    old = on(port, "/tf_static")[0]
    assert old.stamp is None and old.arrival - old.alt_stamp > 400_000_000
    assert port.wait_for(lambda p: robot("publish", topic="/tf_static") and on(p, "/tf_static")[-1].stamp is not None)
    # Other people's readers take the padded bytes.
    payload, channel = on(port, "/robot_description")[0].payload, on(port, "/robot_description")[0].channel
    assert messages.deserialize(STRING, payload).data == "message 3"
    assert generate_dynamic(STRING, channel.definition)[STRING](payload).data == "message 3"
    assert "durability: transient_local" in on(port, "/robot_description")[0].channel.metadata["offered_qos_profiles"]
    assert port.losses == []


def test_a_best_effort_publisher_is_heard(robot: Any, listen: Any) -> None:
    robot("publisher", topic="/words", type=STRING, reliable=False)
    port = listen().port
    robot.until_matched("/words")
    sent = robot("publish", topic="/words", count=20, period_s=0.005)
    assert port.wait_for(lambda p: len(on(p, "/words")) + sum(n for _, n, _ in p.losses) >= 20)
    heard = [text(s) for s in on(port, "/words")]
    assert heard == [one for one in sent if one in heard] and len(set(heard)) == len(heard)
    assert "reliability: best_effort" in on(port, "/words")[0].channel.metadata["offered_qos_profiles"]


def test_a_looser_publisher_that_joins_is_heard_and_nothing_is_lost_or_doubled(start_robot: Any, listen: Any) -> None:
    strict, loose = start_robot(), start_robot()
    strict("publisher", topic="/words", type=STRING, latched=True, depth=500)
    port = (listening := listen()).port
    strict.until_matched("/words")
    sent = strict("publish", topic="/words", count=20)
    streaming: list[str] = []
    stream = threading.Thread(
        target=lambda: streaming.extend(strict("publish", topic="/words", count=400, period_s=0.005))
    )
    stream.start()
    loose("publisher", topic="/words", type=STRING, reliable=False)
    loose.until_matched("/words")
    said = loose("publish", topic="/words", count=5, period_s=0.02)
    stream.join()
    last = strict("publish", topic="/words")
    assert port.wait_for(lambda p: any(text(s) == last[0] for s in on(p, "/words")))
    listening.stop()
    got = [text(s) for s in on(port, "/words")]
    assert any("opened anew" in line for _, line in port.logs)
    # Both count their messages from one, so that the first few texts come twice: from each robot once.
    wanted = Counter([*sent, *streaming, *last, *said])
    missing = wanted - Counter(got)
    assert not Counter(got) - wanted, "something came twice"
    assert sum(missing.values()) == sum(count for _, count, _ in port.losses)
    # All were sent reliably but the last five: a reader that is opened anew loses at most what those were.
    assert sum(missing.values()) <= len(said)


@pytest.mark.parametrize("told", ["no numbers, as Humble", "numbers but no publisher, as Jazzy"])
def test_where_less_is_told_nothing_is_made_up(
    start_robot: Any, listen: Any, monkeypatch: pytest.MonkeyPatch, told: str
) -> None:
    whole = tap.Tap._take

    def less(self: Any, tapped: Any, payload: bytes, info: dict[str, Any], arrival: int) -> None:
        kept = {key: info[key] for key in ("source_timestamp", "received_timestamp")}
        if "Jazzy" in told:
            kept["publication_sequence_number"] = info["publication_sequence_number"]
        whole(self, tapped, payload, kept, arrival)

    monkeypatch.setattr(tap.Tap, "_take", less)
    strict, loose = start_robot(), start_robot()
    strict("publisher", topic="/words", type=STRING)
    port = (listening := listen()).port
    strict.until_matched("/words")
    sent = strict("publish", topic="/words", count=20)
    assert port.wait_for(lambda p: len(on(p, "/words")) == 20)
    loose("publisher", topic="/words", type=STRING, reliable=False)
    loose.until_matched("/words")
    strict.until_matched("/words")
    assert port.wait_for(lambda p: any("opened anew" in line for _, line in p.logs))
    # The new subscription has met the strict publisher once something of what it says now is heard.
    more: list[str] = []

    def heard(p: RecordingPort) -> bool:
        more.extend(strict("publish", topic="/words"))
        return any(text(s) in more for s in on(p, "/words"))

    assert port.wait_for(heard)
    more += loose("publish", topic="/words", count=2)
    last = strict("publish", topic="/words")
    more += last
    assert port.wait_for(lambda p: any(text(s) == last[0] for s in on(p, "/words")))
    listening.stop()
    got = [text(s) for s in on(port, "/words")]
    assert not Counter(got) - Counter([*sent, *more]), "something came twice"
    # Two publishers that can not be told apart, or no numbers at all: no loss is counted, and that is said.
    assert port.losses == []
    said = [line for _, line in port.logs if "is not known" in line]
    assert len(said) == 1


def test_publishers_that_come_late_go_and_come_again(start_robot: Any, listen: Any) -> None:
    port = listen(include=["/words"]).port
    first = start_robot()
    first("publisher", topic="/words", type=STRING)
    first.until_matched("/words")
    first("publish", topic="/words")
    assert port.wait_for(lambda p: len(on(p, "/words")) == 1)
    first("destroy", topic="/words")
    assert port.wait_for(lambda p: bool(p.connections) and p.connections[-1][0] == "disconnected")
    assert "has gone" in port.connections[-1][1]
    second = start_robot()
    second("publisher", topic="/words", type=STRING)
    second.until_matched("/words")
    second("publish", topic="/words")
    assert port.wait_for(lambda p: len(on(p, "/words")) == 2)
    assert port.wait_for(lambda p: bool(p.health(HealthCode.GAP)))
    assert port.losses == []


@pytest.mark.long
def test_a_robot_that_is_killed_is_missed_when_its_lease_runs_out(robot: Any, listen: Any) -> None:
    port = listen().port
    robot("publisher", topic="/words", type=STRING)
    assert port.wait_for(lambda p: bool(p.connections) and p.connections[-1][0] == "connected")
    robot.process.kill()
    assert port.wait_for(lambda p: p.connections[-1][0] == "disconnected", 90)


LISTENER = """
import sys, threading, time
from adapters.ros2 import Ros2Adapter, Ros2Options
from bridge.testing import RecordingPort
port = RecordingPort()
adapter = Ros2Adapter(port.source, Ros2Options(domain=int(sys.argv[1]), include=("/words",)), {})
threading.Thread(target=adapter.run, args=(port,), daemon=True).start()
port.wait_for(lambda p: bool(p.connections), 60)
print("heard" if port.samples else "connected with nothing heard", flush=True)
time.sleep(60)
"""


@pytest.mark.long
def test_an_adapter_that_was_killed_is_connected_again_when_it_hears(robot: Any, domain: int) -> None:
    robot("publisher", topic="/words", type=STRING)
    stop = threading.Event()

    def talk() -> None:
        while not stop.is_set():
            robot("publish", topic="/words", count=20, period_s=0.01)

    talking = threading.Thread(target=talk)
    talking.start()
    try:
        for _ in range(2):
            with subprocess.Popen(
                [sys.executable, "-c", LISTENER, str(domain)], stdout=subprocess.PIPE, text=True
            ) as process:
                assert process.stdout is not None
                assert process.stdout.readline() == "heard\n"
                process.kill()
    finally:
        stop.set()
        talking.join()


def test_a_type_that_is_not_installed_is_skipped_and_said_once(
    robot: Any, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The adapter's side can not import the package, as where it is not installed.
    monkeypatch.setitem(sys.modules, "diagnostic_msgs.msg", None)
    robot("publisher", topic="/diagnostics", type="diagnostic_msgs/msg/DiagnosticArray")
    robot("publisher", topic="/words", type=STRING)
    port = listen().port
    robot.until_matched("/words")
    robot("publish", topic="/words")
    assert port.wait_for(lambda p: bool(on(p, "/words")))
    assert port.wait_for(lambda p: any("/diagnostics" in text for _, text in p.logs))
    warnings = [text for level, text in port.logs if level == "warning"]
    assert len([text for text in warnings if "/diagnostics" in text]) == 1
    assert "diagnostic_msgs/msg/DiagnosticArray" in warnings[0] and "not installed" in warnings[0]


class StuckPort(RecordingPort):
    """A port whose process is held up at the first message."""

    def __init__(self) -> None:
        super().__init__(make_source("robot", Space.TESTBED, "arm"))
        self.held = threading.Event()
        self.free = threading.Event()

    def emit(self, channel: Channel, payload: bytes, **times: Any) -> int:
        number = super().emit(channel, payload, **times)
        if channel.name == "words" and not self.held.is_set():
            self.held.set()
            self.free.wait(30)
        return number


def test_what_dds_throws_away_is_counted_exactly(robot: Any, listen: Any) -> None:
    robot("publisher", topic="/words", type=STRING)
    port = StuckPort()
    listening = listen(port, depth=5, align="transport")
    robot.until_matched("/words")
    robot("publish", topic="/words")
    assert port.held.wait(20)
    robot("publish", topic="/words", count=100)
    port.free.set()
    last = robot("publish", topic="/words")
    assert port.wait_for(lambda p: any(text(s) == last[0] for s in on(p, "/words")))
    listening.stop()
    got = len(on(port, "/words"))
    assert got < 102, "nothing was thrown away: the test shows nothing"
    assert sum(count for _, count, _ in port.losses) == 102 - got
    loss = port.health(HealthCode.LOSS)[0]
    assert loss.channel == "/testbed/arm/words"
    assert loss.window is not None and loss.window.source_t0_ns is not None
    stamps = [s.stamp for s in on(port, "/words")]
    assert stamps[0] <= loss.window.source_t0_ns < loss.window.source_t1_ns <= stamps[-1]


def test_nothing_that_was_received_is_left_when_it_is_stopped(robot: Any, listen: Any) -> None:
    robot("publisher", topic="/words", type=STRING)
    port = StuckPort()
    listening = listen(port)
    robot.until_matched("/words")
    robot("publish", topic="/words")
    assert port.held.wait(20)
    robot("publish", topic="/words", count=700)
    # All of them are published, and acknowledged by DDS; the adapter is asked to stop before it has taken any.
    robot("acknowledged", topic="/words")
    port.stopping.set()
    port.free.set()
    listening.stop()
    assert len(on(port, "/words")) == 701


def test_arrival_is_when_dds_had_it_and_survives_a_clock_that_is_set(
    robot: Any, listen: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    robot("publisher", topic="/words", type=STRING)
    port = listen().port
    robot.until_matched("/words")
    steps = [0]
    honest = tap._clock_pair
    monkeypatch.setattr(tap, "_clock_pair", lambda: (honest()[0] + steps[-1], honest()[1]))
    for number, step in enumerate((0, 3_600_000_000_000, -3_600_000_000_000), start=1):
        steps.append(step)
        before = time.time_ns()
        robot("publish", topic="/words")
        assert port.wait_for(lambda p, n=number: len(on(p, "/words")) == n)
        # The port's timeline is the realtime of its start: the same clock here, to some microseconds.
        assert before - 5_000_000 <= on(port, "/words")[-1].arrival <= time.time_ns() + 5_000_000


def test_silence_is_said_where_it_is_asked_for(robot: Any, listen: Any) -> None:
    robot("publisher", topic="/words", type=STRING)
    port = listen(silence_ms=300, include=["/words"]).port
    robot.until_matched("/words")
    robot("publish", topic="/words")
    assert port.wait_for(lambda p: "disconnected" in [c[0] for c in p.connections])
    assert "nothing came" in next(text for kind, text in port.connections if kind == "disconnected")
    robot("publish", topic="/words", count=3, period_s=0.05)
    assert port.wait_for(lambda p: p.connections.count(("connected", p.connections[0][1])) == 2)


def test_an_empty_domain_is_said_with_what_to_look_at(listen: Any, domain: int) -> None:
    port = listen().port
    assert port.wait_for(lambda p: bool(p.connections))
    assert port.connections == [("disconnected", port.connections[0][1])]
    assert f"ROS domain {domain}" in port.connections[0][1]
