"""One clock of one source against the recorder's timeline, online: offset, drift, steps, slews, and how sure all that is.

A message stamped `s` by the device arrives at `a`. `a - s` is the offset between the clocks plus the delay, and delays only
ever add: the minima of short bins lie on a line (`bridge.clock.line`). What is not on the line is a step, a slew or a
congestion (`bridge.clock.steps`). Two-way reads tell the smallest delay from the offset (`bridge.clock.probes`).

Integers throughout, from a base that each clock epoch sets anew: 1.7e18 ns in a float64 loses 256 ns. Only differences
to the line are floats.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import pairwise
from math import gcd, sqrt
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.clock.config import Aligned, ClockConfig, ClockModel
from bridge.clock.line import LATE, Line
from bridge.clock.order import HISTORY, Order
from bridge.clock.probes import CONTRADICTIONS, Interval, ProbeWindow, RoundTrips
from bridge.clock.steps import CONSISTENT_NS, STEP_NS, Bin, EarlyRun, LateRun, Verdict

BLUR_NS = 1_000_000
"""A line that falls by less, with reads to go by, is the beginning of a slew."""
BATCH = 4096
BATCH_LEAST = 16
"""Fewer samples than this are placed one by one."""
BIN_NS = 500_000_000
BIN_PERIODS = 8
REROUTE_NS = 300_000_000
"""A jump of this or more is the clock's, wherever it came from."""
BIN_LONGEST_NS = 8_000_000_000
CARRY_PROBES = 2
"""From so many reads on, those of the epoch before are not asked."""
DEPTH_BINS = 120
"""The smallest of so many minima is taken for the floor that they scatter above."""
REGRESSED_NS = 150_000_000
START_BINS = 3
"""In the first bins of an epoch the line is not yet one: what lies below it moves it at once."""
START_SAMPLES = 8
PROMPT_TRIPS = 4
SPREAD_SAMPLES = 64
SPREAD_NS = 20_000_000
POINT = 0.3
"""Where within the usual scatter of delays a sample is put that is placed by arrival: 0 the smallest, 1 the largest of 99%."""
COARSE_NS = 300_000
"""Stamps that are rounded to this or more are placed by the reads of the clock alone, where there are any."""
COMMIT_NS = 3_000_000_000
"""A read is used this long after it was made, against what the line is by then known to be."""
START_NS = 100_000_000
"""Half-width added for the first sample, falling as 1/n: one sample can not say how long it was on its way."""
_new = tuple.__new__


class Minimum(NamedTuple):
    """A closed bin, for a smoother: its epoch; stamp of its minimum, ns, unwrapped; arrival of its last sample; the base, ns.

    The offset above the base, ns, and its variance, ns^2; how far the line was moved there by a manoeuvre, ns; the mean
    above the minimum, ns.
    """

    epoch: int
    stamp: int
    arrival: int
    base: int
    offset: float
    variance: float
    moved: float
    excess: float


