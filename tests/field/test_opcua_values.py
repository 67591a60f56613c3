"""OPC UA data values: times, statuses, and every kind of value as a signal carries it."""

from __future__ import annotations

import datetime
import json
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("asyncua")
from asyncua import ua

from adapters.opcua.config import parse_node
from adapters.opcua.items import NamespaceMemory, node_id
from adapters.opcua.values import overflowed, quality_of, to_ns, to_signal, to_value
from bridge.schema import Quality

UTC = datetime.timezone.utc


@given(st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1)))
def test_a_time_survives_the_wire_to_the_microsecond(moment: datetime.datetime) -> None:
    wire = ua.win_epoch_to_datetime(ua.datetime_to_win_epoch(moment))
    nanoseconds = to_ns(wire)
    assert nanoseconds is not None
    assert datetime.datetime(1970, 1, 1) + datetime.timedelta(microseconds=nanoseconds // 1000) == moment


@pytest.mark.parametrize("year", [1601, 9999])
def test_for_ever_and_never_are_no_time(year: int) -> None:
    assert to_ns(datetime.datetime(year, 12, 31, tzinfo=UTC)) is None
    data = ua.DataValue(ua.Variant(1), ServerTimestamp=datetime.datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC))
    assert to_signal("t", data, 1.0, 0.0).server_ns is None


@pytest.mark.parametrize(
    ("code", "quality", "text"),
    [
        (0, Quality.GOOD, ""),
        (0x480, Quality.GOOD, "0x00000480 Good"),
        (0x40920000, Quality.UNCERTAIN, "0x40920000 UncertainInitialValue"),
        (0x80340000, Quality.BAD, "0x80340000 BadNodeIdUnknown"),
        (0xC0000000, Quality.BAD, "0xC0000000 Bad"),
        (0x8FFF0000, Quality.BAD, "0x8FFF0000 Bad"),
    ],
)
def test_a_status_has_a_quality_and_its_own_words(code: int, quality: Quality, text: str) -> None:
    assert quality_of(code) == (quality, text)


def test_overflow_needs_both_bits() -> None:
    assert overflowed(0x480)
    assert overflowed(0x40920480)
    assert not overflowed(0x400)
    assert not overflowed(0x080)
    assert not overflowed(0xC80)  # InfoType 3 is reserved: the bit means something else there


def test_values_that_are_not_plain_become_text() -> None:
    assert to_value(ua.LocalizedText("열림")) == "열림"
    assert to_value(ua.NodeId("a", 2)) == "ns=2;s=a"
    assert to_value(UUID(int=1)) == "00000000-0000-0000-0000-000000000001"
    assert to_value(ua.ServerState.Running, 10.0) == 0
    assert to_value([1.5, float("nan"), "x"]) == '[1.5, "nan", "x"]'
    assert json.loads(str(to_value([[1, 2], [3, 4]]))) == [[1, 2], [3, 4]]
    assert json.loads(str(to_value(ua.EUInformation(UnitId=3))))["UnitId"] == 3
    assert to_value("3", 2.0) == "3"
    assert to_value(True, 2.0) is True
    assert to_value(3, 0.5, 1.0) == 2.5


def test_node_ids_of_all_kinds() -> None:
    memory = NamespaceMemory()
    spaces = ["http://opcfoundation.org/UA/", "urn:server", "urn:a;b"]
    for text, expected in [
        ("i=2258", "i=2258"),
        ("ns=2;s=Press;Force=1", "ns=2;s=Press;Force=1"),
        ("nsu=urn:a%3Bb;i=7", "ns=2;i=7"),
        ("ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a", "ns=1;g=09087e75-8e5e-499b-954f-f2a9603db28a"),
        ("ns=1;b=M/RbKBsRVkePCePcx24oRA==", None),
    ]:
        address = parse_node(text)
        made = node_id(address, memory.index(address, spaces))
        if expected is not None:
            assert made.to_string() == expected
            assert made == ua.NodeId.from_string(expected)
        else:
            assert made.NodeIdType is ua.NodeIdType.ByteString
            assert len(made.Identifier) == 16


def test_an_index_follows_its_uri_over_restarts() -> None:
    memory, address = NamespaceMemory(), parse_node("ns=1;s=X")
    assert memory.index(address, ["ua", "urn:a", "urn:b"]) == 1
    assert memory.index(address, ["ua", "urn:b", "urn:a"]) == 2
    with pytest.raises(LookupError, match="was urn:a, which the server no longer has"):
        memory.index(address, ["ua", "urn:b"])
    with pytest.raises(LookupError, match="no namespace with index 9"):
        memory.index(parse_node("ns=9;s=X"), ["ua"])
