"""pybullet behind the engine port.

Every call names its client: the world's, or the second one in which kinematics is solved. The world is rebuilt for each
episode, since restoring a saved state keeps neither motor targets nor friction nor mass.
"""

from __future__ import annotations

import contextlib
import ctypes
import math
import os
import sys
from collections.abc import Iterator, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from bridge.adapter import Requirement, require
from twin.cell import CellError, RobotModel, Vector
from twin.engine import STEP_HZ, ArmState, Pose3, Solid, World

REQUIREMENTS = (Requirement("pybullet", "twin"),)

ARM = tuple(range(7))
WRIST = 8  # the fixed joint between flange and hand: where a force-torque sensor sits
FINGERS = (9, 10)
TOOL = 11  # a link between the finger tips
_SENSED = (*ARM, *FINGERS, WRIST)
_POSITION_TOLERANCE = 3e-4
_YAW_TOLERANCE = 3e-3


@lru_cache(maxsize=1)
def _bullet() -> Any:
    """The pybullet module. It prints its build time when it is loaded, past Python's streams: that line is swallowed."""
    if "pybullet" not in sys.modules:
        require(REQUIREMENTS, "the engine pybullet")
    with _quiet():
        import pybullet
    return pybullet


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Let nothing through to standard output and standard error: on which of them it speaks depends on the build."""
    sys.stdout.flush()
    sys.stderr.flush()
    saved = [(stream, os.dup(stream)) for stream in (1, 2)]
    with Path(os.devnull).open("wb") as sink:
        for stream, _ in saved:
            os.dup2(sink.fileno(), stream)
        try:
            yield
        finally:
            # C's own buffer still holds the line when the stream is a pipe.
            ctypes.CDLL(None).fflush(None)
            for stream, copy in saved:
                os.dup2(copy, stream)
                os.close(copy)


def urdf_path(name: str) -> Path:
    """The file of a robot's URDF: `pybullet_data:` names one that comes with pybullet, anything else is a path."""
    prefix, colon, rest = name.partition(":")
    if colon and prefix == "pybullet_data":
        require(REQUIREMENTS, "the robot's model")
        import pybullet_data

        path = Path(pybullet_data.getDataPath()) / rest
    else:
        path = Path(name)
    if not path.is_file():
        raise CellError("the robot's URDF is not there", where=str(path), hint="mend robot.urdf in the cell file")
    return path


class BulletKinematics:
    """The arm alone in a client of its own; its joints are set before each question, so that answers depend on nothing else."""

    def __init__(self, robot: RobotModel) -> None:
        self._p = _bullet()
        self._client = self._p.connect(self._p.DIRECT)
        self._arm = self._p.loadURDF(
            str(urdf_path(robot.urdf)),
            useFixedBase=True,
            flags=self._p.URDF_IGNORE_VISUAL_SHAPES | self._p.URDF_IGNORE_COLLISION_SHAPES,
            physicsClientId=self._client,
        )
        infos = [self._p.getJointInfo(self._arm, joint, physicsClientId=self._client) for joint in ARM]
        self._low = [info[8] for info in infos]
        self._high = [info[9] for info in infos]

    def _set(self, joints: Sequence[float]) -> None:
        for joint in ARM:
            self._p.resetJointState(self._arm, joint, joints[joint], physicsClientId=self._client)

    def inverse(self, position: Vector, yaw: float, seed: Sequence[float]) -> tuple[float, ...] | None:
        """Joint angles for a tool that points down; see `Kinematics.inverse`.

        The search begins with the arm upright in the plane of the target (joints 3 and 5 at 0), which it then keeps to: the
        elbow does not drift, and the same target has the same answer. From `seed` it begins only where that fails.
        """
        azimuth = math.atan2(position[1], position[0])
        wrist = math.remainder(azimuth + math.pi / 4 - yaw, 2 * math.pi)
        upright = (azimuth, seed[1], 0.0, seed[3], 0.0, seed[5], wrist)
        return self._search(position, yaw, upright) or self._search(position, yaw, tuple(seed)[:7])

    def _search(self, position: Vector, yaw: float, joints: tuple[float, ...]) -> tuple[float, ...] | None:
        p, client = self._p, self._client
        target = p.getQuaternionFromEuler((math.pi, 0.0, yaw))
        for _ in range(12):
            self._set(joints)
            joints = p.calculateInverseKinematics(
                self._arm, TOOL, position, target, maxNumIterations=60, residualThreshold=1e-6, physicsClientId=client
            )[:7]
            self._set(joints)
            state = p.getLinkState(self._arm, TOOL, computeForwardKinematics=1, physicsClientId=client)
            turn = abs(sum(a * b for a, b in zip(state[5], target, strict=True)))
            near = math.dist(state[4], position) < _POSITION_TOLERANCE
            if near and 2.0 * math.acos(min(1.0, turn)) < _YAW_TOLERANCE:
                inside = all(low <= q <= high for low, q, high in zip(self._low, joints, self._high, strict=True))
                return tuple(joints) if inside else None
        return None

    def forward(self, joints: Sequence[float]) -> Vector:
        """Where the tool is; see `Kinematics.forward`."""
        self._set(joints)
        state = self._p.getLinkState(self._arm, TOOL, computeForwardKinematics=1, physicsClientId=self._client)
        x, y, z = state[4]
        return x, y, z

    def close(self) -> None:
        """Disconnect the client."""
        if self._client >= 0:
            self._p.disconnect(physicsClientId=self._client)
            self._client = -1


