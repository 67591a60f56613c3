"""The MQTT adapter against real brokers in other processes: payloads, acknowledgement, refusals, resuming."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from certificates import make_certificate
from field_peers import Peer, free_port, grows, port_for, python_peer, running, ups_and_downs, values

from adapters.mqtt import MqttAdapter, MqttOptions, MqttSignal
from bridge.adapter import Flag
from bridge.bus.record import Record
from bridge.schema import HealthCode, Quality
from bridge.site.secret import Secret
from bridge.testing import RecordingPort

pytest.importorskip("paho")
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion

MOSQUITTO = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin:/usr/local/sbin")
BROKERS = [
    "amqtt",
    pytest.param("mosquitto", marks=pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed here")),
]
Start = Callable[..., tuple[Peer, int]]
TEMPERATURE = {"temperature": MqttSignal(topic="cell/temperature")}


def listens(port: int) -> bool:
    """Whether someone listens on the port."""
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
        return True
    return False


@pytest.fixture
def start(peers: list[Peer], tmp_path: Path) -> Start:
    """Starts brokers: `start("mosquitto", port)` gives (peer, port). One started again has its store of sessions."""

    def mosquitto(port: int, special: dict[str, Any]) -> Peer:
        folder = tmp_path / "mosquitto"
        folder.mkdir(exist_ok=True)
        lines = [f"listener {port} 127.0.0.1", "persistence true", f"persistence_location {folder}/", "user root"]
        lines += ["autosave_on_changes true", "autosave_interval 1"]
        if special.get("passwords"):
            lines += ["allow_anonymous false", f"password_file {special['passwords']}"]
        else:
            lines += ["allow_anonymous true"]
        configuration = tmp_path / "mosquitto.conf"
        configuration.write_text("\n".join(lines) + "\n")
        return Peer([MOSQUITTO or "", "-c", str(configuration)], ready=lambda: listens(port))

    def start_one(kind: str, port: int | None = None, **special: Any) -> tuple[Peer, int]:
        port = port or free_port()
        peer = (
            mosquitto(port, special)
            if kind == "mosquitto"
            else python_peer("mqtt_broker.py", port, json.dumps(special))
        )
        peers.append(peer)
        return peer.start(), port

    return start_one


class AckingPort(RecordingPort):
    """A recording port that tells the adapter at once that everything is recorded, unless `holding`; keeps the flags."""

    def __init__(self, adapter_signals: dict[str, Any]) -> None:
        super().__init__(port_for(adapter_signals).source, adapter_signals)
        self.adapter: MqttAdapter | None = None
        self.holding = False
        self.flags: list[int] = []
        self.to_ack: list[int] = []
        self.wake = threading.Event()
        threading.Thread(target=self._acks, daemon=True).start()

    def _put(self, record: Record) -> None:
        super()._put(record)
        if self.declared[record.channel].kind.value in ("signal", "signals"):
            self.flags.append(record.flags)
            self.to_ack.append(self._next - 1)
            self.wake.set()

    def _acks(self) -> None:
        """From a thread of its own, as the runtime does."""
        while not (self.stopping.is_set() and self.holding):
            self.wake.wait(0.05)
            self.wake.clear()
            if self.to_ack and self.adapter is not None and not self.holding:
                self.adapter.acknowledge(self.to_ack[-1])
            if self.stopping.wait(0):
                time.sleep(0.05)
                if self.to_ack and self.adapter is not None and not self.holding:
                    self.adapter.acknowledge(self.to_ack[-1])
                return


def make(number: int, signals: dict[str, MqttSignal], **options: Any) -> tuple[MqttAdapter, AckingPort]:
    """An adapter and its port; the user has a name, since amqtt keeps no session otherwise."""
    port = AckingPort(dict(signals))
    settings: dict[str, Any] = {"username": "dari", "host": "127.0.0.1", "port": number, **options}
    adapter = port.adapter = MqttAdapter(port.source, MqttOptions(**settings), dict(signals))
    return adapter, port


class Publisher:
    """Another client that publishes and knows when the broker has it."""

    def __init__(self, port: int) -> None:
        self.client = Client(CallbackAPIVersion.VERSION2, client_id="publisher")
        self.client.username_pw_set("publisher")
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, topic: str, payload: str | bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish one message and wait until the broker has taken it."""
        self.client.publish(topic, payload, qos=qos, retain=retain).wait_for_publish(20)

    def close(self) -> None:
        """Leave."""
        self.client.disconnect()
        self.client.loop_stop()


