"""For the tests of an adapter, here and in other people's packages: a real port that keeps what was handed to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple
from uuid import UUID

import msgspec

from bridge.adapter import NO_STAMP, Channel, ChannelKind, SignalConfig, Source
from bridge.bus.record import Record
from bridge.port import StampingPort
from bridge.schema import Asset, Body, Health, HealthCode, Interval, Signal, Space, TaskEvent, codec


class Sample(NamedTuple):
    """One CDR message that an adapter handed over; stamps in ns, None where there was none."""

    channel: Channel
    payload: bytes
    stamp: int | None
    alt_stamp: int | None
    arrival: int
    aligned: int
    flags: int


def make_source(name: str = "source", space: Space = Space.FIELD, asset: str = "cell1") -> Source:
    """A source for tests, in the run 0."""
    return Source(name=name, space=space, asset_name=asset, asset=Asset(cell=asset), run_id=UUID(int=0))


class RecordingPort(StampingPort):
    """A port that keeps everything: `samples`, `signals_seen`, `events`, `losses`, `connections`, `logs`.

    It stamps, aligns, numbers and builds events by the very code that runs in an adapter's process.
    """

    def __init__(self, source: Source | None = None, signals: dict[str, SignalConfig] | None = None) -> None:
        base = time.time_ns() - time.monotonic_ns()
        super().__init__(source or make_source(), signals or {}, prior_delay_ns=5_000_000, base_ns=base)
        self.declared: list[Channel] = []
        self.samples: list[Sample] = []
        self.signals_seen: list[Signal] = []
        self.events: list[TaskEvent] = []
        self.losses: list[tuple[str, int, str]] = []
        self.connections: list[tuple[str, str]] = []
        self.logs: list[tuple[str, str]] = []

    def _declared(self, channel: Channel) -> None:
        self.declared.append(channel)

    def _put(self, record: Record) -> None:
        channel = self.declared[record.channel]
        if channel.kind is ChannelKind.CDR:
            stamp = None if record.stamp == NO_STAMP else record.stamp
            alt = None if record.alt_stamp == NO_STAMP else record.alt_stamp
            self.samples.append(
                Sample(channel, record.payload, stamp, alt, record.arrival, record.aligned, record.flags)
            )
        elif channel.kind is ChannelKind.SIGNAL:
            self.signals_seen.append(codec.decode_signal(record.payload))
        elif channel.kind is ChannelKind.SIGNALS:
            self.signals_seen.extend(codec.decode_signals(record.payload))

    def _seen(self, event: TaskEvent) -> None:
        # What goes to the log must decode: an adapter's test finds a malformed event where it is made.
        codec.decode(codec.encode(event))
        self.events.append(event)

    def connected(self, peer: str) -> None:
        """Keep it, and do what a real port does."""
        self.connections.append(("connected", peer))
        super().connected(peer)

    def disconnected(self, reason: str) -> None:
        """Keep it, and do what a real port does."""
        self.connections.append(("disconnected", reason))
        super().disconnected(reason)

    def lost(
        self, channel: str, count: int, window: Interval | None = None, text: str = "", *, clock: str = "device"
    ) -> None:
        """Keep it, and do what a real port does."""
        self.losses.append((channel, count, text))
        super().lost(channel, count, window, text, clock=clock)

    def log(self, level: str, text: str) -> None:
        """Keep it, and do what a real port does."""
        self.logs.append((level, text))
        super().log(level, text)

    def bodies(self, kind: type[Body]) -> list[msgspec.Struct]:
        """The bodies of the events of one kind, in order."""
        return [event.body for event in self.events if isinstance(event.body, kind)]

    def health(self, code: HealthCode) -> list[Health]:
        """The health events with one code, in order."""
        return [e.body for e in self.events if isinstance(e.body, Health) and e.body.code is code]

    def wait_for(self, condition: Callable[[RecordingPort], bool], seconds: float = 20.0) -> bool:
        """Wait until the condition holds; False when it did not within `seconds`."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if condition(self):
                return True
            time.sleep(0.01)
        return condition(self)
