"""One connection to an MQTT broker: from connecting until it ends. What is recorded is acknowledged, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
import time
from collections import Counter, deque
from pathlib import Path
from typing import Any, NamedTuple

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage, MQTTv5, MQTTv311
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from adapters.mqtt.config import MqttOptions
from adapters.mqtt.payload import Reader, read_all
from adapters.reach import unreachable
from bridge.adapter import Port
from bridge.errors import NotConnectedError
from bridge.schema import Quality, Signal

GLANCE_S = 0.1
GOODBYE_S = 0.5
LAST_ACKS_S = 1.0
RESUBSCRIBE_S = 30.0
SHORT_LIFE_S = 2.0
TOPICS_AT_ONCE = 100
RECEIVE_MAXIMUM = 10_000
NAMED = 20


class RefusedError(NotConnectedError):
    """The broker was reached and said no: trying again soon would not help, and could lock the account."""


class _Handshake(ssl.SSLSocket):
    """A TLS socket that is closed when its handshake fails: the library would leave it open."""

    def do_handshake(self, block: bool = False) -> None:
        try:
            super().do_handshake(block)
        except BaseException:
            self.close()
            raise


def _context(options: MqttOptions, folder: Path) -> ssl.SSLContext:
    """TLS that checks the broker's certificate and its name; there is no option to do without."""
    context = ssl.create_default_context(
        cafile=str(folder / options.ca_certificate) if options.ca_certificate else None
    )
    if options.certificate:
        context.load_cert_chain(str(folder / options.certificate), str(folder / options.private_key))
    context.sslsocket_class = _Handshake
    return context


class Pending(NamedTuple):
    """A message that was received and is not acknowledged: the sequence of its last record, and the broker's id of it."""

    sequence: int
    mid: int
    qos: int