@contextlib.contextmanager
def publisher(port: int) -> Iterator[Publisher]:
    """A publisher for the block."""
    one = Publisher(port)
    try:
        yield one
    finally:
        one.close()


@pytest.mark.parametrize("broker", BROKERS)
def test_values_stamps_and_what_does_not_fit(start: Start, broker: str) -> None:
    _, number = start(broker)
    signals = {
        "raw": MqttSignal(topic="cell/raw", scale=2.0),
        "rms": MqttSignal(topic="cell/vibration", path="data.rms[1]", stamp="t", stamp_unit="ms", own=True),
        "state": MqttSignal(topic="cell/vibration", path="state", qos=0),
        "needed": MqttSignal(topic="cell/needed", type="number"),
    }
    adapter, port = make(number, signals)
    assert adapter.check() == []
    with running(adapter, port), publisher(number) as other:
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
        other.send("cell/raw", "21.5")
        other.send("cell/vibration", '{"data": {"rms": [0, 0.25]}, "t": 1767323045123, "state": "run"}')
        other.send("cell/vibration", '{"data": {"rms": []}, "t": 1767323045124, "state": "stop"}')
        other.send("cell/vibration", "garbage {")
        other.send("cell/needed", "abc")
        other.send("cell/raw", b"\xff\xfe")
        other.send("cell/raw", "")
        assert port.wait_for(lambda port: len(port.signals_seen) == 10)
    seen = {
        tag: [(s.value, s.quality, s.status, s.source_ns) for s in port.signals_seen if s.tag == tag] for tag in signals
    }
    assert seen["raw"] == [
        (43.0, Quality.GOOD, "", None),
        (None, Quality.BAD, "the payload is no UTF-8 text (2 bytes)", None),
        ("", Quality.GOOD, "", None),
    ]
    assert seen["rms"][:2] == [
        (0.25, Quality.GOOD, "", 1767323045123_000_000),
        (None, Quality.BAD, "no value in the payload: there is no [1]", 1767323045124_000_000),
    ]
    assert seen["rms"][2][1] is Quality.BAD and "no JSON" in seen["rms"][2][2]
    assert [entry[0] for entry in seen["state"]] == ["run", "stop", None]
    assert seen["needed"] == [(None, Quality.BAD, "the text is no number", None)]
    assert adapter.unparsable == {"raw": 1, "rms": 2, "state": 1, "needed": 1}
    assert any(level == "warning" and "needed can not be read from 'cell/needed'" in text for level, text in port.logs)


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed here; amqtt drops what is not acknowledged")
@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_what_was_not_recorded_is_sent_again_and_marked(start: Start, protocol: str) -> None:
    _, number = start("mosquitto")
    adapter, port = make(number, TEMPERATURE, protocol=protocol)
    with publisher(number) as other:
        with running(adapter, port):
            assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
            other.send("cell/temperature", "1")
            assert port.wait_for(lambda port: values(port, "temperature") == [1])
            assert port.wait_for(lambda port: not adapter._session._pending)  # type: ignore[union-attr]
            port.holding = True
            for value in ("2", "3"):
                other.send("cell/temperature", value)
            assert port.wait_for(lambda port: values(port, "temperature") == [1, 2, 3])
        other.send("cell/temperature", "4")
        again, second = make(number, TEMPERATURE, protocol=protocol)
        with running(again, second):
            assert second.wait_for(lambda port: len(port.signals_seen) >= 3)
    assert port.flags == [0, 0, 0]
    # 2 and 3 had been received but not recorded; 4 came while dari was away; 1 was acknowledged and does not come again.
    got = dict(zip(values(second, "temperature"), second.flags, strict=True))
    assert got == {2: Flag.DUPLICATE, 3: Flag.DUPLICATE, 4: 0}


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed here")
def test_with_protocol_5_the_client_sets_the_limit_of_unacknowledged_messages(start: Start) -> None:
    _, number = start("mosquitto")
    adapter, port = make(number, TEMPERATURE, protocol="5")
    port.holding = True
    with running(adapter, port), publisher(number) as other:
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
        for value in range(100):
            other.send("cell/temperature", str(value))
        assert port.wait_for(lambda port: values(port, "temperature") == list(range(100)))


