"""The estimator against clocks whose truth is known, and against any sequence of stamps whatever."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.clock.config import ClockConfig
from bridge.clock.estimator import ClockEstimator
from bridge.clock.realign import realign
from bridge.clock.source import SourceClock

BASE = 1_760_000_000_123_456_789
MS = 1_000_000
S = 1_000_000_000
Ints = npt.NDArray[np.int64]


class World:
    """A device behind a network, drawn from a seed; all in ns."""

    def __init__(
        self,
        seed: int,
        *,
        seconds: float = 60.0,
        rate: float = 50.0,
        floor: int = 1 * MS,
        jitter: int = 1 * MS,
        ppm: float = 20.0,
        skew: int = -3 * S,
        quantum: int = 1,
    ) -> None:
        self.random = random = np.random.default_rng(seed)
        n = int(seconds * rate)
        self.true: Ints = np.asarray(np.arange(n) / rate * S + random.normal(0, 20_000, n), np.int64)
        self.delay: Ints = np.asarray(floor + jitter * np.exp(0.8 * random.standard_normal(n)), np.int64)
        self.ppm, self.skew, self.quantum, self.floor, self.jitter = ppm, skew, quantum, floor, jitter
        self.steps: list[tuple[int, int]] = []

    def clock(self, true: Ints) -> Ints:
        """The device's reading at true times, rounded down."""
        reading = BASE + true + self.skew + np.asarray(true * (self.ppm * 1e-6), np.int64)
        for at, size in self.steps:
            reading = reading + size * (true >= at)
        return np.asarray(reading // self.quantum * self.quantum, np.int64)

    def samples(self) -> tuple[Ints, Ints, Ints]:
        """True times, stamps, arrivals, in the order of arrival; a stream: none overtakes another."""
        return BASE + self.true, self.clock(self.true), BASE + np.maximum.accumulate(self.true + self.delay)

    def probes(self, every: float, there: int, back: int) -> list[tuple[int, int, int]]:
        """Two-way reads: sent, the device's reading, answered."""
        tx = np.arange(S, int(self.true[-1]), int(every * S))
        f = there + self.jitter * np.exp(0.8 * self.random.standard_normal(tx.size))
        b = back + self.jitter * np.exp(0.8 * self.random.standard_normal(tx.size))
        middle = np.asarray(tx + f, np.int64)
        device = self.clock(middle)
        rx = np.asarray(middle + b, np.int64)
        return [(BASE + int(t), int(d), BASE + int(r)) for t, d, r in zip(tx, device, rx, strict=True)]


def config(world: World, **more: object) -> ClockConfig:
    declared = {"quantum_ns": world.quantum, "in_order": True, "min_delay_ns": 100_000, "max_delay_ns": 5 * MS, **more}
    return ClockConfig(**declared)  # type: ignore[arg-type]


def follow(
    clock: SourceClock | ClockEstimator,
    samples: tuple[Ints, Ints, Ints],
    probes: list[tuple[int, int, int]] | None = None,
) -> tuple[Ints, Ints, Ints]:
    """Errors, half-widths and epochs; every read is there once it was answered."""
    waiting = list(probes or [])
    out = np.empty((samples[0].size, 3), np.int64)
    for i, (true, stamp, arrival) in enumerate(zip(*(x.tolist() for x in samples), strict=True)):
        while waiting and waiting[0][2] <= arrival:
            clock.probe(*waiting.pop(0))
        got = clock.update(stamp, arrival)
        out[i] = got.aligned - true, got.uncertainty, got.epoch
        assert got.aligned <= arrival
    return out[:, 0], out[:, 1], out[:, 2]


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    seed=st.integers(0, 2**32),
    rate=st.sampled_from([5.0, 20.0, 100.0]),
    floor=st.integers(100_000, 5 * MS),
    jitter=st.sampled_from([10_000, 200_000, 5 * MS, 20 * MS]),
    ppm=st.floats(-100, 100),
    quantum=st.sampled_from([1, MS, 10 * MS, 100 * MS]),
    reads=st.booleans(),
)
def test_the_truth_lies_within_the_stated_uncertainty(
    seed: int, rate: float, floor: int, jitter: int, ppm: float, quantum: int, reads: bool
) -> None:
    world = World(seed, rate=rate, floor=floor, jitter=jitter, ppm=ppm, quantum=quantum)
    probes = world.probes(2.0, floor, floor // 2) if reads else None
    error, width, epoch = follow(ClockEstimator(config(world)), world.samples(), probes)
    assert np.mean(np.abs(error) <= width) >= 0.98
    assert epoch[-1] == 0


@settings(max_examples=150, deadline=None, derandomize=True)
@given(
    moves=st.lists(
        st.tuples(
            st.integers(-(2**62), 2**62)
            | st.integers(-20 * S, 20 * S)
            | st.integers(-50 * MS, 50 * MS)
            | st.just(0)
            | st.none(),
            st.integers(0, 30 * S) | st.integers(0, 20 * MS) | st.just(0),
        ),
        max_size=250,
    ),
    wrap=st.sampled_from([0, 2**32 * MS]),
    pausable=st.booleans(),
    in_order=st.booleans(),
)
def test_any_stamps_whatever_are_placed_in_order_and_not_after_their_arrival(
    moves: list[tuple[int | None, int]], wrap: int, pausable: bool, in_order: bool
) -> None:
    clock = SourceClock(ClockConfig(wrap_ns=wrap, pausable=pausable, in_order=in_order))
    stamp, arrival, epoch = 0, BASE, 0
    placed: dict[int, dict[int, tuple[int, int]]] = {}
    for move, wait in moves:
        arrival += wait
        if move is None:
            assert clock.update(None, arrival).aligned <= arrival
            continue
        stamp = max(-(2**62), min(2**62, stamp + move))
        if wrap:
            stamp %= wrap
        got = clock.update(stamp, arrival)
        assert type(got.aligned) is int
        assert got.aligned <= arrival
        assert got.uncertainty >= 1
        assert got.epoch >= epoch
        epoch = got.epoch
        low, high = placed.setdefault(epoch, {}).get(stamp, (got.aligned, got.aligned))
        placed[epoch][stamp] = (min(low, got.aligned), max(high, got.aligned))
    if wrap:
        return  # the order of what wraps is not that of its numbers
    for of_epoch in placed.values():
        in_order_ = [of_epoch[s] for s in sorted(of_epoch)]
        for (_, before), (after, _) in pairwise(in_order_):
            assert before <= after


@pytest.mark.parametrize("size", [S // 3, -S // 3, 2 * S, -2 * S, 3600 * S, -3600 * S])
@pytest.mark.parametrize("seed", range(3))
def test_a_step_is_found_once_and_the_lock_is_back_within_ten_seconds(size: int, seed: int) -> None:
    world = World(seed, rate=50.0)
    world.steps = [(30 * S, size)]
    error, width, epoch = follow(ClockEstimator(config(world, nominal_period_ns=20 * MS)), world.samples())
    late = world.true > 40 * S
    assert set(epoch[world.true < 30 * S].tolist()) == {0}
    assert set(epoch[late].tolist()) == {1}
    assert np.all(np.abs(error[late]) <= width[late])
    assert np.median(width[late]) < 6 * MS


@pytest.mark.parametrize("seed", range(4))
def test_congestion_is_not_a_step(seed: int) -> None:
    world = World(seed, seconds=120.0)
    t = world.true / S
    for begin, lasts, extra in ((20.0, 3.0, 0.15), (45.0, 6.0, 0.6), (80.0, 1.0, 0.05)):
        inside = (t >= begin) & (t < begin + lasts)
        world.delay += np.asarray(inside * extra * S * world.random.uniform(0.3, 1.0, t.size), np.int64)
    error, width, epoch = follow(ClockEstimator(config(world, nominal_period_ns=20 * MS)), world.samples())
    assert set(epoch.tolist()) == {0}
    assert np.mean(np.abs(error) <= width) >= 0.99


def test_an_outage_whose_backlog_comes_at_once_is_not_a_step() -> None:
    world = World(5, seconds=120.0, rate=20.0)
    held = (world.true > 40 * S) & (world.true < 55 * S)
    world.delay[held] = 55 * S - world.true[held]
    error, width, epoch = follow(ClockEstimator(config(world, nominal_period_ns=50 * MS)), world.samples())
    assert set(epoch.tolist()) == {0}
    assert np.mean(np.abs(error) <= width) >= 0.99
    assert np.abs(error[held]).max() < 10 * MS


@pytest.mark.parametrize("jump", [3 * MS, 30 * MS])
def test_a_way_that_becomes_longer_is_told_from_a_clock_that_was_set_by_reads(jump: int) -> None:
    world = World(7, seconds=120.0, jitter=200_000)
    world.delay[world.true > 60 * S] += jump
    probes = [(tx, d, rx + jump * (tx - BASE > 60 * S)) for tx, d, rx in world.probes(1.0, world.floor, world.floor)]
    error, width, epoch = follow(ClockEstimator(config(world, nominal_period_ns=20 * MS)), world.samples(), probes)
    assert set(epoch.tolist()) == {0}
    assert np.mean(np.abs(error) <= width) >= 0.99
    assert np.abs(error[world.true > 90 * S]).max() < 2 * MS


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_an_asymmetry_that_nothing_shows_is_within_the_uncertainty(share: float) -> None:
    world = World(11, floor=round(100_000 + share * 4.9 * MS), jitter=100_000)
    for probes in (None, world.probes(1.0, 100_000, world.floor)):
        error, width, _ = follow(ClockEstimator(config(world)), world.samples(), probes)
        assert np.mean(np.abs(error) <= width) >= 0.99


def test_reads_narrow_what_one_way_can_not_know() -> None:
    world = World(13, jitter=100_000)
    _, alone, _ = follow(ClockEstimator(config(world)), world.samples())
    _, helped, _ = follow(ClockEstimator(config(world)), world.samples(), world.probes(1.0, world.floor, world.floor))
    assert helped[-1] < 0.6 * alone[-1]


def test_a_counter_that_wraps_goes_on_and_one_that_starts_again_opens_an_epoch() -> None:
    wrap = 2**32 * MS
    world = World(17, rate=100.0, quantum=MS, skew=-BASE + wrap - 20 * S)
    true, stamps, arrivals = world.samples()
    clock = ClockEstimator(config(world, wrap_ns=wrap, nominal_period_ns=10 * MS))
    error, width, epoch = follow(clock, (true, stamps % wrap, arrivals))
    assert set(epoch.tolist()) == {0}
    assert np.mean(np.abs(error) <= width) >= 0.99
    again = clock.update(1_200 * MS, int(arrivals[-1]) + 5 * S)
    for i in range(1, 60):
        again = clock.update(1_200 * MS + i * 10 * MS, int(arrivals[-1]) + 5 * S + i * 10 * MS)
    assert again.epoch == 1
    assert abs(again.aligned - int(arrivals[-1]) - 5 * S - 590 * MS) <= again.uncertainty


def test_a_simulator_that_pauses_runs_fast_and_is_reset_is_placed_by_arrival() -> None:
    clock = SourceClock(ClockConfig(pausable=True, in_order=True, max_delay_ns=200_000))
    stamp, now, placed = 0, BASE, BASE
    for steps, rate in ((500, 1.0), (2000, 10.0), (100, 0.0), (500, 0.5)):
        for _ in range(steps):
            stamp += 10 * MS if rate else 0
            now += round(10 * MS / rate) if rate else 50 * MS
            got = clock.update(stamp, now + 70_000)
            assert placed <= got.aligned <= now + 70_000
            assert abs(got.aligned - now) <= got.uncertainty
            assert got.uncertainty < MS
            assert got.epoch == 0
            placed = got.aligned
    assert clock.update(0, now + 10 * MS).epoch == 1


def test_a_poll_lies_between_its_request_and_its_answer() -> None:
    clock = SourceClock(ClockConfig(min_delay_ns=100_000, nominal_period_ns=100 * MS))
    got = clock.update(None, BASE + 8 * MS, request=BASE)
    assert got.aligned == BASE + 4 * MS
    assert got.uncertainty == 4 * MS - 100_000


def test_a_periodic_source_without_stamps_is_placed_better_than_by_arrival() -> None:
    world = World(19, rate=10.0, seconds=200.0, floor=2 * MS, jitter=6 * MS)
    keep = world.random.random(world.true.size) > 0.005
    held = (world.true > 100 * S) & (world.true < 105 * S)
    world.delay[held] = 105 * S - world.true[held]
    true, _, arrivals = (x[keep] for x in world.samples())
    clock = SourceClock(
        ClockConfig(in_order=True, nominal_period_ns=100 * MS, min_delay_ns=MS // 2, max_delay_ns=6 * MS)
    )
    got = [clock.update(None, a) for a in arrivals.tolist()]
    error = np.array([g.aligned for g in got]) - true
    width = np.array([g.uncertainty for g in got])
    assert np.mean(np.abs(error) <= width) >= 0.98
    settled = world.true[keep] > 30 * S
    assert np.percentile(np.abs(error[settled]), 95) < 0.5 * np.percentile(arrivals[settled] - true[settled], 95)


@pytest.mark.parametrize("quantum", [1, MS, 100 * MS])
def test_a_batch_is_placed_exactly_as_one_by_one(quantum: int) -> None:
    world = World(23, rate=200.0, quantum=quantum)
    world.steps = [(30 * S, -S)]
    _, stamps, arrivals = world.samples()
    one, many = ClockEstimator(config(world)), ClockEstimator(config(world))
    each = np.array([one.update(s, a) for s, a in zip(stamps.tolist(), arrivals.tolist(), strict=True)])
    placed, width, epoch = many.update_batch(stamps, arrivals)
    assert np.array_equal(each[:, 0], placed)
    assert np.array_equal(each[:, 1], width)
    assert np.array_equal(each[:, 2], epoch)


def test_what_stamps_are_rounded_to_is_learnt() -> None:
    world = World(29, quantum=10 * MS, rate=37.0)
    clock = ClockEstimator(ClockConfig(min_delay_ns=100_000, max_delay_ns=5 * MS))
    error, width, _ = follow(clock, world.samples())
    assert clock.model().quantum_ns == 10 * MS
    assert np.mean(np.abs(error) <= width) >= 0.99


def test_hindsight_is_better_and_as_honest() -> None:
    world = World(31, seconds=120.0, rate=20.0, jitter=3 * MS)
    world.steps = [(60 * S, -S)]
    true, stamps, arrivals = world.samples()
    probes = world.probes(2.0, world.floor, world.floor)
    error, _, _ = follow(ClockEstimator(config(world, nominal_period_ns=50 * MS)), (true, stamps, arrivals), probes)
    reads = np.array(probes)
    again = realign(config(world, nominal_period_ns=50 * MS), stamps, arrivals, reads[:, 0], reads[:, 1], reads[:, 2])
    after = again.aligned - true
    assert np.mean(np.abs(after) <= again.uncertainty) >= 0.99
    assert np.percentile(np.abs(after), 99) < np.percentile(np.abs(error), 99)
    assert np.all(again.aligned <= arrivals)


def test_integers_stay_exact_over_decades() -> None:
    clock = ClockEstimator(ClockConfig(quantum_ns=1))
    for i in range(1000):
        got = clock.update(7 + i * 10**15, BASE + i * 10**15)
        assert got.aligned <= BASE + i * 10**15
    assert abs(got.aligned - BASE - 999 * 10**15) <= got.uncertainty