class BrokerSession:
    """One connection. Callbacks run in the library's thread, `acknowledge` in whichever the runtime calls it from."""

    def __init__(
        self,
        options: MqttOptions,
        readers: dict[str, list[Reader]],
        qos: dict[str, int],
        client_id: str,
        port: Port,
        directory: str,
        unparsable: Counter[str],
    ) -> None:
        self._options = options
        self._readers = readers
        self._qos = qos
        self._client_id = client_id
        self._port = port
        self._directory = directory
        self._unparsable = unparsable
        self._where = port.source.name
        self._peer = f"{options.host}:{options.broker_port}"
        self._lock = threading.Lock()
        self._pending: deque[Pending] = deque()
        self._recorded = -1
        self._last = -1
        self._changed = threading.Event()
        self._failure: NotConnectedError | None = None
        self._accepted = False
        self._begun = 0.0
        self._up = False
        self._asked: dict[int, list[str]] = {}
        self._granted: set[str] = set()
        self._refused: set[str] = set()
        self._strangers: set[str] = set()
        self._client: Client | None = None

    # -- in the adapter's thread ---------------------------------------------------------------------------------

    def run(self) -> None:
        """Connect and stay connected until `port.stopping`.

        Raises:
            RefusedError: the broker was reached and said no.
            NotConnectedError: it was not reached, or was lost.
        """
        client = self._make_client()
        try:
            self._connect(client)
            with self._lock:
                self._client = client
            client.loop_start()
            self._watch(client)
            self._wait_for_last_acks()
        finally:
            with self._lock:
                # From here on an acknowledgement could meet another message under the same id.
                self._client = None
                self._pending.clear()
            self._close(client)

    def _make_client(self) -> Client:
        options = self._options
        # A client of its own for each connection: no packet of the last one can be sent on the next.
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=None if options.protocol == "5" else False,
            protocol=MQTTv5 if options.protocol == "5" else MQTTv311,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        client.connect_timeout = options.timeout_s
        if options.username:
            password = options.password.value(self._directory) if options.password is not None else None
            client.username_pw_set(options.username, password)
        if options.encrypted:
            folder = Path(self._directory)
            try:
                client.tls_set_context(_context(options, folder))
            except (OSError, ValueError) as error:
                raise RefusedError(
                    f"a certificate or key can not be read: {error}",
                    where=self._where,
                    hint="check options.ca_certificate, options.certificate and options.private_key: PEM files",
                ) from error
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        return client

    def _connect(self, client: Client) -> None:
        options = self._options
        try:
            if options.protocol == "5":
                properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
                properties.SessionExpiryInterval = options.session_s
                properties.ReceiveMaximum = RECEIVE_MAXIMUM
                client.connect(
                    options.host,
                    options.broker_port,
                    keepalive=options.keepalive_s,
                    clean_start=False,
                    properties=properties,
                )
            else:
                client.connect(options.host, options.broker_port, keepalive=options.keepalive_s)
        except ssl.SSLCertVerificationError as error:
            raise RefusedError(
                f"the certificate of {self._peer} is not trusted: {error.verify_message}",
                where=self._where,
                hint="give options.ca_certificate the authority that signed it, and options.host the name in it",
            ) from error
        except ssl.SSLError as error:
            raise RefusedError(
                f"no TLS with {self._peer}: {error.reason or error}",
                where=self._where,
                hint="check that options.port is the broker's TLS port, and whether it asks for a client certificate",
            ) from error
        except (OSError, ValueError) as error:
            raise unreachable(
                error,
                host=options.host,
                port=options.broker_port,
                what="MQTT broker",
                key="options.host or options.port",
                where=self._where,
            ) from error

    def _watch(self, client: Client) -> None:
        begun = asked = time.monotonic()
        patience = max(2 * self._options.timeout_s, 4.0)
        while not self._port.stopping.is_set():
            self._changed.wait(GLANCE_S)
            self._changed.clear()
            if self._failure is not None:
                raise self._failure
            now = time.monotonic()
            if not self._accepted and now - begun > patience:
                raise NotConnectedError(
                    f"{self._peer} takes the connection but does not speak MQTT {self._options.protocol}",
                    where=self._where,
                    hint="check that options.port is the broker's MQTT port, and whether it wants TLS; dari keeps trying",
                )
            if self._refused and now - asked > RESUBSCRIBE_S:
                asked = now
                self._subscribe(client, sorted(self._refused))

    def _wait_for_last_acks(self) -> None:
        """Asked to stop: what was received is on its way to the recorder, so give it time to be acknowledged."""
        deadline = time.monotonic() + LAST_ACKS_S
        while self._failure is None and time.monotonic() < deadline:
            with self._lock:
                if not self._pending:
                    return
            time.sleep(0.01)

    def _close(self, client: Client) -> None:
        client.disconnect()
        deadline = time.monotonic() + GOODBYE_S
        while client.socket() is not None and time.monotonic() < deadline:
            time.sleep(0.005)
        left: Any = client.socket()
        if left is not None:
            # A frozen broker takes no goodbye: without this, the library's thread would wait for it for ever.
            with contextlib.suppress(OSError):
                left.shutdown(socket.SHUT_RDWR)
        client.loop_stop()
        client.on_connect = client.on_disconnect = client.on_subscribe = client.on_message = None

    # -- from the runtime ----------------------------------------------------------------------------------------

    def acknowledge(self, sequence: int) -> None:
        """Everything up to `sequence` is recorded: tell the broker of the messages that became it, in their order."""
        with self._lock:
            self._recorded = max(self._recorded, sequence)
            self._send_acks()

    def _send_acks(self) -> None:
        """Called under the lock."""
        client = self._client
        while self._pending and self._pending[0].sequence <= self._recorded:
            done = self._pending.popleft()
            if client is not None:
                client.ack(done.mid, done.qos)

    # -- in the library's thread ---------------------------------------------------------------------------------

    def _fail(self, failure: NotConnectedError) -> None:
        self._failure = self._failure or failure
        self._changed.set()

    def _on_connect(
        self, client: Client, _: Any, flags: ConnectFlags, reason: ReasonCode, __: Properties | None
    ) -> None:
        if reason.is_failure:
            name = reason.getName()
            if reason.value == 0x88:  # 'server unavailable' passes by itself; paho has turned 3.1.1's 3 into this
                self._fail(NotConnectedError(f"the MQTT broker at {self._peer} says: {name}", where=self._where))
                return
            who = f"as {self._options.username!r}" if self._options.username else "without a user name"
            self._fail(
                RefusedError(
                    f"the MQTT broker at {self._peer} refuses the connection {who}: {name}",
                    where=self._where,
                    hint="correct options.username and options.password in the site file, or the user on the broker; "
                    "dari tries again once in a while",
                )
            )
            return
        self._accepted = True
        self._begun = time.monotonic()
        if flags.session_present:
            self._port.log("info", f"{self._peer} has kept the session of {self._client_id!r}")
        self._subscribe(client, list(self._readers))

    def _subscribe(self, client: Client, topics: list[str]) -> None:
        for start in range(0, len(topics), TOPICS_AT_ONCE):
            part = topics[start : start + TOPICS_AT_ONCE]
            _, mid = client.subscribe([(topic, self._qos[topic]) for topic in part])
            if mid is not None:
                self._asked[mid] = part

    def _on_subscribe(self, _: Client, __: Any, mid: int, reasons: list[ReasonCode], ___: Properties | None) -> None:
        topics = self._asked.pop(mid, [])
        news: list[str] = []
        for topic, reason in zip(topics, reasons, strict=False):
            if reason.is_failure:
                news += [topic] if topic not in self._refused else []
                self._refused.add(topic)
            else:
                self._refused.discard(topic)
                self._granted.add(topic)
        if news:
            status = "the broker refuses the subscription"
            self._port.signals(
                [Signal(reader.tag, None, Quality.BAD, status) for topic in news for reader in self._readers[topic]]
            )
            more = f" and {len(news) - NAMED} more" if len(news) > NAMED else ""
            self._port.log("warning", f"{self._peer} refuses to send {', '.join(news[:NAMED])}{more}: check its rights")
        if len(self._refused) == len(self._readers):
            self._fail(
                RefusedError(
                    f"the MQTT broker at {self._peer} refuses every topic of this source",
                    where=self._where,
                    hint="give the user the right to read them on the broker",
                )
            )
        elif self._granted:
            self._say_up()

    def _say_up(self) -> None:
        if not self._up:
            self._up = True
            self._port.connected(self._peer)

    def _on_disconnect(
        self, _: Client, __: Any, ___: DisconnectFlags, reason: ReasonCode, ____: Properties | None
    ) -> None:
        if self._accepted and time.monotonic() - self._begun < SHORT_LIFE_S and not self._port.stopping.is_set():
            self._fail(
                NotConnectedError(
                    f"the MQTT broker at {self._peer} accepts the connection and closes it at once",
                    where=self._where,
                    hint=f"check that no one else uses the client id {self._client_id!r}, and the broker's log",
                )
            )
        self._fail(NotConnectedError(f"the connection to {self._peer} broke: {reason.getName()}", where=self._where))

    def _on_message(self, client: Client, _: Any, message: MQTTMessage) -> None:
        """Hand over one message. What goes wrong here ends the connection, with the message still unacknowledged."""
        arrival = time.monotonic_ns()
        try:
            if self._port.stopping.is_set() and message.qos:
                return  # unacknowledged, so the broker keeps it for the next start
            self._take(client, message, arrival)
        except Exception as error:
            self._fail(
                NotConnectedError(
                    f"a message on {message.topic!r} could not be taken: {type(error).__name__}: {error}",
                    where=self._where,
                    hint="this is a fault of dari: please report it",
                )
            )

    def _take(self, client: Client, message: MQTTMessage, arrival: int) -> None:
        self._say_up()
        readers = self._readers.get(message.topic)
        if readers is None:
            self._stranger(client, message.topic)
            sequence = self._last
        else:
            signals = read_all(readers, bytes(message.payload), message.retain)
            sequence = self._hand_over(signals, arrival, message.dup)
            for signal in signals:
                if signal.quality is Quality.BAD:
                    self._count_unparsable(signal, message.topic)
        with self._lock:
            self._last = sequence
            if message.qos:
                self._pending.append(Pending(sequence, message.mid, message.qos))
                self._send_acks()

    def _hand_over(self, signals: list[Signal], arrival: int, duplicate: bool) -> int:
        if not duplicate:
            return self._port.signals(signals, arrival=arrival)
        sequence = self._last
        for signal in signals:
            sequence = self._port.signal(signal, arrival=arrival, duplicate=True)
        return sequence

    def _stranger(self, client: Client, topic: str) -> None:
        """A topic that an earlier site file asked for: the broker has kept the subscription."""
        if topic not in self._strangers:
            self._strangers.add(topic)
            self._port.log("info", f"{self._peer} still sends {topic!r}, which no signal names: unsubscribed")
            client.unsubscribe(topic)

    def _count_unparsable(self, signal: Signal, topic: str) -> None:
        """Said at the first and then at every tenfold, since a broken device repeats itself."""
        self._unparsable[signal.tag] += 1
        count = self._unparsable[signal.tag]
        if count == 10 ** (len(str(count)) - 1):
            times = "" if count == 1 else f" ({count} messages so far)"
            self._port.log("warning", f"{signal.tag} can not be read from {topic!r}{times}: {signal.status}")
