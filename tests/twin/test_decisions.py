"""Decisions and repairs: what is chosen, what is rejected and why, when nothing is left."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest

from bridge.schema import FailureCode, Strategy
from twin.cell import Vector
from twin.decisions import Obstacle, choose_grasp, choose_way, nest_turn, point_on
from twin.jobstate import JobState
from twin.perception import cube_yaw, fold
from twin.recovery import choose_repair

CLEAR: list[Obstacle] = []


class Reach:
    """Kinematics of an arm that reaches 0.75 m: joint 1 is the azimuth, joint 7 what is left of the turn."""

    def inverse(self, position: Vector, yaw: float, seed: Sequence[float]) -> tuple[float, ...] | None:
        x, y, z = position
        if math.hypot(x, y) > 0.75:
            return None
        azimuth = math.atan2(y, x)
        return (azimuth, math.hypot(x, y), z, 0.0, 0.0, 0.0, math.remainder(azimuth + math.pi / 4 - yaw, 2 * math.pi))

    def forward(self, joints: Sequence[float]) -> Vector:
        return joints[1] * math.cos(joints[0]), joints[1] * math.sin(joints[0]), joints[2]


REACH = Reach()


def way(cell, obstacles):
    start, goal = REACH.inverse((0.5, -0.22, 0.21), 0.0, ()), REACH.inverse((0.5, 0.24, 0.21), 0.0, ())
    return choose_way(cell, REACH, start, goal, (0.0, 0.0), obstacles, ())


def test_the_straight_way_is_taken_when_nothing_stands_there(cell):
    decision, chosen = way(cell, CLEAR)
    assert decision.chosen == chosen.via.id == "direct"


def test_what_stands_on_the_straight_way_rejects_it_and_says_by_how_much(cell):
    decision, chosen = way(cell, [Obstacle("pillar", (0.5, 0.0), 0.02, 0.24)])
    assert chosen.via.id != "direct"
    direct = next(option for option in decision.options if option.id == "direct")
    assert "clearance to pillar" in direct.rejected_because


def test_what_was_felt_outside_too_leaves_the_way_over_it(cell):
    felt = [Obstacle("pillar", (0.475, 0.0), 0.02, 0.24), Obstacle("what was felt (1)", (0.64, 0.0), 0.05, 0.33)]
    _, chosen = way(cell, felt)
    assert chosen.via.id == "over" and chosen.via.rise
    assert len(chosen.waypoints) == 4


def test_a_wall_leaves_no_way_and_the_decision_says_so(cell):
    decision, chosen = way(cell, [Obstacle("wall", (0.5, 0.0), 0.4, 2.0)])
    assert chosen is None and decision.chosen is None and decision.reason.code == "none_feasible"
    assert all(option.rejected_because for option in decision.options)


def test_a_point_on_a_way_lies_on_it(cell):
    direct = cell.ways[0]
    (x, y, z), direction = point_on((0.5, -0.22, 0.21), (0.5, 0.24, 0.21), direct, 0.5)
    assert math.hypot(x, y) == pytest.approx(direct.radius, abs=0.01) and z == pytest.approx(direct.height, abs=0.01)
    assert direction == pytest.approx(math.pi / 2, abs=0.1)


def test_the_grasp_turns_the_wrist_least_and_the_others_say_why_not(cell):
    seed = REACH.inverse((0.5, -0.2, 0.3), 0.0, ())
    decision, grasp = choose_grasp(cell, REACH, (0.5, -0.22, 0.12), 0.2, seed, ())
    assert grasp.id == decision.chosen
    turns = {option.id: option.detail["wrist_turn_rad"] for option in decision.options if option.detail}
    assert turns[grasp.id] == min(turns.values())
    assert all(option.rejected_because for option in decision.options if option.id != grasp.id)


def test_out_of_reach_no_grasp_is_chosen(cell):
    decision, grasp = choose_grasp(cell, REACH, (0.9, 0.0, 0.12), 0.0, (0.0,) * 7, ())
    assert grasp is None and decision.chosen is None


@pytest.mark.parametrize("degrees", range(-180, 181, 15))
def test_turns_of_a_cube_fold_to_an_eighth(degrees):
    yaw = math.radians(degrees)
    assert abs(fold(yaw)) <= math.pi / 4 + 1e-9
    quarters = (yaw - fold(yaw)) / (math.pi / 2)
    assert quarters == pytest.approx(round(quarters))
    assert nest_turn(yaw) == pytest.approx(yaw - fold(yaw))


def test_a_cube_that_fell_on_another_face_has_a_yaw_all_the_same():
    half = math.pi / 4
    on_its_side = (math.sin(half), 0.0, 0.0, math.cos(half))
    assert cube_yaw(on_its_side) == pytest.approx(0.0, abs=1e-9)
    turned = 0.3
    assert cube_yaw((0.0, 0.0, math.sin(turned / 2), math.cos(turned / 2))) == pytest.approx(turned)


REPAIRS = [
    ("locate", FailureCode.PART_MISSING, Strategy.REDETECT, "locate"),
    ("grasp", FailureCode.GRASP_MISS, Strategy.REDETECT, "locate"),
    ("grasp", FailureCode.GRASP_SLIP, Strategy.REGRASP, "locate"),
    ("avoid", FailureCode.GRASP_SLIP, Strategy.REGRASP, "locate"),
    ("grasp", FailureCode.GRASP_WEAK, Strategy.REPARAMETERISE, "grasp"),
    ("grasp", FailureCode.PART_DEFECTIVE, Strategy.SKIP, "locate"),
    ("approach", FailureCode.MOTION_COLLISION, Strategy.REDETECT, "locate"),
    ("avoid", FailureCode.MOTION_COLLISION, Strategy.REPLAN, "avoid"),
    ("home", FailureCode.MOTION_COLLISION, Strategy.REPLAN, "home"),
    ("place", FailureCode.MOTION_TIMEOUT, Strategy.REPARAMETERISE, "place"),
    ("verify", FailureCode.PLACE_MISALIGNED, Strategy.REGRASP, "approach"),
    ("verify", FailureCode.PLACE_DROPPED, Strategy.REDETECT, "locate"),
]


@pytest.mark.parametrize(("skill", "code", "strategy", "resume"), REPAIRS)
def test_each_code_has_its_repair_with_what_it_changes_and_what_it_rejects(cell, skill, code, strategy, resume):
    decision, repair = choose_repair(cell, JobState(force=7.0, places=1), skill, code, ())
    assert (repair.strategy, repair.resume) == (strategy, resume)
    assert repair.changes and decision.chosen == repair.option
    assert [option.id for option in decision.options if not option.rejected_because] == [repair.option]
    assert len(decision.options) >= 3


def test_more_force_ends_at_what_the_gripper_can_bring(cell):
    job = JobState(force=7.0, places=1)
    forces = []
    while True:
        _, repair = choose_repair(cell, job, "grasp", FailureCode.GRASP_SLIP, ())
        if repair is None:
            break
        job.force = repair.changes[0].after
        forces.append(job.force)
    assert forces == sorted(set(forces)) and forces[-1] == cell.gripper.force_max_n


@pytest.mark.parametrize(
    ("job", "code"),
    [
        (JobState(force=7.0, places=1, corrections=99), FailureCode.GRASP_SLIP),
        (JobState(force=7.0, places=99), FailureCode.PART_MISSING),
        (JobState(force=7.0), FailureCode.PLAN_INFEASIBLE),
    ],
)
def test_when_nothing_is_left_the_job_is_given_up_and_the_decision_says_why(cell, job, code):
    decision, repair = choose_repair(cell, job, "locate", code, ())
    assert repair is None and decision.chosen == "give_up"
    assert decision.reason.code == "no_repair_left" and decision.reason.text
