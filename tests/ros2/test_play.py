"""Playing a log into a real graph: the same bytes, the recorded quality of service, and no harm to a live robot."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from adapters.ros2.player import ISOLATED_DOMAIN, Ros2Player, is_command
from bridge.errors import UsageError
from bridge.player import PlayedChannel, PlayedMessage
from bridge.testing import RecordingPort

JOINTS = "sensor_msgs/msg/JointState"
STRING = "std_msgs/msg/String"
TWIST = "geometry_msgs/msg/Twist"
LATCHED = "- {reliability: reliable, durability: transient_local}"


def channel(number: int, topic: str, type_name: str = STRING, **metadata: str) -> PlayedChannel:
    return PlayedChannel(id=number, topic=topic, type_name=type_name, definition="", metadata=metadata)


def message(number: int, data: bytes, sequence: int = 0) -> PlayedMessage:
    return PlayedMessage(channel=number, sequence=sequence, log_time=1, publish_time=1, data=data)


@pytest.fixture
def player(domain: int) -> Iterator[Ros2Player]:
    playing = Ros2Player()
    yield playing
    playing.close()


def test_a_recording_is_played_back_byte_for_byte(robot: Any, listen: Any, player: Ros2Player, domain: int) -> None:
    robot("publisher", topic="/joint_states", type=JOINTS)
    port = (listening := listen(include=["/joint_states"])).port
    robot.until_matched("/joint_states")
    robot("publish", topic="/joint_states", count=30)
    assert port.wait_for(lambda p: len(p.samples) == 30)
    robot("destroy", topic="/joint_states")
    listening.stop()
    recorded = port.samples[0].channel

    robot("subscribe", topic="/joint_states", type=JOINTS)
    played = PlayedChannel(
        id=4,
        topic=recorded.topic,
        type_name=recorded.type_name,
        definition=recorded.definition,
        metadata=recorded.metadata,
    )
    assert player.open([played], {"domain": str(domain), "wait_s": "20"}) == []
    assert player.unheard == []
    for sample in port.samples:
        player.play(message(4, sample.payload))
    again = RecordingPort()
    assert again.wait_for(lambda _: len(robot("received", topic="/joint_states")) == 30)
    player.close()
    assert robot("received", topic="/joint_states") == [sample.payload.hex() for sample in port.samples]


def test_latched_channels_are_played_latched(robot: Any, player: Ros2Player, domain: int) -> None:
    data = b"\x00\x01\x00\x00\x03\x00\x00\x00hi\x00\x00"
    latched = channel(1, "/testbed/arm/robot_description", offered_qos_profiles=LATCHED, **{"dari.topic": "/described"})
    assert player.open([latched], {"domain": str(domain)}) == []
    player.play(message(1, data))
    robot("subscribe", topic="/described", type=STRING, latched=True)
    assert RecordingPort().wait_for(lambda _: robot("received", topic="/described") == [data.hex()])


def test_topics_without_an_original_keep_the_logs_name_and_can_be_mapped(
    robot: Any, player: Ros2Player, domain: int
) -> None:
    robot("subscribe", topic="/here", type=STRING)
    robot("subscribe", topic="/twin/arm/words", type=STRING)
    channels = [
        channel(1, "/testbed/arm/words", **{"dari.topic": "/words"}),
        channel(2, "/twin/arm/words"),
        # Another source has recorded a topic of the same name.
        channel(3, "/testbed/arm2/words", **{"dari.topic": "/words"}),
        # The first source was started again and declared its channel again.
        channel(4, "/testbed/arm/words", **{"dari.topic": "/words"}),
    ]
    said = player.open(channels, {"domain": str(domain), "remap": "words:=/here"})
    assert len(said) == 1 and "/testbed/arm2/words is played under that name" in said[0]
    data = b"\x00\x01\x00\x00\x03\x00\x00\x00hi\x00\x00"
    assert RecordingPort().wait_for(lambda _: player._publishers[1].get_subscription_count() > 0)
    assert RecordingPort().wait_for(lambda _: player._publishers[2].get_subscription_count() > 0)
    for number in (1, 2, 3, 4):
        player.play(message(number, data))
    assert RecordingPort().wait_for(lambda _: len(robot("received", topic="/here")) == 2)
    assert RecordingPort().wait_for(lambda _: len(robot("received", topic="/twin/arm/words")) == 1)


def test_what_a_live_graph_obeys_or_believes_is_held_back(robot: Any, domain: int) -> None:
    robot("publisher", topic="/cmd_vel", type=TWIST)
    robot("publisher", topic="/tf", type=STRING)
    robot("publisher", topic="/words", type=STRING)
    robot("subscribe", topic="/arm_controller/joint_trajectory", type="trajectory_msgs/msg/JointTrajectory")
    channels = [
        channel(1, "/cmd_vel", TWIST),
        channel(2, "/tf"),
        channel(3, "/words"),
        channel(4, "/arm_controller/joint_trajectory", "trajectory_msgs/msg/JointTrajectory"),
        channel(5, "/clock"),
        channel(6, "/nobody/cmd_vel", TWIST),
    ]
    player = Ros2Player()
    said = player.open(channels, {"domain": str(domain)})
    player.close()
    assert len(said) == 3, said
    assert {text.split()[0] for text in said} == {"/cmd_vel", "/tf", "/arm_controller/joint_trajectory"}
    assert all("force=true" in text for text in said)
    forced = Ros2Player()
    assert forced.open(channels, {"domain": str(domain), "force": "true"}) == []
    forced.close()


def test_types_that_are_not_installed_are_said_and_passed_over(player: Ros2Player, domain: int) -> None:
    said = player.open(
        [channel(1, "/dari/events", "nowhere_msgs/msg/Thing"), channel(2, "/words")], {"domain": str(domain)}
    )
    assert len(said) == 1 and said[0].startswith("/dari/events (nowhere_msgs/msg/Thing) is not played")
    player.play(message(1, b""))
    player.play(message(99, b""))


def test_it_says_who_does_not_listen(player: Ros2Player, domain: int) -> None:
    player.open([channel(1, "/words")], {"domain": str(domain), "wait_s": "0.1"})
    assert player.unheard == ["/words"]


def test_a_domain_of_its_own_unless_one_is_named(domain: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    for options, expected in (({}, ISOLATED_DOMAIN), ({"domain": "env"}, domain), ({"domain": "5"}, 5)):
        player = Ros2Player()
        player.open([], options)
        assert player.domain == expected and player._context.handle.get_domain_id() == expected
        player.close()
        player.close()


@pytest.mark.parametrize(
    "options",
    [{"domian": "5"}, {"domain": "five"}, {"domain": "1.5"}, {"wait_s": "-1"}, {"force": "yes"}, {"remap": "/a=/b"}],
)
def test_options_that_can_not_be_meant(options: dict[str, str]) -> None:
    with pytest.raises(UsageError) as raised:
        Ros2Player().open([], options)
    assert raised.value.hint


@pytest.mark.parametrize(
    ("topic", "type_name", "command"),
    [
        ("/cmd_vel", TWIST, True),
        ("/base/cmd_vel_smoothed", STRING, True),
        ("/gripper/command", STRING, True),
        ("/arm_controller/joint_trajectory", STRING, True),
        ("/anything", "trajectory_msgs/msg/JointTrajectory", True),
        ("/joint_states", JOINTS, False),
        ("/commander/state", STRING, False),
    ],
)
def test_what_counts_as_a_command(topic: str, type_name: str, command: bool) -> None:
    assert is_command(topic, type_name) is command
