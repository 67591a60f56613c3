"""Detectors on made-up channels: what each guard sees, when, and what it writes down."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import twin.detectors
import twin.rerun
from bridge.schema import FailureCode, Interval
from twin.detectors import EDGE_NS, GRIPPER, JOINTS, WRENCH, Monitor, aggregate, guards_for
from twin.engine import ARM_JOINTS
from twin.episode import thresholds
from twin.samples import JointSample, PoseSample, WrenchSample, extractor

STEP = 8_333_333


def gripper(width: float, force: float = 7.0) -> JointSample:
    return JointSample(("gripper_width",), (width,), (0.0,), (force,))


def pose(x: float, y: float = 0.0, z: float = 0.0) -> PoseSample:
    return PoseSample((x, y, z), (0.0, 0.0, 0.0, 1.0))


def feed(monitor: Monitor, channel: str, samples: list, start: int = 0) -> int:
    """Feed samples one period apart; returns the last stamp."""
    for number, sample in enumerate(samples, start=1):
        monitor.feed(channel, start + number * STEP, sample)
    return start + len(samples) * STEP


@pytest.fixture
def limits(cell):
    """The shipped cell's thresholds."""
    return thresholds(cell)


def test_closing_on_nothing_is_a_miss_and_closing_on_the_part_is_not(limits):
    for width, code in ((0.001, FailureCode.GRASP_MISS), (0.0415, None), (0.028, FailureCode.PART_DEFECTIVE)):
        monitor = Monitor(guards_for("grasp", {"close_s": 0.25}, limits), 0)
        now = feed(monitor, GRIPPER, [gripper(0.08)] * 10 + [gripper(width)] * 20)
        finding = monitor.check(now)
        assert (None if finding is None else finding.guard.code) is code


def test_a_grip_without_force_is_weak(limits):
    monitor = Monitor(guards_for("grasp", {"close_s": 0.25}, limits), 0)
    now = feed(monitor, GRIPPER, [gripper(0.0415, 2.0)] * 30)
    finding = monitor.check(now)
    assert finding.guard.code is FailureCode.GRASP_WEAK and finding.value == pytest.approx(2.0)


def test_a_slip_is_seen_after_closing_with_its_onset_before_its_detection(limits):
    monitor = Monitor(guards_for("grasp", {"close_s": 0.25}, limits), 0)
    now = feed(monitor, GRIPPER, [gripper(0.0415)] * 31)
    assert monitor.check(now) is None
    for width in (0.0415, 0.041, 0.039, 0.035, 0.031):
        now = feed(monitor, GRIPPER, [gripper(width)], now)
        assert monitor.check(now) is None
    now = feed(monitor, GRIPPER, [gripper(0.02)], now)
    finding = monitor.check(now)
    assert finding.guard.code is FailureCode.GRASP_SLIP
    assert finding.guard.predicate == "min(position[gripper_width]) < 0.03"
    assert finding.value == 0.02 and finding.detected_ns == now
    assert now - 4 * STEP <= finding.onset_ns < now


def test_fingers_that_are_still_closing_do_not_look_like_a_slip(limits):
    monitor = Monitor(guards_for("grasp", {"close_s": 0.25}, limits), 0)
    now = feed(monitor, GRIPPER, [gripper(0.02)] * 20)
    assert monitor.check(now) is None


@pytest.mark.parametrize(
    ("force", "load", "hit"),
    [
        ((0.0, 0.0, -9.9), 0.0, False),
        ((55.0, 0.0, -9.9), 0.0, True),
        ((0.0, -55.0, -9.9), 0.0, True),
        ((0.0, 0.0, 35.0), 0.0, True),
        ((0.0, 0.0, -51.0), 0.0, True),
        ((0.0, 0.0, -51.0), 3.0, False),
    ],
)
def test_a_force_that_weight_does_not_explain_is_a_collision(limits, force, load, hit):
    monitor = Monitor(guards_for("retreat", {"load_n": load}, limits), 0)
    now = feed(monitor, WRENCH, [WrenchSample((0.0, 0.0, -9.9), (0.0, 0.0, 0.0)), WrenchSample(force, (0.0, 0.0, 0.0))])
    finding = monitor.check(now)
    assert (finding is not None) is hit
    assert finding is None or finding.guard.code is FailureCode.MOTION_COLLISION


def test_an_arm_that_is_not_where_it_should_be_is_told_at_the_end_only(limits):
    goal = [0.0] * 7
    monitor = Monitor(guards_for("home", {"goal": goal, "load_n": 0.0}, limits), 0)
    joints = JointSample(ARM_JOINTS, (0.0, 0.0, 0.05, 0.0, 0.0, 0.0, 0.0), (0.0,) * 7, (0.0,) * 7)
    now = feed(monitor, JOINTS, [joints] * 4)
    assert monitor.check(now) is None
    finding = monitor.check(now, end=True)
    assert finding.guard.code is FailureCode.MOTION_TIMEOUT
    assert finding.guard.predicate == "last(position[panda_joint3]) > 0.03"


