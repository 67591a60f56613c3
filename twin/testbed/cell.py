"""The stand-in's physics: an arm, a feeder with its belt, a tray on a scale. Only what a sensor or a motor can do is public.

Coordinates are in the robot's base frame: metres, the belt brings parts along +y, the tray stands on the other side.
"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator

import msgspec
import numpy as np

from twin.testbed.draws import JobDraw, stream
from twin.testbed.kinematics import JOINTS, Array

STEP = 0.004
"""One step of the physics, s."""
STEPS_PER_TICK = 2
TICK = STEP * STEPS_PER_TICK
"""One cycle of the controller, s: 125 Hz."""

PART_SIZE = (0.04, 0.06, 0.05)
BELT_TOP = 0.06
PICK = (0.50, -0.15)
PLACE_CENTRE = (0.45, 0.36)
TRAY_TOP = 0.03
OPEN_WIDTH = 0.076
HOME: Array = np.array([-0.3, 0.1, 0.0, -2.1, 0.0, 2.2, 0.5])

_ARM = tuple(range(JOINTS))
_FINGERS = (9, 10)
_WRIST = 8
_READ = (*_ARM, *_FINGERS, _WRIST)
_MASS_FACTORS = (1.06, 0.95, 1.1, 0.97, 0.9, 1.12, 1.3)
_DAMPING = (1.4, 1.4, 1.1, 1.1, 0.6, 0.6, 0.4)
_POSITION_GAIN = 0.33
_VELOCITY_GAIN = 0.9
_TORQUE = (80.0, 80.0, 80.0, 80.0, 24.0, 24.0, 18.0)
_FINGER_FRICTION = 0.9
_BELT_SPEED = 0.28
_FEED_AT = -0.52
_BELT_RAMP = 0.8
_TRAY_PLACES = 6


class Reading(msgspec.Struct):
    """What the robot's own sensors say after one tick: joint angles (rad), speeds (rad/s), torques (N m), both fingers
    (m, m/s, N) and the wrench at the wrist (N, N m)."""

    position: Array
    velocity: Array
    effort: Array
    finger_position: tuple[float, float]
    finger_velocity: tuple[float, float]
    finger_force: tuple[float, float]
    wrench: tuple[float, float, float, float, float, float]

    @property
    def width(self) -> float:
        """Opening of the gripper, m."""
        return self.finger_position[0] + self.finger_position[1]

    @property
    def grip_force(self) -> float:
        """Force with which the fingers close, N: the mean of the two."""
        return 0.5 * (abs(self.finger_force[0]) + abs(self.finger_force[1]))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """pybullet prints its build time from C when it is imported; that belongs to no one's output."""
    saved = [os.dup(1), os.dup(2)]
    null = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(null, 1)
        os.dup2(null, 2)
        yield
    finally:
        for descriptor, number in zip(saved, (1, 2), strict=True):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.close(null)


