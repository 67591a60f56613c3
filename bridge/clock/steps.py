"""A clock that was set, a clock that is being slewed, and a network that is congested: which of them it was.

All three make samples late. What tells them apart: a queue changes how delays scatter, a clock does not; a queue fills and
drains, a step stays where it is and a slew grows on a straight line from nothing; and where samples come at a steady period, the
stamps on both sides of a step are an odd time apart, while those of a sample that was held up are as far apart as ever.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

STEP_NS = 5_000_000
"""A jump of at least this opens an epoch; what is smaller is followed as a manoeuvre."""
CONSISTENT_NS = 100_000_000
"""Early samples after a step lie within this of one another, or within eight times the usual scatter."""
EARLY = 3
EARLY_WHATEVER = 6
"""So many early samples in a row are a step even where they do not agree: a clock at another rate than time."""
FLAT_NS = 8_000_000_000
REROUTE_NS = 300_000_000
"""A jump of this or more is the clock's, unless reads of the clock say otherwise."""
ONSET_NS = 1_000_000_000
WATCHDOG_NS = 15_000_000_000
LINE_BINS = 8
"""A slew whose beginning was not seen must lie on a line for so many bins."""
SLEW_PPB = (10_000.0, 1_500_000.0)


class Bin(NamedTuple):
    """A bin of late samples: its end by arrival, ns; stamp of its minimum; that above the coasting line; mean above that."""

    arrival: int
    at: int
    lowest: float
    excess: float


class Verdict(Enum):
    """What a run of late bins is."""

    WAIT = "wait"
    STEP = "step"
    SLEW = "slew"
    MOVED = "moved"


class LateRun:
    """Late bins, one after another, until it is clear what they are; bounded memory."""

    def __init__(self, begun: int, odd: bool | None) -> None:
        self.begun = begun
        self.odd = odd  # whether the stamps at its beginning were an odd time apart; None where that can not be said
        self.reads = (
            0  # how many two-way reads since agree with the offset from before; less than 0: they contradict it
        )
        self.bins: list[Bin] = []
        self.held: list[Any] = []  # what a smoother is to see of them if they turn out to be the clock's

    def add(self, late: Bin) -> None:
        """Take another late bin."""
        if len(self.bins) == 1 and self.bins[0].excess > 3.0 * late.excess:
            # The clock was set within the first, whose samples are of before and after.
            self.bins.clear()
            self.held.clear()
        self.bins.append(late)
        del self.bins[:-64]

    def verdict(self, sigma: float, excess: float) -> Verdict:
        """What it is so far; `sigma` of a minimum and the usual `excess` of a bin's mean over its minimum, ns."""
        bins = self.bins
        now = bins[-1].arrival
        # A silence before the first late bin is no evidence.
        span = now - max(self.begun, bins[0].arrival - 2 * ONSET_NS)
        if len(bins) < 2:
            return Verdict.WAIT
        set_ = (self.odd is True and self.reads <= 0) or self.reads <= -2
        flat = max(6.0 * sigma, excess)
        if span >= WATCHDOG_NS and self._steady(now, flat, WATCHDOG_NS):
            return Verdict.MOVED
        if span >= WATCHDOG_NS + 3_000_000_000:
            return Verdict.MOVED
        tail = bins[-3:]
        # The median, since a single spike moves a bin's mean.
        usual = sorted(b.excess for b in bins[-16:])[(min(len(bins), 16) - 1) // 2]
        same = 0.2 * excess - sigma < usual < 2.5 * excess + 2.0 * sigma
        if len(tail) == 3 and self._slew(tail, sigma, excess):
            return Verdict.SLEW
        if not same:
            return Verdict.WAIT
        if len(bins) >= 2 and span >= ONSET_NS and set_ and self._steady(now, flat, span):
            return Verdict.STEP
        if span >= FLAT_NS and self._steady(now, flat, FLAT_NS):
            return Verdict.STEP
        return Verdict.WAIT

    def rerouted(self, jump: float) -> bool:
        """Whether it was the way that became longer by `jump` ns, and the clock was not touched."""
        return self.reads >= 2 or (self.reads == 0 and self.odd is False and jump < REROUTE_NS)

    def _steady(self, now: int, within: float, last: int) -> bool:
        lows = [b.lowest for b in self.bins if b.arrival >= now - last]
        return max(lows) - min(lows) <= within

    def _slew(self, tail: list[Bin], sigma: float, excess: float) -> bool:
        """Three bins on a line that begins at nothing."""
        a, b, c = tail
        dt = max((c.at - a.at) * 1e-9, 1e-3)
        slope = (c.lowest - a.lowest) / dt
        if not SLEW_PPB[0] <= slope <= SLEW_PPB[1]:
            return False
        within = max(3.0 * sigma, 0.1 * (c.lowest - a.lowest))
        if a.lowest < slope * 1.5 * max((b.at - a.at) * 1e-9, 0.1):
            line = tail
        elif len(self.bins) >= LINE_BINS and c.lowest < slope * 1.5e-9 * (c.arrival - self.begun):
            line = self.bins[-LINE_BINS:]
        else:
            return False
        usual = 2.5 * excess + slope * dt / 2 + 2.0 * sigma
        on_line = all(abs(i.lowest - a.lowest - slope * (i.at - a.at) * 1e-9) <= within for i in line)
        return on_line and all(i.excess < usual for i in line)

    def tail_span(self) -> float:
        """How long the last three bins took, s."""
        return max((self.bins[-1].at - self.bins[-3].at) * 1e-9, 0.1)

    def slope(self) -> float:
        """How fast the last three bins grow, ns/s."""
        a, c = self.bins[-3], self.bins[-1]
        return (c.lowest - a.lowest) / max((c.at - a.at) * 1e-9, 1e-3)


class EarlyRun:
    """Stamps from the future, one after another: never the network's doing."""

    def __init__(self) -> None:
        self.count = 0
        self.odd: bool | None = None
        self.begun = 0
        self.lowest = self.highest = 0.0

    def add(self, residual: float, scatter: float) -> bool:
        """Take another; whether the clock was set."""
        if self.count == 0:
            self.lowest = self.highest = residual
        self.count += 1
        self.lowest = min(self.lowest, residual)
        self.highest = max(self.highest, residual)
        consistent = self.highest - self.lowest < max(CONSISTENT_NS, 8.0 * scatter)
        return (self.count >= EARLY and consistent) or self.count >= EARLY_WHATEVER
