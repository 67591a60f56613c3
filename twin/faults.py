"""Faults: edits of physics or of perception, never labels. What is edited is drawn here; nothing here looks at an outcome.

Which episode gets which fault follows a schedule in blocks, each a permutation of every kind and of clean episodes, so
that a short run already shows all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from twin.streams import between, stream

Kind = Literal["slip", "pose_error", "missing_part", "obstacle", "weak_grip", "defective_part", "slow_joint"]

DEFAULT_KINDS: tuple[Kind, ...] = ("slip", "pose_error", "missing_part", "obstacle")

SIZES: Mapping[Kind, Mapping[str, tuple[float, float]]] = {
    "slip": {"finger_friction": (0.2, 0.32)},
    "pose_error": {"offset_m": (0.02, 0.05), "direction_rad": (0.0, 6.283185307179586)},
    "missing_part": {"places_empty": (1.0, 1.0)},
    "obstacle": {"along": (0.4, 0.6), "aside_m": (-0.03, 0.03), "thickness_m": (0.03, 0.05), "rise_m": (0.06, 0.1)},
    "weak_grip": {"share_of_force": (0.2, 0.5)},
    "defective_part": {"scale": (0.6, 0.75)},
    "slow_joint": {"speed_rad_s": (0.35, 0.8)},
}
"""What is drawn for each kind, uniformly between two bounds. The bounds keep to where grasp physics is valid."""

TELLING: Mapping[Kind, str] = {
    "slip": "low friction between fingers and part ({finger_friction:.3f})",
    "pose_error": "the overhead camera reports the part {offset_m:.3f} m away from where it is",
    "missing_part": "no part in the first place on the belt",
    "obstacle": "an obstacle that the scanner does not see, on the way to the fixture",
    "weak_grip": "the gripper brings {share_of_force:.2f} of the force that it is told",
    "defective_part": "the part is {scale:.2f} of its size",
    "slow_joint": "joint 1 turns by at most {speed_rad_s:.2f} rad/s",
}


class FaultOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which faults, and in what share of the episodes."""

    rate: Annotated[float, Meta(ge=0.0, le=1.0, description="share of the episodes that get a fault")] = 0.667
    kinds: tuple[Kind, ...] = DEFAULT_KINDS


class Injection(msgspec.Struct, frozen=True, kw_only=True):
    """What is injected into one episode: the kind and the numbers drawn for it."""

    kind: Kind
    size: dict[str, float]

    def text(self) -> str:
        """The injection in words."""
        return TELLING[self.kind].format(**self.size)

    def record(self) -> dict[str, Any]:
        """The injection as data, for `ext`."""
        return {"fault": self.kind, "size": dict(self.size), "text": self.text()}


def scheduled(options: FaultOptions, data_set: str, episode: int) -> Kind | None:
    """The kind of fault of an episode (counted from 0), or None for a clean one."""
    if not options.kinds or options.rate <= 0.0:
        return None
    length = max(len(options.kinds), round(len(options.kinds) / options.rate))
    block, place = divmod(episode, length)
    drawn = int(stream(data_set, block, "schedule").permutation(length)[place])
    return options.kinds[drawn] if drawn < len(options.kinds) else None


def draw(options: FaultOptions, data_set: str, episode: int) -> Injection | None:
    """What is injected into an episode, from its fault stream."""
    kind = scheduled(options, data_set, episode)
    if kind is None:
        return None
    generator = stream(data_set, episode, "fault")
    size = {name: round(between(generator, low, high), 6) for name, (low, high) in SIZES[kind].items()}
    return Injection(kind=kind, size=size)
