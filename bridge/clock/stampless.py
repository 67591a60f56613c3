"""Sources whose messages carry no stamp: a poll's answer, a periodic message, and anything else."""

from __future__ import annotations

import msgspec

from bridge.clock.config import Aligned, ClockConfig, ClockModel
from bridge.clock.estimator import ClockEstimator


class PollClock:
    """A value that was asked for at a known time lies between the request and the answer: guaranteed, and halved."""

    def __init__(self, config: ClockConfig) -> None:
        self.config = config

    def place(self, request: int, arrival: int, after: int) -> Aligned:
        """The middle of what is possible: not before the request and not after the answer, each by the least delay."""
        least = min(self.config.min_delay_ns, max(0, arrival - request) // 2)
        low, high = request + least, arrival - least
        middle = min(max((low + high) // 2, after), arrival)
        return Aligned(middle, max(1, max(middle - low, high - middle)), 0)


class PeriodicClock:
    """A device that sends at a steady period and stamps nothing: its messages are numbered, and the numbers are the stamps.

    A message that is late and one that was lost look alike until the next one comes: a queue delivers what it held in a
    burst, so that the next one is early by a whole period if the number was wrong.
    """

    def __init__(self, config: ClockConfig) -> None:
        self._period = config.nominal_period_ns
        # Numbers times the period are exact, however round they look.
        self._clock = ClockEstimator(msgspec.structs.replace(config, quantum_ns=1, wrap_ns=0))
        self._index = -1
        self._arrival = 0
        self._draining = False
        self._high = 0
        self._behind = 0
        self._placed = 0

    def update(self, arrival: int) -> Aligned:
        """Number the message and align it."""
        period = self._period
        if self._index < 0:
            self._index = 0
            self._arrival = arrival
            return self._keep(self._clock.update(0, arrival), arrival)
        clock = self._clock
        follows = self._index + 1
        late = arrival - clock.floor_at(follows * period)
        gap = arrival - self._arrival
        self._arrival = arrival
        doubt = 0
        if late > 0.7 * period:
            # Rounded down: no number may be so high that the message came before its time.
            skipped = int((late + 0.03 * period) // period)
            if self._draining and gap < 0.5 * period:
                self._behind = 0  # one after another out of a queue
            elif not self._draining and gap > 3.6 * period:
                self._draining = True  # an outage: what comes first was sent first
                self._behind = 0
                doubt = late
            elif self._draining:
                self._behind += 1
                if self._behind >= 2:
                    follows += skipped
                    self._draining = False
            else:
                follows += skipped
                doubt = period
        else:
            self._draining = False
            if late < -0.3 * period:
                # Numbered too high: what seemed lost was held up.
                follows -= max(1, round(-late / period))
                self._draining = True
        if follows <= self._index:
            # Back to a number that was passed: placed by it, but nothing is learnt.
            self._index = max(follows, 0)
            place = clock.to_timeline(self._index * period)
            width = clock.model().uncertainty_ns + period
            return self._keep(Aligned(min(place, arrival), width, 0), arrival)
        self._index = follows
        stamp = follows * period
        if self._draining or late > 2.5 * period:
            width = clock.model().uncertainty_ns + (period if self._draining else 0) + doubt
            return self._keep(Aligned(min(clock.to_timeline(stamp), arrival), width, 0), arrival)
        aligned = clock.update(stamp, arrival)
        return self._keep(aligned._replace(uncertainty=aligned.uncertainty + doubt), arrival)

    def _keep(self, aligned: Aligned, arrival: int) -> Aligned:
        place = min(max(aligned.aligned, self._placed), arrival)
        self._placed = place
        return Aligned(place, aligned.uncertainty + abs(place - aligned.aligned), 0)

    def model(self) -> ClockModel:
        """What is known of the period's clock: its stamps are numbers times the nominal period."""
        return self._clock.model()