@pytest.mark.skipif(MOSQUITTO is None, reason="mosquitto is not installed here; amqtt forgets its sessions")
def test_a_restarted_broker_sends_again_what_was_not_recorded(start: Start) -> None:
    peer, number = start("mosquitto")
    adapter, port = make(number, TEMPERATURE)
    with running(adapter, port):
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
        port.holding = True
        with publisher(number) as other:
            other.send("cell/temperature", "1")
        assert port.wait_for(lambda port: values(port, "temperature") == [1])
        assert peer.process is not None
        peer.process.terminate()  # SIGTERM, since Mosquitto writes its store when it is asked to end
        peer._reap()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
        port.holding = False
        start("mosquitto", number)
        assert port.wait_for(lambda port: values(port, "temperature") == [1, 1])
        assert port.flags == [0, Flag.DUPLICATE]
        with publisher(number) as other:
            other.send("cell/temperature", "2")
        assert port.wait_for(lambda port: values(port, "temperature") == [1, 1, 2])
    assert len(port.health(HealthCode.GAP)) == 1


@pytest.mark.parametrize("broker", BROKERS)
def test_a_killed_broker_comes_back_and_data_resumes(start: Start, broker: str) -> None:
    peer, number = start(broker)
    adapter, port = make(number, TEMPERATURE)
    with running(adapter, port):
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
        peer.kill()
        assert port.wait_for(lambda port: "nothing listens at 127.0.0.1:" in port.connections[-1][1])
        start(broker, number)
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected", "connected"])
        with publisher(number) as other:
            other.send("cell/temperature", "20")
        assert port.wait_for(grows("temperature", 0))
        assert port.wait_for(lambda port: values(port, "temperature") == [20])
    (gap,) = port.health(HealthCode.GAP)
    assert gap.window.t0_ns < gap.window.t1_ns


def password_file(broker: str, folder: Path) -> Path:
    """A password file in the broker's own form that lets dari in with `sesame`."""
    file = folder / "passwords"
    if broker == "amqtt":
        from pwdlib.hashers.argon2 import Argon2Hasher

        file.write_text(f"dari:{Argon2Hasher().hash('sesame')}\n")
    else:
        subprocess.run(["mosquitto_passwd", "-b", "-c", str(file), "dari", "sesame"], check=True, capture_output=True)
    return file


@pytest.mark.parametrize("broker", BROKERS)
def test_a_wrong_password_is_said_once_and_not_hammered(start: Start, broker: str, tmp_path: Path) -> None:
    _, number = start(broker, passwords=str(password_file(broker, tmp_path)))
    secret = tmp_path / "secret"
    secret.write_text("sesame\n")
    adapter, port = make(number, TEMPERATURE, password=Secret(file=str(secret)))
    with running(adapter, port):
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
    secret.write_text("wrong\n")
    adapter, port = make(number, TEMPERATURE, password=Secret(file=str(secret)))
    with running(adapter, port):
        assert port.wait_for(lambda port: bool(port.connections))
        # The next attempt is many seconds away: nothing more is said while others would have hammered.
        assert not port.wait_for(lambda port: len(port.connections) > 1, 2.0)
    ((word, reason),) = port.connections
    assert word == "disconnected"
    assert f"the MQTT broker at 127.0.0.1:{number} refuses the connection as 'dari'" in reason
    assert "Next: correct options.username and options.password" in reason


def test_an_absent_broker_is_said_once(start: Start) -> None:
    number = free_port()
    adapter, port = make(number, TEMPERATURE)
    with running(adapter, port):
        assert port.wait_for(lambda port: len(port.connections) >= 2)
    (said,) = {reason for _, reason in port.connections}
    assert f"nothing listens at 127.0.0.1:{number}" in said
    assert "Next: start the MQTT broker, or correct options.host or options.port" in said
    assert len(port.health(HealthCode.DISCONNECTED)) == 1


def test_someone_who_speaks_no_mqtt_is_named() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        adapter, port = make(mute.getsockname()[1], TEMPERATURE, timeout_s=0.2)
        with running(adapter, port):
            assert port.wait_for(lambda port: bool(port.connections))
    assert "takes the connection but does not speak MQTT" in port.connections[0][1]


