"""What a job knows and has tried so far: perceived, commanded and felt; nothing that only the simulator could know."""

from __future__ import annotations

from dataclasses import dataclass, field

from twin.cell import Vector
from twin.decisions import Grasp, Obstacle


@dataclass
class JobState:
    """The state of one job.

    `camera` is the one to look with, `places` how many places of the belt were brought, `target` the part's perceived
    centre (m) and `yaw` its turn, `seen` the window (channel, t0 ns, t1 ns) of the look, `trail` the joint set points since the
    part was gripped, along which the arm can go back.
    """

    force: float
    speed: float = 1.0
    camera: str = "overhead"
    places: int = 0
    corrections: int = 0
    target: Vector = (0.0, 0.0, 0.0)
    yaw: float = 0.0
    seen: tuple[str, int, int] = ("", 0, 0)
    grasp: Grasp | None = None
    way: str | None = None
    felt: list[Obstacle] = field(default_factory=list)
    trail: list[tuple[float, ...]] = field(default_factory=list)
    stop_at_contact: bool = False
    place_error_mm: float | None = None
