"""Events, signals and clocks as CDR: lossless, and readable by readers that are not ours."""

from __future__ import annotations

import json
import math
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap_ros2._dynamic import generate_dynamic
from schema_cases import FULL, MINIMAL, cases, clock, signals
from schema_strategies import events
from schema_strategies import signals as any_signals

from bridge import messages
from bridge.errors import SchemaError
from bridge.schema import Quality, Signal, Stamp, TaskEvent, from_json
from bridge.schema.enums import State
from bridge.schema.flat import (
    from_flat,
    from_signal_message,
    from_signal_table,
    to_flat,
    to_signal_message,
    to_signal_table,
)
from bridge.schema.interfaces import MESSAGES, NULL_I64, NULL_U64, STATE_NUMBER, Message, Time


def _cdr(message: Message) -> bytes:
    return messages.serialize(message.type_name, message)


def _theirs(message: Message) -> SimpleNamespace:
    """Decoded by mcap-ros2-support, from the definition that goes into a log."""
    name = message.type_name
    return generate_dynamic(name, messages.definition(name))[name](_cdr(message))


@settings(deadline=None, max_examples=80)
@given(events())
def test_every_event_goes_through_cdr_unharmed(event: TaskEvent) -> None:
    assert from_flat(to_flat(event)) == event
    assert from_flat(messages.deserialize("dari_msgs/msg/TaskEvent", _cdr(to_flat(event)))) == event


@settings(deadline=None, max_examples=60)
@given(st.lists(any_signals(), max_size=4), st.integers(0, 2**62))
def test_every_signal_goes_through_cdr_unharmed(batch: list[Signal], aligned: int) -> None:
    table = to_signal_table(batch, aligned)
    assert from_signal_table(table) == batch
    again = from_signal_table(messages.deserialize("dari_msgs/msg/SignalTable", _cdr(table)))
    assert again == batch
    assert [type(signal.value) for signal in again] == [type(signal.value) for signal in batch]
    for signal in batch:
        message = messages.deserialize("dari_msgs/msg/Signal", _cdr(to_signal_message(signal, aligned)))
        assert from_signal_message(message) == signal


def test_a_nan_of_a_sensor_is_kept() -> None:
    again = from_signal_message(to_signal_message(Signal("t", float("nan"), Quality.BAD), 0))
    assert isinstance(again.value, float) and math.isnan(again.value)


def test_another_reader_sees_the_columns_of_an_event() -> None:
    event = cases()["task-full"]
    flat = _theirs(to_flat(event))
    assert (flat.header.stamp.sec, flat.header.stamp.nanosec) == (1_700_000_000, 399_000_001)
    assert (flat.kind, flat.space, flat.verb, flat.base_verb) == ("task", "field", "com.example.insert", "place")
    assert (flat.state, flat.state_name, flat.previous_name) == (4, "RECOVERING", "RUNNING")
    assert flat.asset == "acme/울산/body/c7/press-1"
    assert (flat.source, flat.sequence, flat.attempt, flat.embodiment) == ("cell-plc", 2**53 + 2, 2, "panda")
    assert (flat.source_ns, flat.uncertainty_ns, flat.clock_epoch) == (-1, 1, 3)
    assert flat.retries == flat.link_ids[flat.link_rels.index("retries")]
    assert flat.flags == list(event.flags)
    assert from_json(flat.body_json) == event
    assert json.loads(flat.body_json)["asset"]["site"] == "울산"