@pytest.mark.parametrize(
    ("frames", "code"),
    [
        ([], FailureCode.PART_MISSING),
        ([pose(0.5)], FailureCode.PERCEPTION_MISS),
        ([pose(0.5), pose(0.52), pose(0.5), pose(0.51)], FailureCode.PERCEPTION_POSE_ERROR),
        ([pose(0.5), pose(0.5005), pose(0.4995), pose(0.5)], None),
    ],
)
def test_a_look_that_sees_nothing_too_little_or_several_places(limits, frames, code):
    monitor = Monitor(guards_for("locate", {"camera": "part_pose"}, limits), 0)
    now = feed(monitor, "part_pose", frames) + STEP
    assert monitor.check(now) is None
    finding = monitor.check(now, end=True)
    assert (None if finding is None else finding.guard.code) is code
    if not frames:
        assert finding.value == 0.0, "the count of nothing is evidence too"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (pose(0.001, -0.002), None),
        (pose(0.009), FailureCode.PLACE_MISALIGNED),
        (pose(0.0, -0.009), FailureCode.PLACE_MISALIGNED),
        (pose(0.0, 0.0, 0.01), FailureCode.PLACE_MISALIGNED),
    ],
)
def test_a_part_beside_its_nest_or_on_its_wall_is_misaligned(limits, frame, code):
    monitor = Monitor(guards_for("verify", {"camera": "fixture/part_pose"}, limits), 0)
    now = feed(monitor, "fixture/part_pose", [frame] * 4)
    finding = monitor.check(now, end=True)
    assert (None if finding is None else finding.guard.code) is code


def test_samples_up_to_the_start_belong_to_the_skill_before(limits):
    monitor = Monitor(guards_for("avoid", {"load_n": 3.0}, limits), 1_000)
    monitor.feed(GRIPPER, 1_000, gripper(0.0))
    assert monitor.check(1_000 + STEP) is None
    monitor.feed(GRIPPER, 1_001, gripper(0.0))
    assert monitor.check(1_000 + STEP) is None, "a microsecond after the start is still the tick of the skill before"
    monitor.feed(GRIPPER, 1_000 + STEP, gripper(0.0))
    assert monitor.check(1_000 + STEP) is not None


values = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=40)


@given(values)
def test_aggregates_are_what_their_names_say(numbers):
    assert aggregate("count", numbers) == len(numbers)
    assert aggregate("min", numbers) <= aggregate("mean", numbers) + 1e-6
    assert aggregate("mean", numbers) <= aggregate("max", numbers) + 1e-6
    assert aggregate("range", numbers) == aggregate("max", numbers) - aggregate("min", numbers)
    assert aggregate("last", numbers) == numbers[-1]
    assert aggregate("delta", numbers) == numbers[-1] - numbers[0]


@given(st.lists(st.floats(0.0, 0.08), min_size=1, max_size=60), st.integers(1, 7))
def test_how_often_it_is_checked_changes_when_it_is_found_but_not_what_is_true_of_its_window(widths, every):
    from twin.cell import cell_path, load_cell

    monitor = Monitor(guards_for("avoid", {}, thresholds(load_cell(cell_path("panda_belt")))), 0)
    finding = None
    for number, width in enumerate(widths, start=1):
        monitor.feed(GRIPPER, number * STEP, gripper(width))
        if finding is None and number % every == 0:
            finding = monitor.check(number * STEP)
    if finding is None:
        checked = widths[: len(widths) // every * every]
        assert not checked or min(checked) >= 0.03
    else:
        inside = [w for n, w in enumerate(widths, start=1) if finding.t0_ns <= n * STEP <= finding.t1_ns]
        assert finding.value == min(inside) < 0.03
        assert finding.t0_ns - EDGE_NS <= finding.onset_ns <= finding.detected_ns


def test_evidence_says_what_was_compared(limits):
    monitor = Monitor(guards_for("grasp", {"close_s": 0.25}, limits), 0)
    now = feed(monitor, GRIPPER, [gripper(0.001)] * 31)
    evidence = monitor.check(now).evidence("/twin/arm/gripper/state", Interval(source_t0_ns=1, source_t1_ns=2))
    assert evidence.predicate == "last(position[gripper_width]) < 0.012"
    assert (evidence.field, evidence.value, evidence.threshold, evidence.unit) == (
        "position[gripper_width]",
        0.001,
        0.012,
        "m",
    )


def test_a_field_that_no_sample_has_is_an_error():
    for field in ("position", "wrench.force", "pose.position.q", "mass[part]"):
        with pytest.raises(ValueError, match="no field of a sample"):
            extractor(field)


def test_detectors_import_nothing_that_knows_the_truth_or_the_injection():
    allowed = {"twin.cell", "twin.detectors", "twin.engine", "twin.output", "twin.samples"}
    for module in (twin.detectors, twin.rerun):
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        froms = [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module]
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import) and "twin" in node.names[0].name]
        assert {node.module for node in froms if node.module.startswith("twin")} <= allowed
        taken = {name.name for node in froms if node.module == "twin.engine" for name in node.names}
        assert taken <= {"ARM_JOINTS"}, "names of joints, and nothing that could ask a simulator"
