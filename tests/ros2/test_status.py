"""The status array is read from CDR as rclpy wrote it."""

from __future__ import annotations

import random
from uuid import UUID

import pytest

from adapters.ros2.environment import load_rclpy
from bridge.goal_status import GoalStatus, decode_status

pytest.importorskip("rclpy", reason="rclpy is not installed here: nothing to compare with")


@pytest.mark.parametrize("count", range(6))
def test_what_rclpy_writes_is_read(count: int) -> None:
    load_rclpy()
    from action_msgs.msg import GoalStatus as Ros
    from action_msgs.msg import GoalStatusArray
    from rclpy.serialization import serialize_message

    draw = random.Random(count)
    expected, array = [], GoalStatusArray()
    for _ in range(count):
        entry = Ros()
        entry.goal_info.goal_id.uuid = list(draw.randbytes(16))
        entry.goal_info.stamp.sec, entry.goal_info.stamp.nanosec = draw.randrange(2**31), draw.randrange(10**9)
        entry.status = draw.randrange(7)
        array.status_list.append(entry)
        stamp = entry.goal_info.stamp.sec * 10**9 + entry.goal_info.stamp.nanosec
        expected.append(GoalStatus(UUID(bytes=bytes(entry.goal_info.goal_id.uuid)), stamp, entry.status))
    data = serialize_message(array)
    assert decode_status(data) == expected
    assert decode_status(data + b"\0\0\0") == expected, "RTPS may pad the end"
    if count:
        with pytest.raises(ValueError, match="GoalStatusArray"):
            decode_status(data[:-1])
