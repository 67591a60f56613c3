"""The MQTT adapter: one connection after another until it is asked to stop."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, ClassVar, cast

from adapters.backoff import Backoff
from adapters.mqtt.config import MqttOptions, MqttSignal, faults
from adapters.reach import reason
from bridge.adapter import Adapter, Options, Port, Requirement, SignalConfig, Source, require
from bridge.errors import NotConnectedError, SiteError
from bridge.schema import Space

if TYPE_CHECKING:
    from adapters.mqtt.payload import Reader
    from adapters.mqtt.session import BrokerSession

STEADY_S = 10.0


class MqttAdapter(Adapter):
    """Topics of an MQTT broker. A QoS 1 message is acknowledged when its record has reached the recorder, so that what a killed
    adapter had received is sent again. Subscribes only: nothing here can publish.

    `unparsable` counts, by signal, the messages whose payload did not fit.
    """

    options_type: ClassVar[type[Options]] = MqttOptions
    signal_type: ClassVar[type[SignalConfig] | None] = MqttSignal
    requirements: ClassVar[tuple[Requirement, ...]] = (Requirement("paho", "field"),)
    summary: ClassVar[str] = "topics of an MQTT broker, acknowledged when recorded"
    usual_space: ClassVar[Space | None] = Space.FIELD
    prior_delay_ns: ClassVar[int] = 5_000_000

    def __init__(self, source: Source, options: Options, signals: dict[str, SignalConfig]) -> None:
        super().__init__(source, options, signals)
        self.unparsable: Counter[str] = Counter()
        self._session: BrokerSession | None = None

    def check(self) -> list[str]:
        """Faults of host, login, certificates, topics and paths; touches no network."""
        return faults(self._options, self._signals, self.source.directory)

    @property
    def _options(self) -> MqttOptions:
        return cast(MqttOptions, self.options)

    @property
    def _signals(self) -> dict[str, MqttSignal]:
        return cast("dict[str, MqttSignal]", self.signals)

    @property
    def client_id(self) -> str:
        """What the broker knows this source by, over all its restarts."""
        return self._options.client_id or f"dari-{self.source.asset_name}-{self.source.name}"

    def run(self, port: Port) -> None:
        """Subscribe and hand over what comes until `port.stopping`; an absent or lost broker is said and tried again.

        Raises:
            SiteError: the options contradict themselves (what `check` reports).
            MissingPackageError: paho-mqtt is not installed.
        """
        if problems := self.check():
            raise SiteError("; ".join(problems), where=self.source.name, hint="run `dari check` on the site file")
        require(self.requirements, "the mqtt adapter")
        from adapters.mqtt.payload import Reader
        from adapters.mqtt.session import BrokerSession, RefusedError

        readers: dict[str, list[Reader]] = {}
        qos: dict[str, int] = {}
        for tag, signal in self._signals.items():
            readers.setdefault(signal.topic, []).append(Reader(tag, signal))
            qos[signal.topic] = max(qos.get(signal.topic, 0), signal.qos)
        quick, slow = Backoff(0.5, 5.0), Backoff(10.0, 60.0)
        while not port.stopping.is_set():
            started = time.monotonic()
            wait = quick
            session = self._session = BrokerSession(
                self._options, readers, qos, self.client_id, port, self.source.directory, self.unparsable
            )
            try:
                session.run()
            except RefusedError as error:
                port.disconnected(reason(error))
                wait = slow
            except NotConnectedError as error:
                port.disconnected(reason(error))
            finally:
                self._session = None
            if time.monotonic() - started > STEADY_S:
                quick.reset()
            if wait is quick:
                slow.reset()
            port.stopping.wait(wait.next())

    def acknowledge(self, sequence: int) -> None:
        """Everything up to `sequence` has reached the recorder: acknowledge the messages that became it."""
        session = self._session
        if session is not None:
            session.acknowledge(sequence)
