"""The codec: nothing is lost either way, another msgpack agrees, and an error names the field."""

from __future__ import annotations

import json
from typing import Any
from uuid import UUID

import msgpack
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from schema_strategies import bodies, events, signals

from bridge.errors import DariError, SchemaError
from bridge.schema import (
    Evidence,
    Failure,
    FailureCode,
    Interval,
    Link,
    Parameters,
    Quality,
    Relation,
    Signal,
    Space,
    Stamp,
    State,
    Task,
    TaskEvent,
    decode,
    decode_signal,
    decode_signals,
    encode,
    encode_signal,
    encode_signals,
    finite,
    from_json,
    to_json,
    validate_body,
)

ID = UUID("018f3f2e-0000-7000-8000-000000000001")
EVENT = TaskEvent(
    id=ID,
    source="plc",
    sequence=7,
    space=Space.FIELD,
    time=Stamp(received_ns=20, aligned_ns=10),
    body=Failure(
        code=FailureCode.GRASP_SLIP,
        detected_by="rule",
        evidence=(
            Evidence(channel="/field/press/force", window=Interval(t0_ns=1, t1_ns=2), predicate="f < 3", value=2.5),
        ),
    ),
    links=(Link(rel=Relation.CAUSED_BY, id=ID),),
    ext={"shift": ["late", 2, 2.5, None, {"deep": True}]},
)


@settings(deadline=None, max_examples=150)
@given(events())
def test_nothing_is_lost_on_the_way_there_and_back(event: TaskEvent) -> None:
    assert decode(encode(event)) == event
    assert from_json(to_json(event)) == event
    assert from_json(to_json(event).encode()) == event


@settings(deadline=None, max_examples=60)
@given(events())
def test_another_msgpack_reads_what_we_write_and_we_read_what_it_writes(event: TaskEvent) -> None:
    theirs = msgpack.unpackb(encode(event))
    assert theirs["id"] == event.id.bytes
    assert theirs["body"]["kind"] == event.kind
    assert [UUID(bytes=link["id"]) for link in theirs["links"]] == [link.id for link in event.links]
    assert decode(msgpack.packb(theirs)) == event


@settings(deadline=None, max_examples=60)
@given(events())
def test_another_json_reads_what_we_write(event: TaskEvent) -> None:
    theirs = json.loads(to_json(event))
    assert theirs["id"] == str(event.id)
    assert from_json(json.dumps(theirs)) == event


@settings(deadline=None, max_examples=60)
@given(st.lists(signals(), max_size=5))
def test_signals_go_there_and_back(batch: list[Signal]) -> None:
    assert decode_signals(encode_signals(batch)) == batch
    assert msgpack.unpackb(encode_signals(batch)) == [
        [s.tag, s.value, int(s.quality), s.status, s.source_ns, s.server_ns] for s in batch
    ]
    for signal in batch:
        again = decode_signal(encode_signal(signal))
        assert again == signal
        assert type(again.value) is type(signal.value)


def test_a_signal_may_be_nan_and_a_shorter_row_of_an_older_writer_is_read() -> None:
    again = decode_signal(encode_signal(Signal("t", float("nan"), Quality.BAD)))
    assert again.value != again.value
    assert decode_signal(msgpack.packb(["t", 1])) == Signal("t", 1)
    assert decode_signal(msgpack.packb(["t", 1, 0, "", None, None, "newer"])) == Signal("t", 1)


@settings(deadline=None, max_examples=100)
@given(bodies())
def test_every_body_that_fits_is_let_pass(body: Any) -> None:
    validate_body(body)


def _move(**parameters: Any) -> Task:
    return Task(verb="move", state=State.RUNNING, parameters=Parameters(**parameters))


def _changed(**changes: Any) -> dict[str, Any]:
    record: dict[str, Any] = msgpack.unpackb(encode(EVENT))
    for path, value in changes.items():
        target = record
        *steps, last = path.split("__")
        for step in steps:
            target = target[int(step)] if isinstance(target, list) else target[step]
        if value is ...:
            del target[last]
        else:
            target[last] = value
    return record


