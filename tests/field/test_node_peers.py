"""Peers of the Node world: node-opcua and the broker aedes. Installed on demand; skipped where there is no Node or network."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from field_peers import Peer, free_port, grows, port_for, running, ups_and_downs, values
from test_mqtt import TEMPERATURE, make, publisher

from adapters.opcua import OpcUaAdapter, OpcUaOptions, OpcUaSignal
from bridge.schema import Quality

FOLDER = Path(__file__).parent / "node"
NODE = shutil.which("node")
NPM = shutil.which("npm")
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def node() -> str:
    """The path of Node, with the packages of `tests/field/node` installed beside it."""
    if NODE is None or NPM is None:
        pytest.skip("node or npm is not installed here")
    lock = FOLDER / "package-lock.json"
    done = FOLDER / "node_modules" / ".dari-installed"
    if not done.is_file() or done.read_text() != lock.read_text():
        command = [NPM, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        try:
            result = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=150)
        except subprocess.TimeoutExpired:
            pytest.skip("npm ci took longer than 150 s: no network?")
        if result.returncode != 0:
            pytest.skip(f"npm ci failed: {result.stderr.strip()[-300:]}")
        done.write_text(lock.read_text())
    return NODE


def test_node_opcua_values_losses_and_a_node_that_goes(node: str, tmp_path: Path, peers: list[Peer]) -> None:
    number = free_port()
    peer = Peer([node, str(FOLDER / "opcua_server.js"), str(number), str(tmp_path)], env={"HOME": str(tmp_path)})
    peers.append(peer)
    peer.start()
    signals = {name: OpcUaSignal(node=f"nsu=urn:dari:node;s={name}") for name in ("Count", "Force", "Name", "Nowhere")}
    port = port_for(dict(signals))
    options = OpcUaOptions(
        endpoint=f"opc.tcp://127.0.0.1:{number}/dari", publish_ms=200, sampling_ms=0, queue=5, retry_s=0.5
    )
    adapter = OpcUaAdapter(port.source, options, dict(signals))
    with running(adapter, port):
        assert port.wait_for(grows("Count", 20))
        assert values(port, "Name") == ["온도"]
        assert {s.status for s in port.signals_seen if s.tag == "Nowhere"} == {"0x80340000 BadNodeIdUnknown"}
        peer.tell(burst="Force", count=500)
        assert port.wait_for(lambda port: any("Force" in text for _, _, text in port.losses))
        peer.tell(bad="Force")
        assert port.wait_for(lambda port: any(s.status == "0x808B0000 BadDeviceFailure" for s in port.signals_seen))
        peer.kill()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
        peer.start()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected", "connected"], 60)
        assert port.wait_for(grows("Count", 20))
    counts = [s for s in port.signals_seen if s.tag == "Count" and s.quality is Quality.GOOD]
    assert all(s.source_ns is not None for s in counts)


def test_node_opcua_frozen_is_found_silent(node: str, tmp_path: Path, peers: list[Peer]) -> None:
    number = free_port()
    peer = Peer([node, str(FOLDER / "opcua_server.js"), str(number), str(tmp_path)], env={"HOME": str(tmp_path)})
    peers.append(peer)
    peer.start()
    signals = {"Count": OpcUaSignal(node="nsu=urn:dari:node;s=Count")}
    port = port_for(dict(signals))
    adapter = OpcUaAdapter(port.source, OpcUaOptions(endpoint=f"opc.tcp://127.0.0.1:{number}/dari"), dict(signals))
    with running(adapter, port):
        assert port.wait_for(grows("Count"))
        peer.freeze()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
        peer.thaw()
        assert port.wait_for(lambda port: ups_and_downs(port)[-1] == "connected", 60)
        assert port.wait_for(grows("Count"))


def test_aedes_sends_again_what_was_not_recorded(node: str, peers: list[Peer]) -> None:
    number = free_port()
    peer = Peer([node, str(FOLDER / "mqtt_broker.js"), str(number)], env=dict(os.environ))
    peers.append(peer)
    peer.start()
    adapter, port = make(number, TEMPERATURE)
    with publisher(number) as other:
        with running(adapter, port):
            assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
            port.holding = True
            other.send("cell/temperature", "1")
            assert port.wait_for(lambda port: values(port, "temperature") == [1])
        again, second = make(number, TEMPERATURE)
        with running(again, second):
            assert second.wait_for(lambda port: values(port, "temperature") == [1])
    # MQTT-3.3.1-1 asks for the DUP flag; aedes 0.51 does not set it, so this record is not marked.
    assert second.flags == [0]
