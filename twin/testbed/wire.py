"""The robot's face without DDS: the same messages over a ZeroMQ socket, for systems where no ROS 2 can be had.

A frame is four parts: the ROS topic, its type, an int64 pair (sequence of the topic from 0, the host's wall clock in ns when
it was sent, both little-endian), and the CDR bytes. `link` is the other end.
"""

from __future__ import annotations

import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zmq

from bridge import messages
from bridge.errors import UsageError
from twin.testbed.cell import Reading
from twin.testbed.robot import Request, Skill

ENVELOPE = struct.Struct("<qq")
JOINT_STATE = "sensor_msgs/msg/JointState"
WRENCH = "geometry_msgs/msg/WrenchStamped"
GOAL_STATUS = "action_msgs/msg/GoalStatusArray"
JOINT_NAMES = (*(f"panda_joint{i}" for i in range(1, 8)), "panda_finger_joint1", "panda_finger_joint2")
EXECUTING, SUCCEEDED, ABORTED = 2, 4, 6
_REMEMBERED_NS = 10_000_000_000
_REPEAT_TICKS = 125


class LinkFace:
    """A publisher on `address`. `publish` and `goal` are called in the physics thread, `send` in the program's."""

    def __init__(self, address: str, submit: Callable[[Request], None]) -> None:
        self._submit = submit
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.PUB)
        self._socket.setsockopt(zmq.LINGER, 0)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self.close()
            raise UsageError(
                f"the link can not be offered: {error.strerror}",
                where=address,
                hint="give another --link, e.g. ipc:///tmp/standin or tcp://127.0.0.1:0",
            ) from error
        self.address = self._socket.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0")
        self._joints = messages.JointStateEncoder(JOINT_NAMES, "panda_link0")
        self._gripper = messages.JointStateEncoder(["gripper_width"])
        self._sequence: dict[str, int] = {}
        self._goals: dict[Skill, list[tuple[Request, int, int, int]]] = {skill: [] for skill in Skill}
        self._ticks = 0

    def publish(self, reading: Reading, stamp_ns: int) -> None:
        """See `Face`."""
        self._send(
            "/joint_states",
            JOINT_STATE,
            self._joints.encode(
                stamp_ns,
                [*reading.position, *reading.finger_position],
                [*reading.velocity, *reading.finger_velocity],
                [*reading.effort, *reading.finger_force],
            ),
        )
        speed = reading.finger_velocity[0] + reading.finger_velocity[1]
        self._send(
            "/gripper/state",
            JOINT_STATE,
            self._gripper.encode(stamp_ns, [reading.width], [speed], [reading.grip_force]),
        )
        fx, fy, fz, tx, ty, tz = reading.wrench
        wrench = messages.message(
            WRENCH,
            header={"stamp": _time(stamp_ns), "frame_id": "panda_hand"},
            wrench={"force": {"x": fx, "y": fy, "z": fz}, "torque": {"x": tx, "y": ty, "z": tz}},
        )
        self._send("/wrench", WRENCH, messages.serialize(WRENCH, wrench))
        self._ticks += 1
        if self._ticks % _REPEAT_TICKS == 0:
            # A subscriber that comes later must learn what is under way: DDS keeps the last status for it, PUB does not.
            for skill in Skill:
                self._statuses(skill)

    def goal(self, request: Request) -> None:
        """See `Face`."""
        now = time.time_ns()
        goals = self._goals[request.skill]
        if request.outcome is None:
            goals.append((request, now, EXECUTING, now))
        else:
            status = SUCCEEDED if request.outcome.succeeded else ABORTED
            goals[:] = [(r, at, status, now) if r is request else (r, at, s, end) for r, at, s, end in goals]
        goals[:] = [g for g in goals if g[2] == EXECUTING or now - g[3] < _REMEMBERED_NS]
        self._statuses(request.skill)

    def send(self, skill: Skill, order: int) -> bool:
        """See `Actions`."""
        request = Request(skill, order)
        self._submit(request)
        return request.wait().succeeded

    def _statuses(self, skill: Skill) -> None:
        listed = [
            messages.message(
                "action_msgs/msg/GoalStatus",
                goal_info={"goal_id": {"uuid": list(request.id.bytes)}, "stamp": _time(at)},
                status=status,
            )
            for request, at, status, _ in self._goals[skill]
        ]
        array = messages.message(GOAL_STATUS, status_list=listed)
        self._send(f"/{skill.value}/_action/status", GOAL_STATUS, messages.serialize(GOAL_STATUS, array))

    def _send(self, topic: str, type_name: str, payload: bytes) -> None:
        sequence = self._sequence.get(topic, 0)
        self._sequence[topic] = sequence + 1
        envelope = ENVELOPE.pack(sequence, time.time_ns())
        self._socket.send_multipart([topic.encode(), type_name.encode(), envelope, payload])

    def close(self) -> None:
        """Stop listening; an `ipc` file is taken away."""
        self._socket.close()
        self._context.term()
        address = getattr(self, "address", "")
        if address.startswith("ipc://") and not address.startswith("ipc://@"):
            Path(address.removeprefix("ipc://")).unlink(missing_ok=True)


def _time(ns: int) -> dict[str, Any]:
    seconds, rest = divmod(ns, 1_000_000_000)
    return {"sec": seconds, "nanosec": rest}