@pytest.mark.parametrize(
    ("changes", "where", "words"),
    [
        ({"body__evidence__0__window": 3}, "body.evidence[0].window", "expected a map, found a whole number (3)"),
        ({"body__evidence__0__value": "x"}, "body.evidence[0].value", "expected a number or null, found text ('x')"),
        ({"body__evidence__0__value": float("nan")}, "body.evidence[0].value", "nan is not a finite number"),
        ({"body__evidence__0__window": ...}, "body.evidence[0].window", "missing"),
        ({"body__code": "grasp.slipp"}, "body.code", "did you mean 'grasp.slip'?"),
        ({"body__evidence": []}, "body", "evidence is needed"),
        ({"body__kind": "surprise"}, "body.kind", "known are: run, episode, task"),
        ({"body__kind": ...}, "body.kind", "missing"),
        ({"source": ...}, "source", "missing"),
        ({"source": ""}, "source", "empty"),
        ({"sequence": -1}, "sequence", "at least 0"),
        ({"sequence": 2**63}, "sequence", "at most 9223372036854775807"),
        ({"time__uncertainty_ns": 0}, "time.uncertainty_ns", "at least 1"),
        ({"time__aligned_ns": 1.5}, "time.aligned_ns", "expected a whole number, found a number (1.5)"),
        ({"id": b"short"}, "id", "is no UUID"),
        ({"links__0__rel": "retires"}, "links[0].rel", "did you mean 'retries'?"),
        ({"schema": "dari.task_event/2"}, "schema", "is not the version"),
        ({"flags": [1]}, "flags[0]", "expected text"),
        ({"ext": {1: 2}}, "ext", "key"),
        ({"ext": {"a": [b"x"]}}, "ext.a[0]", "bytes"),
        (
            {
                "body": {
                    "kind": "decision",
                    "question": "which",
                    "chosen": "c",
                    "reason": {"code": "x"},
                    "decider": {"kind": "rule", "name": "r"},
                    "options": [{"id": "a"}],
                }
            },
            "body",
            "'c' is none of the options",
        ),
        ({"body": {"kind": "task", "verb": "grab", "state": "RUNNING"}}, "body.verb", "is no verb"),
        ({"body": {"kind": "task", "verb": "a.b", "state": "RUNNING"}}, "body", "base_verb is needed"),
        ({"body": {"kind": "task", "verb": "grasp", "state": "running"}}, "body.state", "PENDING"),
        (
            {
                "body": {
                    "kind": "task",
                    "verb": "grasp",
                    "state": "RUNNING",
                    "parameters": {"pose": {"frame": "w", "position": [0, 0]}},
                }
            },
            "body.parameters.pose.position",
            "3 items",
        ),
        (
            {
                "body": {
                    "kind": "task",
                    "verb": "grasp",
                    "state": "RUNNING",
                    "parameters": {"pose": {"frame": "w", "position": [0, 0, 0], "orientation": [0, 0, 0, 0]}},
                }
            },
            "body.parameters.pose",
            "no unit quaternion",
        ),
    ],
)
def test_an_error_names_the_field_the_value_and_the_cure(changes: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(SchemaError) as caught:
        decode(msgpack.packb(_changed(**changes)))
    assert caught.value.where == where
    assert words in str(caught.value)
    assert caught.value.exit_code == 7


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"source": 3}, "source"),
        ({"time": None}, "time"),
        ({"ext": {"a": float("inf")}}, "ext.a"),
        ({"ext": {"a": {"b": b"x"}}}, "ext.a.b"),
        ({"ext": {"a": "\ud800"}}, "ext.a"),
        ({"ext": {"a": 2**64}}, "ext.a"),
        ({"ext": {"a": object()}}, "ext.a"),
        (
            {"body": Task(verb="move", state=State.RUNNING, parameters=Parameters(free={"k": {1, 2}}))},
            "body.parameters.free.k",
        ),
        (
            {"body": Task(verb="move", state=State.RUNNING, parameters=Parameters(force_n=float("nan")))},
            "body.parameters.force_n",
        ),
    ],
)
def test_what_could_not_be_read_back_is_refused_where_it_is_made(change: dict[str, Any], where: str) -> None:
    event = msgspec.structs.replace(EVENT, **change)
    for write in (encode, to_json):
        with pytest.raises(SchemaError) as caught:
            write(event)
        assert caught.value.where == where


def test_open_fields_are_no_pit_without_a_bottom() -> None:
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(SchemaError):
        encode(msgspec.structs.replace(EVENT, ext={"deep": deep}))
    with pytest.raises(SchemaError):
        from_json(to_json(EVENT).replace('"ext":{', '"ext":{"deep":' + "[" * 5000 + "]" * 5000 + ","))


def test_a_signal_of_a_wrong_type_is_refused() -> None:
    with pytest.raises(SchemaError) as caught:
        encode_signals([Signal("a", 1), Signal("b", b"raw")])  # type: ignore[arg-type]
    assert caught.value.where == "[1][1]"
    with pytest.raises(SchemaError):
        encode_signal(Signal("a", 2**70))
    with pytest.raises(SchemaError):
        encode(Signal("a", 1))  # type: ignore[arg-type]


def test_fields_of_a_newer_version_are_let_pass() -> None:
    record = _changed(newer={"x": 1}, body__newer=2, time__newer=[3])
    record["body"]["evidence"][0]["newer"] = 4
    assert decode(msgpack.packb(record)) == EVENT
    as_json = json.loads(to_json(EVENT))
    as_json["newer"] = as_json["body"]["newer"] = 1
    assert from_json(json.dumps(as_json)) == EVENT


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=64) | st.integers(0, 400).map(lambda n: encode(EVENT)[:n]))
def test_damaged_bytes_give_a_clear_error_and_no_other(data: bytes) -> None:
    for read in (decode, from_json, decode_signal, decode_signals):
        try:
            read(data)
        except DariError as error:
            assert isinstance(error, SchemaError)


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(encode(EVENT)) - 1), st.integers(0, 255))
def test_a_flipped_byte_gives_an_event_or_a_clear_error(position: int, byte: int) -> None:
    data = bytearray(encode(EVENT))
    data[position] = byte
    try:
        event = decode(bytes(data))
    except SchemaError:
        return
    assert decode(encode(event)) == event


def test_a_number_that_is_none_becomes_null() -> None:
    assert finite(float("nan")) is finite(float("-inf")) is finite(None) is None
    assert finite(1.5) == 1.5
