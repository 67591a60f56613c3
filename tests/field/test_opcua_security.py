"""OPC UA logins and certificates: what is refused, what is let in, and that a refusal is said once and not hammered."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from certificates import make_certificate
from field_peers import Serve, free_port, grows, port_for, running

from adapters.opcua import OpcUaAdapter, OpcUaOptions, OpcUaSignal
from bridge.errors import SiteError
from bridge.site.secret import Secret
from bridge.testing import RecordingPort

pytest.importorskip("asyncua")
SIGNALS = {"count": OpcUaSignal(node="nsu=urn:dari:test;s=Count")}


def make(endpoint: str, **options: Any) -> tuple[OpcUaAdapter, RecordingPort]:
    """An adapter of one signal and its port."""
    port = port_for(dict(SIGNALS))
    return OpcUaAdapter(port.source, OpcUaOptions(endpoint=endpoint, publish_ms=50, **options), dict(SIGNALS)), port


@pytest.fixture
def password(tmp_path: Path) -> Any:
    """Keeps a password in a file."""

    def keep(text: str) -> Secret:
        file = tmp_path / "password"
        file.write_text(text)
        return Secret(file=str(file))

    return keep


def test_a_user_name_over_security_none_is_refused_unless_said(serve: Serve, password: Any) -> None:
    _, endpoint = serve(login=True)
    adapter, port = make(endpoint, username="operator", password=password("sesame"))
    (fault,) = adapter.check()
    assert "allow_insecure_login: true" in fault
    with pytest.raises(SiteError, match="can be read on the network"):
        adapter.run(port)
    assert port.connections == []
    adapter, port = make(endpoint, username="operator", password=password("sesame"), allow_insecure_login=True)
    with running(adapter, port):
        assert port.wait_for(grows("count"))


def test_a_wrong_password_is_said_once(serve: Serve, password: Any) -> None:
    _, endpoint = serve(login=True)
    adapter, port = make(endpoint, username="operator", password=password("wrong"), allow_insecure_login=True)
    with running(adapter, port):
        assert port.wait_for(lambda port: bool(port.connections))
    ((word, reason),) = port.connections
    assert word == "disconnected"
    assert "the user name or the password is wrong" in reason
    assert "Next: correct username, password" in reason
    assert "wrong" not in reason.replace("is wrong", "")


def test_a_missing_password_is_a_fault_of_the_site_file(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARI_TEST_NO_SUCH", raising=False)
    options = {"username": "operator", "password": Secret(env="DARI_TEST_NO_SUCH"), "allow_insecure_login": True}
    adapter, port = make(f"opc.tcp://127.0.0.1:{free_port()}", **options)
    with pytest.raises(SiteError, match="DARI_TEST_NO_SUCH"):
        adapter.run(port)


def test_encryption_with_the_pinned_certificate_and_no_other(serve: Serve, tmp_path: Path) -> None:
    server_certificate, server_key = make_certificate(tmp_path, "server", "urn:dari:test:server")
    own, key = make_certificate(tmp_path, "dari", "urn:dari:test:client")
    other, _ = make_certificate(tmp_path, "other", "urn:dari:test:server")
    _, endpoint = serve(certificate=str(server_certificate), key=str(server_key))
    options = {"security": "Basic256Sha256", "certificate": str(own), "private_key": str(key)}
    adapter, port = make(endpoint, server_certificate=str(server_certificate), **options)
    assert adapter.check() == []
    with running(adapter, port):
        assert port.wait_for(grows("count"))
    adapter, port = make(endpoint, server_certificate=str(other), **options)
    with running(adapter, port):
        assert port.wait_for(lambda port: bool(port.connections))
    assert port.connections[0][0] == "disconnected"
    assert not port.signals_seen
    adapter, port = make(endpoint)
    with running(adapter, port):
        assert port.wait_for(lambda port: bool(port.connections))
    assert "does not offer security none" in port.connections[0][1]


def test_an_expired_certificate_is_named(tmp_path: Path) -> None:
    expired, key = make_certificate(tmp_path, "expired", days=-1)
    server, _ = make_certificate(tmp_path, "server")
    adapter, port = make(
        f"opc.tcp://127.0.0.1:{free_port()}",
        security="Basic256Sha256",
        certificate=str(expired),
        private_key=str(key),
        server_certificate=str(server),
    )
    with running(adapter, port):
        assert port.wait_for(lambda port: bool(port.connections))
    assert "expired.pem expired on" in port.connections[0][1]


def test_a_file_that_is_no_certificate_is_named(tmp_path: Path) -> None:
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("hello")
    port = free_port()
    options = dict.fromkeys(("certificate", "private_key", "server_certificate"), str(nonsense))
    adapter, recording = make(f"opc.tcp://127.0.0.1:{port}", security="Basic256Sha256", **options)
    with running(adapter, recording):
        assert recording.wait_for(lambda port: bool(port.connections))
    assert "can not be read" in recording.connections[0][1]


def test_a_black_hole_ends_when_asked_to() -> None:
    """A full backlog drops the handshake: to connect hangs, as it does towards a host that is switched off."""
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        number = hole.getsockname()[1]
        clients = [socket.socket() for _ in range(4)]
        for client in clients:
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", number))
        adapter, port = make(f"opc.tcp://127.0.0.1:{number}", timeout_s=0.5)
        with running(adapter, port):
            assert port.wait_for(lambda port: bool(port.connections))
        assert f"the OPC UA server at 127.0.0.1:{number} does not answer" in port.connections[0][1]
        for client in clients:
            client.close()


@pytest.mark.parametrize(
    ("options", "signals", "expected"),
    [
        ({"endpoint": "http://x"}, SIGNALS, "does not begin with 'opc.tcp://'"),
        ({"endpoint": "opc.tcp://x:99999"}, SIGNALS, "a port that is no number from 1 to 65535"),
        ({"endpoint": "opc.tcp://"}, SIGNALS, "names no host"),
        ({"endpoint": "opc.tcp://me:pw@x"}, SIGNALS, "a user name does not belong in the endpoint"),
        ({"endpoint": "opc.tcp://x"}, {}, "signals: there are none"),
        (
            {"endpoint": "opc.tcp://x"},
            {"a": OpcUaSignal(node="Press.Force")},
            "signals.a.node: 'Press.Force': a node id is",
        ),
        ({"endpoint": "opc.tcp://x"}, {"a": OpcUaSignal(node="ns=2;i=-1")}, "'i=' needs a number"),
        ({"endpoint": "opc.tcp://x"}, {"a": OpcUaSignal(node="ns=70000;i=1")}, "namespace index 70000 is above 65535"),
        ({"endpoint": "opc.tcp://x"}, {"a": OpcUaSignal(node="g=1234")}, "'g=' needs a GUID"),
        ({"endpoint": "opc.tcp://x"}, {"a": OpcUaSignal(node="b=**")}, "'b=' needs base64"),
        ({"endpoint": "opc.tcp://x"}, {"a": OpcUaSignal(node="s=")}, "nothing follows 's='"),
        ({"endpoint": "opc.tcp://x", "password": Secret(env="A")}, SIGNALS, "there is no username"),
        ({"endpoint": "opc.tcp://x", "security": "Basic256Sha256"}, SIGNALS, "any server could pose as this one"),
        (
            {"endpoint": "opc.tcp://x", "security": "Basic256Sha256", "certificate": "no.pem"},
            SIGNALS,
            "options.certificate: there is no file",
        ),
    ],
)
def test_check_names_every_fault(options: dict[str, Any], signals: dict[str, OpcUaSignal], expected: str) -> None:
    adapter = OpcUaAdapter(port_for({}).source, OpcUaOptions(**options), dict(signals))
    assert any(expected in fault for fault in adapter.check()), adapter.check()
