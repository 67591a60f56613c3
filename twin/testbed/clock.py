"""A device's clock that is wrong on purpose: an offset, a rate error and a resolution, none of which dari is told."""

from __future__ import annotations

import time

import msgspec


class SkewedClock(msgspec.Struct, frozen=True, kw_only=True):
    """`wall at start + elapsed * (1 + drift) + skew`, rounded down to `quantum_ns`.

    Elapsed time is the host's monotonic clock, so a step of the host's wall clock during the run does not show here.
    """

    name: str
    wall0_ns: int
    monotonic0_ns: int
    skew_ns: int = 0
    drift_ppm: float = 0.0
    quantum_ns: int = 1

    @classmethod
    def start(cls, name: str, *, skew_ms: float, drift_ppm: float, quantum_ns: int = 1) -> SkewedClock:
        """A clock that starts now."""
        return cls(
            name=name,
            wall0_ns=time.time_ns(),
            monotonic0_ns=time.monotonic_ns(),
            skew_ns=round(skew_ms * 1e6),
            drift_ppm=drift_ppm,
            quantum_ns=quantum_ns,
        )

    def now_ns(self) -> int:
        """What this clock shows now, ns since the UNIX epoch by its own reckoning."""
        return self.at(time.monotonic_ns())

    def at(self, monotonic_ns: int) -> int:
        """What this clock shows when the host's monotonic clock shows `monotonic_ns`."""
        elapsed = monotonic_ns - self.monotonic0_ns
        shown = self.wall0_ns + self.skew_ns + elapsed + round(elapsed * self.drift_ppm * 1e-6)
        return shown - shown % self.quantum_ns

    def truth(self) -> dict[str, object]:
        """For the truth file: everything from which a test can compute the true offset at any time."""
        return msgspec.structs.asdict(self)
