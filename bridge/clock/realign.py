"""All samples of a clock placed again, with hindsight: epochs as online, lines smoothed, the floor from all reads around."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bridge.clock.config import ClockConfig
from bridge.clock.estimator import COARSE_NS, ClockEstimator, Minimum
from bridge.clock.probes import Interval, ProbeWindow, marzullo
from bridge.clock.smooth import smooth

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]
KNOT_S = 5.0
AROUND_S = 120.0
BEND_NS_PER_S = 1e5
LEAST_BINS = 6
FLOOR_BINS = 60


class Realigned(NamedTuple):
    """Of each sample: its place, ns on the timeline; half-width of a 99% interval, ns; epoch."""

    aligned: Ints
    uncertainty: Floats
    epoch: npt.NDArray[np.int64]


def realign(config: ClockConfig, stamps: Any, arrivals: Any, p_tx: Any, p_device: Any, p_rx: Any) -> Realigned:
    """Place a clock's samples with hindsight.

    Args:
        config: what is declared of the clock.
        stamps: ns on the device's clock, in the order of arrival.
        arrivals: ns on the timeline, ascending.
        p_tx, p_device, p_rx: two-way reads in the order of their answers, ns; empty where there are none.
    """
    clock = ClockEstimator(config)
    minima: list[Minimum] = []
    since = {0: 0}
    clock.on_bin = minima.append
    n = len(stamps)
    aligned, width, epoch = np.empty(n, np.int64), np.empty(n), np.zeros(n, np.int64)
    unwrapped = np.empty(n, np.int64)
    reads: list[tuple[int, int, int]] = list(zip(p_tx.tolist(), p_device.tolist(), p_rx.tolist(), strict=True))
    p = 0
    bases: dict[int, int] = {}
    for i, (stamp, arrival) in enumerate(zip(stamps.tolist(), arrivals.tolist(), strict=True)):
        while p < len(reads) and reads[p][2] <= arrival:
            clock.probe(*reads[p])
            p += 1
        out = clock.update(stamp, arrival)
        aligned[i], width[i], epoch[i] = out.aligned, out.uncertainty, out.epoch
        unwrapped[i] = stamp + clock.wrapped
        if out.epoch not in since:
            since[out.epoch] = clock.since
        bases[out.epoch] = clock.base_stamp
    clock.flush(int(arrivals[-1]))
    if clock.is_prompt:
        return Realigned(aligned, width, epoch)
    for number, begun in since.items():
        if number:
            # What came between the step and its recognition belongs to the new epoch.
            epoch[(arrivals >= begun) & (epoch == number - 1)] = number
    for number in since:
        rows = np.flatnonzero(epoch == number)
        mine = [m for m in minima if m.epoch == number]
        if len(mine) < LEAST_BINS or not rows.size:
            continue
        until = since.get(number + 1, 1 << 62)
        inside = [r for r in reads if r[0] >= since[number] and r[2] < until]
        place, half = _epoch(config, clock, mine, unwrapped[rows], arrivals[rows], inside)
        aligned[rows], width[rows] = place, half
    return Realigned(aligned, width, epoch)


def _epoch(
    config: ClockConfig, clock: ClockEstimator, minima: list[Minimum], stamps: Ints, arrivals: Ints, reads: list[Any]
) -> tuple[Ints, Floats]:
    """One epoch's samples on its smoothed line."""
    quantum = clock.quantum_ns
    s0, base = minima[0].stamp, minima[0].base
    order = np.argsort([m.stamp for m in minima], kind="stable")
    minima = [minima[i] for i in order]
    times = np.array([m.stamp - s0 for m in minima]) * 1e-9
    values = np.array([m.offset + (m.base - base) for m in minima])
    variances = np.array([max(m.variance, 1.0) for m in minima])
    moved = np.array([m.moved for m in minima])
    line, sigma = smooth(times, values, variances, moved)
    slack = values - line
    t = (stamps - s0) * 1e-9
    knots: Floats = np.arange(times[0], times[-1] + KNOT_S, KNOT_S, dtype=np.float64)
    coarse = quantum >= COARSE_NS
    middle, half = _floor(config, clock, s0, base, times, line, slack, knots, reads, coarse, quantum)
    at = _lines(np.asarray(t, np.float64), times, line)
    noise = 3.0 * np.interp(t, times, sigma) + 0.5 * np.sqrt(np.interp(t, times, variances))
    if coarse and reads:
        place = np.interp(t, knots, middle) + quantum / 2
        width = np.interp(t, knots, half) + quantum / 2
    else:
        place = at + np.interp(t, knots, middle)
        width = noise + np.interp(t, knots, half) + quantum / 2 * (2 if clock.is_locked else 1)
    # A line that bends between two minima is known no better than by how much.
    bend = np.abs(np.diff(line, 2, prepend=line[0], append=line[-1])) if line.size > 2 else np.zeros(line.size)
    width = (
        width
        + np.where(bend > 6.0 * np.sqrt(variances), bend, 0.0)[np.clip(np.searchsorted(times, t), 0, times.size - 1)]
    )
    aligned = np.minimum(stamps + base + np.round(place).astype(np.int64), arrivals - config.min_delay_ns)
    by_stamp = np.argsort(stamps, kind="stable")
    ordered = np.maximum.accumulate(aligned[by_stamp])
    aligned[by_stamp] = ordered
    return np.minimum(aligned, arrivals), width


