"""The Modbus adapter against a real server in another process: types, blocks, refused addresses, resuming."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from field_peers import Peer, free_port, grows, port_for, python_peer, running, ups_and_downs, values

from adapters.modbus import ModbusAdapter, ModbusOptions, ModbusSignal
from bridge.adapter import ChannelKind
from bridge.schema import HealthCode, Quality
from bridge.testing import RecordingPort

pytest.importorskip("pymodbus")


def serve(peers: list[Peer], port: int | None = None, **special: Any) -> tuple[Peer, int]:
    """Start a server; returns it and its port."""
    port = port or free_port()
    peer = python_peer("modbus_server.py", port, json.dumps(special))
    peers.append(peer)
    return peer.start(), port


def make(number: int, signals: dict[str, ModbusSignal], **options: Any) -> tuple[ModbusAdapter, RecordingPort]:
    """An adapter and its port."""
    port = port_for(dict(signals), "device")
    settings = {"poll_ms": 20, "retry_s": 0.3, **options}
    return ModbusAdapter(port.source, ModbusOptions(host="127.0.0.1", port=number, **settings), dict(signals)), port


COUNT = ModbusSignal(address=0)


def test_every_type_order_and_table(peers: list[Peer]) -> None:
    _, number = serve(peers)
    cases: dict[str, tuple[ModbusSignal, Any]] = {
        "int16": (ModbusSignal(address=10, type="int16"), -2),
        "uint16": (ModbusSignal(address=11), 65535),
        "swapped16": (ModbusSignal(address=10, order="BADC"), 0xFEFF),
        "word_order16": (ModbusSignal(address=10, order="CDAB"), 0xFFFE),
        "abcd": (ModbusSignal(address=12, type="float32"), 1.5),
        "cdab": (ModbusSignal(address=14, type="float32", order="CDAB"), 1.5),
        "badc": (ModbusSignal(address=16, type="float32", order="BADC"), 1.5),
        "dcba": (ModbusSignal(address=18, type="float32", order="DCBA"), 1.5),
        "int32": (ModbusSignal(address=20, type="int32"), -2),
        "uint32": (ModbusSignal(address=22, type="uint32"), 0xFFFFFFFE),
        "int64": (ModbusSignal(address=24, type="int64"), -2),
        "uint64": (ModbusSignal(address=24, type="uint64"), 2**64 - 2),
        "float64": (ModbusSignal(address=28, type="float64", scale=2.0, offset=0.5), 3.5),
        "bit0": (ModbusSignal(address=32, bit=0), True),
        "bit1": (ModbusSignal(address=32, bit=1), False),
        "bit2": (ModbusSignal(address=32, bit=2), True),
        "nonzero": (ModbusSignal(address=32, type="bool"), True),
        "zero": (ModbusSignal(address=9, type="bool"), False),
        "coil0": (ModbusSignal(table="coil", address=0), True),
        "coil1": (ModbusSignal(table="coil", address=1), False),
        "coil19": (ModbusSignal(table="coil", address=19), True),
        "discrete0": (ModbusSignal(table="discrete", address=0), False),
        "discrete9": (ModbusSignal(table="discrete", address=9), True),
        "input": (ModbusSignal(table="input", address=3), 103),
        "other_unit": (ModbusSignal(table="input", address=4, unit_id=2), 104),
        "scaled": (ModbusSignal(table="input", address=0, scale=0.1), 10.0),
    }
    signals = {name: signal for name, (signal, _) in cases.items()}
    adapter, port = make(number, signals)
    assert adapter.check() == []
    with running(adapter, port):
        assert port.wait_for(lambda port: len(port.signals_seen) >= 2 * len(cases))
    first = {signal.tag: signal for signal in port.signals_seen[: len(cases)]}
    assert {tag: signal.value for tag, signal in first.items()} == {tag: value for tag, (_, value) in cases.items()}
    assert all(signal.quality is Quality.GOOD and signal.source_ns is None for signal in first.values())
    exchange = adapter.exchanges["signals"]
    assert 0 < exchange.request_ns < exchange.answer_ns < time.monotonic_ns()


def test_groups_are_channels_with_their_own_period(peers: list[Peer]) -> None:
    _, number = serve(peers)
    signals = {
        "fast": COUNT,
        "slow": ModbusSignal(address=11, group="slow"),
        "own": ModbusSignal(address=12, type="float32", group="slow", own=True),
    }
    adapter, port = make(number, signals, poll_ms=10, groups={"slow": 200})
    with running(adapter, port):
        assert port.wait_for(lambda port: len(values(port, "slow")) >= 3)
    tables = {channel.name for channel in port.declared if channel.kind is ChannelKind.SIGNALS}
    assert tables == {"device/signals", "device/slow"}
    assert {channel.name for channel in port.declared if channel.kind is ChannelKind.SIGNAL} == {"own"}
    assert len(values(port, "fast")) > 2 * len(values(port, "slow"))


def test_neighbours_are_read_in_one_request(peers: list[Peer], tmp_path: Path) -> None:
    peer, number = serve(peers)
    signals = {f"r{i}": ModbusSignal(address=40 + 2 * i) for i in range(100)}
    adapter, port = make(number, signals)
    with running(adapter, port):
        assert port.wait_for(lambda port: len(port.signals_seen) >= 300)
    peer.tell(requests=str(tmp_path / "requests.json"))
    requests = json.loads((tmp_path / "requests.json").read_text())
    assert {tuple(request) for request in requests} == {(3, 40, 125), (3, 166, 73)}
    assert all(signal.value == 7 for signal in port.signals_seen)


def test_one_refused_address_never_silences_the_others(peers: list[Peer], tmp_path: Path) -> None:
    peer, number = serve(peers, forbidden=[50])
    signals = {f"r{i}": ModbusSignal(address=40 + i) for i in range(30)}
    adapter, port = make(number, signals)
    with running(adapter, port):
        assert port.wait_for(lambda port: all(values(port, f"r{i}") for i in range(30) if i != 10))
        bad = {(s.tag, s.status) for s in port.signals_seen if s.quality is Quality.BAD}
        assert bad == {("r10", "0x02 IllegalAddress")}
        assert ("warning", "1 signals can not be read: r10: 0x02 IllegalAddress") in port.logs
        peer.tell(requests=str(tmp_path / "requests.json"))
        assert port.wait_for(grows("r0", 5))
        peer.tell(requests=str(tmp_path / "requests.json"))
        # What was found out is remembered: two good blocks a poll, and the bad address by itself now and then.
        requests = json.loads((tmp_path / "requests.json").read_text())
        assert {tuple(request) for request in requests} <= {(3, 40, 10), (3, 50, 1), (3, 51, 19)}
        peer.tell(allow=50)
        assert port.wait_for(lambda port: bool(values(port, "r10")))
        assert port.wait_for(lambda port: ("info", "can be read again: r10") in port.logs)
    assert ups_and_downs(port) == ["connected"]


def test_addresses_that_do_not_exist_between_two_that_do(peers: list[Peer]) -> None:
    _, number = serve(peers)
    # 33 to 39 do not exist in the peer: one request over the gap is refused, two without it are not.
    signals = {"before": ModbusSignal(address=32), "after": ModbusSignal(address=40)}
    adapter, port = make(number, signals)
    with running(adapter, port):
        assert port.wait_for(lambda port: len(values(port, "before")) > 2 and len(values(port, "after")) > 2)
    assert all(signal.quality is Quality.GOOD for signal in port.signals_seen)


def test_busy_is_bad_quality_and_passes(peers: list[Peer]) -> None:
    peer, number = serve(peers)
    adapter, port = make(number, {"count": COUNT})
    with running(adapter, port):
        assert port.wait_for(grows("count"))
        peer.tell(busy=True)
        assert port.wait_for(lambda port: port.signals_seen[-1].status == "0x06 DeviceBusy")
        peer.tell(busy=False)
        assert port.wait_for(grows("count"))
    assert ups_and_downs(port) == ["connected"]


def test_nothing_readable_is_not_connected(peers: list[Peer]) -> None:
    _, number = serve(peers)
    adapter, port = make(number, {"far": ModbusSignal(address=60000)})
    with running(adapter, port):
        assert port.wait_for(lambda port: bool(port.connections))
    word, reason = port.connections[0]
    assert word == "disconnected"
    assert "answers, but no signal of group 'signals': far: 0x02 IllegalAddress" in reason


def test_a_unit_that_is_dead_does_not_silence_the_others(peers: list[Peer]) -> None:
    _, number = serve(peers)
    signals = {"count": COUNT, "dead": ModbusSignal(address=0, unit_id=9)}
    adapter, port = make(number, signals, timeout_s=0.1, retries=0, retry_s=1)
    with running(adapter, port):
        assert port.wait_for(lambda port: len(values(port, "count")) > 40)
        dead = [signal for signal in port.signals_seen if signal.tag == "dead"]
        assert dead and all(signal.status == "Timeout" and signal.quality is Quality.BAD for signal in dead)
        # It rests: asked for once a second, it can not slow a poll of 20 ms down.
        assert len(dead) < 20
    assert ups_and_downs(port) == ["connected"]


def test_a_killed_device_comes_back_and_the_gap_is_said(peers: list[Peer]) -> None:
    peer, number = serve(peers)
    adapter, port = make(number, {"count": COUNT}, timeout_s=0.5)
    with running(adapter, port):
        assert port.wait_for(grows("count"))
        peer.kill()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
        assert port.wait_for(lambda port: "nothing listens at 127.0.0.1:" in port.connections[-1][1])
        serve(peers, number)
        assert port.wait_for(grows("count"))
    assert ups_and_downs(port) == ["connected", "disconnected", "connected"]
    (gap,) = port.health(HealthCode.GAP)
    assert gap.window.t0_ns < gap.window.t1_ns


def test_a_frozen_device_is_given_up_and_resumes(peers: list[Peer]) -> None:
    peer, number = serve(peers)
    adapter, port = make(number, {"count": COUNT}, timeout_s=0.2)
    with running(adapter, port):
        assert port.wait_for(grows("count"))
        peer.freeze()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
        assert "is connected but does not answer Modbus requests" in port.connections[1][1]
        assert any(signal.status == "Timeout" for signal in port.signals_seen)
        peer.thaw()
        assert port.wait_for(lambda port: ups_and_downs(port)[-1] == "connected")
        assert port.wait_for(grows("count"))
        peer.freeze()
        # Leaving the block asks the adapter to stop while no one answers.


def test_an_absent_device_is_said_once(peers: list[Peer]) -> None:
    number = free_port()
    adapter, port = make(number, {"count": COUNT})
    with running(adapter, port):
        assert port.wait_for(lambda port: len(port.connections) >= 2)
    (said,) = {reason for _, reason in port.connections}
    assert f"nothing listens at 127.0.0.1:{number}" in said
    assert "Next: start the Modbus device, or correct options.host or options.port" in said
    assert len(port.health(HealthCode.DISCONNECTED)) == 1


@pytest.mark.parametrize(
    ("options", "signals", "expected"),
    [
        ({"host": "tcp://x"}, {"a": COUNT}, "is no host name or address"),
        ({"host": " "}, {"a": COUNT}, "options.host: it is empty"),
        ({"host": "x"}, {}, "signals: there are none"),
        ({"host": "x"}, {"a": ModbusSignal(address=65535, type="int32")}, "would end at 65536, above 65535"),
        ({"host": "x"}, {"a": ModbusSignal(address=1, table="coil", type="int16")}, "a coil is a bool, not int16"),
        ({"host": "x"}, {"a": ModbusSignal(address=1, table="discrete", bit=1)}, "bit is for registers"),
        ({"host": "x"}, {"a": ModbusSignal(address=1, type="int16", bit=1)}, "one bit is a bool, not int16"),
        (
            {"host": "x", "groups": {"slow": 500.0}},
            {"a": ModbusSignal(address=1, group="slwo")},
            "did you mean 'slow'?",
        ),
        ({"host": "x"}, {"a": ModbusSignal(address=1, group="z")}, "add it to options.groups with its period in ms"),
    ],
)
def test_check_names_every_fault(options: dict[str, Any], signals: dict[str, ModbusSignal], expected: str) -> None:
    adapter = ModbusAdapter(port_for({}).source, ModbusOptions(**options), dict(signals))
    assert any(expected in fault for fault in adapter.check()), adapter.check()
