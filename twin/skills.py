"""The skills of a pick-and-place job. Each says what it is about to do, does it, and leaves in the job's state what it learnt.

`plan` decides and gives the task's parameters; `act` moves. Checks belong to the detectors, repairs to the recovery rule.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

from bridge.schema import Decision, Measure, Parameters, Pose, Verb
from twin.cell import CameraModel, Cell, Vector, Via
from twin.channels import BASE_FRAME, scanner_channel
from twin.control import Controller
from twin.decisions import HAND_RADIUS, Obstacle, Way, choose_grasp, choose_way, nest_turn
from twin.engine import Kinematics
from twin.jobstate import JobState
from twin.journal import Journal
from twin.motion import trajectory
from twin.perception import yaw_of
from twin.samples import PoseSample

GRAVITY = 9.81
_FELT_ABOVE = 0.1
_SETTLE_S = 3.0


class Plan(NamedTuple):
    """What a skill is about to do: the task's parameters and the decisions that led to them; `feasible` is false if none did."""

    parameters: Parameters
    decisions: tuple[Decision, ...] = ()
    feasible: bool = True


class Skill(NamedTuple):
    """A skill's place in the schema, and what it does."""

    verb: str
    base: Verb | None
    plan: Callable[[], Plan]
    act: Callable[[], None]


