"""Samples to CDR and back: what goes to the log, and what a detector reads from it again, are the same values."""

from __future__ import annotations

import struct
from typing import Any

from bridge import messages
from bridge.messages import JointStateEncoder
from twin.channels import ALL_JOINTS, GRIPPER_JOINT, JOINT_STATE, POSE_STAMPED, STRING, WRENCH_STAMPED, ChannelSpec
from twin.detectors import COMMAND, GRIPPER, JOINTS
from twin.engine import ARM_JOINTS
from twin.samples import JointSample, PoseSample, Sample, WrenchSample

_NAMES = {JOINTS: ALL_JOINTS, GRIPPER: GRIPPER_JOINT, COMMAND: ARM_JOINTS}
_STAMP = struct.Struct("<iI")
_BILLION = 1_000_000_000


class _Doubles:
    """Writes a type that is a header and then doubles to its end: one message as a template, overwritten in place."""

    def __init__(self, spec: ChannelSpec, count: int) -> None:
        empty = messages.message(spec.type_name, header={"frame_id": spec.frame})
        self._template = messages.serialize(spec.type_name, empty)
        self._tail = struct.Struct(f"<{count}d")
        self._at = len(self._template) - self._tail.size

    def encode(self, stamp_ns: int, *values: float) -> bytes:
        """One message with this stamp and these doubles."""
        data = bytearray(self._template)
        _STAMP.pack_into(data, 4, stamp_ns // _BILLION, stamp_ns % _BILLION)
        self._tail.pack_into(data, self._at, *values)
        return bytes(data)


class Encoder:
    """Writes the CDR messages of one channel."""

    def __init__(self, spec: ChannelSpec) -> None:
        self._joints = JointStateEncoder(_NAMES[spec.name], spec.frame) if spec.type_name == JOINT_STATE else None
        self._doubles = None if self._joints else _Doubles(spec, 6 if spec.type_name == WRENCH_STAMPED else 7)

    def encode(self, stamp_ns: int, sample: Sample) -> bytes:
        """One message; the stamp is ns on the twin's clock."""
        if isinstance(sample, JointSample):
            assert self._joints is not None
            return self._joints.encode(stamp_ns, sample.position, sample.velocity, sample.effort)
        assert self._doubles is not None
        first, second = sample
        return self._doubles.encode(stamp_ns, *first, *second)


def encode_text(text: str) -> bytes:
    """A `std_msgs/msg/String`."""
    return messages.serialize(STRING, messages.message(STRING, data=text))


def decode(type_name: str, payload: bytes) -> tuple[int, Sample]:
    """The stamp (ns) and the sample in one message of a twin's telemetry channel."""
    message = messages.deserialize(type_name, payload)
    stamp = message.header.stamp.sec * _BILLION + message.header.stamp.nanosec
    if type_name == JOINT_STATE:
        columns = (tuple(column.tolist()) for column in (message.position, message.velocity, message.effort))
        return stamp, JointSample(tuple(message.name), *columns)
    if type_name == POSE_STAMPED:
        return stamp, PoseSample(
            _xyz(message.pose.position), (*_xyz(message.pose.orientation), message.pose.orientation.w)
        )
    return stamp, WrenchSample(_xyz(message.wrench.force), _xyz(message.wrench.torque))


def _xyz(vector: Any) -> tuple[float, float, float]:
    return vector.x, vector.y, vector.z
