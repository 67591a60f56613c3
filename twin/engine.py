"""The engine port: what a physics engine has to do for the twin. Skills, faults and detectors know this and no engine.

Units are SI; poses are in the robot's base frame, z up; quaternions are x, y, z, w. An engine reports what sensors could
measure through `sense`; `pose` is the truth, which only the camera models may ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple, Protocol

import msgspec

from bridge.errors import UsageError
from twin.cell import RobotModel, Vector

STEP_HZ = 240
ARM_JOINTS = tuple(f"panda_joint{number}" for number in range(1, 8))
FINGER_JOINTS = ("panda_finger_joint1", "panda_finger_joint2")


class Pose3(NamedTuple):
    """Position, m, and unit quaternion x, y, z, w."""

    position: Vector
    orientation: tuple[float, float, float, float]


class Solid(msgspec.Struct, frozen=True, kw_only=True):
    """A rigid body of a primitive shape. `size` is the full extent: an upright cylinder's is (diameter, diameter, height).

    `mass` 0 does not move. `friction` is the coefficient of the pair of this body and a part: engines combine the
    coefficients of two bodies differently (a product, a maximum), so a cell states pairs.
    """

    name: str
    shape: Literal["box", "cylinder"]
    size: Vector
    position: Vector
    yaw: float = 0.0
    mass: float = 0.0
    friction: float = 0.5


class World(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that one episode starts with. `belt` names the solid whose surface can run."""

    robot: RobotModel
    finger_friction: float
    opening: float
    solids: tuple[Solid, ...]
    belt: str = ""


class ArmState(NamedTuple):
    """What the robot's own sensors say: joints (rad, rad/s, N m), fingers (m, m/s, N), force and torque at the wrist (N, N m)."""

    position: tuple[float, ...]
    velocity: tuple[float, ...]
    effort: tuple[float, ...]
    fingers: tuple[float, float]
    finger_velocity: tuple[float, float]
    finger_effort: tuple[float, float]
    force: Vector
    torque: Vector


class Kinematics(Protocol):
    """Inverse and forward kinematics of the arm, in a model of its own: asking it moves nothing in the world."""

    def inverse(self, position: Vector, yaw: float, seed: Sequence[float]) -> tuple[float, ...] | None:
        """Joint angles that bring the tool to `position`, pointing down, turned by `yaw` (rad); None if out of reach."""

    def forward(self, joints: Sequence[float]) -> Vector:
        """Where the tool is at these joint angles."""


class Engine(Protocol):
    """One simulated world at a time."""

    name: str

    @property
    def kinematics(self) -> Kinematics:
        """The arm's kinematics, in a model apart from the world."""

    def rebuild(self, world: World) -> None:
        """Forget everything and build this world: nothing of the last episode is left, motor targets included."""

    def advance(self, steps: int) -> None:
        """Let `steps` steps of 1/240 s pass."""

    def sense(self) -> ArmState:
        """Read the robot's sensors."""

    def command_arm(self, position: Sequence[float], velocity: Sequence[float]) -> None:
        """Set the arm's set points, rad and rad/s."""

    def command_gripper(self, width: float, force: float) -> None:
        """Open or close to `width` with at most `force` on each pad."""

    def run_belt(self, speed: float) -> None:
        """Let the belt run along +y at `speed` m/s; 0 stops it."""

    def pose(self, name: str) -> Pose3 | None:
        """The true pose of a solid, None if there is none of that name. Camera models only."""

    def add(self, solid: Solid) -> None:
        """Put another solid into the world."""

    def remove(self, name: str) -> None:
        """Take a solid out of the world."""

    def limit_grip(self, factor: float) -> None:
        """From now on the gripper brings only this share of the force that it is told."""

    def limit_joint(self, joint: int, speed: float) -> None:
        """From now on this joint turns by at most `speed` rad/s; joints count from 0."""

    def urdf(self) -> str:
        """The text of the robot's URDF."""

    def close(self) -> None:
        """Give back what the engine holds. Called twice, it does nothing the second time."""


def make_engine(name: str, robot: RobotModel) -> Engine:
    """The engine of that name.

    Raises:
        UsageError: there is no such engine.
        MissingPackageError: its package is not installed.
    """
    if name == "pybullet":
        from twin.bullet import BulletEngine

        return BulletEngine(robot)
    raise UsageError(f"there is no engine {name!r}", hint="engines: pybullet")