class Skills:
    """The skills of one job in one cell.

    Args:
        cell, controller, kinematics: what moves.
        journal: only to name windows of channels.
        job: what the job knows; skills read and write it.
        entering: called when the arm sets out on a way, with its line's ends: the hook of a fault that waits for it.
    """

    order = ("locate", "approach", "grasp", "avoid", "place", "release", "retreat", "verify", "home")

    def __init__(
        self,
        cell: Cell,
        controller: Controller,
        kinematics: Kinematics,
        journal: Journal,
        job: JobState,
        entering: Callable[[Way, Vector, Vector], None],
    ) -> None:
        self._cell = cell
        self._control = controller
        self._kinematics = kinematics
        self._journal = journal
        self._job = job
        self._entering = entering
        self._way: Way | None = None
        self._waypoints: list[Sequence[float]] = []
        self.measures: list[Measure] = []
        self._table = {
            "locate": Skill("com.dari.locate", Verb.VERIFY, self._plan_locate, self._locate),
            "approach": Skill("move", None, self._plan_approach, self._approach),
            "grasp": Skill("grasp", None, self._plan_grasp, self._grasp),
            "avoid": Skill("avoid", None, self._plan_avoid, self._avoid),
            "place": Skill("place", None, self._plan_place, self._place),
            "release": Skill("release", None, self._plan_release, self._release),
            "retreat": Skill("move", None, self._plan_retreat, self._move),
            "verify": Skill("verify", None, self._plan_verify, self._verify),
            "home": Skill("move", None, self._plan_home, self._move),
        }

    def __getitem__(self, name: str) -> Skill:
        return self._table[name]

    # -- locate --------------------------------------------------------------------------------------------------

    def _plan_locate(self) -> Plan:
        return Plan(self._parameters("locate", camera=self._camera().channel))

    def _locate(self) -> None:
        if self._job.places == 0:
            self.next_place()
        camera = self._camera()
        start = self._control.now()
        frames = self._control.look(camera)
        self._control.finish()
        origin = self._origin(camera)
        x, y, z = (sum(frame.position[axis] for frame in frames) / len(frames) for axis in range(3))
        before = self._job.target
        self._job.target = (x + origin[0], y + origin[1], z + origin[2])
        self._job.yaw = sum(yaw_of(frame) for frame in frames) / len(frames)
        self._job.seen = (camera.channel, start, self._control.now())
        if camera is self._cell.sensors.wrist:
            shift = math.dist(before[:2], self._job.target[:2]) * 1000
            self.measures.append(Measure(name="perception.shift", value=shift, unit="mm"))

    def next_place(self) -> None:
        """Bring the next place of the belt to where parts are picked."""
        self._control.index_belt(self._cell.belt.pitch)
        self._job.places += 1

    def _camera(self) -> CameraModel:
        sensors = self._cell.sensors
        return {"overhead": sensors.overhead, "wrist": sensors.wrist, "fixture": sensors.fixture}[self._job.camera]

    def _origin(self, camera: CameraModel) -> Vector:
        fixture = self._cell.fixture
        if camera is self._cell.sensors.fixture:
            return fixture.centre[0], fixture.centre[1], fixture.height + self._cell.part.edge / 2
        return 0.0, 0.0, 0.0

    # -- approach and grasp --------------------------------------------------------------------------------------

    def _plan_approach(self) -> Plan:
        job = self._job
        inputs = (self._journal.window(*job.seen),)
        seed = self._control.target
        decision, grasp = choose_grasp(self._cell, self._kinematics, job.target, job.yaw, seed, inputs)
        job.grasp = grasp
        if grasp is None:
            return Plan(self._parameters("approach"), (decision,), feasible=False)
        turn = grasp.yaw / 2
        pose = Pose(frame=BASE_FRAME, position=job.target, orientation=(0.0, 0.0, math.sin(turn), math.cos(turn)))
        parameters = self._parameters("approach", pose=pose, goal=grasp.low, load_n=0.0)
        return Plan(parameters, (decision,))

    def _approach(self) -> None:
        assert self._job.grasp is not None
        opening = self._cell.gripper.opening
        self._control.grip(opening, 20.0, 0.0)
        # One motion through the point over the part; a point half way down keeps the last stretch straight.
        x, y, z = self._job.target
        half = (x, y, z + self._cell.heights.hover / 2)
        down = self._kinematics.inverse(half, self._job.grasp.yaw, self._job.grasp.hover)
        self._go([self._job.grasp.hover, *([] if down is None else [down]), self._job.grasp.low])
        self._control.hold(0.05)

    def _plan_grasp(self) -> Plan:
        assert self._job.grasp is not None
        close_s = self._cell.gripper.close_s
        parameters = self._parameters(
            "grasp", force=self._job.force, goal=self._job.grasp.hover, close_s=close_s, grasp=self._job.grasp.id
        )
        return Plan(parameters)

    def _grasp(self) -> None:
        job = self._job
        assert job.grasp is not None
        self._control.grip(0.0, job.force, self._cell.gripper.close_s)
        state = self._control.state
        self.measures.append(Measure(name="grip.force", value=sum(state.finger_effort) / 2, unit="N", target=job.force))
        self.measures.append(Measure(name="grip.width", value=sum(state.fingers) * 1000, unit="mm"))
        self._go([job.grasp.hover])
        self._control.hold(0.05)
        job.trail = []

    # -- the way, and placing ------------------------------------------------------------------------------------

    def over_nest(self) -> bool:
        """Whether the tool is over the nest already, so that there is no way to go."""
        x, y, _ = self._kinematics.forward(self._control.target)
        return math.dist((x, y), self._cell.fixture.centre) < 0.1

    def _plan_avoid(self) -> Plan:
        job, cell = self._job, self._cell
        assert job.grasp is not None
        start = self._control.now()
        turn = nest_turn(job.grasp.yaw)
        goal = self._kinematics.inverse(self._nest(cell.heights.hover), turn, self._control.target)
        if goal is None:
            return Plan(self._parameters("avoid"), feasible=False)
        if self.over_nest():
            self._way = Way(Via(id="straight", label="straight", radius=1.0, height=1.0), [goal])
            return Plan(self._parameters("avoid", goal=goal, load_n=self._load(), way="straight"))
        posts = {post.name: post for post in cell.posts}
        obstacles = list(job.felt)
        inputs = []
        for name, seen in self._control.scan().items():
            post = posts[name]
            obstacles.append(Obstacle(name, (seen.position[0], seen.position[1]), post.radius, post.height))
            inputs.append(self._journal.window(scanner_channel(name), start - 1_000_000, start + 1_000_000))
        turns = (job.grasp.yaw, turn)
        decision, self._way = choose_way(
            cell, self._kinematics, self._control.target, goal, turns, obstacles, tuple(inputs)
        )
        job.way = None if self._way is None else self._way.via.id
        parameters = self._parameters("avoid", goal=goal, load_n=self._load(), way=job.way or "")
        return Plan(parameters, (decision,), feasible=self._way is not None)

    def _avoid(self) -> None:
        assert self._way is not None
        begin = self._kinematics.forward(self._control.target)
        end = self._kinematics.forward(self._way.waypoints[-1])
        if len(self._way.waypoints) > 1:
            self._entering(self._way, begin, end)
        self._job.trail = [tuple(self._control.target)]
        if not self._way.via.rise:
            self._go(self._way.waypoints)
            return
        # Up, across and down, at rest in between: a curve around such corners would throw the part about.
        up, *across, down, goal = self._way.waypoints
        for leg in ([up], [*across, down], [goal]):
            self._job.trail.append(leg[-1])
            self._go(leg)

    def _plan_place(self) -> Plan:
        job = self._job
        assert job.grasp is not None
        if job.stop_at_contact:
            goal: Sequence[float] | None = self._control.target
        else:
            height = self._cell.heights.release
            goal = self._kinematics.inverse(self._nest(height), nest_turn(job.grasp.yaw), self._control.target)
        if goal is None:
            return Plan(self._parameters("place"), feasible=False)
        self._waypoints = [goal]
        pose = Pose(frame=BASE_FRAME, position=self._nest(self._cell.heights.release))
        return Plan(self._parameters("place", pose=pose, goal=goal, load_n=self._load()))

    def _place(self) -> None:
        if self._job.stop_at_contact:
            # The part stands on something: the wrist no longer bears it, and there is no way to go.
            self._job.stop_at_contact = False
        else:
            self._go(self._waypoints, 0.8)
        self._control.hold(0.05)

    def _plan_release(self) -> Plan:
        return Plan(self._parameters("release"))

    def _release(self) -> None:
        self._control.grip(self._cell.gripper.opening, 20.0, self._cell.gripper.open_s)
        self._control.finish()

    def _plan_retreat(self) -> Plan:
        x, y, _ = self._kinematics.forward(self._control.target)
        assert self._job.grasp is not None
        height = self._nest(self._cell.heights.hover)[2]
        goal = self._kinematics.inverse((x, y, height), nest_turn(self._job.grasp.yaw), self._control.target)
        if goal is None:
            return Plan(self._parameters("retreat"), feasible=False)
        self._waypoints = [goal]
        return Plan(self._parameters("retreat", goal=goal, load_n=0.0))

    def _move(self) -> None:
        self._go(self._waypoints)
        self._control.hold(0.05)

    def _plan_verify(self) -> Plan:
        return Plan(self._parameters("verify", camera=self._cell.sensors.fixture.channel))

    def _verify(self) -> None:
        start = self._control.now()
        frames = self._control.look(self._cell.sensors.fixture)
        self._note_placed(frames, start)
        self._control.finish()

    def _note_placed(self, frames: Sequence[PoseSample], start: int) -> None:
        if not frames:
            return
        x, y, z = (sum(frame.position[axis] for frame in frames) / len(frames) for axis in range(3))
        error = math.hypot(x, y) * 1000
        limit = self._cell.fixture.tolerance * 1000
        sigma = self._cell.sensors.fixture.noise_m * 1000 / math.sqrt(len(frames))
        self._job.place_error_mm = error
        self.measures.append(
            Measure(name="place.error", value=error, unit="mm", uncertainty=sigma, target=0.0, passed=error <= limit)
        )
        # What the fixture's camera saw is also where to grip the part should it have to be placed again.
        origin = self._origin(self._cell.sensors.fixture)
        self._job.target = (x + origin[0], y + origin[1], z + origin[2])
        self._job.yaw = sum(yaw_of(frame) for frame in frames) / len(frames)
        self._job.seen = (self._cell.sensors.fixture.channel, start, self._control.now())

    def _plan_home(self) -> Plan:
        self._waypoints = [*self._rise(), self._cell.robot.home]
        return Plan(self._parameters("home", goal=self._cell.robot.home, load_n=0.0))

    def _rise(self) -> list[tuple[float, ...]]:
        """Straight up from where the tool is, over whatever was felt, if anything was and the tool is not there already."""
        if not self._job.felt:
            return []
        x, y, z = self._kinematics.forward(self._control.target)
        height = max(via.height for via in self._cell.ways) + 0.05
        over = (
            self._kinematics.inverse((x, y, height), self._yaw(), self._control.target) if z < height - 0.05 else None
        )
        return [] if over is None else [over]

    # -- getting away after a failure ----------------------------------------------------------------------------

    def clear(self, how: str) -> None:
        """Get away from where a skill failed, so that the job can go on; nothing watches this."""
        control, opening = self._control, self._cell.gripper.opening
        if how == "none" or how == "index":
            if how == "index":
                self.next_place()
            return
        if how == "settle":
            control.settle(_SETTLE_S)
            return
        control.halt()
        if how == "halt":
            control.hold(0.1)
            return
        if how in ("back", "back_and_open"):
            for stop in reversed(self._job.trail):
                self._go([stop], 0.7)
        if how != "back":
            control.grip(opening, 20.0, self._cell.gripper.open_s)
        if how in ("up", "up_and_index"):
            x, y, z = self._kinematics.forward(control.target)
            height = self._cell.belt.top + self._cell.part.edge / 2 + self._cell.heights.hover
            over = self._kinematics.inverse((x, y, max(z, height)), self._yaw(), control.target)
            if over is not None:
                self._go([over])
        if how == "up_and_index":
            self.next_place()
        if how == "home_and_index":
            self._go([*self._rise(), self._cell.robot.home], 0.8)
            self.next_place()

    def felt_obstacle(self, number: int) -> Obstacle:
        """What was just felt: an upright cylinder half a hand's breadth ahead of the tool, a hand's height above it."""
        velocity = self._control.moving
        x, y, z = self._kinematics.forward(self._control.state.position)
        ahead = self._kinematics.forward([q + 0.02 * v for q, v in zip(self._control.target, velocity, strict=True)])
        step = math.dist((x, y), ahead[:2]) or 1.0
        reach = HAND_RADIUS * 0.7 / step
        centre = (x + (ahead[0] - x) * reach, y + (ahead[1] - y) * reach)
        return Obstacle(f"what was felt ({number})", centre, 0.05, z + _FELT_ABOVE)

    # -- shared --------------------------------------------------------------------------------------------------

    def _go(self, waypoints: Sequence[Sequence[float]], speed: float = 1.0) -> None:
        points = [tuple(self._control.target), *waypoints]
        if max(abs(a - b) for a, b in zip(points[0], points[-1], strict=True)) < 1e-9 and len(points) == 2:
            return
        self._control.follow(trajectory(points, self._cell.robot, self._job.speed * speed))

    def _yaw(self) -> float:
        return 0.0 if self._job.grasp is None else self._job.grasp.yaw

    def _nest(self, above: float) -> Vector:
        fixture = self._cell.fixture
        return fixture.centre[0], fixture.centre[1], fixture.height + self._cell.part.edge / 2 + above

    def _load(self) -> float:
        return self._cell.part.mass * GRAVITY

    def _parameters(
        self, skill: str, *, pose: Pose | None = None, force: float | None = None, **free: object
    ) -> Parameters:
        numbers = {key: round(value, 6) if isinstance(value, float) else value for key, value in free.items()}
        goal = numbers.get("goal")
        if isinstance(goal, (list, tuple)):
            numbers["goal"] = [round(float(angle), 6) for angle in goal]
        return Parameters(
            object_id="part",
            object_class=self._cell.part.object_class,
            pose=pose,
            force_n=force,
            free={"skill": skill, **numbers},
        )