class BulletEngine:
    """The world in one client, kinematics in another."""

    name = "pybullet"

    def __init__(self, robot: RobotModel) -> None:
        self._p = _bullet()
        self._client = self._p.connect(self._p.DIRECT)
        self._path = urdf_path(robot.urdf)
        self.kinematics = BulletKinematics(robot)
        self._bodies: dict[str, int] = {}
        self._arm = -1
        self._belt = -1
        self._belt_pose: tuple[Vector, tuple[float, float, float, float]] = ((0.0, 0.0, 0.0), (0.0, 0.0, 0.0, 1.0))
        self._belt_speed = 0.0
        self._torques = list(robot.max_torque)
        self._slow: dict[int, float] = {}
        self._grip = 1.0

    def rebuild(self, world: World) -> None:
        """Build the world from nothing; see `Engine.rebuild`."""
        p, client = self._p, self._client
        p.resetSimulation(physicsClientId=client)
        p.setTimeStep(1.0 / STEP_HZ, physicsClientId=client)
        p.setGravity(0.0, 0.0, -9.81, physicsClientId=client)
        self._bodies = {}
        self._belt_speed = 0.0
        self._grip = 1.0
        self._slow = {}
        self._torques = list(world.robot.max_torque)
        plane = p.createCollisionShape(p.GEOM_PLANE, physicsClientId=client)
        p.createMultiBody(0.0, plane, physicsClientId=client)
        self._arm = p.loadURDF(
            str(self._path), useFixedBase=True, flags=p.URDF_IGNORE_VISUAL_SHAPES, physicsClientId=client
        )
        for joint, angle in zip(ARM, world.robot.home, strict=True):
            p.resetJointState(self._arm, joint, angle, physicsClientId=client)
        for finger in FINGERS:
            p.resetJointState(self._arm, finger, world.opening / 2, physicsClientId=client)
            # Parts have the coefficient 1 and Bullet multiplies, so each body's own coefficient is that of the pair.
            p.changeDynamics(self._arm, finger, lateralFriction=world.finger_friction, physicsClientId=client)
        # The hand's fingers move as one; a URDF's mimic tag means nothing to Bullet.
        gear = p.createConstraint(
            self._arm,
            FINGERS[0],
            self._arm,
            FINGERS[1],
            p.JOINT_GEAR,
            (1, 0, 0),
            (0, 0, 0),
            (0, 0, 0),
            physicsClientId=client,
        )
        p.changeConstraint(gear, gearRatio=-1, erp=0.1, maxForce=50, physicsClientId=client)
        p.enableJointForceTorqueSensor(self._arm, WRIST, True, physicsClientId=client)
        for solid in world.solids:
            self.add(solid)
        self._belt = self._bodies.get(world.belt, -1)
        if self._belt >= 0:
            self._belt_pose = p.getBasePositionAndOrientation(self._belt, physicsClientId=client)
        self.command_arm(world.robot.home, (0.0,) * 7)
        self.command_gripper(world.opening, 20.0)

    def advance(self, steps: int) -> None:
        """Step; see `Engine.advance`."""
        p, client = self._p, self._client
        if self._belt < 0 or self._belt_speed == 0.0:
            for _ in range(steps):
                p.stepSimulation(physicsClientId=client)
            return
        for _ in range(steps):
            # A body that is still by its mass conveys by its velocity, but drifts: so its pose is set back each step.
            p.resetBaseVelocity(self._belt, (0.0, self._belt_speed, 0.0), (0.0, 0.0, 0.0), physicsClientId=client)
            p.stepSimulation(physicsClientId=client)
            p.resetBasePositionAndOrientation(self._belt, *self._belt_pose, physicsClientId=client)

    def sense(self) -> ArmState:
        """Read all joints in one call; see `Engine.sense`."""
        states = self._p.getJointStates(self._arm, _SENSED, physicsClientId=self._client)
        position, velocity, reaction, effort = zip(*states, strict=True)
        wrench = reaction[9]
        return ArmState(
            position[:7],
            velocity[:7],
            effort[:7],
            position[7:9],
            velocity[7:9],
            # A motor pulls towards smaller openings, which is the direction that grips.
            (-effort[7], -effort[8]),
            wrench[:3],
            wrench[3:],
        )

    def command_arm(self, position: Sequence[float], velocity: Sequence[float]) -> None:
        """Set points of the arm; see `Engine.command_arm`."""
        self._p.setJointMotorControlArray(
            self._arm,
            ARM,
            self._p.POSITION_CONTROL,
            targetPositions=position,
            targetVelocities=velocity,
            forces=self._torques,
            physicsClientId=self._client,
        )
        for joint, speed in self._slow.items():
            # The call for many joints knows no limit of speed; the later call for one of them replaces its target.
            self._p.setJointMotorControl2(
                self._arm,
                joint,
                self._p.POSITION_CONTROL,
                targetPosition=position[joint],
                targetVelocity=velocity[joint],
                force=self._torques[joint],
                maxVelocity=speed,
                physicsClientId=self._client,
            )

    def command_gripper(self, width: float, force: float) -> None:
        """Set point of the gripper; see `Engine.command_gripper`."""
        self._p.setJointMotorControlArray(
            self._arm,
            FINGERS,
            self._p.POSITION_CONTROL,
            targetPositions=(width / 2, width / 2),
            forces=(force * self._grip, force * self._grip),
            physicsClientId=self._client,
        )

    def run_belt(self, speed: float) -> None:
        """Start or stop the belt; see `Engine.run_belt`."""
        self._belt_speed = speed
        if speed == 0.0 and self._belt >= 0:
            still = (0.0, 0.0, 0.0)
            self._p.resetBaseVelocity(self._belt, still, still, physicsClientId=self._client)

    def pose(self, name: str) -> Pose3 | None:
        """Ground truth; see `Engine.pose`."""
        body = self._bodies.get(name)
        if body is None:
            return None
        return Pose3(*self._p.getBasePositionAndOrientation(body, physicsClientId=self._client))

    def add(self, solid: Solid) -> None:
        """Add a primitive solid; see `Engine.add`."""
        p, client = self._p, self._client
        if solid.shape == "box":
            half = tuple(extent / 2 for extent in solid.size)
            shape = p.createCollisionShape(p.GEOM_BOX, halfExtents=half, physicsClientId=client)
        else:
            shape = p.createCollisionShape(
                p.GEOM_CYLINDER, radius=solid.size[0] / 2, height=solid.size[2], physicsClientId=client
            )
        turn = p.getQuaternionFromEuler((0.0, 0.0, solid.yaw))
        body = p.createMultiBody(solid.mass, shape, -1, solid.position, turn, physicsClientId=client)
        friction = 1.0 if solid.mass > 0.0 else solid.friction
        p.changeDynamics(body, -1, lateralFriction=friction, physicsClientId=client)
        self._bodies[solid.name] = body

    def remove(self, name: str) -> None:
        """Remove a solid; see `Engine.remove`."""
        body = self._bodies.pop(name, None)
        if body is not None:
            self._p.removeBody(body, physicsClientId=self._client)

    def limit_grip(self, factor: float) -> None:
        """Weaken the gripper; see `Engine.limit_grip`."""
        self._grip = factor

    def limit_joint(self, joint: int, speed: float) -> None:
        """Slow a joint down; see `Engine.limit_joint`."""
        self._slow[joint] = speed

    def urdf(self) -> str:
        """The URDF's text; see `Engine.urdf`."""
        return self._path.read_text(encoding="utf-8")

    def close(self) -> None:
        """Disconnect both clients; see `Engine.close`."""
        self.kinematics.close()
        if self._client >= 0:
            self._p.disconnect(physicsClientId=self._client)
            self._client = -1
