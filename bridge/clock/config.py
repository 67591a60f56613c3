"""What is declared about a clock, and what the estimator says of a sample and of the clock."""

from __future__ import annotations

from math import log
from typing import NamedTuple

import msgspec


class Aligned(NamedTuple):
    """A sample's place: ns since the UNIX epoch on the timeline, half-width of a 99% interval in ns, the clock's epoch."""

    aligned: int
    uncertainty: int
    epoch: int


class ClockConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is known of a clock and its transport before the first sample. All times in ns; 0 where there is none.

    `quantum_ns` is what stamps are rounded down to, None to learn it. `wrap_ns` is where the counter starts again at 0.
    `in_order` holds where no message overtakes another (TCP); `pausable` where the clock may stop or run at another rate
    (a simulator). `nominal_period_ns` is the time between samples of a periodic source. The smallest delay of the
    transport lies within [`min_delay_ns`, `max_delay_ns`]: one-way observation can not tell it from the clock's offset.
    """

    quantum_ns: int | None = None
    wrap_ns: int = 0
    in_order: bool = False
    pausable: bool = False
    nominal_period_ns: int = 0
    min_delay_ns: int = 0
    max_delay_ns: int = 5_000_000

    @property
    def expected_delay_ns(self) -> float:
        """Mean of the smallest delay where its logarithm is uniform over the prior: a delay is a scale."""
        high = max(1, self.max_delay_ns)
        low = min(max(self.min_delay_ns, high / 100), high)
        return high if low >= high else (high - low) / log(high / low)

    @property
    def delay_doubt_ns(self) -> float:
        """Half-width around `expected_delay_ns` that covers the whole prior."""
        middle = self.expected_delay_ns
        return max(1.0, middle - self.min_delay_ns, self.max_delay_ns - middle)


class ClockModel(msgspec.Struct, frozen=True, kw_only=True):
    """What is held to be true now: `timeline = stamp + offset_ns + drift * (stamp - stamp_ns)`.

    `offset_ns` holds at the stamp `stamp_ns`, on the device's clock; `drift` is a ratio, positive where the device is
    slow. `uncertainty_ns` is the half-width at `stamp_ns`, `jitter_ns` the mean delay above the smallest, `quantum_ns`
    what stamps are rounded to (0: to nothing). `samples` counts those of all epochs, `probes` the two-way reads in use.
    """

    epoch: int
    stamp_ns: int
    offset_ns: int
    drift: float
    uncertainty_ns: int
    samples: int
    jitter_ns: int = 0
    quantum_ns: int = 0
    probes: int = 0
