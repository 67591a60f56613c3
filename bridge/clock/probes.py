"""Two-way reads of a device's clock: what they leave possible of its offset.

A read sent at `tx` and answered at `rx` with the device's time `D`, rounded down to `Q`, was taken between the two: the
offset lies in [tx - D - Q, rx - D], whatever the delays and however they are shared between the two ways. Reads that follow one
another narrow it to their intersection, and those that contradict the most others are outvoted (Marzullo: Maintaining the
time in a distributed system, 1984). Where stamps are coarse, the drift comes out of the same constraints: the lines that
pass between all lower and all upper bounds (Olson: A passive solution to the sensor synchronization problem, IROS 2010).
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np

WINDOW_NS = 240_000_000_000
WINDOW = 128
CONTRADICTIONS = 3
"""So many reads in a row that agree with one another and not with the window replace it."""
SLOPES = 61
SLOPE_NS_PER_S = 150_000.0
"""The drifts that are looked through reach from minus to plus this, ns/s: 150 ppm."""


class Interval(NamedTuple):
    """Bounds on the offset, ns, at `at`, ns on either clock."""

    at: int
    low: float
    high: float


def marzullo(intervals: list[Interval]) -> tuple[float, float, int]:
    """The smallest range that lies in the greatest number of intervals, and that number."""
    edges = sorted([(interval.low, 0) for interval in intervals] + [(interval.high, 1) for interval in intervals])
    best = count = 0
    low = high = 0.0
    for i, (value, closes) in enumerate(edges):
        if closes:
            count -= 1
        else:
            count += 1
            if count > best:
                best, low, high = count, value, edges[i + 1][0]
    return low, high, best


class ProbeWindow:
    """The reads in use, and the offset that they leave.

    Args:
        slope: whether the reference that bounds are given against may itself drift, so that a slope is sought too.
    """

    def __init__(self, slope: bool = False) -> None:
        self.slope = slope
        self.kept: deque[Interval] = deque(maxlen=WINDOW)
        self._odd: list[Interval] = []
        self.middle = 0.0
        self.half = 0.0
        self.drift = 0.0  # ns/s
        self.drift_half = 0.0
        self.at = 0
        self.replaced = 0  # how often the window was thrown away by contradiction

    def __len__(self) -> int:
        return len(self.kept)

    def clear(self) -> None:
        """Forget all reads."""
        self.kept.clear()
        self._odd.clear()

    def shift(self, by: float, doubt: float) -> None:
        """The reference has moved by `by` ns, give or take `doubt`: so do all bounds."""
        moved = [Interval(i.at, i.low + by - doubt, i.high + by + doubt) for i in self.kept]
        self.kept = deque(moved, maxlen=WINDOW)
        self._odd.clear()
        self.middle += by
        self.half += doubt

    def blur(self, by: float) -> None:
        """The reference may have moved by `by` ns against the clock, or the clock with it: bounds are widened to both."""
        low, high = min(by, 0.0), max(by, 0.0)
        self.kept = deque([Interval(i.at, i.low + low, i.high + high) for i in self.kept], maxlen=WINDOW)
        self.middle += by / 2
        self.half += abs(by) / 2

    def add(self, interval: Interval) -> None:
        """Take another read; bounds are ns above the reference."""
        expected = self.middle + self.drift * (interval.at - self.at) * 1e-9
        slack = self.half + self.drift_half * abs(interval.at - self.at) * 1e-9
        if self.kept and (interval.high < expected - slack or interval.low > expected + slack):
            self._odd.append(interval)
            del self._odd[:-CONTRADICTIONS]
            if len(self._odd) == CONTRADICTIONS and marzullo(self._odd)[2] == CONTRADICTIONS:
                self.kept = deque(self._odd, maxlen=WINDOW)
                self._odd = []
                self.replaced += 1
            else:
                return
        else:
            self._odd.clear()
            self.kept.append(interval)
        while self.kept[0].at < interval.at - WINDOW_NS:
            self.kept.popleft()
        self.solve(interval.at)

    def solve(self, at: int) -> None:
        """Work out the offset at `at` from the reads that are kept; those that contradict the most are dropped."""
        if self.slope:
            self._fit_lines(at)
        else:
            self._intersect(at)

    def at_time(self, at: int) -> tuple[float, float]:
        """Middle and half-width of the offset at `at`, ns."""
        dt = (at - self.at) * 1e-9
        return self.middle + self.drift * dt, self.half + self.drift_half * abs(dt)

    def _intersect(self, at: int) -> None:
        low, high, count = marzullo(list(self.kept))
        while count < len(self.kept) and len(self.kept) > CONTRADICTIONS:
            # The reference has moved a little: the oldest bounds are the least true.
            self.kept.popleft()
            low, high, count = marzullo(list(self.kept))
        self.middle, self.half, self.at = (low + high) / 2, (high - low) / 2, at

    def _fit_lines(self, at: int) -> None:
        """All lines between the bounds: the range of their offsets at `at`, and of their slopes."""
        while True:
            kept = list(self.kept)
            dt = np.array([(i.at - at) for i in kept]) * 1e-9
            low, high = np.array([i.low for i in kept]), np.array([i.high for i in kept])
            first, last = -SLOPE_NS_PER_S, SLOPE_NS_PER_S
            lows = highs = slopes = np.empty(0)
            for _ in range(3):  # each pass looks closer at the slopes that are possible
                slopes = np.linspace(first, last, SLOPES)
                lows = (low - slopes[:, None] * dt).max(axis=1)
                highs = (high - slopes[:, None] * dt).min(axis=1)
                good = np.flatnonzero(highs >= lows)
                step = (last - first) / (SLOPES - 1)
                if good.size == 0:
                    best = int(np.argmax(highs - lows))
                    first, last = slopes[best] - step, slopes[best] + step
                else:
                    first, last = slopes[good[0]] - step, slopes[good[-1]] + step
            good = np.flatnonzero(highs >= lows)
            if good.size or len(kept) <= CONTRADICTIONS:
                break
            self.kept.popleft()
        if good.size == 0:
            good = np.array([int(np.argmax(highs - lows))])
        # The centre of what is possible, each slope by the room it leaves.
        room = np.maximum(highs[good] - lows[good], 1.0)
        centre = float(np.sum(room * (lows[good] + highs[good]) / 2) / np.sum(room))
        bottom, top = float(lows[good].min()), float(highs[good].max())
        self.middle, self.at = centre, at
        self.half = max(top - centre, centre - bottom, 0.0)
        self.drift = float(np.sum(room * slopes[good]) / np.sum(room))
        self.drift_half = float(max(slopes[good[-1]] - self.drift, self.drift - slopes[good[0]]))


class RoundTrips:
    """The round trips of the reads: what one way takes at least, and seldom more."""

    def __init__(self) -> None:
        self._kept: deque[int] = deque(maxlen=512)
        self._sorted: list[int] = []
        self._since = 0

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, round_trip: int) -> None:
        """Take a round trip, ns."""
        self._kept.append(round_trip)
        self._since += 1
        if self._since >= 8 or len(self._kept) < 16:
            self._sorted = sorted(self._kept)
            self._since = 0

    def smallest(self) -> int:
        """The smallest of those kept, ns."""
        return self._sorted[0]

    def one_way_excess(self) -> float:
        """What one way takes above its smallest delay in 99% of cases, ns: 98% of both ways together, by the union bound."""
        n = len(self._sorted)
        return float(self._sorted[min(n - 1, int(0.985 * n))] - self._sorted[0]) * (1.0 + 8.0 / n)
