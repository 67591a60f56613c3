"""Detectors: from recorded channels to failure codes. They know no simulator and no injection.

A detector is a set of guards that watch one attempt at one skill. A guard compares an aggregate of one field of one channel,
over a window, with a threshold; what it finds is written as evidence that anyone can compute again:
`<aggregate>(<field>) <op> <threshold>`. `twin.rerun` runs the same guards over a log and finds the same.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from bridge.schema import Evidence, FailureCode, Interval
from twin.engine import ARM_JOINTS
from twin.samples import Sample, extractor

Aggregate = Literal["min", "max", "mean", "range", "last", "delta", "count"]
When = Literal["always", "at", "end"]

JOINTS = "joint_states"
GRIPPER = "gripper/state"
WRENCH = "wrench"
COMMAND = "command/joint_states"
WIDTH = "position[gripper_width]"
GRIP = "effort[gripper_width]"

EDGE_NS = 2_000_000
"""Windows end this far after their last sample and begin this far after the sample before their first: less than half of a
sample's period, so that a reader's rounding of times neither loses a sample nor gains one."""


GRACE_NS = 500_000
"""Steps of 1/240 s are cut to whole nanoseconds; comparisons with times in seconds let that pass."""


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """What the detectors compare with: recorded with each episode, so that a log says it all. SI units."""

    contact_n: float
    tracking_rad: float
    miss_width_m: float
    width_tolerance_m: float
    hold_fraction: float
    grip_fraction: float
    scatter_m: float
    place_tolerance_m: float
    part_width_m: float
    grip_need_n: float
    hand_weight_n: float
    opening_m: float
    frames: int


class Guard(msgspec.Struct, frozen=True, kw_only=True):
    """One comparison. `always` looks at each control tick from `from_s` on, `at` once at `at_s`, `end` when the skill is through.

    Times in s from the start of the attempt; `span_s` shortens the window to the last so many seconds.
    """

    code: FailureCode
    channel: str
    field: str
    aggregate: Aggregate
    op: Literal["<", ">"]
    threshold: float
    unit: str
    when: When
    from_s: float = 0.0
    at_s: float = 0.0
    span_s: float | None = None

    @property
    def predicate(self) -> str:
        """The comparison in words that can be parsed."""
        return f"{self.aggregate}({self.field}) {self.op} {self.threshold:g}"

    def holds(self, value: float) -> bool:
        """Whether `value` is on the bad side of the threshold."""
        return value < self.threshold if self.op == "<" else value > self.threshold


class Finding(NamedTuple):
    """A guard that has fired: window and onset in ns of the source's clock, and the value found."""

    guard: Guard
    t0_ns: int
    t1_ns: int
    onset_ns: int
    detected_ns: int
    value: float

    def evidence(self, topic: str, window: Interval) -> Evidence:
        """The finding as evidence on the log's topic."""
        guard = self.guard
        return Evidence(
            channel=topic,
            window=window,
            predicate=guard.predicate,
            field=guard.field,
            value=self.value,
            threshold=guard.threshold,
            unit=guard.unit,
        )


def aggregate(kind: Aggregate, values: Sequence[float]) -> float | None:
    """The aggregate of a window's values; None where there is none, except that the count of nothing is 0."""
    if kind == "count":
        return float(len(values))
    if not values:
        return None
    if kind == "min":
        return min(values)
    if kind == "max":
        return max(values)
    if kind == "mean":
        return sum(values) / len(values)
    if kind == "range":
        return max(values) - min(values)
    return values[-1] if kind == "last" else values[-1] - values[0]


