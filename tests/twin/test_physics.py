"""The physics behind the faults: what a grasp holds, what slips, and that a rebuilt world has forgotten the last one."""

from __future__ import annotations

import math

import pytest

from twin.cell import Cell
from twin.engine import Engine, Solid, World, make_engine
from twin.motion import trajectory

TOP = 0.1


@pytest.fixture(scope="module")
def engine(cell: Cell):
    """One engine for this module."""
    engine = make_engine("pybullet", cell.robot)
    yield engine
    engine.close()


def world(cell: Cell, friction: float) -> World:
    """A table with one part on it."""
    table = Solid(name="table", shape="box", size=(0.3, 0.3, TOP), position=(0.5, 0.0, TOP / 2))
    edge = cell.part.edge
    part = Solid(name="part", shape="box", size=(edge,) * 3, position=(0.5, 0.0, TOP + edge / 2), mass=cell.part.mass)
    return World(robot=cell.robot, finger_friction=friction, opening=cell.gripper.opening, solids=(table, part))


def lifted(engine: Engine, cell: Cell, friction: float, force: float) -> float:
    """How far a part comes up when it is gripped and lifted by 100 mm, m."""
    engine.rebuild(world(cell, friction))
    low = engine.kinematics.inverse((0.5, 0.0, TOP + cell.part.edge / 2), 0.0, cell.robot.home)
    high = engine.kinematics.inverse((0.5, 0.0, TOP + cell.part.edge / 2 + 0.1), 0.0, cell.robot.home)
    assert low is not None and high is not None
    before = engine.pose("part").position[2]
    for path in (trajectory([cell.robot.home, high], cell.robot), trajectory([high, low], cell.robot)):
        follow(engine, path)
    engine.command_gripper(0.0, force)
    engine.advance(60)
    follow(engine, trajectory([low, high], cell.robot))
    engine.advance(48)
    return engine.pose("part").position[2] - before


def follow(engine: Engine, path) -> None:
    for position, velocity in zip(path.position.tolist(), path.velocity.tolist(), strict=True):
        engine.command_arm(position, velocity)
        engine.advance(4)


@pytest.mark.parametrize(("friction", "force"), [(0.8, 7.0), (0.5, 12.0), (0.2, 22.0), (0.3, 30.0), (1.0, 30.0)])
def test_a_grasp_holds_where_friction_and_force_are_enough(engine, cell, friction, force):
    assert lifted(engine, cell, friction, force) > 0.08


@pytest.mark.parametrize(("friction", "force"), [(0.2, 7.0), (0.22, 6.0), (0.8, 1.2)])
def test_a_part_slips_where_coulomb_says_that_it_must(engine, cell, friction, force):
    assert 2 * friction * force < cell.part.mass * 9.81, "this case must be one that can not hold"
    assert lifted(engine, cell, friction, force) < 0.02


def test_a_rebuilt_world_repeats_itself_to_the_last_bit(engine, cell):
    first = lifted(engine, cell, 0.8, 7.0)
    state = engine.sense()
    engine.limit_grip(0.1)
    engine.limit_joint(0, 0.01)
    assert lifted(engine, cell, 0.2, 7.0) < 0.02
    assert lifted(engine, cell, 0.8, 7.0) == first
    assert engine.sense() == state


def test_the_belt_carries_a_part_and_stands_where_it_stood(engine, cell):
    belt = Solid(name="belt", shape="box", size=(0.2, 1.0, 0.1), position=(0.5, 0.0, 0.05))
    part = Solid(name="part", shape="box", size=(0.04,) * 3, position=(0.5, -0.3, 0.12), mass=0.3)
    engine.rebuild(World(robot=cell.robot, finger_friction=0.8, opening=0.08, solids=(belt, part), belt="belt"))
    engine.run_belt(0.5)
    engine.advance(96)
    engine.run_belt(0.0)
    engine.advance(24)
    assert engine.pose("part").position[1] == pytest.approx(-0.1, abs=0.01)
    assert engine.pose("belt").position == pytest.approx((0.5, 0.0, 0.05), abs=1e-9)


def test_a_slow_joint_lags_behind_its_set_point_and_gets_there(engine, cell):
    engine.rebuild(world(cell, 0.8))
    engine.limit_joint(0, 0.3)
    goal = (cell.robot.home[0] + 0.5, *cell.robot.home[1:])
    follow(engine, trajectory([cell.robot.home, goal], cell.robot))
    behind = goal[0] - engine.sense().position[0]
    assert behind > 0.2
    for _ in range(120):
        engine.command_arm(goal, (0.0,) * 7)
        engine.advance(4)
    assert goal[0] - engine.sense().position[0] < 0.01


def test_the_wrist_feels_the_weight_of_what_it_holds(engine, cell):
    engine.rebuild(world(cell, 0.8))
    engine.advance(60)
    hand = engine.sense().force[2]
    assert hand == pytest.approx(-cell.gripper.mass * 9.81, rel=0.02)
    lifted(engine, cell, 0.8, 10.0)
    engine.advance(120)
    assert engine.sense().force[2] - hand == pytest.approx(-cell.part.mass * 9.81, rel=0.1)


def test_kinematics_finds_the_joints_for_a_point_and_none_beyond_reach(engine, cell):
    for position in ((0.5, -0.2, 0.12), (0.4, 0.3, 0.3), (0.6, 0.0, 0.2)):
        joints = engine.kinematics.inverse(position, 0.3, cell.robot.home)
        assert joints is not None
        assert math.dist(engine.kinematics.forward(joints), position) < 1e-3
    assert engine.kinematics.inverse((1.2, 0.0, 0.2), 0.0, cell.robot.home) is None
