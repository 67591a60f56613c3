"""One clock of one source against the recorder's timeline, from one-way stamps alone: a minimum-delay filter.

A message stamped `s` by the device arrives at `a`. `a - s` is the offset between the clocks plus the delay, and delays
only ever add: the smallest differences lie on the offset (plus the smallest delay, which no one-way observation can tell
from it). So the filter keeps the minimum of each half second, and draws the line that lies below all minima and closest
to them: its slope is the drift (Moon, Skelly, Towsley: Estimation and removal of clock skew from network delay
measurements, INFOCOM 1999).

Integers throughout, from a base that each clock epoch sets anew: 1.7e18 ns in a float64 loses 256 ns.
"""

from __future__ import annotations

from bisect import bisect_left
from itertools import pairwise
from math import gcd
from typing import NamedTuple

import msgspec

STEP_NS = 300_000_000
"""A stamp that is this far from where the clock was is a step or a congestion, and not learnt from at once."""
CONSISTENT_NS = 100_000_000
"""Samples after a step lie within this of one another; those of a draining queue do not."""
REGRESSED_NS = 200_000_000
"""How long stamps must stay behind, in arrival time, before they open an epoch: a redelivered burst is short."""
PERSISTENT_NS = 4_000_000_000
"""How long stamps that run on, but late, must stay so without their lateness draining, before they open an epoch."""
WATCHDOG_NS = 20_000_000_000
"""After this long, late samples open an epoch however they vary, so that a clock is never lost for good."""
BIN_NS = 500_000_000
BIN_SAMPLES = 4
BINS = 20
MAX_DRIFT = 500e-6
"""Bound on the drift, as a ratio: a crystal is within 100e-6, a clock that NTP slews within 500e-6."""
LEARNT_BINS = 5
LEARNT_NS = 2_000_000_000
"""From this many minima over this span a drift is drawn; before that the drift of the epoch before is used, or none."""
HISTORY = 256
"""How many stamps are remembered to keep the order of those that arrive out of order."""
START_NS = 100_000_000
"""Half-width added for the first sample, falling as 1/n: one sample can not say how long it was on its way."""
START_RATE = 20e-9
"""At the start no more samples count than this many in a nanosecond: 20 in a second."""
COARSE_NS = 1_000_000
"""Stamps that are all whole multiples of at least this may be rounded down to it."""


START_SAMPLES = 8
"""As long as an epoch has no more samples, an earlier line replaces its own at once."""


class Aligned(NamedTuple):
    """A sample's place: ns since the UNIX epoch on the timeline, half-width of a 99% interval in ns, the clock's epoch."""

    aligned: int
    uncertainty: int
    epoch: int


class DelayModel(msgspec.Struct, frozen=True, kw_only=True):
    """What the filter holds to be true now: `timeline = stamp + offset_ns + drift * (stamp - stamp_ns)`.

    `offset_ns` holds at the stamp `stamp_ns`, on the device's clock; `drift` is a ratio, positive where the device is
    slow. `uncertainty_ns` is the half-width at `stamp_ns`. `samples` counts those with a stamp in all epochs.
    """

    epoch: int
    stamp_ns: int
    offset_ns: int
    drift: float
    uncertainty_ns: int
    samples: int


