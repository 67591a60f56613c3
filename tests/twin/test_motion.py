"""Trajectories: they go through their points, start and end at rest, and keep to the limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from twin.cell import cell_path, load_cell
from twin.motion import TICK_HZ, trajectory

ROBOT = load_cell(cell_path("panda_belt")).robot
angles = st.lists(st.floats(-2.0, 2.0), min_size=7, max_size=7)


@settings(deadline=None)
@given(st.lists(angles, min_size=2, max_size=5), st.floats(0.1, 1.0))
def test_it_ends_where_it_should_at_rest_within_the_speed_limits(points, speed):
    path = trajectory(points, ROBOT, speed)
    assert path.position.shape == path.velocity.shape == (round(path.duration * TICK_HZ), 7)
    assert path.position[-1] == pytest.approx(np.array(points[-1]), abs=1e-9)
    assert not path.velocity[-1].any()
    limit = np.array(ROBOT.max_velocity) * ROBOT.speed * speed
    assert (np.abs(path.velocity) <= limit * 1.05 + 1e-6).all()


def test_its_velocity_is_the_rate_of_its_position():
    points = [[0.0] * 7, [0.6, -0.4, 0.0, 0.5, 0.1, 0.3, 0.2], [1.2, 0.3, 0.0, 0.1, 0.2, 0.0, 0.9]]
    path = trajectory(points, ROBOT, 0.5)
    moved = (path.position[2:] - path.position[:-2]) * TICK_HZ / 2
    assert np.abs(path.velocity).max() > 0.5
    assert np.abs(moved - path.velocity[1:-1]).max() < 0.03


@pytest.mark.parametrize("again", [0, 1, 2])
def test_a_point_given_twice_changes_nothing(again):
    points = [[0.0] * 7, [0.6, -0.4, 0.0, 0.5, 0.1, 0.3, 0.2], [1.2, 0.3, 0.0, 0.1, 0.2, 0.0, 0.9]]
    path = trajectory([*points[: again + 1], *points[again:]], ROBOT)
    assert (path.position == trajectory(points, ROBOT).position).all()


def test_a_motion_to_where_the_arm_is_takes_two_ticks_and_moves_nothing():
    path = trajectory([[0.3] * 7, [0.3] * 7], ROBOT)
    assert path.position.tolist() == [[0.3] * 7] * 2 and not path.velocity.any()


def test_it_passes_through_its_waypoints():
    points = [[0.0] * 7, [0.4, -0.2, 0.0, 0.3, 0.0, 0.1, 0.2], [0.1, 0.3, 0.0, 0.6, 0.0, 0.0, 0.0]]
    path = trajectory(points, ROBOT, 0.2)
    assert np.abs(path.position - np.array(points[1])).max(axis=1).min() < 0.02


def test_half_the_speed_takes_twice_as_long():
    points = [[0.0] * 7, [1.5, 0.5, 0.0, -0.5, 0.0, 0.3, 0.2]]
    assert trajectory(points, ROBOT, 0.5).duration == pytest.approx(
        2 * trajectory(points, ROBOT).duration, abs=2 / TICK_HZ
    )
