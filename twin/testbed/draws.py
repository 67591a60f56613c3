"""The stand-in's own random streams, and which fault meets which job.

Faults are edits of its physics; what the robot then says of them is its own affair. The same seed gives the same faults in
the same jobs, whatever the timing of the run.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from enum import Enum

import msgspec
import numpy as np


def stream(seed: int, name: str) -> np.random.Generator:
    """An independent stream of random numbers for one purpose."""
    digest = hashlib.sha256(f"dari testbed stand-in/{seed}/{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


class Fault(str, Enum):
    """What is done to the cell in one job."""

    NONE = "none"
    SLIPPERY = "slippery_part"
    """The part comes oily: its friction is too low for the first grip force."""
    MISSING = "missing_part"
    """The feeder lets no part go."""
    BRAKE = "dragging_brake"
    """The brake of the first joint closes in the middle of a move, and opens again after a while."""


class JobDraw(msgspec.Struct, frozen=True, kw_only=True):
    """What is drawn for one job: masses in kg, angles in rad, lengths in m, times in s."""

    job: int
    fault: Fault
    part_mass: float
    part_friction: float
    part_yaw: float
    part_offset: float
    brake_hold: float

    def truth(self) -> dict[str, object]:
        """For the truth file."""
        return msgspec.to_builtins(self)  # type: ignore[no-any-return]


def jobs(seed: int) -> Iterator[JobDraw]:
    """The jobs of a run, without end. In every five jobs each fault comes once, at a place that is drawn."""
    faults, parts = stream(seed, "faults"), stream(seed, "parts")
    block = [Fault.NONE, Fault.NONE, Fault.SLIPPERY, Fault.MISSING, Fault.BRAKE]
    job = 0
    while True:
        for index in faults.permutation(len(block)):
            fault = block[int(index)]
            slippery = fault is Fault.SLIPPERY
            yield JobDraw(
                job=job,
                fault=fault,
                part_mass=float(parts.uniform(0.46, 0.54)),
                part_friction=float(parts.uniform(0.17, 0.21) if slippery else parts.uniform(0.8, 0.95)),
                part_yaw=float(parts.normal(0.0, 0.05)),
                part_offset=float(parts.normal(0.0, 0.004)),
                brake_hold=float(faults.uniform(0.9, 1.15)),
            )
            job += 1
