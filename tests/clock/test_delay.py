"""The minimum-delay filter against clocks whose truth is known."""

from __future__ import annotations

import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.clock.delay import HISTORY, Aligned, DelayFilter

BASE = 1_760_000_000_123_456_789
MS = 1_000_000
S = 1_000_000_000


class Clock:
    """A device whose clock is off and drifts, behind a network: a smallest delay and an exponential rest."""

    def __init__(
        self,
        seed: int,
        *,
        skew: int,
        ppm: float = 0.0,
        floor: int = 2 * MS,
        jitter: int = 5 * MS,
        period: int = 10 * MS,
    ) -> None:
        self.random = random.Random(seed)
        self.skew, self.ppm, self.floor, self.jitter, self.period = skew, ppm, floor, jitter, period
        self.now = 0
        self.last = 0

    def stamp(self, t: int) -> int:
        return BASE + t + self.skew + round(t * self.ppm * 1e-6)

    def samples(self, n: int) -> list[tuple[int, int, int]]:
        """(true time, stamp, arrival), in the order of arrival; a stream, so none overtakes another."""
        out = []
        for _ in range(n):
            self.now += self.period
            delay = self.floor + (round(self.random.expovariate(1 / self.jitter)) if self.jitter else 0)
            self.last = max(self.last, self.now + delay)
            out.append((BASE + self.now, self.stamp(self.now), BASE + self.last))
        return out


def follow(clock: DelayFilter, samples: list[tuple[int, int, int]]) -> list[tuple[int, Aligned]]:
    """(error, result) of each sample."""
    results = [(true, clock.update(stamp, arrival)) for true, stamp, arrival in samples]
    return [(result.aligned - true, result) for true, result in results]


