"""A clock that may stop, or run at another rate than time: a simulator's.

Its stamps say in what order things happened, and little of when; arrival does. Only while it keeps pace with time do the
stamps say more: which samples were held up, and by how much.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from math import inf

from bridge.clock.config import Aligned, ClockConfig, ClockModel
from bridge.clock.order import Order

BIN_NS = 500_000_000
KEEPS_PACE_NS = 500_000
"""A clock whose minima move by no more than this from bin to bin keeps pace with time."""
PACED_BINS = 3
POINT = 0.3
"""Where within the usual scatter of delays a sample is put: 0 is the smallest, 1 the largest of 99%."""


class ElasticClock:
    """Aligns by arrival less what the way takes; O(1) a sample, bounded memory."""

    def __init__(self, config: ClockConfig) -> None:
        self.config = config
        self._epoch = 0
        self._samples = 0
        self._order = Order()
        self._scatter: deque[float] = deque(maxlen=2048)
        self._usual = 0.0  # what 99% of delays are within, above the smallest, ns
        self._floors: deque[int] = deque(maxlen=4)
        self._bin: list[int] = []
        self._bin_end = 0
        self._s_last: int | None = None
        self._placed = 0
        self._floor: int | None = None
        self._back = 0
        self.on_epoch: Callable[[int, int], None] | None = None
        self._settle()

    def update(self, stamp: int, arrival: int, identity: object = None) -> Aligned:
        """Align one sample; see `ClockEstimator.update`."""
        self._samples += 1
        last = self._s_last
        d = arrival - stamp
        if last is None:
            self._s_last = last = stamp
            self._bin_end = arrival + BIN_NS
        if identity is True and self._order.knows(stamp):
            return Aligned(self._order.between(stamp, arrival, arrival), self._width, self._epoch)
        if stamp < last:
            self._back += 1
            if not self.config.in_order and self._back < 3 and last - stamp < 1_000_000_000:
                place = self._order.between(stamp, arrival - self._lag, arrival)
                return Aligned(place, self._width + abs(arrival - self._lag - place), self._epoch)
            self._restart(arrival)
        self._back = 0
        self._s_last = stamp
        if arrival >= self._bin_end:
            self._close(arrival)
        self._bin.append(d)
        lag, width = self._lag, self._width
        floor = self._floor
        if floor is not None:
            over = d - floor - self._usual
            if over > 0:
                lag += round(over)  # held up: the stamp says by how much
                width += round(self._usual)
            if d < floor - KEEPS_PACE_NS:
                self._floor = None
        place = min(max(arrival - lag, self._placed), arrival)
        self._placed = place
        stamps = self._order.stamps
        if not stamps or stamp > stamps[-1]:
            stamps.append(stamp)
            self._order.placed.append(place)  # where it was first, though a clock that stands comes again
        return Aligned(place, width + max(0, place - (arrival - lag)), self._epoch)

    def anchor(self, kind: str) -> None:
        """The simulator says that it was reset: the next sample opens an epoch."""
        self._restart(self._placed)

    def to_timeline(self, stamp: int) -> int:
        """Where a stamp lies on the timeline: between those that came before and after it."""
        stamps, placed = self._order.stamps, self._order.placed
        if not stamps:
            return stamp
        if stamp >= stamps[-1]:
            return placed[-1] + (stamp - stamps[-1] if self._floor is not None else 0)
        return self._order.between(stamp, placed[-1], placed[-1])

    def model(self) -> ClockModel:
        """What is known of the clock now; its drift only as far as it keeps pace with time."""
        last = self._s_last or 0
        return ClockModel(
            epoch=self._epoch,
            stamp_ns=last,
            offset_ns=self._placed - last if self._s_last is not None else 0,
            drift=0.0,
            uncertainty_ns=self._width,
            samples=self._samples,
            jitter_ns=round(self._usual),
        )

    def _restart(self, arrival: int) -> None:
        self._epoch += 1
        self._order.clear()
        self._floors.clear()
        self._bin.clear()
        self._floor = None
        if self.on_epoch is not None:
            self.on_epoch(self._epoch, arrival)

    def _close(self, arrival: int) -> None:
        bin_ = self._bin
        if len(bin_) >= 4:
            low = min(bin_)
            floors = self._floors
            if floors and abs(low - floors[-1]) > KEEPS_PACE_NS:
                floors.clear()
            floors.append(low)
            if len(floors) >= PACED_BINS:
                step = max(1, len(bin_) // 64)
                self._scatter.extend(d - low for d in bin_[::step])
                ordered = sorted(self._scatter)
                self._usual = ordered[int(0.99 * (len(ordered) - 1))]
                self._floor = min(floors)
            else:
                self._floor = None
        else:
            self._floor = None
        self._bin = []
        self._bin_end = arrival + BIN_NS
        self._order.trim()
        self._settle()

    def _settle(self) -> None:
        config = self.config
        usual = self._usual if self._usual and self._usual < inf else 2.0 * config.delay_doubt_ns
        lag = config.expected_delay_ns + POINT * usual
        self._lag = round(lag)
        self._width = max(1, round(max(config.max_delay_ns + usual - lag, lag - config.min_delay_ns)))
