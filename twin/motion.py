"""Motion of the arm: a smooth curve through joint waypoints, and the time law that keeps it within the joints' limits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from twin.cell import RobotModel

Array = npt.NDArray[np.float64]

TICK_HZ = 60
_RAMPS = (0.0, 0.2, 0.3, 0.4)
_APART = 1e-4
_FINE = 97  # points at which the curve's speed is looked at


class Trajectory(NamedTuple):
    """Set points at each control tick: `position` and `velocity`, shape (ticks, 7), rad and rad/s; `duration` in s."""

    position: Array
    velocity: Array
    duration: float


def trajectory(waypoints: Sequence[Sequence[float]], robot: RobotModel, speed: float = 1.0) -> Trajectory:
    """The fastest motion through `waypoints` (the first is where the arm is) that starts and ends at rest.

    The curve is a cubic Hermite spline with Catmull-Rom tangents over chord length; time runs along it without a jump in
    acceleration at its ends. `speed` scales the joints' speed limits, its square their acceleration limits.
    """
    points = np.asarray(waypoints, dtype=np.float64)
    # A point that is where the one before it is would put a corner into the curve.
    apart = [0, *(n for n in range(1, len(points)) if np.abs(points[n] - points[n - 1]).max() > _APART)]
    points = points[apart] if len(apart) > 1 else points[[0, -1]]
    chord = np.maximum(np.abs(np.diff(points, axis=0)).max(axis=1), 1e-6)
    knots = np.concatenate([[0.0], np.cumsum(chord)])
    knots /= knots[-1]
    tangents = np.empty_like(points)
    slopes = np.diff(points, axis=0) / np.diff(knots)[:, None]
    tangents[0], tangents[-1] = slopes[0], slopes[-1]
    if len(points) > 2:
        tangents[1:-1] = (points[2:] - points[:-2]) / (knots[2:] - knots[:-2])[:, None]

    best: tuple[float, float] | None = None
    for ramp in _RAMPS:
        duration = _duration(points, tangents, knots, ramp, robot, speed)
        if best is None or duration < best[0]:
            best = (duration, ramp)
    assert best is not None
    ticks = math.ceil(max(best[0] * TICK_HZ - 1e-9, 2.0))
    duration, ramp = ticks / TICK_HZ, best[1]

    share = np.arange(1, ticks + 1, dtype=np.float64) / ticks
    position = _curve(points, tangents, knots, _law(share, ramp))
    step = 1e-4
    ahead = _curve(points, tangents, knots, _law(np.minimum(share + step, 1.0), ramp))
    behind = _curve(points, tangents, knots, _law(np.maximum(share - step, 0.0), ramp))
    velocity = (ahead - behind) / (2 * step * duration)
    velocity[-1] = 0.0
    position[-1] = waypoints[-1]
    return Trajectory(position, velocity, duration)


def _duration(points: Array, tangents: Array, knots: Array, ramp: float, robot: RobotModel, speed: float) -> float:
    """The time that keeps every joint within its limits, s."""
    fine = np.linspace(0.0, 1.0, _FINE)
    curve = _curve(points, tangents, knots, _law(fine, ramp))
    rate = np.gradient(curve, fine, axis=0)
    bend = np.gradient(rate, fine, axis=0)
    fastest = np.abs(rate).max(axis=0) / (np.asarray(robot.max_velocity) * robot.speed * speed)
    hardest = np.abs(bend).max(axis=0) / (np.asarray(robot.max_acceleration) * robot.acceleration * speed**2)
    return max(float(fastest.max()), math.sqrt(float(hardest.max())))


def _law(share: Array, ramp: float) -> Array:
    """How far along the curve at each share of the time: a quintic if `ramp` is 0, else constant speed between ramps whose
    speed is a raised cosine, each taking that share of the time: short motions are fastest with the one, long with the other.
    """
    if ramp == 0.0:
        return share**3 * (10.0 - 15.0 * share + 6.0 * share * share)
    top = 1.0 / (1.0 - ramp)
    early = np.minimum(share, ramp)
    late = np.maximum(share - (1.0 - ramp), 0.0)
    rise = top * (early / 2 - ramp / (2 * math.pi) * np.sin(math.pi * early / ramp))
    level = top * np.clip(share - ramp, 0.0, 1.0 - 2 * ramp)
    fall: Array = top * (late / 2 + ramp / (2 * math.pi) * np.sin(math.pi * late / ramp))
    return rise + level + fall


def _curve(points: Array, tangents: Array, knots: Array, where: Array) -> Array:
    piece = np.clip(np.searchsorted(knots, where, side="right") - 1, 0, len(points) - 2)
    width = (knots[piece + 1] - knots[piece])[:, None]
    u = (where[:, None] - knots[piece][:, None]) / width
    u2, u3 = u * u, u * u * u
    curve: Array = (
        (2 * u3 - 3 * u2 + 1) * points[piece]
        + (u3 - 2 * u2 + u) * width * tangents[piece]
        + (3 * u2 - 2 * u3) * points[piece + 1]
        + (u3 - u2) * width * tangents[piece + 1]
    )
    return curve
