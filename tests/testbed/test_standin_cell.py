"""The cell's physics, as fast as it goes: each fault does what it is meant to do, and a retry repairs it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from twin.testbed.cell import TICK, Cell
from twin.testbed.draws import Fault, JobDraw, jobs
from twin.testbed.program import FIRST_FORCE, SECOND_FORCE, Program, Stopped
from twin.testbed.robot import Outcome, Request, Robot, Skill, Target


class Rig:
    """A cell and its robot, stepped by hand."""

    def __init__(self, seed: int) -> None:
        self.cell = Cell(seed)
        self.robot = Robot(self.cell)
        self.time = 0.0
        self.edges: list[tuple[bool, bool]] = []

    def tick(self) -> None:
        self.robot.tick(self.cell.tick())
        self.time += TICK
        now = (self.robot.grip_output, self.robot.holding)
        if not self.edges or self.edges[-1] != now:
            self.edges.append(now)

    def feed(self, draw: JobDraw) -> None:
        self.cell.feed(draw)
        begun = self.time
        while not (self.cell.part_seen() and self.cell.belt_speed == 0.0):
            self.tick()
            assert self.time < begun + 5.0, "the belt brings the part"

    def do(self, skill: Skill, order: int) -> Outcome:
        request = Request(skill, order)
        self.robot.begin(request)
        begun = self.time
        while self.robot.busy:
            self.tick()
            assert self.time < begun + 8.0, f"{skill} comes to an end"
        return request.wait()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig(3)
    yield rig
    rig.cell.close()


def draw(fault: Fault) -> JobDraw:
    return next(d for d in jobs(3) if d.fault is fault)


def test_a_part_is_picked_and_weighs_on_the_scale(rig: Rig) -> None:
    part = draw(Fault.NONE)
    rig.feed(part)
    assert rig.do(Skill.MOVE, Target.PICK).succeeded
    assert rig.do(Skill.GRASP, FIRST_FORCE).succeeded
    rig.cell.take()
    assert rig.robot.holding and not rig.cell.part_seen()
    assert rig.do(Skill.MOVE, Target.PLACE).succeeded
    assert rig.do(Skill.PLACE, 0).succeeded
    # A release: the output goes first, the gripper's switch follows.
    assert rig.edges[-2:] == [(False, True), (False, False)]
    rig.cell.accept()
    for _ in range(40):
        rig.tick()
    assert rig.cell.scale() == pytest.approx(part.part_mass, abs=0.03)


@pytest.mark.parametrize("friction", [0.17, 0.21])
def test_an_oily_part_slips_and_a_firmer_grip_holds_it(rig: Rig, friction: float) -> None:
    rig.feed(msgspec.structs.replace(draw(Fault.SLIPPERY), part_friction=friction))
    assert rig.do(Skill.MOVE, Target.PICK).succeeded
    assert rig.do(Skill.GRASP, FIRST_FORCE) == Outcome(False, "grip lost")
    # The PLC must see grip-ok fall while the output is still on: that is what tells a slip from a release.
    on_and_held = rig.edges.index((True, True))
    assert rig.edges[on_and_held + 1] == (True, False)
    assert rig.do(Skill.GRASP, SECOND_FORCE).succeeded


def test_without_a_part_the_gripper_closes_on_nothing(rig: Rig) -> None:
    assert rig.do(Skill.MOVE, Target.PICK).succeeded
    assert rig.do(Skill.GRASP, FIRST_FORCE) == Outcome(False, "nothing gripped")
    assert (True, True) not in rig.edges


def test_a_closed_brake_ends_a_move_and_an_open_one_lets_it_pass(rig: Rig) -> None:
    assert rig.do(Skill.MOVE, Target.PICK).succeeded
    rig.cell.brake(True)
    assert rig.do(Skill.MOVE, Target.PLACE) == Outcome(False, "following error")
    rig.cell.brake(False)
    assert rig.do(Skill.MOVE, Target.PLACE).succeeded


def test_what_the_robot_can_not_do_it_says(rig: Rig) -> None:
    assert rig.do(Skill.PLACE, 0) == Outcome(False, "nothing held")
    assert rig.do(Skill.MOVE, 99) == Outcome(False, "no such target")


class Lockstep(Rig):
    """The whole stand-in without its clock: the program's bench and the robot's actions, as fast as the physics goes."""

    def __init__(self, seed: int, most_jobs: int) -> None:
        super().__init__(seed)
        self.most_jobs = most_jobs
        self.counts = {"started": 0, "done": 0, "retried": 0, "abandoned": 0}
        self.drawn: list[str] = []
        self.ended: list[tuple[int, str, str]] = []
        self.brakes: list[tuple[float, bool]] = []
        self.take, self.accept, self.wipe = self.cell.take, self.cell.accept, self.cell.wipe

    def tick(self) -> None:
        while self.brakes and self.brakes[0][0] <= self.time:
            self.cell.brake(self.brakes.pop(0)[1])
        super().tick()

    def send(self, skill: Skill, order: int) -> bool:
        outcome = self.do(skill, order)
        self.ended.append((self.counts["started"] - 1, skill.value, outcome.reason))
        return outcome.succeeded

    def feed(self, draw: JobDraw) -> None:
        self.cell.feed(draw)

    def part_seen(self) -> bool:
        return self.cell.part_seen()

    def holding(self) -> bool:
        return self.robot.holding

    def inject(self, draw: JobDraw) -> None:
        self.brakes = [(self.time + 0.18, True), (self.time + 0.18 + draw.brake_hold, False)]

    def count(self, what: str, serial: int) -> None:
        if what == "started" and self.counts["started"] == self.most_jobs:
            raise Stopped
        self.counts[what] += 1

    def note(self, kind: str, **fields: object) -> None:
        if kind == "job" and fields["state"] == "started":
            self.drawn.append(str(fields["fault"]))

    def pause(self, seconds: float) -> None:
        until = self.time + seconds
        while self.time < until:
            self.tick()


def lockstep(seed: int, most_jobs: int) -> Lockstep:
    fast = Lockstep(seed, most_jobs)
    try:
        Program(fast, fast, seed).run()
    finally:
        fast.cell.close()
    return fast


REASONS = {"slippery_part": "grip lost", "missing_part": "nothing gripped", "dragging_brake": "following error"}


@pytest.mark.parametrize("seed", [1, 2, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(50, 60))])
def test_every_fault_shows_once_and_is_repaired_and_no_job_fails_without_one(seed: int) -> None:
    fast = lockstep(seed, 10)
    assert fast.counts == {"started": 10, "done": 10, "retried": 6, "abandoned": 0}
    for job, fault in enumerate(fast.drawn[:10]):
        failed = [reason for number, _, reason in fast.ended if number == job and reason]
        assert failed == ([] if fault == "none" else [REASONS[fault]]), f"job {job} with {fault}"
    assert 30.0 < fast.time < 60.0, "ten jobs, three to five seconds each and a moment more for each fault"


def test_the_same_seed_gives_the_same_run_to_the_last_tick() -> None:
    first, again = lockstep(5, 3), lockstep(5, 3)
    assert first.ended == again.ended and first.time == again.time and first.edges == again.edges
