"""The twin's channels: their names, types and frames, and how their samples become CDR messages.

Names and types are those of the testbed robot, so that one reader serves both; only the twin prefixes its frames.
"""

from __future__ import annotations

from typing import NamedTuple

from twin.cell import Cell
from twin.detectors import COMMAND, GRIPPER, JOINTS, WRENCH
from twin.engine import ARM_JOINTS, FINGER_JOINTS, ArmState
from twin.samples import JointSample, Sample, WrenchSample

BASE_FRAME = "twin/panda_link0"
DESCRIPTION = "robot_description"
GRIPPER_JOINT = ("gripper_width",)
ALL_JOINTS = (*ARM_JOINTS, *FINGER_JOINTS)

JOINT_STATE = "sensor_msgs/msg/JointState"
WRENCH_STAMPED = "geometry_msgs/msg/WrenchStamped"
POSE_STAMPED = "geometry_msgs/msg/PoseStamped"
STRING = "std_msgs/msg/String"


class ChannelSpec(NamedTuple):
    """One channel: its name within the source, its ROS 2 type, and the frame of its messages' headers."""

    name: str
    type_name: str
    frame: str


def channel_specs(cell: Cell) -> tuple[ChannelSpec, ...]:
    """The telemetry channels of a cell, in the order in which they are declared."""
    cameras = (cell.sensors.overhead, cell.sensors.wrist, cell.sensors.fixture)
    return (
        ChannelSpec(JOINTS, JOINT_STATE, BASE_FRAME),
        ChannelSpec(GRIPPER, JOINT_STATE, "twin/panda_hand"),
        ChannelSpec(WRENCH, WRENCH_STAMPED, "twin/panda_hand"),
        ChannelSpec(COMMAND, JOINT_STATE, BASE_FRAME),
        *(ChannelSpec(camera.channel, POSE_STAMPED, camera.frame) for camera in cameras),
        *(ChannelSpec(scanner_channel(post.name), POSE_STAMPED, BASE_FRAME) for post in cell.posts),
    )


def scanner_channel(post: str) -> str:
    """The channel on which the scanner says where a post stands."""
    return f"scanner/{post}"


def arm_samples(state: ArmState) -> tuple[tuple[str, Sample], ...]:
    """What one reading of the robot's sensors says on its channels."""
    fingers, speeds, forces = state.fingers, state.finger_velocity, state.finger_effort
    return (
        (
            JOINTS,
            JointSample(ALL_JOINTS, state.position + fingers, state.velocity + speeds, state.effort + forces),
        ),
        (
            GRIPPER,
            JointSample(
                GRIPPER_JOINT,
                (fingers[0] + fingers[1],),
                (speeds[0] + speeds[1],),
                ((forces[0] + forces[1]) / 2,),
            ),
        ),
        (WRENCH, WrenchSample(state.force, state.torque)),
    )
