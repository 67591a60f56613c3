"""The stand-in's robot controller: skills as small state machines, run one tick at a time, that judge by sensors alone."""

from __future__ import annotations

import threading
from collections.abc import Generator
from enum import Enum
from uuid import uuid4

import msgspec
import numpy as np

from twin.testbed.cell import BELT_TOP, HOME, OPEN_WIDTH, PART_SIZE, PICK, TICK, TRAY_TOP, Cell, Reading
from twin.testbed.kinematics import JOINTS, Array, Trapezoid, UnreachableError, downward, inverse

CLEARANCE = 0.13
"""Height above a place from which the arm goes down and to which it comes back, m."""
_SPEED = 2.0
_ACCELERATION = 8.0
_DOWN_SPEED = 1.3
_TRACKING_LIMIT = 0.12
_TRACKING_PATIENCE = 0.5
_SETTLE_TIME = 2.0
_GRIP_TIME = 0.3
_CONFIRM_TIME = 0.12
_HELD_WIDTH = (0.032, 0.07)
_STILL_SPEED = 0.03
_LEAST_FORCE = 3.0
_SWITCH_TIME = 0.024


class Skill(str, Enum):
    """What the robot can be asked for: one action each."""

    MOVE = "move"
    GRASP = "grasp"
    PLACE = "place"


class Target(int, Enum):
    """The order of a `move`: where to."""

    PICK = 1
    PLACE = 2
    HOME = 3


class Outcome(msgspec.Struct, frozen=True):
    """How a skill ended. `reason` is for the robot's own panel (the PLC reads it); an aborted goal does not carry it."""

    succeeded: bool
    reason: str = ""


class Request:
    """One skill asked for, answered by the controller in its own time. `order` is the target of a move, the force (N) of a
    grasp, and nothing for a place."""

    def __init__(self, skill: Skill, order: int) -> None:
        self.id = uuid4()
        self.skill = skill
        self.order = order
        self.outcome: Outcome | None = None
        self._done = threading.Event()

    def finish(self, outcome: Outcome) -> None:
        """Say how it ended; wakes whoever waits."""
        self.outcome = outcome
        self._done.set()

    def wait(self) -> Outcome:
        """Wait for the end."""
        self._done.wait()
        assert self.outcome is not None
        return self.outcome


class SkillError(Exception):
    """A skill went wrong, as the controller sees it; the text is its reason."""


Steps = Generator[None, Reading, None]