def _agreeing(bounds: list[Interval], at: int, bend: float) -> list[Interval]:
    """Those that hold together with the most others, given that the reference bends by no more than `bend`, ns/s."""
    wide = [
        b._replace(low=b.low - bend * abs(b.at - at) * 1e-9, high=b.high + bend * abs(b.at - at) * 1e-9) for b in bounds
    ]
    low, high, count = marzullo(wide)
    if count == len(bounds):
        return bounds
    return [b for b, w in zip(bounds, wide, strict=True) if w.low <= high and w.high >= low]


def _lines(t: Floats, times: Floats, line: Floats) -> Floats:
    """The line at `t`; beyond its ends it goes on as it was."""
    out = np.interp(t, times, line)
    for end, k in ((t < times[0], (0, min(10, times.size - 1))), (t > times[-1], (max(0, times.size - 11), -1))):
        slope = (line[k[1]] - line[k[0]]) / max(times[k[1]] - times[k[0]], 1e-3)
        anchor = times[0] if k[0] == 0 and k[1] != -1 else times[-1]
        out = np.where(end, out + slope * (t - anchor), out)
    return np.asarray(out)


def _floor(
    config: ClockConfig,
    clock: ClockEstimator,
    s0: int,
    base: int,
    times: Floats,
    line: Floats,
    slack: Floats,
    knots: Floats,
    reads: list[Any],
    coarse: bool,
    quantum: int,
) -> tuple[Floats, Floats]:
    """What is added to the line at each knot, and its half-width; for coarse stamps the offset above the base itself."""
    middle, half = np.empty(knots.size), np.empty(knots.size)
    if not reads:
        middle[:] = -config.expected_delay_ns + (0 if clock.is_locked else quantum // 2)
        half[:] = config.delay_doubt_ns
        if not clock.is_locked:
            for i, knot in enumerate(knots):
                k = int(np.searchsorted(times, knot))
                middle[i] += min(0.0, float(slack[max(0, k - FLOOR_BINS) : k + FLOOR_BINS].min()))
        return middle, half
    bounds: list[Interval] = []
    for tx, device, rx in reads:
        s = clock.unwrap_near(device, s0)
        low, high = float(tx - s - base - quantum), float(rx - s - base)
        if not coarse:
            floor = float(_lines(np.array([(s - s0) * 1e-9]), times, line)[0])
            low, high = low - floor, min(high - floor, max(low - floor, -float(config.min_delay_ns)))
        bounds.append(Interval(s - s0, low, high))
    where = np.array([b.at for b in bounds]) * 1e-9
    for i, knot in enumerate(knots):
        first, last = np.searchsorted(where, knot - AROUND_S), np.searchsorted(where, knot + AROUND_S)
        near = bounds[first:last] or [bounds[int(np.argmin(np.abs(where - knot)))]]
        window = ProbeWindow(coarse)
        window.kept = deque(_agreeing(near, int(knot * 1e9), BEND_NS_PER_S if coarse else 0.0))
        window.solve(int(knot * 1e9))
        middle[i], half[i] = window.middle, window.half
    return middle, half
