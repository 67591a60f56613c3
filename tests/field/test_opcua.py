"""The OPC UA adapter against a real server in another process: values, faults, resuming."""

from __future__ import annotations

import json
from typing import Any

import pytest
from field_peers import Serve, free_port, grows, port_for, running, ups_and_downs, values

from adapters.opcua import OpcUaAdapter, OpcUaOptions, OpcUaSignal
from bridge.schema import HealthCode, Quality
from bridge.testing import RecordingPort

pytest.importorskip("asyncua")


def node(name: str, **more: Any) -> OpcUaSignal:
    """A signal by namespace URI."""
    return OpcUaSignal(node=f"nsu=urn:dari:test;s={name}", **more)


def make(endpoint: str, signals: dict[str, OpcUaSignal], **options: Any) -> tuple[OpcUaAdapter, RecordingPort]:
    """An adapter and its port."""
    port = port_for(dict(signals))
    settings = {"publish_ms": 50, "timeout_s": 2, "retry_s": 0.3, **options}
    return OpcUaAdapter(port.source, OpcUaOptions(endpoint=endpoint, **settings), dict(signals)), port


def test_values_of_every_kind_with_their_times(serve: Serve) -> None:
    _, endpoint = serve(skew_ms=-5000)
    signals = {
        "count": OpcUaSignal(node="ns=2;s=Count"),
        "force": node("Force", scale=2.0, offset=1.0, own=True),
        "single": node("Single"),
        "running": node("Running", scale=2.0),
        "word": node("Word"),
        "name": node("Name"),
        "list": node("List"),
        "moment": node("Moment"),
        "blob": node("Blob"),
        "nan": node("NotANumber"),
        "time": OpcUaSignal(node="i=2258"),
    }
    adapter, port = make(endpoint, signals)
    assert adapter.check() == []
    with running(adapter, port):
        assert port.wait_for(lambda port: {s.tag for s in list(port.signals_seen)} == set(signals))
        assert port.wait_for(grows("count", 10))
    first = {tag: values(port, tag)[0] for tag in signals}
    assert first["force"] == 4.0
    assert first["single"] == 0.5
    assert first["running"] is True
    assert first["word"] == 65535
    assert first["name"] == "gripper 온도"
    assert json.loads(first["list"]) == [1, 2, 3]
    assert first["moment"].startswith("2026-01-02T03:04:05")
    assert first["blob"] == "00ff"
    assert first["nan"] != first["nan"]
    counts = [signal for signal in port.signals_seen if signal.tag == "count"]
    # Sampled every 50 ms with a queue, from a source that writes every 20 ms: nothing is lost, nothing comes twice.
    assert [s.value for s in counts] == list(range(counts[0].value, counts[0].value + len(counts)))
    # The first is the value that lay there; the others carry the device's clock, 5 s behind the server's.
    assert all(-5_100_000_000 < s.source_ns - s.server_ns < -4_900_000_000 for s in counts[1:])
    assert [channel.name for channel in port.declared if channel.kind.value == "signal"] == ["force"]


def test_one_bad_tag_never_silences_the_others_and_comes_back(serve: Serve) -> None:
    peer, endpoint = serve()
    signals = {
        "count": node("Count"),
        "late": node("Late"),
        "nowhere": OpcUaSignal(node="nsu=urn:not:there;s=X"),
        "object": OpcUaSignal(node="i=85"),
    }
    adapter, port = make(endpoint, signals)
    with running(adapter, port):
        assert port.wait_for(grows("count", 3))
        bad = {s.tag: s.status for s in port.signals_seen if s.quality is Quality.BAD}
        assert bad["late"] == "0x80340000 BadNodeIdUnknown"
        assert bad["nowhere"] == "the server has no namespace urn:not:there"
        assert bad["object"] == "0x80350000 BadAttributeIdInvalid"
        assert any(level == "warning" and "late (nsu=urn:dari:test;s=Late)" in text for level, text in port.logs)
        peer.tell(add="Late", value=3)
        assert port.wait_for(lambda port: values(port, "late") == [3])
        assert port.wait_for(lambda port: ("info", "can be read again: late") in port.logs)
        # A node that the server says is gone is asked for anew, since its monitored item would not come back by itself.
        peer.tell(status="Late", code=0x80340000)
        assert port.wait_for(lambda port: [s.quality.value for s in port.signals_seen if s.tag == "late"].count(2) >= 4)
        peer.tell(set="Late", value=4)
        assert port.wait_for(lambda port: 4 in values(port, "late"))
        assert port.wait_for(grows("count", 3))
    assert ups_and_downs(port) == ["connected"]


