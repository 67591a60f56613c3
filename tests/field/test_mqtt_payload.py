"""Payloads and paths: numbers keep their digits, stamps their units, and nothing is dropped or raised."""

from __future__ import annotations

import datetime
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.mqtt.config import MqttSignal
from adapters.mqtt.path import follow, parse_path
from adapters.mqtt.payload import Reader, read_all, to_ns
from bridge.schema import Quality, Signal, codec

plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


def one(payload: bytes, **signal: Any) -> Signal:
    """The signal in one payload."""
    (read,) = read_all([Reader("t", MqttSignal(topic="x", **signal))], payload, False)
    return read


@given(st.binary(), st.sampled_from(["", "a", "a.b[0]"]), st.sampled_from(["auto", "number", "bool", "text"]))
def test_any_payload_gives_a_signal_that_can_be_recorded(payload: bytes, path: str, kind: str) -> None:
    signal = one(payload, path=path, type=kind, stamp="t" if path else "")
    assert codec.decode_signal(codec.encode_signal(signal)).quality is signal.quality
    assert (signal.quality is Quality.BAD) == (signal.value is None)
    assert (signal.quality is Quality.BAD) == bool(signal.status)


@given(plain)
def test_any_json_at_a_path_gives_a_signal_that_can_be_recorded(document: Any) -> None:
    signal = one(json.dumps({"a": document}).encode(), path="a")
    codec.decode_signal(codec.encode_signal(signal))
    if isinstance(document, (bool, int, str)):
        assert signal.value == document
    if isinstance(document, float):
        assert signal.value == pytest.approx(document)
    if document is None:
        assert signal.status == "the value is null"
    if isinstance(document, (dict, list)):
        assert json.loads(str(signal.value)) == document


@pytest.mark.parametrize(
    ("payload", "kind", "value"),
    [
        ("12", "auto", 12),
        ("9007199254740993", "auto", 9007199254740993),
        ("99999999999999999999999", "auto", 1e23),
        ("1.5e3", "auto", 1500.0),
        (" 3 ", "auto", 3),
        ("1_000", "auto", "1_000"),
        ("true", "auto", True),
        ("열림", "auto", "열림"),
        ("ON", "bool", True),
        ("0", "bool", False),
        ("maybe", "bool", None),
        ("7", "text", "7"),
        ("7", "number", 7),
        ("true", "number", None),
    ],
)
def test_raw_payloads(payload: str, kind: str, value: Any) -> None:
    read = one(payload.encode(), type=kind)
    assert (read.value, type(read.value)) == (value, type(value))


@given(st.integers(-(2**62), 2**62))
def test_whole_nanoseconds_are_exact(stamp: int) -> None:
    assert to_ns(stamp, "ns") == stamp
    assert to_ns(stamp // 10**9, "s") == stamp // 10**9 * 10**9


@pytest.mark.parametrize(
    ("stamp", "unit", "expected"),
    [
        (1767323045, "s", 1767323045 * 10**9),
        (1767323045123, "ms", 1767323045123 * 10**6),
        (1767323045.5, "s", 17673230455 * 10**8),
        ("1767323045123456", "us", 1767323045123456 * 1000),
        ("2026-01-02T03:04:05.250Z", "iso", 1767323045250 * 10**6),
        ("2026-01-02 12:04:05+09:00", "iso", 1767323045 * 10**9),
        ("2026-01-02T03:04:05", "iso", 1767323045 * 10**9),
    ],
)
def test_stamps(stamp: Any, unit: str, expected: int) -> None:
    assert to_ns(stamp, unit) == expected


@pytest.mark.parametrize(
    ("stamp", "unit"),
    [(True, "s"), (None, "s"), ("x", "ms"), (float("nan"), "s"), (10**30, "ns"), (1.7e12, "s"), (5, "iso")],
)
def test_what_is_no_stamp_is_said(stamp: Any, unit: str) -> None:
    with pytest.raises(ValueError, match="the stamp"):
        to_ns(stamp, unit)


def test_iso_is_the_same_moment_as_datetime_says() -> None:
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, 250_000, tzinfo=datetime.timezone.utc)
    assert to_ns(moment.isoformat(), "iso") == round(moment.timestamp() * 1000) * 10**6


keys = st.text(min_size=1).filter(lambda text: '"' not in text and "\n" not in text)


@given(st.lists(keys | st.integers(-5, 5), min_size=1, max_size=5))
def test_a_path_written_in_full_is_read_back(steps: list[str | int]) -> None:
    text = "".join(f"[{step}]" if isinstance(step, int) else f'["{step}"]' for step in steps)
    assert parse_path(text) == tuple(steps)


@given(st.text())
def test_no_text_breaks_the_path_parser(text: str) -> None:
    try:
        steps = parse_path(text)
    except ValueError:
        return
    with pytest.raises(LookupError):
        follow({}, steps)


def test_one_payload_is_read_for_all_its_signals() -> None:
    readers = [
        Reader("x", MqttSignal(topic="t", path="pose[0]", scale=0.001)),
        Reader("y", MqttSignal(topic="t", path='["a.b"].c')),
        Reader("z", MqttSignal(topic="t", path="pose[-1]")),
    ]
    signals = read_all(readers, b'{"pose": [1000, 2], "a.b": {"c": "deep"}}', False)
    assert [signal.value for signal in signals] == [1.0, "deep", 2]