def test_a_retained_value_is_uncertain_since_its_age_is_unknown(start: Start) -> None:
    _, number = start("amqtt")
    with publisher(number) as other:
        other.send("cell/temperature", "19", retain=True)
        adapter, port = make(number, TEMPERATURE)
        with running(adapter, port):
            assert port.wait_for(lambda port: len(port.signals_seen) == 1)
            other.send("cell/temperature", "20")
            assert port.wait_for(lambda port: len(port.signals_seen) == 2)
    assert [(s.value, s.quality) for s in port.signals_seen] == [(19, Quality.UNCERTAIN), (20, Quality.GOOD)]
    assert port.signals_seen[0].status.startswith("retained")


def test_a_topic_of_an_earlier_site_file_is_unsubscribed(start: Start) -> None:
    _, number = start("amqtt")
    both = {**TEMPERATURE, "old": MqttSignal(topic="cell/old")}
    adapter, port = make(number, both)
    with running(adapter, port):
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
    adapter, port = make(number, TEMPERATURE)
    with running(adapter, port), publisher(number) as other:
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
        other.send("cell/old", "1")
        assert port.wait_for(lambda port: any("which no signal names: unsubscribed" in text for _, text in port.logs))
        other.send("cell/temperature", "2")
        assert port.wait_for(lambda port: values(port, "temperature") == [2])
    assert [signal.tag for signal in port.signals_seen] == ["temperature"]


def test_tls_with_the_right_authority_and_no_other(start: Start, tmp_path: Path) -> None:
    certificate, key = make_certificate(tmp_path, "broker")
    other, _ = make_certificate(tmp_path, "other")
    _, number = start("amqtt", certificate=str(certificate), key=str(key))
    adapter, port = make(number, TEMPERATURE, ca_certificate=str(certificate))
    with running(adapter, port):
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
    adapter, port = make(number, TEMPERATURE, ca_certificate=str(other))
    with running(adapter, port):
        assert port.wait_for(lambda port: bool(port.connections))
    assert port.connections[0][0] == "disconnected"
    assert f"the certificate of 127.0.0.1:{number} is not trusted" in port.connections[0][1]


@pytest.mark.long
@pytest.mark.parametrize("broker", BROKERS)
def test_a_frozen_broker_is_found_and_resumes(start: Start, broker: str) -> None:
    peer, number = start(broker)
    adapter, port = make(number, TEMPERATURE, keepalive_s=1)
    with running(adapter, port):
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected"])
        peer.freeze()
        assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
        assert "Keep alive timeout" in port.connections[1][1]
        peer.thaw()
        assert port.wait_for(lambda port: ups_and_downs(port)[-1] == "connected", 60)
        with publisher(number) as other:
            other.send("cell/temperature", "1")
        assert port.wait_for(lambda port: values(port, "temperature") == [1])
        peer.freeze()
        # Leaving the block asks the adapter to stop while no one answers.


@pytest.mark.parametrize(
    ("options", "signals", "expected"),
    [
        ({"host": "mqtt://x"}, TEMPERATURE, "is no host name or address"),
        ({"host": " "}, TEMPERATURE, "options.host: it is empty"),
        ({"host": "x"}, {}, "signals: there are none"),
        ({"host": "x"}, {"a": MqttSignal(topic="a/+/b")}, "signals.a.topic: 'a/+/b' has a wildcard"),
        ({"host": "x"}, {"a": MqttSignal(topic="a/#")}, "has a wildcard"),
        (
            {"host": "x"},
            {"a": MqttSignal(topic="a", path="a..b")},
            "signals.a.path: 'a..b': can not be read from '..b' on",
        ),
        (
            {"host": "x"},
            {"a": MqttSignal(topic="a", stamp="a[x]")},
            "signals.a.stamp: 'a[x]': can not be read from '[x]' on",
        ),
        ({"host": "x", "password": Secret(env="A")}, TEMPERATURE, "there is no username"),
        ({"host": "x", "username": "u"}, TEMPERATURE, "allow_insecure_login: true"),
        (
            {"host": "x", "certificate": "a.pem", "tls": True},
            TEMPERATURE,
            "certificate and private_key belong together",
        ),
        ({"host": "x", "ca_certificate": "no.pem"}, TEMPERATURE, "options.ca_certificate: there is no file"),
    ],
)
def test_check_names_every_fault(options: dict[str, Any], signals: dict[str, MqttSignal], expected: str) -> None:
    adapter = MqttAdapter(port_for({}).source, MqttOptions(**options), dict(signals))
    assert any(expected in fault for fault in adapter.check()), adapter.check()
