"""Quality of service: what is asked for, and the metadata that rosbag2 and rosbags read."""

from __future__ import annotations

from typing import Any

import pytest

from adapters.ros2 import qos
from adapters.ros2.environment import load_rclpy

pytest.importorskip("rclpy", reason="rclpy is not installed here: there are no profiles")

JAZZY = """- history: keep_last
  depth: 10
  reliability: best_effort
  durability: transient_local
  deadline:
    sec: 1
    nsec: 500000000
  lifespan:
    sec: 9223372036
    nsec: 854775807
  liveliness: automatic
  liveliness_lease_duration:
    sec: 9223372036
    nsec: 854775807
  avoid_ros_namespace_conventions: false"""
HUMBLE = (
    JAZZY.replace("keep_last", "1")
    .replace("best_effort", "1")
    .replace("transient_local", "1")
    .replace("automatic", "1")
)


def offer(reliable: bool, latched: bool, **more: Any) -> Any:
    load_rclpy()
    from rclpy.qos import DurabilityPolicy, LivelinessPolicy, QoSProfile, ReliabilityPolicy

    return QoSProfile(
        depth=10,
        reliability=ReliabilityPolicy.RELIABLE if reliable else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE,
        liveliness=LivelinessPolicy.AUTOMATIC,
        **more,
    )


@pytest.mark.parametrize(
    ("offers", "request_"),
    [
        ([(True, False)], (True, False)),
        ([(True, True)], (True, True)),
        ([(False, True)], (False, True)),
        ([(True, True), (True, False)], (True, False)),
        ([(True, True), (False, True)], (False, True)),
        ([(True, False), (False, True)], (False, False)),
    ],
)
def test_no_more_is_asked_than_all_offer(offers: list[tuple[bool, bool]], request_: tuple[bool, bool]) -> None:
    assert qos.request_for([offer(*o) for o in offers]) == request_
    profile = qos.profile(qos.Request(*request_), 2000)
    assert profile.depth == 2000
    assert qos.request_for([profile]) == request_


def test_the_metadata_is_that_of_rosbag2() -> None:
    from rclpy.duration import Duration, Infinite
    from rosbags.interfaces import QosDurability, QosReliability, QosTime
    from rosbags.rosbag2.metadata import parse_qos

    text = qos.to_yaml(
        [offer(False, True, deadline=Duration(seconds=1.5), lifespan=Infinite, liveliness_lease_duration=Infinite)]
    )
    assert text == JAZZY
    parsed = parse_qos(text)[0]
    assert (parsed.reliability, parsed.durability) == (QosReliability.BEST_EFFORT, QosDurability.TRANSIENT_LOCAL)
    assert parsed.deadline == QosTime(1, 500_000_000)


@pytest.mark.parametrize(
    ("text", "request_"),
    [
        (JAZZY, (False, True)),
        (HUMBLE, (True, True)),
        (JAZZY + "\n" + JAZZY, (False, True)),
        (JAZZY + "\n" + JAZZY.replace("best_effort", "reliable"), (True, False)),
        ("", (True, False)),
        ("[]", (True, False)),
        ("nonsense: [", (True, False)),
        ("- just text", (True, False)),
    ],
)
def test_a_recorded_profile_is_played_where_all_publishers_agreed(text: str, request_: tuple[bool, bool]) -> None:
    load_rclpy()
    assert qos.request_for([qos.to_play(text, 7)]) == request_
