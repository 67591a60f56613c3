"""The port of a running adapter: records go to the hub, and what the hub would not take is told by channel."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from bridge.adapter import Channel, SignalConfig, Source
from bridge.bus.client import HubClient
from bridge.bus.record import Record
from bridge.port import StampingPort
from bridge.schema import Health, HealthCode, Interval


@dataclass
class _Drops:
    """What was dropped of one channel for one reason: how many records, and the times of the first and the last."""

    count: int
    t0_ns: int
    t1_ns: int


class BusPort(StampingPort):
    """Hands records to the hub's client.

    Args:
        source: who speaks.
        signals: the source's signals by name.
        client: takes the records.
        prior_delay_ns: declared prior of the transport's smallest delay.
        base_ns: the recorder's timeline is the monotonic clock plus this.
        stopping: set when the adapter is asked to stop.
        say: takes a level and a text for the person at the machine.
    """

    def __init__(
        self,
        source: Source,
        signals: dict[str, SignalConfig],
        client: HubClient,
        *,
        prior_delay_ns: int,
        base_ns: int,
        stopping: threading.Event,
        say: Callable[[str, str], None],
    ) -> None:
        super().__init__(source, signals, prior_delay_ns=prior_delay_ns, base_ns=base_ns)
        self.stopping = stopping
        self._client = client
        self._say = say
        self._by_index: list[Channel] = []
        self._drops: dict[tuple[int, str], _Drops] = {}

    def _put(self, record: Record) -> None:
        refused = self._client.put(self._next - 1, record)
        if refused:
            self._drop(record, refused)
        elif self._drops:
            self.tell_drops()

    def _drop(self, record: Record, reason: str) -> None:
        key, at = (record.channel, reason), record.aligned
        drops = self._drops.get(key)
        if drops is None:
            self._drops[key] = _Drops(1, at, at)
        else:
            drops.count += 1
            drops.t0_ns, drops.t1_ns = min(drops.t0_ns, at), max(drops.t1_ns, at)

    def tell_drops(self, seconds: float = -1) -> None:
        """Make an event of what was dropped since it was told last: one for each channel and reason.

        `seconds` bounds the wait for a port that another thread may be stuck in; nothing is told then.
        """
        if not self._lock.acquire(timeout=seconds):
            return
        try:
            told, self._drops = self._drops, {}
            for (index, reason), drops in told.items():
                body = Health(
                    code=HealthCode.DROPPED,
                    text=reason,
                    channel=self._by_index[index].topic,
                    window=Interval(t0_ns=drops.t0_ns, t1_ns=drops.t1_ns),
                    count=drops.count,
                )
                self.event(body)
        finally:
            self._lock.release()

    def _declared(self, channel: Channel) -> None:
        self._by_index.append(channel)
        self._client.declare(channel)

    def log(self, level: str, text: str) -> None:
        """Say it on standard error, and in the log."""
        if level != "debug":
            self._say(level, text)
        super().log(level, text)

    def last_words(self, text: str, seconds: float = 2.0) -> None:
        """Say an error where the adapter may be stuck in this port: on standard error, and in the log if that can be done."""
        if self._lock.acquire(timeout=seconds):
            try:
                self.log("error", text)
            finally:
                self._lock.release()
        else:
            self._say("error", text)