class Robot:
    """Runs one skill at a time over the cell's motors. `tick` is called once for every tick of the physics."""

    def __init__(self, cell: Cell) -> None:
        self._cell = cell
        self._target = HOME.copy()
        self._running: tuple[Request, Steps] | None = None
        self._same_for = 0.0
        self.grip_output = False
        self.holding = False

    @property
    def busy(self) -> bool:
        """Whether a skill is under way."""
        return self._running is not None

    def begin(self, request: Request) -> None:
        """Start a skill; the robot must not be busy."""
        work = {Skill.MOVE: self._move, Skill.GRASP: self._grasp, Skill.PLACE: self._place}[request.skill]
        self._running = (request, work(request.order))
        self._advance(None)

    def stop(self) -> None:
        """End what is under way, because the cell is shut down."""
        if self._running is not None:
            self._running[0].finish(Outcome(False, "shutdown"))
            self._running = None

    def tick(self, reading: Reading) -> None:
        """Take one reading and set the motors for the next tick."""
        low, high = _HELD_WIDTH
        still = abs(reading.finger_velocity[0] + reading.finger_velocity[1]) < _STILL_SPEED
        gripped = low < reading.width < high and reading.grip_force > _LEAST_FORCE and still
        self._same_for = self._same_for + TICK if gripped != self.holding else 0.0
        # The gripper's own switch changes only when it has been so for a moment: fingers that pass a width are no grip.
        # It lies in the gripper, so it lags behind the output both ways, and tells a release from a loss.
        if self._same_for >= _SWITCH_TIME:
            self.holding, self._same_for = gripped, 0.0
        self._advance(reading)

    def _advance(self, reading: Reading | None) -> None:
        """Let the skill under way take its next step; None begins it."""
        if self._running is None:
            return
        request, steps = self._running
        try:
            if reading is None:
                next(steps)
            else:
                steps.send(reading)
        except StopIteration:
            self._running = None
            request.finish(Outcome(True))
        except (SkillError, UnreachableError) as error:
            self._running = None
            reason = "unreachable" if isinstance(error, UnreachableError) else str(error)
            request.finish(Outcome(False, reason))

    # -- skills ---------------------------------------------------------------------------------------------------

    def _move(self, order: int) -> Steps:
        keep = False
        if order == Target.PICK:
            self._open()
            goal = self._pose(*PICK, BELT_TOP + CLEARANCE, 0.0)
        elif order == Target.PLACE:
            x, y = self._cell.tray_place()
            goal = self._pose(x, y, TRAY_TOP + CLEARANCE, 0.0)
            keep = self.holding
        elif order == Target.HOME:
            goal = HOME
        else:
            raise SkillError("no such target")
        yield from self._go(goal, _SPEED, keep=keep)

    def _grasp(self, force: int) -> Steps:
        self._open()
        yield
        seen = self._cell.locate()
        x, y, yaw = seen if seen is not None else (*PICK, 0.0)
        yaw = (yaw + np.pi / 4) % (np.pi / 2) - np.pi / 4
        above = self._pose(x, y, BELT_TOP + CLEARANCE, yaw)
        down = self._pose(x, y, BELT_TOP + PART_SIZE[2] * 0.45, yaw)
        yield from self._go(above, _SPEED)
        yield from self._go(down, _DOWN_SPEED)
        self.grip_output = True
        self._cell.fingers(0.0, float(force))
        yield from self._wait(_GRIP_TIME)
        if not self.holding:
            yield from self._give_up(above)
            raise SkillError("nothing gripped")
        try:
            yield from self._go(above, _DOWN_SPEED, keep=True)
            yield from self._wait(0.08, keep=True)
        except SkillError:
            yield from self._give_up(above)
            raise

    def _place(self, _order: int) -> Steps:
        if not self.holding:
            raise SkillError("nothing held")
        x, y = self._cell.tray_place()
        down = self._pose(x, y, TRAY_TOP + PART_SIZE[2] * 0.45 + 0.004, 0.0)
        above = self._pose(x, y, TRAY_TOP + CLEARANCE, 0.0)
        yield from self._go(down, _DOWN_SPEED, keep=True)
        self._open()
        yield from self._wait(0.16)
        yield from self._go(above, _DOWN_SPEED)

    # -- what skills are made of ----------------------------------------------------------------------------------

    @staticmethod
    def _pose(x: float, y: float, z: float, yaw: float) -> Array:
        """Joint angles for a pose. The arm always comes to a place in the same posture, turned towards it: were it to
        start from where it is, the elbow would wander from job to job."""
        seed = HOME.copy()
        seed[0] = np.arctan2(y, x)
        return inverse(np.array([x, y, z]), downward(yaw), seed)

    def _give_up(self, above: Array) -> Steps:
        """Stop, look again for a moment whether the grip is really gone, open, and go back up."""
        self._cell.follow(self._target, np.zeros(JOINTS))
        yield from self._wait(_CONFIRM_TIME)
        self._open()
        yield from self._go(above, _DOWN_SPEED)

    def _open(self) -> None:
        self.grip_output = False
        self._cell.fingers(OPEN_WIDTH, 20.0)

    def _go(self, goal: Array, speed: float, *, keep: bool = False) -> Steps:
        """Go straight in joint space. With `keep`, a grip that is lost on the way ends it."""
        law = Trapezoid(self._target, goal, speed=speed, acceleration=_ACCELERATION)
        elapsed = behind = 0.0
        while True:
            reading = yield
            elapsed += TICK
            position, velocity = law.at(elapsed)
            self._target = position
            self._cell.follow(position, velocity)
            error = float(np.abs(reading.position - position).max())
            behind = behind + TICK if error > _TRACKING_LIMIT else 0.0
            if behind > _TRACKING_PATIENCE or elapsed > law.duration + _SETTLE_TIME:
                # Stop where the arm is, as a drive's following-error monitor does.
                self._target = reading.position.copy()
                self._cell.follow(self._target, np.zeros(JOINTS))
                raise SkillError("following error")
            if keep and not self.holding:
                raise SkillError("grip lost")
            if elapsed >= law.duration and error < 0.01:
                return

    def _wait(self, seconds: float, *, keep: bool = False) -> Steps:
        elapsed = 0.0
        while elapsed < seconds:
            yield
            elapsed += TICK
            if keep and not self.holding:
                raise SkillError("grip lost")