class Cell:
    """One world. Called from one thread only."""

    def __init__(self, seed: int) -> None:
        with _quiet():
            import pybullet
            import pybullet_data
        self._p = pybullet
        self._noise = stream(seed, "sensors")
        self._id = pybullet.connect(pybullet.DIRECT)
        self._belt_speed = 0.0
        self._brake: float | None = None
        self._position = HOME.copy()
        self._part: int | None = None
        self._held: int | None = None
        self._placed: list[int] = []
        self._build(pybullet_data.getDataPath())
        self._targets = (HOME.copy(), np.zeros(JOINTS))
        self.fingers(OPEN_WIDTH, 20.0)

    def close(self) -> None:
        """Drop the world."""
        self._p.disconnect(physicsClientId=self._id)

    def _build(self, data: str) -> None:
        p, at = self._p, self._id
        p.setGravity(0.0, 0.0, -9.81, physicsClientId=at)
        p.setTimeStep(STEP, physicsClientId=at)
        flags = p.URDF_IGNORE_VISUAL_SHAPES
        self._arm = p.loadURDF(f"{data}/franka_panda/panda.urdf", useFixedBase=True, flags=flags, physicsClientId=at)
        for joint in _ARM:
            mass = p.getDynamicsInfo(self._arm, joint, physicsClientId=at)[0]
            p.changeDynamics(
                self._arm,
                joint,
                mass=mass * _MASS_FACTORS[joint],
                jointDamping=_DAMPING[joint],
                linearDamping=0.02,
                angularDamping=0.02,
                physicsClientId=at,
            )
            p.resetJointState(self._arm, joint, float(HOME[joint]), physicsClientId=at)
        for finger in _FINGERS:
            p.changeDynamics(
                self._arm, finger, lateralFriction=_FINGER_FRICTION, spinningFriction=0.02, physicsClientId=at
            )
            p.resetJointState(self._arm, finger, OPEN_WIDTH / 2, physicsClientId=at)
        p.enableJointForceTorqueSensor(self._arm, _WRIST, True, physicsClientId=at)
        self._belt_pose = ((PICK[0], -0.40, BELT_TOP - 0.02), (0.0, 0.0, 0.0, 1.0))
        self._belt = self._box((0.08, 0.40, 0.02), 0.0, self._belt_pose[0])
        p.changeDynamics(self._belt, -1, lateralFriction=1.0, physicsClientId=at)
        self._tray = self._box((0.16, 0.12, TRAY_TOP / 2), 0.0, (*PLACE_CENTRE, TRAY_TOP / 2))
        self._floor = self._box((1.5, 1.5, 0.05), 0.0, (0.0, 0.0, -0.05))
        p.setCollisionFilterPair(self._arm, self._floor, -1, -1, 0, physicsClientId=at)
        p.setCollisionFilterPair(self._arm, self._floor, 0, -1, 0, physicsClientId=at)

    def _box(self, half: tuple[float, float, float], mass: float, at: tuple[float, float, float]) -> int:
        p = self._p
        shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=half, physicsClientId=self._id)
        return int(p.createMultiBody(mass, shape, -1, at, physicsClientId=self._id))

    # -- motors ---------------------------------------------------------------------------------------------------

    def follow(self, position: Array, velocity: Array) -> None:
        """Set what the arm's motors follow: angles (rad) and speeds (rad/s), each of shape (7,)."""
        self._targets = (position, velocity)

    def fingers(self, width: float, force: float) -> None:
        """Drive the fingers to an opening (m) with at most `force` (N)."""
        self._p.setJointMotorControlArray(
            self._arm,
            _FINGERS,
            self._p.POSITION_CONTROL,
            targetPositions=(width / 2, width / 2),
            forces=(force, force),
            physicsClientId=self._id,
        )

    def feed(self, draw: JobDraw) -> None:
        """Let a part onto the belt's far end. A part that still lies about is taken away first."""
        p = self._p
        self._part = self._gone(self._part)
        at = (PICK[0] + draw.part_offset, _FEED_AT, BELT_TOP + PART_SIZE[2] / 2 + 0.001)
        self._part = self._box((PART_SIZE[0] / 2, PART_SIZE[1] / 2, PART_SIZE[2] / 2), draw.part_mass, at)
        half = draw.part_yaw / 2
        p.resetBasePositionAndOrientation(
            self._part, at, (0, 0, math.sin(half), math.cos(half)), physicsClientId=self._id
        )
        p.changeDynamics(
            self._part, -1, lateralFriction=draw.part_friction, spinningFriction=0.01, physicsClientId=self._id
        )

    def take(self) -> None:
        """The part has left the belt in the gripper; the feeder may send the next one."""
        self._held = self._gone(self._held)
        self._held, self._part = self._part, None

    def accept(self) -> None:
        """The part that was carried now belongs to the tray. A full tray is changed for an empty one."""
        if self._held is None:
            return
        self._placed.append(self._held)
        self._held = None
        if len(self._placed) >= _TRAY_PLACES:
            for body in self._placed:
                self._p.removeBody(body, physicsClientId=self._id)
            self._placed.clear()

    def wipe(self) -> None:
        """Take away the part of a job that was given up, as an operator does: the one that was carried, or the one that waits."""
        if self._held is not None:
            self._held = self._gone(self._held)
        else:
            self._part = self._gone(self._part)

    def _gone(self, body: int | None) -> int | None:
        if body is not None:
            self._p.removeBody(body, physicsClientId=self._id)
        return None

    def tray_place(self) -> tuple[float, float]:
        """Where the next part goes: x and y, m."""
        row, column = divmod(len(self._placed), 3)
        return PLACE_CENTRE[0] - 0.05 + 0.1 * row, PLACE_CENTRE[1] - 0.075 + 0.075 * column

    def brake(self, closed: bool) -> None:
        """Close or open the brake of the first joint: the fault of a drive, unknown to the controller."""
        self._brake = self._position[0] if closed else None

    # -- sensors --------------------------------------------------------------------------------------------------

    @property
    def belt_speed(self) -> float:
        """Speed of the belt, m/s."""
        return self._belt_speed

    def part_seen(self) -> bool:
        """The photo-eye at the pick position: a part stands in its beam."""
        pose = self._part_pose()
        return (
            pose is not None and -0.012 < pose[1] - PICK[1] < 0.05 and abs(pose[0] - PICK[0]) < 0.09 and pose[2] < 0.14
        )

    def locate(self) -> tuple[float, float, float] | None:
        """The camera over the belt: x, y (m) and yaw (rad) of the part near the pick position, or None when none is seen."""
        pose = self._part_pose()
        if pose is None or abs(pose[1] - PICK[1]) > 0.12 or abs(pose[0] - PICK[0]) > 0.1 or pose[2] > 0.14:
            return None
        x, y, yaw = self._noise.normal((pose[0], pose[1], pose[3]), (0.0005, 0.0005, 0.005))
        return float(x), float(y), float(yaw)

    def scale(self) -> float:
        """The scale below the tray, kg: what presses on it."""
        contacts = self._p.getContactPoints(bodyA=self._tray, physicsClientId=self._id)
        pressed = sum(contact[9] for contact in contacts) / 9.81
        return float(pressed + self._noise.normal(0.0, 0.002))

    def _part_pose(self) -> tuple[float, float, float, float] | None:
        if self._part is None:
            return None
        position, q = self._p.getBasePositionAndOrientation(self._part, physicsClientId=self._id)
        yaw = math.atan2(2 * (q[3] * q[2] + q[0] * q[1]), 1 - 2 * (q[1] * q[1] + q[2] * q[2]))
        return position[0], position[1], position[2], yaw

    # -- time -----------------------------------------------------------------------------------------------------

    def tick(self) -> Reading:
        """Let `TICK` seconds pass; returns what the robot's sensors say at the end."""
        p, at = self._p, self._id
        position, velocity = self._targets
        if self._brake is not None:
            position, velocity = position.copy(), velocity.copy()
            position[0], velocity[0] = self._brake, 0.0
        p.setJointMotorControlArray(
            self._arm,
            _ARM,
            p.POSITION_CONTROL,
            targetPositions=position.tolist(),
            targetVelocities=velocity.tolist(),
            forces=_TORQUE,
            positionGains=(_POSITION_GAIN,) * JOINTS,
            velocityGains=(_VELOCITY_GAIN,) * JOINTS,
            physicsClientId=at,
        )
        pose = self._part_pose()
        running = pose is not None and pose[1] < PICK[1] - 0.004 and pose[2] < 0.12
        wanted = _BELT_SPEED if running else 0.0
        change = _BELT_RAMP * TICK * (1.0 if running else 4.0)
        self._belt_speed += max(-change, min(change, wanted - self._belt_speed))
        for _ in range(STEPS_PER_TICK):
            if self._belt_speed > 0:
                # A static body with a velocity drags what lies on it, and drifts: put it back at every step.
                p.resetBasePositionAndOrientation(self._belt, *self._belt_pose, physicsClientId=at)
                p.resetBaseVelocity(self._belt, (0.0, self._belt_speed, 0.0), physicsClientId=at)
            p.stepSimulation(physicsClientId=at)
        if self._belt_speed == 0 and running is False:
            p.resetBaseVelocity(self._belt, (0.0, 0.0, 0.0), physicsClientId=at)
        states = p.getJointStates(self._arm, _READ, physicsClientId=at)
        arm, left, right, wrist = states[:JOINTS], states[JOINTS], states[JOINTS + 1], states[JOINTS + 2]
        noise = self._noise.normal(0.0, 1.0, 3 * JOINTS)
        self._position = np.array([s[0] for s in arm])
        return Reading(
            position=self._position + 2e-5 * noise[:JOINTS],
            velocity=np.array([s[1] for s in arm]) + 5e-4 * noise[JOINTS : 2 * JOINTS],
            effort=np.array([s[3] for s in arm]) + 0.05 * noise[2 * JOINTS :],
            finger_position=(left[0], right[0]),
            finger_velocity=(left[1], right[1]),
            finger_force=(left[3], right[3]),
            wrench=wrist[2],
        )
