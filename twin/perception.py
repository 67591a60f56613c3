"""Camera and scanner models: truth, seen through noise and through whatever perception fault is injected.

This is the one place where the twin looks at the engine's truth. What comes out is published on channels; everything after
works with that alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from twin.cell import CameraModel, Cell, Vector
from twin.engine import Engine, Pose3
from twin.faults import Injection
from twin.samples import PoseSample

_SCANNER_NOISE_M = 0.002


class Perception:
    """The cell's cameras and its scanner, in one episode.

    Args:
        cell: where the cameras are, and how well they see.
        engine: the world that they look at.
        parts: names of the solids that are parts.
        noise: the episode's noise stream.
        injection: what is injected; only a perception fault matters here.
    """

    def __init__(
        self, cell: Cell, engine: Engine, parts: Sequence[str], noise: np.random.Generator, injection: Injection | None
    ) -> None:
        self._cell = cell
        self._engine = engine
        self._parts = tuple(parts)
        self._noise = noise
        self._bias = (0.0, 0.0)
        if injection is not None and injection.kind == "pose_error":
            offset, direction = injection.size["offset_m"], injection.size["direction_rad"]
            self._bias = (offset * math.cos(direction), offset * math.sin(direction))

    def look(self, camera: CameraModel, tool: Vector) -> PoseSample | None:
        """One frame: the part nearest to the middle of what the camera sees, in the camera's frame, or None."""
        centre = camera.centre if camera.centre is not None else (tool[0], tool[1])
        # Drawn whether a part is seen or not, so that one frame more or less leaves the others' noise as it was.
        x, y, z = (float(value) * camera.noise_m for value in self._noise.standard_normal(3))
        turn = float(self._noise.standard_normal()) * camera.noise_rad
        seen = self._nearest(camera, centre)
        if seen is None:
            return None
        origin = self._origin(camera)
        bias = self._bias if camera is self._cell.sensors.overhead else (0.0, 0.0)
        position = (
            seen.position[0] - origin[0] + bias[0] + x,
            seen.position[1] - origin[1] + bias[1] + y,
            seen.position[2] - origin[2] + z,
        )
        yaw = cube_yaw(seen.orientation) + turn
        return PoseSample(position, (0.0, 0.0, math.sin(yaw / 2), math.cos(yaw / 2)))

    def scan(self, name: str) -> PoseSample | None:
        """Where the scanner sees a post's foot, or None."""
        x, y = (float(value) * _SCANNER_NOISE_M for value in self._noise.standard_normal(2))
        pose = self._engine.pose(name)
        if pose is None:
            return None
        return PoseSample((pose.position[0] + x, pose.position[1] + y, 0.0), (0.0, 0.0, 0.0, 1.0))

    def _nearest(self, camera: CameraModel, centre: tuple[float, float]) -> Pose3 | None:
        best: tuple[float, Pose3] | None = None
        for name in self._parts:
            pose = self._engine.pose(name)
            if pose is None:
                continue
            away = max(abs(pose.position[0] - centre[0]), abs(pose.position[1] - centre[1]))
            if away <= camera.reach and (best is None or away < best[0]):
                best = (away, pose)
        return None if best is None else best[1]

    def _origin(self, camera: CameraModel) -> Vector:
        if camera is self._cell.sensors.fixture:
            fixture = self._cell.fixture
            return fixture.centre[0], fixture.centre[1], fixture.height + self._cell.part.edge / 2
        return 0.0, 0.0, 0.0


def cube_yaw(orientation: Sequence[float]) -> float:
    """How a cube is turned about the vertical, rad, from -pi/4 to pi/4: its faces look alike, and it may lie on any.

    The edge that lies flattest gives the direction.
    """
    x, y, z, w = orientation
    axes = (
        (1 - 2 * (y * y + z * z), 2 * (x * y + w * z), 2 * (x * z - w * y)),
        (2 * (x * y - w * z), 1 - 2 * (x * x + z * z), 2 * (y * z + w * x)),
        (2 * (x * z + w * y), 2 * (y * z - w * x), 1 - 2 * (x * x + y * y)),
    )
    flattest = min(axes, key=lambda axis: abs(axis[2]))
    return fold(math.atan2(flattest[1], flattest[0]))


def fold(yaw: float) -> float:
    """The angle of a cube's faces nearest to 0: `yaw` less whole quarter turns."""
    quarter = math.pi / 2
    return yaw - quarter * round(yaw / quarter)


def yaw_of(sample: PoseSample) -> float:
    """The turn about the vertical of a pose that has no other, rad."""
    return 2.0 * math.atan2(sample.orientation[2], sample.orientation[3])