@pytest.mark.parametrize("seed", range(24))
def test_a_skewed_and_drifting_clock_is_found_within_the_stated_uncertainty(seed: int) -> None:
    draw = random.Random(1000 + seed)
    device = Clock(
        seed,
        skew=(-1) ** seed * 10 * S,
        ppm=(100.0, -100.0, 30.0)[seed % 3],
        floor=draw.randrange(0, 5 * MS),
        jitter=draw.choice([MS // 10, MS, 5 * MS, 20 * MS]),
        period=draw.choice([5 * MS, 10 * MS, 50 * MS]),
    )
    clock = DelayFilter(prior_delay_ns=5 * MS)
    followed = follow(clock, device.samples(4000))
    outside = sum(abs(error) > result.uncertainty for error, result in followed)
    assert outside <= 0.01 * len(followed)
    error, result = followed[-1]
    assert abs(error) <= result.uncertainty
    assert result.epoch == 0
    model = clock.model()
    true_offset = device.floor - device.skew - round(device.now * device.ppm * 1e-6)
    assert abs(model.offset_ns - true_offset) <= model.uncertainty_ns
    # The uncertainty says something: it is not wider than what raw arrival would give away.
    assert result.uncertainty < 5 * MS + 2 * device.jitter


@pytest.mark.parametrize("ppm", [100.0, -100.0])
def test_drift_does_not_accumulate(ppm: float) -> None:
    device = Clock(7, skew=3 * S, ppm=ppm, floor=MS, jitter=MS // 5, period=10 * MS)
    clock = DelayFilter(prior_delay_ns=2 * MS)
    followed = follow(clock, device.samples(30_000))  # five minutes: 30 ms of drift
    assert all(abs(error - MS) < MS // 2 for error, _ in followed[1000:])
    assert clock.model().drift == pytest.approx(-ppm * 1e-6, abs=20e-6)


def test_without_jitter_nothing_is_rounded_away() -> None:
    clock = DelayFilter()
    for i in range(2000):
        result = clock.update(5 + i * 7_000_001, BASE + i * 7_000_001)
        assert result.aligned == BASE + i * 7_000_001


@settings(max_examples=150, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(-20 * S, 20 * S) | st.integers(-50 * MS, 50 * MS) | st.just(0) | st.none(),
            st.integers(0, 3 * S) | st.integers(0, 20 * MS) | st.just(0),
        ),
        max_size=HISTORY,
    )
)
def test_never_after_arrival_never_out_of_order_never_certain(moves: list[tuple[int | None, int]]) -> None:
    clock = DelayFilter(prior_delay_ns=3)
    stamp, arrival = 0, BASE
    placed: dict[int, dict[int, tuple[int, int]]] = {}
    epoch = 0
    for move, wait in moves:
        arrival += wait
        if move is None:
            assert clock.update(None, arrival) == Aligned(arrival, 3, epoch)
            continue
        stamp += move
        result = clock.update(stamp, arrival)
        assert type(result.aligned) is int
        assert type(result.uncertainty) is int
        assert result.aligned <= arrival
        assert result.uncertainty >= 1
        assert result.epoch >= epoch
        epoch = result.epoch
        low, high = placed.setdefault(epoch, {}).get(stamp, (result.aligned, result.aligned))
        placed[epoch][stamp] = (min(low, result.aligned), max(high, result.aligned))
    for of_epoch in placed.values():
        in_order = [of_epoch[s] for s in sorted(of_epoch)]
        for (_, before), (after, _) in pairwise(in_order):
            assert before <= after


@pytest.mark.parametrize("step", [S // 2, -S // 2, 2 * S, -2 * S, 3600 * S, -3600 * S])
def test_a_step_of_the_clock_opens_one_epoch_and_is_aligned_again(step: int) -> None:
    device = Clock(3, skew=-4 * S, ppm=20.0)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    before = follow(clock, device.samples(1500))
    device.skew += step
    after = follow(clock, device.samples(1500))
    assert before[-1][1].epoch == 0
    assert after[-1][1].epoch == 1
    first = next(i for i, (_, result) in enumerate(after) if result.epoch == 1)
    assert first * device.period <= (5 * S if step < 0 else S // 10)
    assert all(abs(error) <= result.uncertainty for error, result in after[first + 20 :])
    assert after[-1][1].uncertainty < 20 * MS
    # What could not be placed well until the step was certain says so.
    assert all(abs(error) <= result.uncertainty for error, result in after[:first] if step < 0)


def test_a_reboot_that_restarts_the_stamps_is_a_step() -> None:
    device = Clock(5, skew=0)
    clock = DelayFilter()
    follow(clock, device.samples(500))
    device.skew = -BASE
    followed = follow(clock, device.samples(500))
    assert followed[-1][1].epoch == 1
    assert abs(followed[-1][0]) <= followed[-1][1].uncertainty


def test_congestion_is_not_a_step() -> None:
    device = Clock(11, skew=8 * S)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    follow(clock, device.samples(1000))
    backlog = [device.samples(1)[0] for _ in range(300)]  # three seconds that are held up and come in one burst
    release = backlog[-1][2] + 50 * MS
    held = [(true, stamp, release + i * MS // 5) for i, (true, stamp, _) in enumerate(backlog)]
    device.last = held[-1][2] - BASE
    late = follow(clock, held)
    after = follow(clock, device.samples(500))
    assert after[-1][1].epoch == 0
    # The stamps are better than the arrivals, and the filter goes by them.
    assert all(abs(error) <= result.uncertainty for error, result in late + after)
    assert max(abs(error) for error, _ in late) < 20 * MS


def test_a_queue_that_stays_full_for_seconds_and_drains_is_not_a_step() -> None:
    device = Clock(12, skew=8 * S, floor=MS)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    follow(clock, device.samples(1000))
    queued = []
    for i, (true, stamp, arrival) in enumerate(device.samples(800)):
        queued.append((true, stamp, arrival + round(1.5 * S * (1 - abs(i - 400) / 400))))
    queued.sort(key=lambda sample: sample[2])
    device.last = max(device.last, queued[-1][2] - BASE)
    follow(clock, queued)
    after = follow(clock, device.samples(500))
    assert after[-1][1].epoch == 0
    assert all(abs(error) <= result.uncertainty for error, result in after)


@pytest.mark.parametrize("offset", [-30 * S, -S, S, 30 * S])
def test_single_wrong_stamps_change_nothing(offset: int) -> None:
    device = Clock(13, skew=S)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    follow(clock, device.samples(1000))
    for _ in range(20):
        _, stamp, arrival = device.samples(1)[0]
        assert clock.update(stamp + offset, arrival).epoch == 0
        followed = follow(clock, device.samples(10))
        assert all(abs(error) <= result.uncertainty for error, result in followed)
    assert followed[-1][1].epoch == 0


def test_messages_delivered_again_are_placed_where_they_were() -> None:
    device = Clock(17, skew=-S)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    follow(clock, device.samples(800))
    recent = device.samples(40)
    first = [clock.update(stamp, arrival) for _, stamp, arrival in recent]
    device.now += 2 * S
    later = BASE + device.now
    for (_, stamp, _), before in zip(recent, first, strict=True):
        assert clock.update(stamp, later).aligned == before.aligned
    after = follow(clock, device.samples(400))
    assert after[-1][1].epoch == 0
    assert all(abs(error) <= result.uncertainty for error, result in after)


def test_without_a_stamp_the_arrival_stands_with_the_prior_as_uncertainty() -> None:
    clock = DelayFilter(prior_delay_ns=7 * MS)
    assert clock.update(None, BASE) == Aligned(BASE, 7 * MS, 0)
    assert clock.to_timeline(42) == 42
    assert DelayFilter(prior_delay_ns=0).update(None, BASE).uncertainty == 1


@pytest.mark.parametrize("grain", [10 * MS, 100 * MS])
def test_stamps_that_are_rounded_down_are_not_taken_for_exact(grain: int) -> None:
    device = Clock(31, skew=-3 * S, ppm=20.0, jitter=MS, period=37 * MS + 12345)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    rounded = [(true, stamp // grain * grain, arrival) for true, stamp, arrival in device.samples(3000)]
    followed = follow(clock, rounded)
    assert sum(abs(error) > result.uncertainty for error, result in followed) <= 0.01 * len(followed)
    assert followed[-1][1].uncertainty < 2 * grain + 10 * MS


def test_an_exactly_periodic_source_is_not_taken_for_a_coarse_one() -> None:
    device = Clock(37, skew=S, jitter=MS // 5, period=20 * MS)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    assert follow(clock, device.samples(2000))[-1][1].uncertainty < 10 * MS


def test_to_timeline_agrees_with_update() -> None:
    device = Clock(19, skew=5 * S, ppm=50.0, jitter=MS)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    follow(clock, device.samples(2000))
    true, stamp, arrival = device.samples(1)[0]
    placed = clock.update(stamp, arrival)
    assert abs(clock.to_timeline(stamp) - placed.aligned) <= placed.uncertainty
    assert abs(clock.to_timeline(stamp - S) - (true - S)) <= placed.uncertainty


def test_after_a_long_silence_the_uncertainty_has_grown() -> None:
    device = Clock(23, skew=5 * S, ppm=40.0)
    clock = DelayFilter(prior_delay_ns=5 * MS)
    fresh = follow(clock, device.samples(2000))[-1][1]
    device.now += 600 * S
    error, stale = follow(clock, device.samples(1))[0]
    assert stale.uncertainty > fresh.uncertainty
    assert abs(error) <= stale.uncertainty


def test_memory_is_bounded() -> None:
    device = Clock(29, skew=0, period=MS)
    clock = DelayFilter()
    sizes = []
    for _ in range(4):
        follow(clock, device.samples(8000))
        sizes.append(sum(len(value) for value in vars(clock).values() if isinstance(value, list)))
    assert max(sizes) <= HISTORY + 32


def test_a_first_stamp_that_is_hours_old_is_no_step_of_the_clock():
    clock = DelayFilter(prior_delay_ns=1_000_000)
    hours = 3 * 3600 * S
    first = clock.update(BASE - hours, BASE)
    assert first.aligned <= BASE
    last = first
    for i in range(1, 50):
        at = BASE + i * S // 10
        aligned = clock.update(at - 2 * S, at + 3_000_000)
        assert aligned.epoch == 0
        assert last.aligned <= aligned.aligned <= at + 3_000_000
        last = aligned
    assert abs(last.aligned - at) <= last.uncertainty + 3_000_000