def test_each_kind_fills_its_columns() -> None:
    flat = {name: to_flat(event) for name, event in cases().items()}
    failure = flat["failure-full"]
    assert (failure.code, failure.severity, failure.text) == ("grasp.slip", "critical", "low friction")
    assert (failure.onset_t0_ns, failure.detected_ns) == (1_700_000_000_000_000_000, 1_700_000_000_300_000_000)
    assert failure.evidence_channels == ["/twin/arm/gripper/state"]
    decision = flat["decision-full"]
    assert (decision.chosen, decision.code, decision.decider_kind, decision.confidence) == (
        "g2",
        "highest_score",
        "planner",
        0.75,
    )
    correction = flat["correction-full"]
    assert correction.corrects == str(FULL["correction"].corrects) and correction.result == "partial"
    assert correction.text == "grasp.force_n: 5.0 -> 20; grasp.mode: None -> {'wide': True}"
    measure = flat["measure-full"]
    assert (measure.measure, measure.value, measure.unit, measure.target, measure.passed) == (
        "pose error",
        1.25,
        "mm",
        2.0,
        1,
    )
    assert (flat["health-full"].code, flat["health-full"].count) == ("gap", 12)
    assert (flat["run-full"].boundary, flat["run-full"].seed) == ("begin", 2**63 - 1)
    assert flat["annotation-full"].text == "glove on the lens"


def test_null_is_told_as_the_msg_text_says() -> None:
    for kind in MINIMAL:
        flat = to_flat(cases()[f"{kind}-minimal"])
        assert flat.uncertainty_ns == flat.count == NULL_U64
        assert flat.source_ns == flat.detected_ns == flat.seed == NULL_I64
        assert math.isnan(flat.confidence) and math.isnan(flat.target)
        assert flat.task_id == flat.embodiment == flat.completes == ""
        assert (flat.state == 255) == (kind != "task")


def test_another_reader_sees_signals_and_clocks() -> None:
    table = _theirs(to_signal_table(signals(), 5))
    assert list(table.tags) == [signal.tag for signal in signals()]
    assert list(table.values)[:3] == [1.0, float(2**63 + 1), -2.5]
    assert list(table.texts) == ["", str(2**63 + 1), "", "높음", ""]
    one = _theirs(to_signal_message(signals()[2], 1_000_000_001, "m/s"))
    assert (one.tag, one.value, one.unit, one.quality, one.header.stamp.nanosec) == ("speed", -2.5, "m/s", 0, 1)
    model = _theirs(clock())
    assert (model.source, model.clock, model.offset_ns, model.drift) == ("robot", "header", -7, 2.5e-5)
    assert list(model.sequence) == [2**40, 2**40 + 1] and list(model.channel_index) == [0, 1]
    assert list(model.topics) == clock().topics


def test_an_all_numeric_table_writes_no_empty_texts() -> None:
    table = to_signal_table([Signal("a", 1.0), Signal("b", 2)], 0)
    assert table.texts == table.statuses == table.units == []


def test_state_numbers_are_frozen() -> None:
    """Constants are no part of a type's hash, so they are held here."""
    order = "PENDING READY RUNNING PAUSED RECOVERING CANCELING SUCCEEDED CANCELED FAILED SKIPPED UNKNOWN"
    assert {state.value: number for state, number in STATE_NUMBER.items()} == {
        word: number for number, word in enumerate(order.split())
    }
    assert set(STATE_NUMBER) == set(State)


def test_times_that_ros_can_not_write_are_held_at_the_edge() -> None:
    assert (Time.of(-1).sec, Time.of(-1).nanosec) == (-1, 999_999_999)
    assert Time.of(-1).ns() == -1 and Time.of(1_700_000_000_123_456_789).ns() == 1_700_000_000_123_456_789
    assert Time.of(2**62).sec == 2**31 - 1
    event = cases()["run-minimal"]
    far = TaskEvent(
        id=event.id,
        source="s",
        sequence=0,
        space=event.space,
        body=event.body,
        time=Stamp(received_ns=0, aligned_ns=2**62),
    )
    assert from_flat(messages.deserialize("dari_msgs/msg/TaskEvent", _cdr(to_flat(far)))) == far


def test_what_is_no_event_is_refused() -> None:
    with pytest.raises(SchemaError, match="has no body_json"):
        from_flat(messages.message("std_msgs/msg/Header"))
    assert {message.type_name for message in MESSAGES} == {
        f"dari_msgs/msg/{name}" for name in ("TaskEvent", "Signal", "SignalTable", "ClockModel")
    }
