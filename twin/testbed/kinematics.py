"""Kinematics and motion law of the stand-in's controller: its own, in NumPy, with no help of the physics engine.

Frames are the robot's base; lengths in m, angles in rad. The Denavit-Hartenberg figures are the arm maker's published ones
(Franka Control Interface documentation, 'Denavit-Hartenberg parameters', Craig's convention).
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

JOINTS = 7
LOWER: Array = np.array([-2.8973, -1.7628, -2.8973, -3.0718, -2.8973, -0.0175, -2.8973])
UPPER: Array = np.array([2.8973, 1.7628, 2.8973, -0.0698, 2.8973, 3.7525, 2.8973])
_DH = (
    (0.0, 0.333, 0.0),
    (0.0, 0.0, -math.pi / 2),
    (0.0, 0.316, math.pi / 2),
    (0.0825, 0.0, math.pi / 2),
    (-0.0825, 0.384, -math.pi / 2),
    (0.0, 0.0, math.pi / 2),
    (0.088, 0.0, math.pi / 2),
)
"""(a, d, alpha) of each joint."""
_HAND_ANGLE = -math.pi / 4
_TOOL_LENGTH = 0.107 + 0.105
"""Flange to hand, hand to the point between the fingertips."""


class UnreachableError(ValueError):
    """No joint angles were found that bring the tool to the pose."""


def _frame(a: float, d: float, alpha: float, theta: float) -> Array:
    ct, st, ca, sa = math.cos(theta), math.sin(theta), math.cos(alpha), math.sin(alpha)
    return np.array(
        [
            [ct, -st, 0.0, a],
            [st * ca, ct * ca, -sa, -d * sa],
            [st * sa, ct * sa, ca, d * ca],
            [0.0, 0.0, 0.0, 1.0],
        ]
    )


def forward(q: Array) -> tuple[Array, Array]:
    """Pose of the tool point and the geometric Jacobian.

    Args:
        q: joint angles, shape (7,).

    Returns:
        the homogeneous transform of the tool, shape (4, 4), and the Jacobian, shape (6, 7): linear rows, then angular.
    """
    pose = np.eye(4)
    axes, origins = [], []
    for (a, d, alpha), theta in zip(_DH, q, strict=True):
        pose = pose @ _frame(a, d, alpha, float(theta))
        axes.append(pose[:3, 2])
        origins.append(pose[:3, 3])
    pose = pose @ _frame(0.0, _TOOL_LENGTH, 0.0, _HAND_ANGLE)
    tip = pose[:3, 3]
    jacobian = np.empty((6, JOINTS))
    for j in range(JOINTS):
        jacobian[:3, j] = np.cross(axes[j], tip - origins[j])
        jacobian[3:, j] = axes[j]
    return pose, jacobian


def downward(yaw: float) -> Array:
    """Rotation of a tool that points down, its fingers opening along the horizontal direction `yaw`. Shape (3, 3)."""
    c, s = math.cos(yaw), math.sin(yaw)
    opening = np.array([c, s, 0.0])
    approach = np.array([0.0, 0.0, -1.0])
    return np.column_stack([np.cross(opening, approach), opening, approach])


def inverse(position: Array, rotation: Array, seed: Array, *, rounds: int = 80) -> Array:
    """Joint angles that bring the tool to a pose: damped least squares from `seed`, within the joint limits.

    Raises:
        UnreachableError: the pose was missed by more than 1 mm or 10 mrad after `rounds` steps.
    """
    q = np.array(seed, dtype=np.float64)
    for _ in range(rounds):
        pose, jacobian = forward(q)
        error = np.empty(6)
        error[:3] = position - pose[:3, 3]
        r = pose[:3, :3]
        error[3:] = 0.5 * (
            np.cross(r[:, 0], rotation[:, 0]) + np.cross(r[:, 1], rotation[:, 1]) + np.cross(r[:, 2], rotation[:, 2])
        )
        if np.abs(error[:3]).max() < 1e-4 and np.abs(error[3:]).max() < 1e-3:
            return q
        step = jacobian.T @ np.linalg.solve(jacobian @ jacobian.T + 1e-4 * np.eye(6), error)
        biggest = float(np.abs(step).max())
        q = np.clip(q + step * min(1.0, 0.3 / biggest if biggest > 0 else 1.0), LOWER, UPPER)
    if np.abs(error[:3]).max() > 1e-3 or np.abs(error[3:]).max() > 1e-2:
        raise UnreachableError(f"no joint angles reach {np.round(position, 3).tolist()}")
    return q


class Trapezoid:
    """A straight move in joint space by a trapezoidal velocity law, all joints starting and ending together."""

    def __init__(self, start: Array, goal: Array, *, speed: float, acceleration: float) -> None:
        """`speed` (rad/s) and `acceleration` (rad/s^2) bound the joint that has the longest way."""
        self.start = start
        self.way = goal - start
        longest = float(np.abs(self.way).max())
        self._peak = min(speed, math.sqrt(longest * acceleration)) if longest > 0 else 0.0
        self._ramp = self._peak / acceleration
        self.duration = longest / self._peak + self._ramp if self._peak > 0 else 0.0
        self._longest = longest
        self._acceleration = acceleration

    def at(self, t: float) -> tuple[Array, Array]:
        """Joint angles and velocities `t` seconds after the start."""
        if t >= self.duration:
            return self.start + self.way, np.zeros_like(self.way)
        left = self.duration - t
        if t < self._ramp:
            s, v = 0.5 * self._acceleration * t * t, self._acceleration * t
        elif left < self._ramp:
            s, v = self._longest - 0.5 * self._acceleration * left * left, self._acceleration * left
        else:
            s, v = self._peak * (t - 0.5 * self._ramp), self._peak
        return self.start + self.way * (s / self._longest), self.way * (v / self._longest)