class _Suspects:
    """A run of samples that do not fit the clock: bounded memory, whatever their number."""

    __slots__ = (
        "begun",
        "bin_begin",
        "bin_lowest",
        "count",
        "first_arrival",
        "floor",
        "highest",
        "lowest",
        "regressed",
    )

    def __init__(self, residual: int, arrival: int, regressed: bool, begun: int | None = None) -> None:
        self.begun = arrival if begun is None else begun
        self.count = 1
        self.first_arrival = self.bin_begin = arrival
        self.lowest = self.highest = self.bin_lowest = residual
        self.floor: tuple[int, int] | None = None  # smallest and largest of the minima of the closed bins
        self.regressed = regressed

    def add(self, residual: int, arrival: int, regressed: bool) -> None:
        """Take another sample that does not fit on the same side."""
        self.count += 1
        self.lowest = min(self.lowest, residual)
        self.highest = max(self.highest, residual)
        self.regressed = self.regressed or regressed
        if arrival - self.bin_begin >= BIN_NS:
            low, high = self.floor or (self.bin_lowest, self.bin_lowest)
            self.floor = (min(low, self.bin_lowest), max(high, self.bin_lowest))
            self.bin_begin, self.bin_lowest = arrival, residual
        else:
            self.bin_lowest = min(self.bin_lowest, residual)

    def is_step(self, arrival: int, late: bool) -> bool:
        """Whether the run can only be a step of the clock."""
        if self.count < 3:
            return False
        consistent = self.highest - self.lowest < CONSISTENT_NS
        if not late:
            # A stamp from the future is never the network's doing. Six in a row are taken even where they do not agree:
            # a clock that runs at another rate than time.
            return consistent or self.count >= 6
        if arrival - self.begun >= WATCHDOG_NS:
            return True
        if self.regressed and consistent and arrival - self.first_arrival >= REGRESSED_NS:
            return True
        # A queue fills and drains; a step stays where it is.
        steady = self.floor is not None and self.floor[1] - self.floor[0] < CONSISTENT_NS
        return steady and arrival - self.first_arrival >= PERSISTENT_NS


class _Bin(NamedTuple):
    """A closed bin: the smallest difference and the stamp that it was found at, samples, their mean above the smallest."""

    at: int
    lowest: int
    samples: int
    mean: float


class _Open:
    """The bin that is being filled; sums are of integers, above the first difference."""

    __slots__ = ("at", "begin", "count", "first", "lowest", "total")

    def __init__(self, s: int, d: int) -> None:
        self.begin = self.at = s
        self.first = self.lowest = d
        self.count = 1
        self.total = 0


