"""Predicates over telemetry: the values are read back from a real log."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from recorder_rig import MONOTONIC, MS, SECOND, Rig, Told, joint_states, poll, press_signals

from bridge import messages
from bridge.errors import UsageError
from bridge.schema import Evidence, Failure, Interval, Space
from recorder.predicate import AGGREGATES, evaluate, parse_predicate, read_evidence, series
from recorder.reader import Log, open_log

JOINT_STATES = "/twin/arm/joint_states"
ALL = Interval(t0_ns=0, t1_ns=2**62)


@pytest.fixture(scope="module")
def log(written: tuple[Path, Told]) -> Iterator[Log]:
    with open_log(written[0]) as log:
        yield log


def value(log: Log, topic: str, predicate: str, window: Interval = ALL) -> float | None:
    return evaluate(log, topic, predicate, window).value


def test_every_aggregate_of_a_joint(log: Log) -> None:
    """Joint 2 goes from 1.00 to 2.99 in 200 messages."""
    expected = {"min": 1.0, "max": 2.99, "mean": 1.995, "range": 1.99, "last": 2.99, "delta": 1.99, "count": 200.0}
    assert expected.keys() == AGGREGATES.keys()
    for aggregate, number in expected.items():
        found = value(log, JOINT_STATES, f"{aggregate}(position[panda_joint2]) > 0")
        assert found == pytest.approx(number), aggregate


def test_fields_by_name_number_and_path(log: Log) -> None:
    assert value(log, JOINT_STATES, "max(position[1]) > 0") == pytest.approx(2.99)
    assert value(log, JOINT_STATES, "max(position[-1]) > 0") == pytest.approx(9.99)
    assert value(log, "/twin/arm/wrench", "min(wrench.force.z) < 0") == -9.0
    assert value(log, "/field/press_1/temperature", "max(value) > 0") == 189.0
    assert value(log, "/field/press_1/press/signals", "max(value[pressure]) > 0") == pytest.approx(6.9)
    assert value(log, "/field/press_1/press/signals", "max(values[pressure]) > 0") == pytest.approx(6.9)
    assert value(log, "/field/press_1/press/signals", "count(values[running]) > 0") == 10.0
    assert value(log, JOINT_STATES, "count() > 0") == 200.0


def test_a_window_has_both_its_ends(log: Log) -> None:
    first = next(log.messages([JOINT_STATES])).log_time
    window = Interval(t0_ns=first + 100 * MS, t1_ns=first + 200 * MS)
    assert value(log, JOINT_STATES, "count() > 0", window) == 11.0
    assert value(log, JOINT_STATES, "min(position[panda_joint1]) > 0", window) == pytest.approx(0.10)
    assert value(log, JOINT_STATES, "max(position[panda_joint1]) > 0", window) == pytest.approx(0.20)
    assert len(list(series(log, JOINT_STATES, "position[0]", window.t0_ns, window.t1_ns))) == 11


def test_what_holds_and_what_does_not(log: Log) -> None:
    for op, holds in (("<", False), ("<=", True), (">", False), (">=", True), ("==", True), ("!=", False)):
        assert evaluate(log, "/twin/arm/wrench", f"min(wrench.force.z) {op} -9", ALL).holds is holds


def test_a_value_that_held_since_before_the_window(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("press", Space.FIELD, "press", press_signals())
    poll(port, MONOTONIC, 5)
    with open_log(rig.close()) as log:
        at = next(log.messages(["/field/press/temperature"])).log_time
        later = Interval(t0_ns=at + 2 * SECOND, t1_ns=at + 3 * SECOND)
        reading = evaluate(log, "/field/press/temperature", "last(value) > 0", later)
        assert (reading.value, reading.held, reading.holds) == (185.0, True, True)
        assert evaluate(log, "/field/press/temperature", "count() > 0", later).value == 0.0
        assert evaluate(log, "/field/press/temperature", "delta(value) > 0", later).value is None
        much_later = Interval(t0_ns=at + 100 * SECOND, t1_ns=at + 101 * SECOND)
        assert evaluate(log, "/field/press/temperature", "last(value) > 0", much_later).value is None


@pytest.mark.parametrize(
    ("topic", "predicate", "said"),
    [
        ("/twin/arm/joint_state", "max(position[0]) > 0", "did it mean /twin/arm/joint_states"),
        (JOINT_STATES, "max(position[panda_joint99]) > 0", "fields with numbers: "),
        (JOINT_STATES, "max(header.frame_id) > 0", "has no number there"),
        (JOINT_STATES, "max(position) > 0", "has no number there"),
        (JOINT_STATES, "max(position[99]) > 0", "has no number there"),
    ],
)
def test_what_the_log_lacks_is_said(log: Log, topic: str, predicate: str, said: str) -> None:
    reading = evaluate(log, topic, predicate, ALL)
    assert reading.value is None
    assert reading.holds is None
    assert said in reading.note


def test_no_message_in_the_window(log: Log) -> None:
    reading = evaluate(log, JOINT_STATES, "range(position[0]) > 0", Interval(t0_ns=1, t1_ns=2))
    assert reading.note == "no message in the window"
    assert evaluate(log, JOINT_STATES, "max(position[0]) > 0", Interval()).note == "the window has no aligned times"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "max",
        "max(x)",
        "max(x) >",
        "max(x) > y",
        "maximum(x) > 1",
        "max() > 1",
        "max(x.) > 1",
        "max(.x) > 1",
        "max(x y) > 1",
        "max(x[) > 1",
        "max(x) > 1; import os",
        "max(x) => 1",
        "max(x)) > 1",
    ],
)
def test_predicates_that_are_none(text: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_predicate(text)
    assert caught.value.hint


@given(
    st.sampled_from(sorted(AGGREGATES)),
    st.sampled_from(["x", "a.b.c", "position[panda_joint1]", "v[3]", "value[DB1.X0-0]"]),
    st.sampled_from(["<", "<=", ">", ">=", "==", "!="]),
    st.floats(allow_nan=False, allow_infinity=False),
)
def test_what_is_written_is_parsed(aggregate: str, field: str, op: str, number: float) -> None:
    parsed = parse_predicate(f" {aggregate}( {field} ){op}{number!r} ")
    assert (parsed.aggregate, parsed.field, parsed.op, parsed.number) == (aggregate, field, op, number)


@given(st.text(max_size=40))
def test_any_text_is_a_predicate_or_a_clear_error(text: str) -> None:
    try:
        parse_predicate(text)
    except UsageError as error:
        assert error.what


def test_the_evidence_of_a_failure_agrees(log: Log) -> None:
    (failure,) = [e for e in log.events() if isinstance(e.body, Failure)]
    assert isinstance(failure.body, Failure)
    (evidence,) = failure.body.evidence
    reading = read_evidence(log, evidence, failure.time.uncertainty_ns)
    assert reading is not None
    assert reading.value == 0.25
    assert reading.holds is True
    assert reading.agrees(evidence.value) is True
    assert reading.agrees(0.3) is False
    assert reading.agrees(None) is None


def test_an_edge_that_was_aligned_a_little_off_is_found_by_widening(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    joint_states(rig.port("twin"), MONOTONIC, 100)
    with open_log(rig.close()) as log:
        times = [m.log_time for m in log.messages([JOINT_STATES])]
        # The sample with the recorded value lies 0.2 ms outside of the window.
        window = Interval(t0_ns=times[50] - 200_000 - 30 * MS, t1_ns=times[50] - 200_000)
        evidence = Evidence(channel=JOINT_STATES, window=window, predicate="last(position[0]) > 0.4", value=0.5)
        reading = read_evidence(log, evidence, 3 * MS)
        assert reading is not None
        assert reading.value == pytest.approx(0.5)
        assert 0 < reading.widened_ns <= 3 * MS
        wrong = Evidence(channel=JOINT_STATES, window=window, predicate="last(position[0]) > 0.4", value=0.7)
        reading = read_evidence(log, wrong, 3 * MS)
        assert reading is not None
        assert reading.agrees(0.7) is False
        assert reading.widened_ns == 0


def test_evidence_in_another_language_is_not_read(log: Log) -> None:
    window = Interval(t0_ns=0, t1_ns=1)
    assert read_evidence(log, Evidence(channel=JOINT_STATES, window=window, predicate="grip_ok falls")) is None


def test_items_of_a_list_by_name_and_by_goal_id(tmp_path: Path) -> None:
    """`tf` by child frame; a goal's status by its id, beside another goal that succeeded."""
    rig = Rig(tmp_path)
    port = rig.port("robot")
    tf = port.channel("tf", "tf2_msgs/msg/TFMessage")
    transforms = [
        messages.message("geometry_msgs/msg/TransformStamped", child_frame_id=frame, transform=at)
        for frame, at in (("hand", {"translation": {"z": 0.5}}), ("tool", {"translation": {"z": 0.7}}))
    ]
    data = messages.message("tf2_msgs/msg/TFMessage", transforms=transforms)
    port.emit(tf, messages.serialize("tf2_msgs/msg/TFMessage", data), arrival=MONOTONIC)
    goals = [
        messages.message("action_msgs/msg/GoalStatus", goal_info={"goal_id": {"uuid": bytes([n]) * 16}}, status=status)
        for n, status in ((1, 4), (2, 6))
    ]
    status = port.channel("pick/_action/status", "action_msgs/msg/GoalStatusArray")
    data = messages.message("action_msgs/msg/GoalStatusArray", status_list=goals)
    port.emit(status, messages.serialize("action_msgs/msg/GoalStatusArray", data), arrival=MONOTONIC)
    with open_log(rig.close()) as log:
        assert value(log, "/twin/arm/tf", "last(transforms[tool].transform.translation.z) > 0") == 0.7
        assert value(log, "/twin/arm/tf", "last(transforms[0].transform.translation.z) > 0") == 0.5
        assert value(log, "/twin/arm/tf", "last(transforms[foot].transform.translation.z) > 0") is None
        assert value(log, status.topic, f"last(status_list[{'02' * 16}].status) == 6") == 6.0
        assert value(log, status.topic, f"last(status_list[{'01' * 16}].status) == 6") == 4.0
        assert value(log, status.topic, f"last(status_list[{'03' * 16}].status) == 6") is None


def test_nan_is_no_number(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("press", Space.FIELD, "press", press_signals())
    for n in range(5):
        poll(port, MONOTONIC + n * 100 * MS, n)
    with open_log(rig.close()) as log:
        found = evaluate(log, "/field/press/press/signals", "count(value[program]) == 0", ALL)
        assert found.value == 0.0, "text and null are NaN in the column"