def test_a_status_becomes_quality_and_a_bad_value_is_none(serve: Serve) -> None:
    peer, endpoint = serve()
    adapter, port = make(endpoint, {"force": node("Force")})
    with running(adapter, port):
        assert port.wait_for(lambda port: len(port.signals_seen) == 1)
        peer.tell(status="Force", code=0x40920000)
        assert port.wait_for(lambda port: len(port.signals_seen) == 2)
        peer.tell(status="Force", code=0x808B0000)
        assert port.wait_for(lambda port: len(port.signals_seen) == 3)
    assert [(s.value, s.quality, s.status) for s in port.signals_seen] == [
        (1.5, Quality.GOOD, ""),
        (1.5, Quality.UNCERTAIN, "0x40920000 UncertainInitialValue"),
        (None, Quality.BAD, "0x808B0000 BadDeviceFailure"),
    ]


def test_killed_server_comes_back_with_shifted_namespaces_and_data_resumes(serve: Serve) -> None:
    peer, endpoint = serve()
    signals = {"count": OpcUaSignal(node="ns=2;s=Count"), "force": node("Force")}
    adapter, port = make(endpoint, signals)
    with running(adapter, port):
        assert port.wait_for(grows("count"))
        peer.kill()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
        serve(int(endpoint.split(":")[2].split("/")[0]), other_namespaces=2)
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected", "connected"])
        assert port.wait_for(grows("count"))
        # Index 2 means another namespace now; the URI behind it is what was remembered.
        assert len(values(port, "force")) == 2
    (gap,) = port.health(HealthCode.GAP)
    assert gap.window.t0_ns < gap.window.t1_ns


def test_an_absent_server_is_said_once_and_found_when_it_comes(serve: Serve) -> None:
    number = free_port()
    adapter, port = make(f"opc.tcp://127.0.0.1:{number}/dari", {"count": node("Count")})
    with running(adapter, port):
        assert port.wait_for(lambda port: len(port.connections) >= 2)
        (said,) = {reason for _, reason in port.connections}
        assert f"nothing listens at 127.0.0.1:{number}" in said
        assert "Next: start the OPC UA server, or correct options.endpoint" in said
        assert len(port.health(HealthCode.DISCONNECTED)) == 1
        serve(number)
        assert port.wait_for(grows("count"))
    assert "Traceback" not in "".join(text for _, text in port.logs)


def test_nothing_readable_is_not_connected(serve: Serve) -> None:
    peer, endpoint = serve()
    adapter, port = make(endpoint, {"late": node("Late")})
    with running(adapter, port):
        assert port.wait_for(lambda port: bool(port.connections))
        word, reason = port.connections[0]
        assert word == "disconnected"
        assert "1 of 1 signals can not be read: late (nsu=urn:dari:test;s=Late): 0x80340000 BadNodeIdUnknown" in reason
        peer.tell(add="Late", value=1)
        assert port.wait_for(lambda port: ups_and_downs(port) == ["disconnected", "connected"])


def test_overflow_in_a_status_is_a_loss_and_the_value_stays_good(serve: Serve) -> None:
    peer, endpoint = serve()
    adapter, port = make(endpoint, {"force": node("Force"), "own": node("Word", own=True)})
    with running(adapter, port):
        assert port.wait_for(lambda port: len(port.signals_seen) == 2)
        peer.tell(status="Force", code=0x480)
        peer.tell(status="Word", code=0x480)
        assert port.wait_for(lambda port: len(port.losses) == 2)
    assert sorted((channel, count) for channel, count, _ in port.losses) == [("own", 1), ("plc/signals", 1)]
    assert all(signal.quality is Quality.GOOD for signal in port.signals_seen)
    topics = {body.channel for body in port.health(HealthCode.LOSS)}
    assert topics == {port.topic("own"), port.topic("plc/signals")}


@pytest.mark.long
def test_a_frozen_server_is_found_silent_and_resumes(serve: Serve) -> None:
    peer, endpoint = serve()
    adapter, port = make(endpoint, {"count": node("Count")}, timeout_s=20)
    with running(adapter, port):
        assert port.wait_for(grows("count"))
        peer.freeze()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
        assert "silent" in port.connections[1][1]
        peer.thaw()
        assert port.wait_for(lambda port: ups_and_downs(port)[-1] == "connected", 60)
        assert port.wait_for(grows("count"))
        peer.freeze()
        # Leaving the block asks the adapter to stop while no one answers.


@pytest.mark.long
def test_thousands_of_tags_in_one_notification(serve: Serve) -> None:
    _, endpoint = serve(tags=3000)
    adapter, port = make(endpoint, {f"t{i}": node(f"T{i}") for i in range(3000)})
    with running(adapter, port):
        assert port.wait_for(lambda port: len(port.signals_seen) >= 3000, 60)
    assert {s.tag: s.value for s in port.signals_seen} == {f"t{i}": i for i in range(3000)}
