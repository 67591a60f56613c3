"""What the MQTT adapter says on the wire, byte by byte: an acknowledgement only after the record, duplicates by their flag."""

from __future__ import annotations

import socket
import struct

import pytest
from field_peers import running, ups_and_downs, values
from test_mqtt import TEMPERATURE, make

from bridge.adapter import Flag

pytest.importorskip("paho")
CONNECT, PUBACK, SUBSCRIBE, PINGREQ, DISCONNECT = 0x10, 0x40, 0x82, 0xC0, 0xE0


class Wire:
    """One client's connection, seen from the broker's side: packets by MQTT 3.1.1."""

    def __init__(self, listener: socket.socket) -> None:
        self.socket, _ = listener.accept()
        self.socket.settimeout(20)

    def read(self) -> tuple[int, bytes]:
        """The next packet: its first byte and what follows the length."""
        head = self._exactly(1)[0]
        length = shift = 0
        while True:
            byte = self._exactly(1)[0]
            length |= (byte & 0x7F) << shift
            shift += 7
            if not byte & 0x80:
                return head, self._exactly(length)

    def _exactly(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            assert more, "the client closed the connection"
            data += more
        return data

    def accept(self, session_present: bool) -> int:
        """Answer CONNECT and SUBSCRIBE; returns CONNECT's flags."""
        head, body = self.read()
        assert head == CONNECT
        self.socket.sendall(bytes([0x20, 2, int(session_present), 0]))
        head, subscribe = self.read()
        assert head == SUBSCRIBE
        self.socket.sendall(bytes([0x90, 3]) + subscribe[:2] + bytes([1]))
        return body[7]

    def publish(self, topic: str, payload: str, mid: int, duplicate: bool = False) -> None:
        """Send one message with QoS 1."""
        name = topic.encode()
        body = struct.pack(">H", len(name)) + name + struct.pack(">H", mid) + payload.encode()
        self.socket.sendall(bytes([0x3A if duplicate else 0x32, len(body)]) + body)


def test_an_acknowledgement_follows_the_record_and_a_new_connection_forgets_old_ids() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(4)
        adapter, port = make(listener.getsockname()[1], TEMPERATURE)
        port.holding = True
        with running(adapter, port):
            first = Wire(listener)
            flags = first.accept(session_present=False)
            assert not flags & 0x02, "a clean session would lose what comes while dari is away"
            first.publish("cell/temperature", "1", mid=7)
            first.publish("cell/temperature", "2", mid=8)
            assert port.wait_for(lambda port: values(port, "temperature") == [1, 2])
            adapter.acknowledge(port.to_ack[0])
            assert first.read() == (PUBACK, bytes([0, 7]))
            first.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                first.read()  # 8 is not recorded
            first.socket.close()
            assert port.wait_for(lambda port: ups_and_downs(port) == ["connected", "disconnected"])
            second = Wire(listener)
            second.accept(session_present=True)
            # Another message under id 7: what is recorded of the last connection must not acknowledge it.
            second.publish("cell/temperature", "3", mid=7)
            second.publish("cell/temperature", "2", mid=8, duplicate=True)
            assert port.wait_for(lambda port: values(port, "temperature") == [1, 2, 3, 2])
            adapter.acknowledge(port.to_ack[1])
            second.socket.settimeout(0.3)
            with pytest.raises(TimeoutError):
                second.read()
            second.socket.settimeout(20)
            adapter.acknowledge(port.to_ack[3])
            assert second.read() == (PUBACK, bytes([0, 7]))
            assert second.read() == (PUBACK, bytes([0, 8]))
            port.stopping.set()
            assert second.read() == (DISCONNECT, b"")
            second.socket.close()
    assert port.flags == [0, 0, 0, Flag.DUPLICATE]