class Monitor:
    """Watches one attempt at one skill. Feed it every sample in the order of stamps, and check at each control tick.

    Samples count that are later than `start_ns` and not later than the check.
    """

    def __init__(self, guards: Sequence[Guard], start_ns: int) -> None:
        order = {"at": 0, "always": 1, "end": 2}
        self._guards = sorted(guards, key=lambda guard: order[guard.when])
        self._start = start_ns
        self._stamps: dict[str, list[int]] = {guard.channel: [] for guard in guards}
        self._samples: dict[str, list[Sample]] = {guard.channel: [] for guard in guards}
        self._extract = {guard.field: extractor(guard.field) for guard in guards}
        self._seen = [0] * len(self._guards)
        self._worst: list[float | None] = [None] * len(self._guards)
        self._done = [False] * len(self._guards)

    def feed(self, channel: str, stamp_ns: int, sample: Sample) -> None:
        """Take one sample of any channel; those that no guard reads are let go."""
        stamps = self._stamps.get(channel)
        if stamps is not None and stamp_ns > self._start:
            stamps.append(stamp_ns)
            self._samples[channel].append(sample)

    def check(self, now_ns: int, *, end: bool = False) -> Finding | None:
        """The first guard that fires now, or None. `end` says that the skill is through."""
        for index, guard in enumerate(self._guards):
            if guard.when == "always":
                finding = self._always(index, guard, now_ns)
            elif not self._done[index] and self._due(guard, now_ns, end):
                self._done[index] = True
                finding = self._once(guard, now_ns)
            else:
                continue
            if finding is not None:
                return finding
        return None

    def _due(self, guard: Guard, now: int, end: bool) -> bool:
        return end if guard.when == "end" else now >= self._start + _ns(guard.at_s) - GRACE_NS

    def _always(self, index: int, guard: Guard, now: int) -> Finding | None:
        stamps, samples = self._stamps[guard.channel], self._samples[guard.channel]
        begin = self._start + _ns(guard.from_s) + GRACE_NS
        pick, lower = self._extract[guard.field], guard.aggregate == "min"
        worst = self._worst[index]
        for number in range(self._seen[index], len(stamps)):
            if stamps[number] > begin:
                value = pick(samples[number])
                if worst is None or (value < worst if lower else value > worst):
                    worst = value
        self._seen[index] = len(stamps)
        self._worst[index] = worst
        if worst is None or not guard.holds(worst):
            return None
        return self._found(guard, begin, now, worst)

    def _once(self, guard: Guard, now: int) -> Finding | None:
        begin = self._start if guard.span_s is None else max(self._start, now - _ns(guard.span_s) + GRACE_NS)
        value = aggregate(guard.aggregate, [value for _, value in self._series(guard, begin)])
        if value is None or not guard.holds(value):
            return None
        return self._found(guard, begin, now, value)

    def _series(self, guard: Guard, begin: int) -> list[tuple[int, float]]:
        pick = self._extract[guard.field]
        pairs = zip(self._stamps[guard.channel], self._samples[guard.channel], strict=True)
        return [(stamp, pick(sample)) for stamp, sample in pairs if stamp > begin]

    def _found(self, guard: Guard, begin: int, now: int, value: float) -> Finding:
        onset = begin + EDGE_NS
        series = self._series(guard, begin)
        if series and guard.aggregate in ("min", "max", "last"):
            # It began after the last sample that was still near where it started: half of the way to the threshold.
            calm = series[0][1]
            near = 0.5 * abs(guard.threshold - calm)
            quiet = [stamp for stamp, found in series if abs(found - calm) <= near]
            onset = quiet[-1] if quiet else onset
        return Finding(guard, begin + EDGE_NS, now + EDGE_NS, min(onset, now), now, value)


def _ns(seconds: float) -> int:
    return round(seconds * 1e9)


def guards_for(skill: str, parameters: Mapping[str, object], limits: Thresholds) -> list[Guard]:
    """The guards of a skill, from what its task event says (`parameters.free`) and the episode's thresholds."""
    number = {key: float(value) for key, value in parameters.items() if isinstance(value, (int, float))}
    goal = parameters.get("goal")
    arrival = _arrival(goal, limits) if isinstance(goal, (list, tuple)) else []
    load = number.get("load_n", 0.0)
    if skill == "locate":
        return _look(str(parameters["camera"]), limits, FailureCode.PART_MISSING)
    if skill == "grasp":
        return [
            *_closing(number["close_s"], limits),
            _hold(FailureCode.GRASP_SLIP, number["close_s"], limits),
            *arrival,
        ]
    if skill == "avoid":
        return [*_contact(limits, load), _hold(FailureCode.GRASP_SLIP, 0.0, limits), *arrival]
    if skill == "place":
        return [*_contact(limits, load), _hold(FailureCode.PLACE_DROPPED, 0.0, limits), *arrival]
    if skill == "release":
        return [_end(FailureCode.MOTION_TIMEOUT, GRIPPER, WIDTH, "last", "<", 0.7 * limits.opening_m, "m")]
    if skill == "verify":
        return _placed(str(parameters["camera"]), limits)
    return [*_contact(limits, load), *arrival]


def _contact(limits: Thresholds, load: float) -> list[Guard]:
    """Forces at the wrist beyond what the hand's and the part's weight explain: something is in the way."""
    weight = limits.hand_weight_n + load
    bounds: list[tuple[str, Literal["<", ">"], float]] = []
    for axis in ("x", "y"):
        bounds += [(axis, ">", limits.contact_n), (axis, "<", -limits.contact_n)]
    bounds += [("z", ">", limits.contact_n - weight), ("z", "<", -limits.contact_n - weight)]
    return [
        Guard(
            code=FailureCode.MOTION_COLLISION,
            channel=WRENCH,
            field=f"wrench.force.{axis}",
            aggregate="max" if op == ">" else "min",
            op=op,
            threshold=_round(threshold),
            unit="N",
            when="always",
        )
        for axis, op, threshold in bounds
    ]


