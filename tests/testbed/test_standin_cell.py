"""The cell's physics, as fast as it goes: each fault does what it is meant to do, and a retry repairs it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from twin.testbed.cell import TICK, Cell
from twin.testbed.draws import Fault, JobDraw, jobs
from twin.testbed.program import FIRST_FORCE, SECOND_FORCE
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
