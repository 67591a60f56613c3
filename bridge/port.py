"""The part of a port that is the same wherever the records go: stamping, aligning, numbering, building the envelope.

`bridge.runtime` sends the records to the hub; `bridge.testing` keeps them for a test to look at. Both run this code.
"""

from __future__ import annotations

import abc
import threading
import time
from collections.abc import Sequence
from uuid import UUID

import msgspec

from bridge.adapter import NO_STAMP, Channel, ChannelKind, Flag, LogLine, Port, Rate, SignalConfig, Source
from bridge.bus.record import Record
from bridge.clock.delay import DelayFilter
from bridge.names import channel_topic
from bridge.schema import (
    Body,
    Health,
    HealthCode,
    Interval,
    Link,
    Native,
    Origin,
    Signal,
    Stamp,
    TaskEvent,
    codec,
    ids,
)
from bridge.schema.align import align_body

EVENTS = "events"
LOG = "log"
OWN = {ChannelKind.EVENT: (EVENTS, "/dari/events"), ChannelKind.LOG: (LOG, "/dari/log")}
"""The channels that every source has: their names in here, which no channel of an adapter takes, and topics."""
_log_encoder = msgspec.msgpack.Encoder()
_new = tuple.__new__


class StampingPort(Port):
    """A port that stamps, aligns and numbers; a subclass says where records and declared channels go.

    Args:
        source: who speaks.
        signals: the source's signals by name, to know which have a channel of their own, and their units.
        prior_delay_ns: declared prior of the transport's smallest delay, in every clock's uncertainty.
        base_ns: the recorder's timeline is `time.monotonic_ns() + base_ns`.
    """

    def __init__(self, source: Source, signals: dict[str, SignalConfig], *, prior_delay_ns: int, base_ns: int) -> None:
        self.source = source
        self.stopping = threading.Event()
        self._signals = signals
        self._prior = prior_delay_ns
        self._base = base_ns
        self._lock = threading.RLock()
        self._channels: dict[str, Channel] = {}
        self._clocks: dict[str, DelayFilter] = {}
        self._next = 0
        self._down_since: int | None = time.monotonic_ns() + base_ns
        self._down_reason = "starting"
        self._was_connected = False

    @abc.abstractmethod
    def _put(self, record: Record) -> None:
        """Take the record numbered `self._next - 1`; called under the lock."""

    @abc.abstractmethod
    def _declared(self, channel: Channel) -> None:
        """A channel was declared; called under the lock, before its first record."""

    # -- channels ------------------------------------------------------------------------------------------------

    def channel(
        self,
        name: str,
        type_name: str,
        *,
        definition: str = "",
        metadata: dict[str, str] | None = None,
        rate: Rate = Rate.TELEMETRY,
        clock: str = "device",
    ) -> Channel:
        """Declare a channel of CDR messages; see `Port.channel`."""
        return self._declare(name, ChannelKind.CDR, type_name, definition, metadata or {}, rate, clock)

    def _declare(
        self,
        name: str,
        kind: ChannelKind,
        type_name: str,
        definition: str = "",
        metadata: dict[str, str] | None = None,
        rate: Rate = Rate.TELEMETRY,
        clock: str = "device",
    ) -> Channel:
        with self._lock:
            key = self._key(name, kind, type_name)
            known = self._channels.get(key)
            if known is not None:
                return known
            own = OWN.get(kind)
            channel = Channel(
                index=len(self._channels),
                name=name if own is None else own[0],
                topic=self.topic(name) if own is None else own[1],
                kind=kind,
                type_name=type_name,
                definition=definition,
                metadata=metadata or {},
                rate=rate,
                clock=clock,
            )
            self._channels[key] = channel
            self._declared(channel)
            return channel

    def _key(self, name: str, kind: ChannelKind, type_name: str) -> str:
        """The channel's name in here. One that comes again as something else, or is named as ours are, is told apart."""
        known = self._channels.get(name)
        if known is None:
            taken = name in (EVENTS, LOG) and kind not in OWN
        else:
            taken = known.kind is not kind or known.type_name != type_name
        return f"{name}\0{kind.value}\0{type_name}" if taken else name

    def topic(self, name: str) -> str:
        """The log's topic for a channel or own signal; see `Port.topic`."""
        return channel_topic(self.source.space.value, self.source.asset_name, name)

    # -- records -------------------------------------------------------------------------------------------------

    def emit(
        self,
        channel: Channel,
        payload: bytes,
        *,
        stamp: int | None = None,
        alt_stamp: int | None = None,
        arrival: int | None = None,
        duplicate: bool = False,
    ) -> int:
        """Hand over one CDR message; see `Port.emit`."""
        return self._record(channel, payload, stamp, alt_stamp, arrival, Flag.DUPLICATE if duplicate else 0)

    def _record(
        self,
        channel: Channel,
        payload: bytes,
        stamp: int | None,
        alt_stamp: int | None,
        arrival: int | None,
        flags: int = 0,
    ) -> int:
        if arrival is None:
            arrival = time.monotonic_ns()
        arrival += self._base
        with self._lock:
            clock = self._clocks.get(channel.clock) or self._clock(channel.clock)
            aligned, uncertainty, epoch = clock.update(stamp, arrival)
            sequence = self._next
            self._next = sequence + 1
            # Not by its constructor, which is a function in Python and costs 0.2 us.
            self._put(
                _new(
                    Record,
                    (
                        channel.index,
                        NO_STAMP if stamp is None else stamp,
                        NO_STAMP if alt_stamp is None else alt_stamp,
                        arrival,
                        aligned,
                        uncertainty,
                        epoch,
                        flags,
                        payload,
                    ),
                )
            )
            return sequence

    def _clock(self, name: str) -> DelayFilter:
        clock = self._clocks.get(name)
        if clock is None:
            clock = self._clocks[name] = DelayFilter(prior_delay_ns=self._prior)
        return clock

    def signal(self, signal: Signal, *, arrival: int | None = None, duplicate: bool = False) -> int:
        """Hand over one signal; see `Port.signal`."""
        flags = Flag.DUPLICATE if duplicate else 0
        config = self._signals.get(signal.tag)
        if config is not None and config.own:
            return self._own(signal, config, arrival, flags, held_before=False)
        return self._table("signals", [signal], arrival, flags, held_before=False)

    def signals(
        self,
        signals: Sequence[Signal],
        *,
        group: str = "signals",
        arrival: int | None = None,
        held_before: bool = False,
    ) -> int:
        """Hand over the signals of one poll or notification; see `Port.signals`."""
        if arrival is None:
            arrival = time.monotonic_ns()
        shared: list[Signal] = []
        last = self._next - 1
        with self._lock:
            for signal in signals:
                config = self._signals.get(signal.tag)
                if config is not None and config.own:
                    last = self._own(signal, config, arrival, 0, held_before)
                else:
                    shared.append(signal)
            if shared:
                last = self._table(group, shared, arrival, 0, held_before)
        return last

    def _own(self, signal: Signal, config: SignalConfig, arrival: int | None, flags: int, held_before: bool) -> int:
        channel = self._own_channel(signal.tag, config)
        stamp, beside = signal.source_ns, signal.server_ns
        if held_before:
            stamp, beside = None, stamp
        return self._record(channel, codec.encode_signal(signal), stamp, beside, arrival, flags)

    def _own_channel(self, tag: str, config: SignalConfig) -> Channel:
        type_name = "dari_msgs/msg/Signal"
        known = self._channels.get(self._key(tag, ChannelKind.SIGNAL, type_name))
        if known is not None:
            return known
        metadata = {"dari.tag": tag, "dari.unit": config.unit, "dari.description": config.description}
        return self._declare(tag, ChannelKind.SIGNAL, type_name, metadata=metadata)

    def _table(self, group: str, signals: list[Signal], arrival: int | None, flags: int, held_before: bool) -> int:
        # Two sources of one asset each have a table: under one topic their rows would be in nobody's order.
        group = f"{self.source.name}/{group}"
        type_name = "dari_msgs/msg/SignalTable"
        channel = self._channels.get(self._key(group, ChannelKind.SIGNALS, type_name))
        if channel is None:
            units = {tag: config.unit for tag, config in self._signals.items() if not config.own and config.unit}
            metadata = {"dari.units": msgspec.json.encode(units).decode()}
            channel = self._declare(group, ChannelKind.SIGNALS, type_name, metadata=metadata)
        stamps = [signal.source_ns for signal in signals if signal.source_ns is not None]
        servers = [signal.server_ns for signal in signals if signal.server_ns is not None]
        # The newest stamp is the one that the arrival belongs to: a static tag may have been written hours ago.
        stamp, beside = max(stamps, default=None), max(servers, default=None)
        if held_before:
            stamp, beside = None, stamp
        return self._record(channel, codec.encode_signals(signals), stamp, beside, arrival, flags)

    # -- events --------------------------------------------------------------------------------------------------

    def event(
        self,
        body: Body,
        *,
        source_ns: int | None = None,
        arrival: int | None = None,
        task_id: UUID | None = None,
        attempt: int = 1,
        parent_id: UUID | None = None,
        episode_id: UUID | None = None,
        links: tuple[Link, ...] = (),
        origin: Origin = Origin.OBSERVED,
        native: Native | None = None,
        ext: dict[str, object] | None = None,
        clock: str = "device",
    ) -> UUID:
        """Hand over a task event; see `Port.event`."""
        received = (time.monotonic_ns() if arrival is None else arrival) + self._base
        source = self.source
        with self._lock:
            name = EVENTS if clock == "device" else f"{EVENTS}\0{clock}"
            channel = self._channels.get(name)
            if channel is None:
                channel = self._declare(
                    name, ChannelKind.EVENT, "dari_msgs/msg/TaskEvent", rate=Rate.EVENT, clock=clock
                )
            filter_ = self._clock(clock)
            aligned = filter_.update(source_ns, received)
            sequence = self._next
            identity = ids.event_id(source.run_id, source.name, source.epoch, sequence)
            event = TaskEvent(
                id=identity,
                source=source.name,
                sequence=sequence,
                space=source.space,
                time=Stamp(
                    source_ns=source_ns,
                    received_ns=received,
                    aligned_ns=aligned.aligned,
                    uncertainty_ns=aligned.uncertainty,
                    clock_epoch=aligned.epoch,
                ),
                body=align_body(body, filter_.to_timeline, detected_ns=aligned.aligned),
                run_id=source.run_id,
                episode_id=episode_id,
                task_id=task_id,
                parent_id=parent_id,
                attempt=attempt,
                asset=source.asset,
                embodiment=source.embodiment,
                links=links,
                origin=origin,
                native=native,
                ext=ext or {},
            )
            payload = codec.encode(event)
            # Numbered only now: an event that does not fit the schema must not leave a hole that reads as a loss.
            self._next = sequence + 1
            self._put(
                Record(
                    channel.index,
                    NO_STAMP if source_ns is None else source_ns,
                    NO_STAMP,
                    received,
                    aligned.aligned,
                    aligned.uncertainty,
                    aligned.epoch,
                    0,
                    payload,
                )
            )
            self._seen(event)
            return identity

    def _seen(self, event: TaskEvent) -> None:
        """An event was made; for a port that keeps them."""

    def task_key(self, *parts: object) -> UUID:
        """An id for a task of this source; see `Port.task_key`."""
        return ids.task_key(self.source.run_id, self.source.name, *parts)

    # -- what is said of the source itself -----------------------------------------------------------------------

    def connected(self, peer: str) -> None:
        """Data can flow now; a time without becomes a gap event. See `Port.connected`."""
        now = time.monotonic_ns() + self._base
        with self._lock:
            since, reason = self._down_since, self._down_reason
            if since is None:
                return
            self._down_since = None
            if self._was_connected:
                window = Interval(t0_ns=since, t1_ns=now)
                self.event(Health(code=HealthCode.GAP, text=f"no data: {reason}", window=window))
            self._was_connected = True
        self.log("info", f"connected to {peer}")

    def disconnected(self, reason: str) -> None:
        """The peer is lost, or silent; see `Port.disconnected`."""
        with self._lock:
            if self._down_since is None:
                self._down_since = time.monotonic_ns() + self._base
            elif reason == self._down_reason:
                return
            self._down_reason = reason
            self.event(Health(code=HealthCode.DISCONNECTED, text=reason))
        self.log("warning", reason)

    def lost(
        self, channel: str, count: int, window: Interval | None = None, text: str = "", *, clock: str = "device"
    ) -> None:
        """Messages were lost before they reached dari; see `Port.lost`."""
        known = self._channels.get(channel)
        topic = known.topic if known is not None else channel
        self.event(Health(code=HealthCode.LOSS, text=text, channel=topic, window=window, count=count), clock=clock)

    def log(self, level: str, text: str) -> None:
        """Say something; it goes to `/dari/log`. See `Port.log`."""
        with self._lock:
            channel = self._channels.get(LOG)
            if channel is None:
                channel = self._declare(LOG, ChannelKind.LOG, "rcl_interfaces/msg/Log", rate=Rate.EVENT)
            line = LogLine(level, self.source.name, text)
            self._record(channel, _log_encoder.encode(line), None, None, None)