class ClockEstimator:
    """Aligns the samples of one clock that stamps them; O(1) a sample, bounded memory.

    Args:
        config: what is declared of the clock and its transport.
    """

    # The line and what follows from it, as each sample finds them; set by `_publish` and `_settle`.
    _offset: float
    _drift: float
    _at: int
    _gate: float
    _early_gate: float
    _late_gate: float
    _shift: int
    _width: int
    _least: int
    # The open bin.
    _r1: float
    _r2: float
    _s1: int
    _sum: float
    _n: int
    _exact: int
    _bin_begin: int
    _bin_end: int
    # The epoch.
    _s0: int
    _a0: int
    _s_last: int
    _s_open: int
    _a_last: int
    _placed_last: int

    def __init__(self, config: ClockConfig | None = None) -> None:
        self.config = config = config or ClockConfig()
        self._quantum = config.quantum_ns if config.quantum_ns is not None else 0
        self._quantum = 0 if self._quantum <= 1 else self._quantum
        self._learning = config.quantum_ns is None
        self._grain = 0
        self._grain_steps = self._grain_odd = 0
        self._period = config.nominal_period_ns
        self._regular = config.nominal_period_ns > 0
        self._epoch = 0
        self._samples = 0
        self._started = False
        self._wrapped = 0
        self._raw_last = 0
        self._order = Order()
        self._early = EarlyRun()
        self._late: LateRun | None = None
        self._excess = 0.0
        self._locked = 0.0  # share of stamps exactly one period after the one before
        self._window = ProbeWindow()
        self._trips = RoundTrips()
        self._pending: deque[tuple[int, int, int, int]] = deque(maxlen=64)
        self._carried: tuple[float, float] | None = None
        self._depths: deque[float] = deque(maxlen=DEPTH_BINS)
        self._regress: tuple[int, float, int, int] | None = None
        self._prompt = False
        self._crowd = 0.0
        self._residuals: deque[int] = deque(maxlen=SPREAD_SAMPLES)
        self._steady_bins = 0
        self._content: tuple[float, float] | None = None
        self._bin_index = 0
        self._prompt_mean = 0.0
        self._prompt_weight = 0.0
        self.on_epoch: Callable[[int, int], None] | None = None
        self.on_bin: Callable[[Minimum], None] | None = None
        self._line = Line(0, 0.0)
        self.since = 0  # arrival of the first sample of the newest epoch, known with hindsight, ns
        self._begin(0, 0)

    # -- the interface ---------------------------------------------------------------------------------------------

    def update(self, stamp: int | None, arrival: int, identity: object = None) -> Aligned:
        """Align one sample, and learn from it.

        Args:
            stamp: ns on the device's clock, of any epoch; None where the message has none.
            arrival: ns on the recorder's timeline.
            identity: True for a message that its protocol says was delivered before.

        The result is never later than `arrival`, and within an epoch it does not decrease as stamps grow, in whatever
        order they come (for the last 256 of them). The uncertainty is never 0.
        """
        if stamp is None:
            config = self.config
            middle = config.expected_delay_ns
            return Aligned(arrival - round(middle), max(1, round(config.delay_doubt_ns)), self._epoch)
        if self.config.wrap_ns:
            stamp = self._unwrap(stamp)
        s = stamp - self._s0
        # Above the line, ns; the delay of this sample beyond the smallest.
        r = (arrival - self._a0 - s) - self._offset - self._drift * (s - self._at)
        if s > self._s_last and self._early_gate < r < self._late_gate and arrival < self._bin_end:
            if r < self._r1:
                self._r2 = self._r1
                self._r1 = r
                self._s1 = s
            elif r < self._r2:
                self._r2 = r
            self._sum += r
            self._n += 1
            if s - self._s_last == self._period:
                self._exact += 1
            self._s_last = s
            self._a_last = arrival
            aligned = arrival + self._shift - int(r)
            if aligned > arrival - self._least:
                aligned = arrival - self._least
            if aligned < self._placed_last:
                aligned = self._placed_last if self._placed_last < arrival else arrival
            self._placed_last = aligned
            self._order.stamps.append(s)
            self._order.placed.append(aligned)
            return _new(Aligned, (aligned, self._width, self._epoch))
        return self._odd(stamp, arrival, identity is True)

    def update_batch(
        self, stamps: npt.NDArray[np.int64], arrivals: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Align many samples; the same results as `update` for each, faster where they come thick and in order.

        Args:
            stamps: ns on the device's clock, in the order of arrival.
            arrivals: ns on the timeline, ascending.

        Returns:
            Places and half-widths, ns, and epochs.
        """
        n = len(stamps)
        placed, width, epoch = (np.empty(n, np.int64) for _ in range(3))
        i = 0
        while i < n:
            done = self._take_many(stamps, arrivals, i, placed) if self._started and self._late_gate > 0 else 0
            if done:
                width[i : i + done] = self._width
                epoch[i : i + done] = self._epoch
                i += done
            few = min(n, i + (1 if done else BATCH_LEAST))
            for k, (stamp, arrival) in enumerate(zip(stamps[i:few].tolist(), arrivals[i:few].tolist(), strict=True), i):
                placed[k], width[k], epoch[k] = self.update(stamp, arrival)
            i = few
        return placed, width, epoch

    def _take_many(
        self,
        stamps: npt.NDArray[np.int64],
        arrivals: npt.NDArray[np.int64],
        i: int,
        placed: npt.NDArray[np.int64],
    ) -> int:
        """From `i` on, place all that take the short way of `update`; how many they are."""
        j = i + int(np.searchsorted(arrivals[i : i + BATCH], self._bin_end))
        if j - i < BATCH_LEAST:
            return 0
        a = arrivals[i:j]
        if self.config.wrap_ns:
            raw = stamps[i:j]
            if raw[0] < self._raw_last or (np.diff(raw) < 0).any():
                return 0
            s = raw + (self._wrapped - self._s0)
        else:
            s = stamps[i:j] - self._s0
        r = (a - self._a0 - s) - self._offset - self._drift * (s - self._at)
        steps = np.diff(s, prepend=self._s_last)
        good = (steps > 0) & (r > self._early_gate) & (r < self._late_gate)
        k = j - i if good.all() else int(np.argmin(good))
        if k < BATCH_LEAST:
            return 0
        a, s, r, steps = a[:k], s[:k], r[:k], steps[:k]
        least = int(np.argmin(r))
        lowest = float(r[least])
        if lowest < self._r1:
            self._r2 = min(self._r1, float(np.partition(r, 1)[1]))
            self._r1, self._s1 = lowest, int(s[least])
        elif lowest < self._r2:
            self._r2 = lowest
        # One after another, as `update` adds them: in another order the last bits would differ.
        self._sum = float(np.cumsum(np.concatenate(([self._sum], r)))[-1])
        self._n += k
        self._exact += int(np.count_nonzero(steps == self._period))
        self._s_last, self._a_last = int(s[-1]), int(a[-1])
        if self.config.wrap_ns:
            self._raw_last = int(stamps[i + k - 1])
        out = np.minimum(a + self._shift - r.astype(np.int64), a - self._least)
        out[0] = max(int(out[0]), self._placed_last)
        out = np.minimum(np.maximum.accumulate(out), a)
        placed[i : i + k] = out
        self._placed_last = int(out[-1])
        self._order.stamps.extend(s[-2 * HISTORY :].tolist())
        self._order.placed.extend(out[-2 * HISTORY :].tolist())
        return k

    def probe(self, tx: int, device: int, rx: int) -> None:
        """Take a two-way read of the clock: asked at `tx`, answered at `rx` (timeline), the device's time in the answer."""
        if rx < tx:
            return
        self._trips.add(rx - tx)
        if self.config.wrap_ns and self._started:
            wrap = self.config.wrap_ns
            last = self._s0 + self._s_last
            device += (last - device + wrap // 2) // wrap * wrap
        self._pending.append((rx, tx, device, self._epoch))

    def content(self, lag_ns: float, sigma_ns: float) -> None:
        """Take the constant by which this clock's samples lag what they show, found by content, with its deviation.

        `lag_ns` is added to what is aligned from now on; the transport's prior is replaced by three deviations.
        """
        self._content = (lag_ns, sigma_ns)
        self._settle()

    def anchor(self, kind: str) -> None:
        """The source says that its clock was set (`"reset"`), so that the next sample opens an epoch."""
        if self._started:
            self._epoch += 1
            self._started = False
            self._window.clear()
            self._pending.clear()
            self._carried = None
            if self.on_epoch is not None:
                self.on_epoch(self._epoch, self._a_last)

    def to_timeline(self, stamp: int) -> int:
        """Where a stamp of this clock lies on the timeline, as far as is known; the stamp itself before any sample."""
        if not self._started:
            return stamp
        s = stamp - self._s0 + self._wrapped
        return (
            stamp
            + self._wrapped
            - self._s0
            + self._a0
            + round(self._offset + self._drift * (s - self._at))
            + self._shift
        )

    def floor_at(self, stamp: int) -> int:
        """The earliest arrival that is expected of a sample with this stamp, ns on the timeline."""
        s = stamp - self._s0
        return self._a0 + s + round(self._offset + self._drift * (s - self._at))

    def model(self) -> ClockModel:
        """What is known of the clock now."""
        at = self._s_last
        return ClockModel(
            epoch=self._epoch,
            stamp_ns=self._s0 + at - self._wrapped,
            offset_ns=self._a0
            - self._s0
            + self._wrapped
            + round(self._offset + self._drift * (at - self._at))
            + self._shift,
            drift=self._drift,
            uncertainty_ns=self._width,
            samples=self._samples + self._n,
            jitter_ns=round(self._excess),
            quantum_ns=self._quantum,
            probes=len(self._window),
        )

    # -- for a smoother ------------------------------------------------------------------------------------------------

    @property
    def quantum_ns(self) -> int:
        """What stamps are rounded down to, ns; 0 where they are not."""
        return self._quantum

    @property
    def wrapped(self) -> int:
        """What is added to the newest stamp because the counter began again, ns."""
        return self._wrapped

    @property
    def base_stamp(self) -> int:
        """The stamp that the epoch began at, ns."""
        return self._s0

    @property
    def is_prompt(self) -> bool:
        """Whether samples are placed by their arrival."""
        return self._prompt

    @property
    def is_locked(self) -> bool:
        """Whether samples keep step with what stamps are rounded to."""
        return self._quantum > 0 and self._locked > 0.3

    def unwrap_near(self, stamp: int, near: int) -> int:
        """A stamp of a counter that wraps, as close to the unwrapped stamp `near` as can be."""
        wrap = self.config.wrap_ns
        return stamp if not wrap else stamp + (near - stamp + wrap // 2) // wrap * wrap

    def flush(self, arrival: int) -> None:
        """No more samples come: close the last bin."""
        if self._started and self._n:
            self._close(arrival)

    # -- epochs ----------------------------------------------------------------------------------------------------

    def _begin(self, stamp: int, arrival: int) -> None:
        """Start an epoch at the pair (stamp, arrival); the drift is kept, since a clock that was set runs as before."""
        before = self._line
        self._s0, self._a0 = stamp, arrival
        line = Line(0, 0.0, before.drift if before.bins else 0.0)
        if before.bins >= 20:
            line.drift_variance = min(line.drift_variance, before.drift_variance + 1e6)
        line.noise, line.surprise = before.noise, 1.0
        self._line = line
        self._s_last = -1
        self._a_last = arrival
        self._placed_last = -(1 << 62)
        self._order.clear()
        self._late = None
        self._early = EarlyRun()
        self._epoch_bins = 0
        self._epoch_samples = 0
        self._onset: tuple[int, bool | None] | None = None
        self._late_s = -1  # the last stamp that was late, or that was there when an older one came late
        self._coast = 0.0
        self._depths.clear()
        self._residuals.clear()
        self._regress = None
        self._ambiguous = 0.0  # how much of the line's place may be a route's and not the clock's, ns
        self._ambiguous_reads = 0
        self._open(arrival)
        self._publish()
        self._settle()

    def _new_epoch(self, stamp: int, arrival: int, residual: float, since: int) -> None:
        """The clock was set at or after the arrival `since`: `residual` is how far the new line lies from the old, ns."""
        s = stamp - self._s0
        offset = round(self._offset + self._drift * (s - self._at) + residual)
        # The new base is the pair that the new line gives to this stamp.
        base = self._a0 + s + offset
        if len(self._window) >= CARRY_PROBES:
            # How far the line lies above the offset outlives the step.
            middle, half = self._window.at_time(s)
            if self._coarse():
                middle -= self._offset + self._drift * (s - self._at)
            self._carried = (middle, half + self._quantum)
        self._window.clear()
        self._pending.clear()
        self._epoch += 1
        self._begin(stamp, base)
        if self.on_epoch is not None:
            self.on_epoch(self._epoch, arrival)
        self.since = since

    def _coarse(self) -> bool:
        return self._quantum >= COARSE_NS

    def _unwrap(self, stamp: int) -> int:
        wrap = self.config.wrap_ns
        if self._started:
            step = stamp - self._raw_last
            if step < -wrap // 2:
                self._wrapped += wrap
            elif step > wrap // 2 and self._wrapped:
                return stamp + self._wrapped - wrap  # from before the counter began again, overtaken
        self._raw_last = stamp
        return stamp + self._wrapped

    # -- bins ------------------------------------------------------------------------------------------------------

    def _open(self, arrival: int) -> None:
        self._bin_begin = arrival
        # What is late is looked at twice as often, where samples are many.
        shortest = BIN_NS if self._late is None else BIN_NS // 2
        self._bin_end = arrival + max(shortest, min(BIN_PERIODS * self._period, BIN_LONGEST_NS))
        self._n = 0
        self._exact = 0
        self._r1 = self._r2 = float("inf")
        self._s1 = 0
        self._sum = 0.0
        self._s_open = self._s_last

    def _publish(self) -> None:
        """The line's numbers to where each sample finds them without another lookup."""
        line = self._line
        self._offset, self._drift, self._at = line.offset, line.drift, line.at
        sigma = line.sigma() if line.bins else 0.0
        self._gate = (
            max(float(STEP_NS), 8.0 * sigma, 1.5 * self._quantum, 1.5 * self._excess) if line.bins else float(STEP_NS)
        )
        self._early_gate = -self._gate if self._epoch_bins >= START_BINS else 0.0
        self._late_gate = max(self._gate, 2.0 * self._excess)

    def _close(self, arrival: int) -> None:
        """Close the bin: learn from it, then publish what is known."""
        n = self._n
        if self._learning:
            self._check_grain()
        self._samples += n
        if n:
            if not self.config.nominal_period_ns and n >= 4:
                self._learn_period(n)
            if self._regular:
                self._locked += 0.1 * (self._exact / n - self._locked)
            self._digest(n, arrival)
        self._order.trim()
        self._commit(arrival)
        self._open(arrival)
        self._publish()
        self._settle()

    def _learn_period(self, n: int) -> None:
        period = (self._s_last - self._s_open) // n if self._s_open >= 0 else 0
        if period <= 0:
            return
        known = self._period
        if known and abs(period - known) < 0.1 * known:
            self._steady_bins += 1
        else:
            self._steady_bins = 0
        self._period = period
        self._regular = self._steady_bins >= 5

    def _digest(self, n: int, arrival: int) -> None:
        """Take a bin's minimum into the line."""
        line = self._line
        low = self._r1
        excess = self._sum / n - low
        gap = self._r2 - low if n > 1 else excess
        at_before = line.at
        line.predict(self._s1)
        if line.bins == 0:
            if line.noise == 0.0:
                line.learn_noise(gap + 2.0 * excess / n, self._quantum)
            self._excess = self._excess or excess
        if self._coarse() and len(self._window):
            middle, _ = self._window.at_time(self._s1)
            over = self._sum / n + self._offset + self._drift * (self._s1 - self._at) - middle - self._quantum / 2
            self._prompt_mean += (over - self._prompt_mean) * max(0.03, 1.0 / (1 + 100 * self._prompt_weight))
            self._prompt_weight = min(1.0, self._prompt_weight + 0.01)
        grain = self._grain_noise()
        measured = line.r() + grain
        sigma = line.sigma(measured)
        dt = (line.at - at_before) * 1e-9
        moved = 0.0
        place = low + self._offset + self._drift * (self._s1 - self._at)
        held = Minimum(self._epoch, self._s0 + self._s1, arrival, self._a0 - self._s0, place, measured, 0.0, excess)
        # A jump of less than a quantum may be a phase of the rounding, and is none of the clock.
        gate = LATE * sigma + self._quantum
        late = self._epoch_bins >= START_BINS and low > gate
        if late and self._late is None:
            # What happened to a sample says nothing of those after it, if they were on time.
            onset = self._onset if self._late_s == self._s_last else None
            begun, odd = onset or (self._bin_begin, None)
            self._late = LateRun(begun, odd)
        if late and self._late is not None:
            run = self._late
            run.add(Bin(arrival, self._s1, low, excess))
            run.reads = self._reads_since(run.begun, low)
            verdict = run.verdict(sqrt(measured), self._excess)
            self._coast = low
            if verdict is Verdict.WAIT:
                if self.on_bin is not None:
                    run.held.append(held)
                    del run.held[:-64]
                return
            moved = low
            self._late = None
            self._coast = 0.0
            jump = low if verdict is Verdict.SLEW else min(b.lowest for b in run.bins[-8:])
            if verdict is not Verdict.SLEW and run.reads >= 2:
                self._reroute(jump, True)
                self._excess = max(excess, 1.0)
                self._give(run.held)
                return
            if verdict is not Verdict.SLEW and jump >= max(STEP_NS, 1.5 * self._quantum, 2.0 * self._excess):
                if not run.rerouted(jump):
                    self._new_epoch(self._s0 + self._s_last, self._a_last, jump, run.begun)
                    self._give(run.held)
                    return
                self._reroute(jump, run.reads > 0)
                self._excess = max(excess, 1.0)
                return
            self._manoeuvred(jump, verdict)
            self._give(run.held)
            if verdict is Verdict.SLEW:
                line.restart(low, run.slope(), 2.0 * sqrt(measured) / run.tail_span())
                low = 0.0
            else:
                line.open(jump, dt)
            if verdict is Verdict.MOVED:
                self._excess = max(excess, 1.0)
        else:
            self._late = None
            if self._late_s != self._s_last:
                self._onset = None
            self._coast = 0.0
            if low < -gate and self._epoch_bins >= START_BINS:
                line.open(low, max(dt, 0.1))
                moved = low
                self._manoeuvred(low, Verdict.MOVED)
        if line.bins:
            line.learn_noise(gap, self._quantum)
            if abs(low) < gate:
                self._depths.append(low)
            else:
                self._depths.clear()
        kept = line.noise
        extra = 0.0
        crowded = min(excess / self._excess - 1.5, 20.0) if self._excess > 0 else 0.0
        if crowded > 0 and self._epoch_bins >= START_BINS:
            # Delays that scatter more than usual have risen above their smallest too: how far is not known.
            if low > 0:
                extra = (0.3 * crowded * self._excess) ** 2
                line.noise += extra
            self._crowd += 0.3 * (0.4 * crowded * self._excess - self._crowd)
        else:
            self._crowd *= 0.95
        line.noise += grain / max(line.surprise, 0.5)
        line.update(low)
        line.noise = kept
        # What is usual falls faster than it rises: a network that is busy for a minute is not yet another network.
        weight = max(0.005 if excess > self._excess else 0.03, 1.0 / (line.bins + 1))
        self._excess += weight * (min(excess, 4.0 * self._excess + 1000.0) - self._excess)
        self._epoch_bins += 1
        self._bin_index += 1
        if self.on_bin is not None:
            self.on_bin(held._replace(variance=held.variance + extra, moved=moved))

    def _give(self, held: list[Minimum]) -> None:
        """Hand on the minima that waited to be understood: the first of them is where the line was moved."""
        if self.on_bin is not None:
            for i, late in enumerate(held):
                self.on_bin(late._replace(epoch=self._epoch, moved=late.offset if i == 0 and self._epoch_bins else 0.0))

    def _reads_since(self, begun: int, jump: float) -> int:
        """What the reads made since `begun` say of the old offset: how many agree with it, or less than 0 if they do not."""
        window = self._window
        if not len(window):
            return 0
        agree = contradict = 0
        for rx, tx, device, epoch in self._pending:
            if epoch != self._epoch or tx < begun:
                continue
            s = device - self._s0
            middle, half = window.at_time(s)
            base = self._a0 + s
            if not self._coarse():
                middle += self._offset + self._drift * (s - self._at)
            if tx - base - self._quantum > middle + half or rx - base < middle - half:
                contradict += 1
            else:
                agree += 1
        return -contradict if contradict else agree

    def _reroute(self, jump: float, known: bool) -> None:
        """The way became longer by `jump` ns and the clock is what it was; `known` where reads of the clock say so."""
        self._line.offset += jump
        self._line.variance = max(self._line.variance, self._line.r())
        self._depths.clear()
        if self._carried is not None:
            self._carried = (self._carried[0] - jump, self._carried[1])
        if not self._coarse() and len(self._window):
            self._window.shift(-jump, 0.5 * self._excess + 2.0 * sqrt(self._line.r()))
        if not known:
            self._ambiguous += jump
            self._ambiguous_reads = 0
        self._publish()

    def _grain_noise(self) -> float:
        """Variance that rounding adds to the minima: none where the bin goes through all phases of the quantum."""
        if not self._quantum:
            return 0.0
        return (0.6 * self._quantum) ** 2 if self._locked > 0.3 else (0.2 * self._quantum) ** 2

    def _manoeuvred(self, jump: float, verdict: Verdict) -> None:
        """The line was moved: by the clock, or by a route that is now longer or shorter.

        A slew is the clock's. Any other jump stays in the uncertainty until reads made after it have told which it was,
        and where there are none until it is undone.
        """
        self._pending.clear()
        if verdict is Verdict.SLEW:
            return
        if len(self._window) and not self._coarse() and (jump > 0 or jump < -BLUR_NS):
            self._window.blur(-jump)
        elif abs(jump) > 0.1 * self.config.delay_doubt_ns:
            self._ambiguous += jump
            self._ambiguous_reads = 0

    # -- what is not on the line --------------------------------------------------------------------------------------

    def _odd(self, stamp: int, arrival: int, redelivered: bool) -> Aligned:
        """A sample that does not take the short way: the first of a bin, one out of order, an early one, a late one."""
        if self._learning:
            self._weigh(stamp)
        if not self._started:
            self._started = True
            self._begin(stamp, arrival)
        elif arrival >= self._bin_end:
            self._close(arrival)
        s = stamp - self._s0
        r = (arrival - self._a0 - s) - self._offset - self._drift * (s - self._at)
        if s == self._s_last and self._prompt and not redelivered:
            return self._take(stamp, s, r, arrival)
        if s <= self._s_last or redelivered:
            return self._regressed(stamp, s, r, arrival, redelivered)
        if r < self._early_gate:
            return self._ahead(stamp, s, r, arrival)
        self._early.count = 0
        if r >= max(self._gate, 2.0 * self._excess):
            self._late_s = s
            if self._onset is None:
                self._onset = (arrival, self._is_odd(s))
        elif self._late is None:
            self._onset = None
        return self._take(stamp, s, r, arrival)

    def _is_odd(self, s: int) -> bool | None:
        """Whether the stamp is an odd time after the one before it, which a clock that was set shows; None: can not be said.

        One period exactly says that nothing happened to the clock; several may be a loss, or a clock set by as much.
        """
        step = s - self._s_last
        if step < 0:
            return True
        if not self._regular or not self._period:
            return None
        part = step / self._period
        within = 0.2 + self._quantum / self._period
        if abs(part - 1.0) < within:
            return False
        return True if round(part) == 0 or abs(part - round(part)) > within else None

    def _take(self, stamp: int, s: int, r: float, arrival: int, extra: float = 0.0) -> Aligned:
        """Learn from a sample and place it."""
        if r < self._r1:
            self._r2 = self._r1
            self._r1 = r
            self._s1 = s
        elif r < self._r2:
            self._r2 = r
        self._sum += r
        self._n += 1
        self._epoch_samples += 1
        width = self._width + extra
        if self._onset is not None and r > 0.0:
            width += r
        newest = s > self._s_last
        if newest:
            self._s_last = s
            self._a_last = arrival
        if self._quantum >= SPREAD_NS:
            self._residuals.append(arrival - self._a0 - s)
        if self._prompt and s >= self._s_last:
            return self._place_prompt(s, r, arrival)
        return self._place(s, r, arrival, width, newest)

    def _place(self, s: int, r: float, arrival: int, width: float, newest: bool) -> Aligned:
        aligned = free = min(arrival + self._shift - int(r), arrival - self._least)
        if newest:
            aligned = min(max(aligned, self._placed_last), arrival)
            self._placed_last = aligned
            self._order.stamps.append(s)
            self._order.placed.append(aligned)
        else:
            aligned = self._order.between(s, aligned, arrival)
        return Aligned(aligned, max(1, round(width + abs(free - aligned))), self._epoch)

    def _regressed(self, stamp: int, s: int, r: float, arrival: int, redelivered: bool) -> Aligned:
        """Not the newest stamp: delivered again, overtaken, or the clock was set back."""
        if s == self._s_last and self._quantum and not redelivered:
            # Another sample of the same quantum: not before the one that came before it.
            free = min(arrival + self._shift - int(r), arrival - self._least)
            aligned = min(max(free, self._placed_last), arrival)
            self._placed_last = aligned
            return Aligned(aligned, self._width + abs(aligned - free), self._epoch)
        if redelivered:
            return self._place(s, r, arrival, self._width, False)
        step = self._gate
        if r < max(self._gate, 2.0 * self._excess):
            if r < self._early_gate:
                return self._ahead(stamp, s, r, arrival)
            self._regress = None
            if self.config.in_order:
                return self._place(s, r, arrival, self._width, False)
            return self._take(stamp, s, r, arrival)
        # Late by more than the scatter, and older than what came before: three in a row that agree are a clock set back.
        known = self._order.knows(s)
        if self._onset is None and not known:
            self._onset = (arrival, True)
            self._late_s = self._s_last
        run = self._regress
        if run is not None and self._a_last <= run[2] and abs(r - run[1]) < max(step, 4.0 * self._excess):
            run = (run[0] + 1, min(r, run[1]), run[2], run[3])
        else:
            run = (1, r, arrival, s)
        self._regress = run
        # A queue gives up what it held at once; a clock that was set back takes its time.
        lasted = arrival - run[2] >= max(REGRESSED_NS, 2 * self._period)
        if known:
            # A stamp that was there before came again; a whole run of them, at their own pace, is a clock set back.
            lasted = arrival - run[2] >= max(4 * REGRESSED_NS, 8 * self._period)
        if run[0] >= 3 and s > run[3] and lasted:
            self._regress = None
            self._new_epoch(stamp, arrival, run[1], run[2])
            return self._take(stamp, 0, (arrival - self._a0) - self._offset, arrival, self._excess)
        return self._place(s, r, arrival, self._width + (r if not known or run[0] > 2 else 0.0), False)

    def _ahead(self, stamp: int, s: int, r: float, arrival: int) -> Aligned:
        """A stamp from the future."""
        starting = self._epoch_bins < START_BINS
        if starting and (r > -max(self._gate, CONSISTENT_NS) or self._epoch_samples <= START_SAMPLES):
            # Nothing is known yet that this could contradict: the line lay too high.
            if self._epoch_samples <= START_SAMPLES and s <= self._s_last:
                return self._place(s, 0.0, arrival, self._width + abs(r), False)
            self._line.offset += r
            self._line.bins = 0 if self._line.variance > 1e17 else self._line.bins
            if self._n:
                self._r1 -= r
                self._r2 -= r
                self._sum -= r * self._n
            self._publish()
            return self._take(stamp, s, 0.0, arrival)
        if self._early.count == 0:
            self._early.odd = self._is_odd(s)
            self._early.begun = arrival
        if self._early.add(r, self._excess):
            lowest = self._early.lowest
            window = self._window
            if lowest > -REROUTE_NS and self._early.odd is not True and not self._coarse():
                middle, half = window.at_time(s) if len(window) else (0.0, 0.0)
                # No sample came before the reads say that it can have been sent: a way that is shorter again.
                known = len(window) >= CARRY_PROBES and lowest > middle - half
                if known or (not len(window) and self._early.odd is False):
                    self._reroute(lowest, known)
                    self._early.count = 0
                    return self._take(stamp, s, r - lowest, arrival)
            self._new_epoch(stamp, arrival, lowest, self._early.begun)
            return self._take(stamp, 0, (arrival - self._a0) - self._offset, arrival, self._excess)
        width = self._width + min(abs(r), self._excess * 5.0 + STEP_NS)
        config = self.config
        aligned = arrival - round(config.expected_delay_ns)
        newest = s > self._s_last
        aligned = min(max(aligned, self._placed_last), arrival) if newest else self._order.between(s, aligned, arrival)
        return Aligned(aligned, max(1, round(width)), self._epoch)

    # -- the two-way reads ------------------------------------------------------------------------------------------

    def _commit(self, arrival: int) -> None:
        """Use the reads that are old enough by now."""
        pending = self._pending
        coarse = self._coarse()
        if self._window.slope != coarse:
            self._window = ProbeWindow(coarse)
        while pending and (coarse or pending[0][0] <= arrival - COMMIT_NS):
            rx, tx, device, epoch = pending.popleft()
            if epoch != self._epoch or self._late is not None:
                continue
            s = device - self._s0
            base = self._a0 + s
            low, high = float(tx - base - self._quantum), float(rx - base)
            if not coarse:
                line = self._offset + self._drift * (s - self._at)
                # One-way traffic bounds it too: no sample took less than the least delay.
                low, high = low - line, min(high - line, max(low - line, -float(self.config.min_delay_ns)))
            self._window.add(Interval(s, low, high))
            self._ambiguous_reads += 1
            if self._ambiguous_reads > CONTRADICTIONS:
                self._ambiguous = 0.0

    def _settle(self) -> None:
        """Work out what is added to the line, and how sure a sample's place is."""
        config, line = self.config, self._line
        half_grain = self._quantum // 2
        self._least = min(config.min_delay_ns, config.max_delay_ns)
        spread = 3.0 * sqrt(min(line.variance, 1e16)) + 0.5 * sqrt(line.r()) + max(0.0, self._coast) + self._crowd
        locked = self._quantum > 0 and self._locked > 0.3
        coarse = self._coarse()
        lag = self._content
        if self._carried is not None and len(self._window) < CARRY_PROBES:
            middle, half = self._carried
            shift, width = middle + half_grain, half + spread + half_grain
        elif len(self._window):
            self._carried = None
            middle, half = self._window.at_time(self._s_last)
            if coarse:
                middle -= self._offset + self._drift * (self._s_last - self._at)
                shift, width = middle + half_grain, half + half_grain + max(0.0, self._coast)
            else:
                shift, width = middle + half_grain, half + spread + half_grain
        else:
            middle, half = config.expected_delay_ns, config.delay_doubt_ns
            shift = -middle + (0 if locked else half_grain)
            # The smallest of a bin lies above the smallest that there can be, by some part of what delays scatter.
            width = half + spread + 0.3 * self._excess_of_delays() + half_grain + (half_grain if locked else 0)
            if not locked and len(self._depths) >= 8:
                depth = min(0.0, min(self._depths))
                shift += depth
                width += 0.5 * sqrt(line.r()) - 0.5 * depth
        if not (coarse and len(self._window)):
            width += abs(self._ambiguous)
        if lag is not None:
            shift, width = shift + lag[0], width - half + 3.0 * lag[1]
        if self._epoch_bins < START_BINS:
            width += START_NS / (1 + self._epoch_samples + self._n) if self._epoch == 0 else 2.0 * self._excess
        self._shift = round(shift)
        self._width = max(1, round(width))
        self._prompt = self._quantum >= SPREAD_NS and self._is_prompt()
        if self._quantum >= SPREAD_NS:
            self._late_gate = -1e18  # no sample takes the short way: each may be placed by its arrival

    def _excess_of_delays(self) -> float:
        """Mean of the delays above the smallest, ns, without what rounding adds to it."""
        return max(0.0, self._excess - self._quantum / 2)

    def _is_prompt(self) -> bool:
        """Whether samples come so promptly that arrival says more than so coarse a stamp; see `_place_prompt`.

        What is rounded down evenly scatters over one quantum, plus what delays scatter.
        """
        seen = self._residuals
        if len(seen) < 16:
            return False
        ordered = sorted(seen)
        spread = ordered[int(0.9 * len(ordered))] - ordered[0]
        if spread > (1.3 if self._prompt else 1.1) * self._quantum:
            return False
        config, trips = self.config, self._trips
        if len(trips) < PROMPT_TRIPS:
            return False  # how long a sample may take is not known
        self._soonest, self._usual = trips.smallest() / 2, trips.one_way_excess()
        half = self._window.half
        known = self._prompt_weight > 0.3 and half < self._quantum / 16
        if known and self._prompt_mean > self._soonest + self._usual + half:
            return False  # it waits to be published, though answers come at once
        return self._usual < self._quantum / 4 and (known or config.max_delay_ns < self._quantum / 4)

    def _place_prompt(self, s: int, r: float, arrival: int) -> Aligned:
        """By arrival, less what one way takes, within what the stamp leaves possible."""
        stamped = arrival - int(r) + self._shift - self._quantum // 2
        doubt = max(0, self._width - self._quantum // 2)
        low, high = stamped - doubt, stamped + self._quantum + doubt
        least = self._least
        soonest, usual = self._soonest, self._usual
        lag = round(soonest + POINT * usual)
        aligned = min(max(arrival - lag, low), high, arrival - least)
        earliest = max(low, arrival - round(max(2 * soonest, self.config.max_delay_ns) + usual))
        latest = min(high, arrival - least)
        width = max(aligned - earliest, latest - aligned, round(usual / 4), 1)
        place = min(max(aligned, self._placed_last), arrival)
        self._placed_last = place
        order = self._order
        if order.stamps and order.stamps[-1] == s:
            order.placed[-1] = place
        else:
            order.stamps.append(s)
            order.placed.append(place)
        return Aligned(place, width + place - aligned, self._epoch)

    # -- what stamps are rounded to -----------------------------------------------------------------------------------

    def _weigh(self, stamp: int) -> None:
        """Find what all steps between stamps are multiples of; looked at once a bin, and for each stamp that is odd."""
        if self._started and stamp != self._s0:
            self._grain = gcd(self._grain, abs(stamp - self._s0))

    def _check_grain(self) -> None:
        for s in self._order.stamps[-16:]:
            self._grain = gcd(self._grain, s)
            if self._grain < 1000:
                self._learning = False
                self._quantum = 0
                return
        steps = self._order.stamps[-16:]
        same = len({b - a for a, b in pairwise(steps)}) <= 1
        if not same or self._quantum:
            self._quantum = self._grain if self._grain >= 2000 else 0
