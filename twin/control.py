"""The control loop: 240 Hz physics, 60 Hz set points and checks, robot sensors at 120 Hz; what is measured is published.

A tick makes one call for set points and two that read all sensors at once; cameras are asked only during a look.
"""

from __future__ import annotations

from collections.abc import Sequence

from twin.cell import CameraModel, Cell
from twin.channels import arm_samples, scanner_channel
from twin.detectors import COMMAND, Finding, Monitor
from twin.engine import ARM_JOINTS, STEP_HZ, ArmState, Engine
from twin.motion import TICK_HZ, Trajectory
from twin.output import Output
from twin.perception import Perception
from twin.samples import JointSample, PoseSample, Sample

STEPS_PER_TICK = STEP_HZ // TICK_HZ
STEPS_PER_READING = 2
_STILL = (0.0,) * 7
_SETTLED_RAD = 0.005
_NO_EFFORT: tuple[float, ...] = ()


class Tripped(Exception):
    """A detector has fired: the skill ends here. No error, but how control flows."""

    def __init__(self, finding: Finding) -> None:
        self.finding = finding
        super().__init__(finding.guard.predicate)


class Stopped(Exception):
    """The twin was asked to stop. No error, but how control flows."""


class Controller:
    """Moves the robot, publishes what is measured, and lets the monitor of the running skill look at it.

    Args:
        engine: the world.
        perception: its cameras.
        out: where samples go.
        cell: the cell.
        start_step: the twin's clock at the start, in physics steps of 1/240 s.
    """

    def __init__(self, engine: Engine, perception: Perception, out: Output, cell: Cell, start_step: int) -> None:
        self._engine = engine
        self._perception = perception
        self._out = out
        self._cell = cell
        self.steps = start_step
        self.monitor: Monitor | None = None
        self.target: tuple[float, ...] = cell.robot.home
        self.moving: tuple[float, ...] = _STILL
        self.state: ArmState = engine.sense()

    def now(self) -> int:
        """The twin's clock, ns."""
        return self.steps * 1_000_000_000 // STEP_HZ

    def follow(self, path: Trajectory) -> None:
        """Move along a trajectory. Raises `Tripped` when a detector fires on the way."""
        for position, velocity in zip(path.position.tolist(), path.velocity.tolist(), strict=True):
            self._tick(position, velocity)

    def hold(self, seconds: float) -> None:
        """Stand at the last set point for a time (s)."""
        for _ in range(round(seconds * TICK_HZ)):
            self._tick(self.target, _STILL)

    def settle(self, seconds: float) -> None:
        """Stand until the arm is where it was told to be, for at most a time (s)."""
        for _ in range(round(seconds * TICK_HZ)):
            if max(abs(a - b) for a, b in zip(self.state.position, self.target, strict=True)) < _SETTLED_RAD:
                return
            self._tick(self.target, _STILL)

    def halt(self) -> None:
        """Take where the arm is as the set point, so that it presses on nothing."""
        self.target = self.state.position
        self._tick(self.target, _STILL)

    def grip(self, width: float, force: float, seconds: float) -> None:
        """Move the fingers to `width` (m) with at most `force` (N), and give them this time (s)."""
        self._engine.command_gripper(width, force)
        self.hold(seconds)

    def index_belt(self, distance: float) -> None:
        """Let the belt run for this distance (m), then let the part come to rest."""
        self._engine.run_belt(self._cell.belt.speed)
        try:
            self.hold(distance / self._cell.belt.speed)
        finally:
            self._engine.run_belt(0.0)
        self.hold(4 / TICK_HZ)

    def look(self, camera: CameraModel) -> list[PoseSample]:
        """A look: frames of one camera, published as they come."""
        frames = []
        sensors = self._cell.sensors
        for _ in range(sensors.frames):
            for _ in range(sensors.ticks_per_frame - 1):
                self._tick(self.target, _STILL)
            tool = self._engine.kinematics.forward(self.state.position)
            self._advance(self.target, _STILL)
            frame = self._perception.look(camera, tool)
            if frame is not None:
                frames.append(frame)
                self._publish(camera.channel, frame)
            self._check()
        return frames

    def scan(self) -> dict[str, PoseSample]:
        """Ask the scanner where the posts stand; published, and by name."""
        found = {}
        for post in self._cell.posts:
            seen = self._perception.scan(post.name)
            if seen is not None:
                found[post.name] = seen
                self._publish(scanner_channel(post.name), seen)
        return found

    def finish(self) -> None:
        """The skill is through: what can be said only at its end. Raises `Tripped` when a detector fires."""
        if self.monitor is not None:
            finding = self.monitor.check(self.now(), end=True)
            if finding is not None:
                raise Tripped(finding)

    def _tick(self, position: Sequence[float], velocity: Sequence[float]) -> None:
        self._advance(position, velocity)
        self._check()

    def _advance(self, position: Sequence[float], velocity: Sequence[float]) -> None:
        if self._out.stopping():
            raise Stopped
        self.target, self.moving = tuple(position), tuple(velocity)
        self._engine.command_arm(position, velocity)
        self._publish(COMMAND, JointSample(ARM_JOINTS, self.target, tuple(velocity), _NO_EFFORT))
        for _ in range(STEPS_PER_TICK // STEPS_PER_READING):
            self._engine.advance(STEPS_PER_READING)
            self.steps += STEPS_PER_READING
            self.state = self._engine.sense()
            for channel, sample in arm_samples(self.state):
                self._publish(channel, sample)
            self._out.tick(self.now())

    def _publish(self, channel: str, sample: Sample) -> None:
        stamp = self.now()
        self._out.sample(channel, stamp, sample)
        if self.monitor is not None:
            self.monitor.feed(channel, stamp, sample)

    def _check(self) -> None:
        if self.monitor is not None:
            finding = self.monitor.check(self.now())
            if finding is not None:
                raise Tripped(finding)