def _hold(code: FailureCode, from_s: float, limits: Thresholds) -> Guard:
    """The fingers come closer than the part is wide: it is no longer between them."""
    return Guard(
        code=code,
        channel=GRIPPER,
        field=WIDTH,
        aggregate="min",
        op="<",
        threshold=_round(limits.part_width_m * limits.hold_fraction),
        unit="m",
        when="always",
        from_s=from_s,
    )


def _closing(close_s: float, limits: Thresholds) -> list[Guard]:
    """When the fingers have closed: on nothing, on something of another size, or without force."""
    width, tolerance = limits.part_width_m, limits.width_tolerance_m
    wanted: list[tuple[FailureCode, str, Aggregate, Literal["<", ">"], float, str, float | None]] = [
        (FailureCode.GRASP_MISS, WIDTH, "last", "<", limits.miss_width_m, "m", None),
        (FailureCode.PART_DEFECTIVE, WIDTH, "last", "<", width - tolerance, "m", None),
        (FailureCode.PART_DEFECTIVE, WIDTH, "last", ">", width + tolerance, "m", None),
        (FailureCode.GRASP_WEAK, GRIP, "mean", "<", limits.grip_fraction * limits.grip_need_n, "N", 0.1),
    ]
    return [
        Guard(
            code=code,
            channel=GRIPPER,
            field=field,
            aggregate=kind,
            op=op,
            threshold=_round(threshold),
            unit=unit,
            when="at",
            at_s=close_s,
            span_s=span,
        )
        for code, field, kind, op, threshold, unit, span in wanted
    ]


def _look(camera: str, limits: Thresholds, nothing: FailureCode) -> list[Guard]:
    """A look at a part: nothing there, seen too seldom, or seen in several places."""
    x, y = "pose.position.x", "pose.position.y"
    return [
        _end(nothing, camera, x, "count", "<", 1, "1"),
        _end(FailureCode.PERCEPTION_MISS, camera, x, "count", "<", 0.7 * limits.frames, "1"),
        _end(FailureCode.PERCEPTION_POSE_ERROR, camera, x, "range", ">", limits.scatter_m, "m"),
        _end(FailureCode.PERCEPTION_POSE_ERROR, camera, y, "range", ">", limits.scatter_m, "m"),
    ]


def _placed(camera: str, limits: Thresholds) -> list[Guard]:
    """The fixture's camera sees no part, or sees it beside its nest or on its wall. The frame's origin is the nest."""
    tolerance, code = limits.place_tolerance_m, FailureCode.PLACE_MISALIGNED
    guards = [_end(FailureCode.PLACE_DROPPED, camera, "pose.position.x", "count", "<", 1, "1")]
    for axis in ("x", "y"):
        guards.append(_end(code, camera, f"pose.position.{axis}", "mean", ">", tolerance, "m"))
        guards.append(_end(code, camera, f"pose.position.{axis}", "mean", "<", -tolerance, "m"))
    return [*guards, _end(code, camera, "pose.position.z", "mean", ">", tolerance, "m")]


def _arrival(goal: Sequence[object], limits: Thresholds) -> list[Guard]:
    """The arm is not where the motion should have brought it."""
    guards = []
    for joint, angle in zip(ARM_JOINTS, goal, strict=True):
        if isinstance(angle, (int, float)):
            field, far = f"position[{joint}]", limits.tracking_rad
            guards.append(_end(FailureCode.MOTION_TIMEOUT, JOINTS, field, "last", ">", angle + far, "rad"))
            guards.append(_end(FailureCode.MOTION_TIMEOUT, JOINTS, field, "last", "<", angle - far, "rad"))
    return guards


def _end(
    code: FailureCode,
    channel: str,
    field: str,
    kind: Aggregate,
    op: Literal["<", ">"],
    threshold: float,
    unit: str,
) -> Guard:
    return Guard(
        code=code,
        channel=channel,
        field=field,
        aggregate=kind,
        op=op,
        threshold=_round(threshold),
        unit=unit,
        when="end",
    )


def _round(threshold: float) -> float:
    # As many digits as the predicate's text shows, so that text and number are the same.
    return float(f"{threshold:g}")
