"""One clock of a source, whatever it is: with stamps, without, at its own rate, or polled."""

from __future__ import annotations

from collections.abc import Callable

from bridge.clock.config import Aligned, ClockConfig, ClockModel
from bridge.clock.elastic import ElasticClock
from bridge.clock.estimator import ClockEstimator
from bridge.clock.stampless import PeriodicClock, PollClock


class SourceClock:
    """Aligns what one clock stamps; picks the method by what is declared and by what comes.

    Args:
        config: what is declared of the clock and its transport.
        on_epoch: called with the new epoch's number and the arrival, ns, of the sample that opened it.
    """

    def __init__(self, config: ClockConfig | None = None, on_epoch: Callable[[int, int], None] | None = None) -> None:
        self.config = config = config or ClockConfig()
        self._stamped: ClockEstimator | ElasticClock = (
            ElasticClock(config) if config.pausable else ClockEstimator(config)
        )
        self._stamped.on_epoch = on_epoch
        self._update = self._stamped.update
        self._poll = PollClock(config)
        self._periodic: PeriodicClock | None = None
        self._seen = False
        self._last = 0

    def update(
        self, stamp: int | None, arrival: int, identity: object = None, *, request: int | None = None
    ) -> Aligned:
        """Align one sample, and learn from it.

        Args:
            stamp: ns on the device's clock; None where the message has none.
            arrival: ns on the recorder's timeline.
            identity: True for a message that its protocol says was delivered before.
            request: when the sample was asked for, ns on the timeline; None where it was not.
        """
        if stamp is not None:
            self._seen = True
            return self._update(stamp, arrival, identity)
        if request is not None and request <= arrival:
            aligned = self._poll.place(request, arrival, self._last)
            self._last = aligned.aligned
            return aligned
        if self._periodic is None and not self._seen and self.config.nominal_period_ns:
            self._periodic = PeriodicClock(self.config)
        if self._periodic is not None:
            return self._periodic.update(arrival)
        middle = min(round(self.config.expected_delay_ns), max(0, arrival - self._last))
        aligned = Aligned(arrival - middle, max(1, round(self.config.delay_doubt_ns)), self._stamped.model().epoch)
        self._last = aligned.aligned
        return aligned

    def probe(self, tx: int, device: int, rx: int) -> None:
        """Take a two-way read of the clock; see `ClockEstimator.probe`."""
        if isinstance(self._stamped, ClockEstimator):
            self._stamped.probe(tx, device, rx)

    def content(self, lag_ns: float, sigma_ns: float) -> None:
        """Take a constant lag that was found by content; see `ClockEstimator.content`."""
        if isinstance(self._stamped, ClockEstimator):
            self._stamped.content(lag_ns, sigma_ns)

    def anchor(self, kind: str) -> None:
        """The source says what happened to its clock: `"reset"`."""
        self._stamped.anchor(kind)

    def to_timeline(self, stamp: int) -> int:
        """Where a stamp of this clock lies on the timeline, as far as is known; the stamp itself before any sample."""
        return self._stamped.to_timeline(stamp)

    def model(self) -> ClockModel:
        """What is known of the clock now."""
        return self._periodic.model() if self._periodic is not None else self._stamped.model()