class DelayFilter:
    """Aligns the samples of one clock; O(1) a sample and bounded memory.

    Args:
        prior_delay_ns: declared prior of the transport's smallest delay, in every uncertainty: one-way observation can
            not tell it from offset.
    """

    def __init__(self, prior_delay_ns: int = 5_000_000) -> None:
        self._prior = max(1, prior_delay_ns)
        self._epoch = 0
        self._samples = 0
        self._drift = 0.0
        self._drift_known = False
        self._started = False
        self._suspects: _Suspects | None = None
        self._late_side = False
        self._last_stamp: int | None = None
        self._grain = 0  # what all steps between stamps are multiples of; not followed below COARSE_NS
        self._steps = self._odd_steps = 0  # how many there were, and how many were more than one grain
        self._bins: list[_Bin] = []
        self._open: _Open | None = None
        self._seen: list[tuple[int, int]] = []  # (stamp, aligned), ascending in both
        self._begin(0, 0)

    # -- the interface ---------------------------------------------------------------------------------------------

    def update(self, stamp: int | None, arrival: int) -> Aligned:
        """Align one sample, and learn from it.

        Args:
            stamp: ns on the device's clock, of any epoch; None where the message has none.
            arrival: ns on the recorder's timeline.

        The result is never later than `arrival`, and within an epoch it does not decrease as stamps grow, in whatever
        order they come (for the last 256 of them). The uncertainty is never 0.
        """
        if stamp is None:
            return Aligned(arrival, self._prior, self._epoch)
        self._samples += 1
        if self._grain >= COARSE_NS or not self._grain:
            self._weigh(stamp)
        if not self._started:
            self._started = True
            self._begin(stamp, arrival)
        s = stamp - self._base_stamp
        residual = arrival - self._base_arrival - s - self._line(s)
        regressed = s < self._newest - STEP_NS
        run = self._suspects
        if -STEP_NS <= residual <= STEP_NS and not regressed:
            self._suspects = None
            self._learn(s, arrival - self._base_arrival - s)
        elif residual < 0 and self._count <= START_SAMPLES:
            # What came first was older than its arrival told: a latched message, a tag that was last written hours ago.
            # That is no step of the clock, and nothing that is worth keeping was learnt from it.
            seen = self._seen
            self._begin(stamp, arrival)
            self._seen = seen
            s = 0
            self._learn(0, 0)
        elif residual <= STEP_NS and regressed:
            pass  # an old message that took the usual time: two streams share the clock, or a queue let it pass
        elif self._suspect(residual, arrival, regressed):
            # Where the smallest of the samples since the step would have put this one.
            offset = (residual if run is None else min(residual, run.lowest)) + self._line(s)
            self._epoch += 1
            self._begin(stamp, self._base_arrival + s + offset)
            s = 0
            self._learn(0, arrival - self._base_arrival)
        return self._place(stamp, s, arrival)

    def to_timeline(self, stamp: int) -> int:
        """Where a stamp of this clock lies on the timeline, as far as is known; the stamp itself before any sample."""
        if not self._started:
            return stamp
        s = stamp - self._base_stamp
        return stamp + self._base_arrival - self._base_stamp + self._line(s)

    def model(self) -> DelayModel:
        """What is known of the clock now."""
        newest = max(self._newest, 0)
        return DelayModel(
            epoch=self._epoch,
            stamp_ns=self._base_stamp + newest,
            offset_ns=self._base_arrival - self._base_stamp + self._line(newest),
            drift=self._drift,
            uncertainty_ns=self._half_width(newest),
            samples=self._samples,
        )

    # -- the line --------------------------------------------------------------------------------------------------

    def _begin(self, stamp: int, arrival: int) -> None:
        """Start an epoch at the pair (stamp, arrival); the drift is kept, since a clock that was set runs as before."""
        self._base_stamp, self._base_arrival = stamp, arrival
        self._height = 0.0  # of the line at `_anchor`, above the base's offset
        self._anchor = 0
        self._newest = 0
        self._bins = []
        self._open = None
        self._settled = 0.0  # the part of the half-width that changes only when the line is drawn
        self._growth = MAX_DRIFT
        self._count = 0
        self._suspects = None
        self._seen = []

    def _line(self, s: int) -> int:
        """Smallest offset expected at `s`, above the base's, ns."""
        return round(self._height + self._drift * (s - self._anchor))

    def _learn(self, s: int, d: int) -> None:
        """Take the difference `d` (ns above the base's offset) at `s` into the minima."""
        self._count += 1
        self._newest = max(self._newest, s)
        below = self._height + self._drift * (s - self._anchor) - d
        if below > 0:
            self._height -= below
        current = self._open
        if current is None:
            self._open = _Open(s, d)
            return
        current.count += 1
        current.total += d - current.first
        # Compared along the line, so that drift within the bin does not decide.
        if d - self._drift * (s - current.at) < current.lowest:
            current.at, current.lowest = s, d
        if s - current.begin >= BIN_NS and current.count >= BIN_SAMPLES:
            mean = current.first + current.total / current.count
            self._bins.append(_Bin(current.at, current.lowest, current.count, max(0.0, mean - current.lowest)))
            del self._bins[:-BINS]
            self._open = None
            self._draw()

    def _draw(self) -> None:
        """Draw the line anew below the minima of the closed bins."""
        bins = self._bins
        points = sorted((bin_.at, bin_.lowest) for bin_ in bins)
        anchor, span = points[-1][0], points[-1][0] - points[0][0]
        if len(points) >= LEARNT_BINS and span >= LEARNT_NS:
            self._drift = max(-MAX_DRIFT, min(MAX_DRIFT, _slope_below(points)))
            self._drift_known = True
        heights = [d - self._drift * (s - anchor) for s, d in points]
        self._anchor = anchor
        self._height = min(heights)
        self._count = sum(bin_.samples for bin_ in bins)
        # The smallest of n random delays lies above the smallest possible one by Exp(mean / n). The spread of the minima
        # around the line is that mean / n, seen; three of it, and not 4.6, since the line rests on several bins.
        spread = sum(heights) / len(heights) - self._height
        excess = sum(bin_.mean for bin_ in bins) / self._count
        late = bins[-1].lowest - self._drift * (bins[-1].at - anchor) - self._height
        self._settled = 3.0 * max(spread, excess) + late
        # Stamps rounded down to a grain scatter over all of it above the line, which lies on the least rounded ones.
        scatter = sum(bin_.mean for bin_ in bins) / len(bins)
        if self._grain >= COARSE_NS and self._odd_steps > 0.1 * self._steps and scatter > 0.3 * self._grain:
            self._settled += self._grain
        if self._drift_known:
            self._growth = min(MAX_DRIFT, 1e-7 + 4.0 * spread / max(span, 1))
        else:
            self._settled += MAX_DRIFT * span

    def _weigh(self, stamp: int) -> None:
        """Find out whether stamps are coarse: all multiples of a grain, but not just one apart, as a periodic source's."""
        last, self._last_stamp = self._last_stamp, stamp
        if last is None:
            return
        step = abs(stamp - last)
        grain = gcd(self._grain, step)
        if grain != self._grain:
            self._grain = grain
            self._steps = self._odd_steps = 0
        self._steps += 1
        self._odd_steps += step != grain

    # -- one sample ------------------------------------------------------------------------------------------------

    def _suspect(self, residual: int, arrival: int, regressed: bool) -> bool:
        """Add a sample that does not fit; whether the clock has stepped."""
        late = residual > 0
        run = self._suspects
        if run is None or late != self._late_side:
            self._suspects, self._late_side = _Suspects(residual, arrival, regressed), late
            return False
        run.add(residual, arrival, regressed)
        if run.is_step(arrival, late):
            return True
        if late and arrival - run.first_arrival > 2 * PERSISTENT_NS:
            # Late for long, but not steadily: a queue that fills and drains. Look afresh at how it goes on.
            self._suspects = _Suspects(residual, arrival, regressed, run.begun)
        return False

    def _half_width(self, s: int) -> int:
        """Half-width of a 99% interval for a stamp at `s`, ns."""
        width = self._prior + self._settled + self._growth * abs(s - self._anchor)
        if len(self._bins) < LEARNT_BINS:
            # Delays that follow one another are alike, so that many samples in a short time say little.
            width += START_NS / min(max(1, self._count), 1.0 + START_RATE * max(0, self._newest))
        current = self._open
        if current is not None and current.count >= BIN_SAMPLES:
            # Late for a whole bin: congestion, or a step too small to be told from it.
            width += max(0.0, current.lowest - self._height - self._drift * (current.at - self._anchor))
        return max(1, round(width))

    def _place(self, stamp: int, s: int, arrival: int) -> Aligned:
        """Where the sample goes: on the line, not after its arrival, and between its neighbours by stamp."""
        free = stamp + self._base_arrival - self._base_stamp + self._line(s)
        aligned = min(free, arrival)
        seen = self._seen
        if not seen or stamp > seen[-1][0]:
            if seen and aligned < seen[-1][1]:
                aligned = min(seen[-1][1], arrival)
            seen.append((stamp, aligned))
        else:
            index = bisect_left(seen, (stamp,))
            if index > 0:
                aligned = max(aligned, seen[index - 1][1])
            aligned = min(aligned, seen[index][1], arrival)
            if seen[index][0] != stamp:
                seen.insert(index, (stamp, aligned))
        if len(seen) > HISTORY:
            del seen[0]
        width = self._half_width(s) + abs(free - aligned)
        if self._suspects is not None:
            # Congestion, or a step of the clock: until it is known which, both lie within the interval.
            width += abs(arrival - free)
        return Aligned(aligned, width, self._epoch)


def _slope_below(points: list[tuple[int, int]]) -> float:
    """Slope of the line below all points with the least sum of distances: the edge of the lower hull under their mean.

    Args:
        points: (s, d) in ns, ascending in s; at least two distinct s.
    """
    hull: list[tuple[int, int]] = []
    for point in points:
        while len(hull) >= 2 and _turns_down(hull[-2], hull[-1], point):
            hull.pop()
        if hull and hull[-1][0] == point[0]:
            if hull[-1][1] <= point[1]:
                continue
            hull.pop()
        hull.append(point)
    middle = sum(s for s, _ in points) / len(points)
    for (s0, d0), (s1, d1) in pairwise(hull):
        if s1 >= middle:
            return (d1 - d0) / (s1 - s0)
    return 0.0


def _turns_down(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    return (b[1] - a[1]) * (c[0] - a[0]) >= (c[1] - a[1]) * (b[0] - a[0])
