"""What the twin measures, as values: the content of one message of a channel, without its stamp.

The very same values go to the detectors and, as CDR, to the log; a detector that reads them back finds what it saw.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, NamedTuple

from twin.cell import Vector


class JointSample(NamedTuple):
    """Joints by name: rad (m for fingers), rad/s, N m (N for fingers)."""

    name: tuple[str, ...]
    position: tuple[float, ...]
    velocity: tuple[float, ...]
    effort: tuple[float, ...]


class WrenchSample(NamedTuple):
    """Force, N, and torque, N m."""

    force: Vector
    torque: Vector


class PoseSample(NamedTuple):
    """Position, m, and unit quaternion x, y, z, w."""

    position: Vector
    orientation: tuple[float, float, float, float]


Sample = JointSample | WrenchSample | PoseSample
Extract = Callable[[Any], float]

_INDEXED = re.compile(r"^(position|velocity|effort)\[([A-Za-z0-9_]+)\]$")
_AXES = {"x": 0, "y": 1, "z": 2, "w": 3}


def extractor(field: str) -> Extract:
    """A function that takes `field` out of a sample.

    `position[panda_joint1]`, `velocity[...]`, `effort[...]` of a JointState; `wrench.force.x`, `wrench.torque.z`;
    `pose.position.x`, `pose.orientation.w`. Raises `ValueError` for anything else.
    """
    match = _INDEXED.match(field)
    if match:
        column, joint = match.groups()

        def indexed(sample: JointSample) -> float:
            values: tuple[float, ...] = getattr(sample, column)
            return values[sample.name.index(joint)]

        return indexed
    parts = field.split(".")
    if len(parts) == 3 and parts[0] in ("wrench", "pose") and parts[2] in _AXES:
        attribute, axis = parts[1], _AXES[parts[2]]

        def dotted(sample: Any) -> float:
            values: tuple[float, ...] = getattr(sample, attribute)
            return values[axis]

        return dotted
    raise ValueError(f"no field of a sample: {field!r}")
