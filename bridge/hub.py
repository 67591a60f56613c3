"""The hub: frames in, sinks out. Checks gaps, runs the rules, keeps the tasks' state machine, acknowledges what is on disk.

One thread, one ROUTER socket. A frame that is malformed is refused and counted and costs nothing else; a frame that was
sent again is dropped and counted; a hole in the sequence numbers is an event. Nothing is acknowledged before the sinks
have flushed it.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import numpy as np
import zmq

from bridge.adapter import NO_STAMP, Channel, ChannelKind, LogLine, Rate, Source
from bridge.bus import frame
from bridge.errors import FrameError, SchemaError
from bridge.rules.stage import RuleEvent, RuleStage
from bridge.schema import (
    Asset,
    Body,
    Boundary,
    Health,
    HealthCode,
    Interval,
    Link,
    Relation,
    Run,
    Space,
    Stamp,
    TaskEvent,
    codec,
    ids,
)
from bridge.schema.transitions import Ledger
from bridge.sink import Batch, RunInfo, Sink

FLUSH_S = 0.4
RULES_S = 0.05
DRAIN_S = 0.3
_source_decoder = msgspec.msgpack.Decoder(Source)
_channels_decoder = msgspec.msgpack.Decoder(list[Channel])
_log_encoder = msgspec.msgpack.Encoder()


@dataclass
class _Peer:
    """What the hub knows of one source."""

    source: Source
    route: bytes
    channels: list[Channel]
    expected: int
    number: int = -1
    acked: int = -1
    last_aligned: int | None = None
    ended: bool = False
    counts: Counter[str] = field(default_factory=Counter)


@dataclass
class _Voice:
    """A source of the hub's own: the pipeline itself in one space, or one rule set."""

    source: Source
    channels: dict[str, Channel] = field(default_factory=dict)
    sequence: int = 0


class Totals(msgspec.Struct, kw_only=True):
    """What the hub has counted; told to the supervisor when it ends."""

    records: int = 0
    events: int = 0
    gaps: int = 0
    lost: int = 0
    duplicates: int = 0
    refused: int = 0
    restarts: int = 0
    violations: int = 0
    late: int = 0
    channels: dict[str, int] = {}


class Hub:
    """Receives frames at `address` and puts what is in them into `sinks`.

    Args:
        address: where to listen; `ipc://` on one machine.
        run: the run's identity and clock pair.
        rules: the rule stage, fed with every batch.
        sinks: opened here, closed by `close`.
        spaces: the spaces of the site's sources: the run's beginning and end is said once in each.
    """

    def __init__(
        self,
        address: str,
        run: RunInfo,
        rules: RuleStage,
        sinks: list[Sink],
        *,
        spaces: list[Space],
        operator: str = "",
        seed: int | None = None,
    ) -> None:
        self._run = run
        self._rules = rules
        self._sinks = sinks
        self._spaces = spaces
        self._operator = operator
        self._seed = seed
        self._base = run.realtime_ns - run.monotonic_ns
        self._peers: dict[str, _Peer] = {}
        self._asked: dict[bytes, float] = {}
        self._voices: dict[str, _Voice] = {}
        self._ledger = Ledger()
        self._dirty = False
        self.totals = Totals()
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, frame.MAX_FRAME)
        self._socket.bind(address)
        for sink in sinks:
            sink.open(run)
        for space in spaces:
            self._say(self._pipeline(space), self._boundary(Boundary.BEGIN))

    def _boundary(self, boundary: Boundary, reason: str = "") -> Run:
        software = self._run.software if boundary is Boundary.BEGIN else {}
        return Run(boundary=boundary, seed=self._seed, software=software, operator=self._operator, reason=reason)

    # -- the loop --------------------------------------------------------------------------------------------------

    def step(self, timeout_s: float = RULES_S) -> int:
        """Take what is there, waiting at most `timeout_s` for the first frame; returns the number of frames taken."""
        taken = 0
        if self._socket.poll(round(timeout_s * 1000)):
            # Bounded, so that rules and flushes get their turn under any load.
            while taken < 256:
                try:
                    parts = self._socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                taken += 1
                self._receive(parts)
        return taken

    def serve(self, stopping: object) -> None:
        """Run until `stopping.is_set()`; then take what is still on its way."""
        flushed = ruled = time.monotonic()
        while not stopping.is_set():  # type: ignore[attr-defined]
            self.step()
            now = time.monotonic()
            if now - ruled >= RULES_S:
                ruled = now
                self.advance()
            if now - flushed >= FLUSH_S:
                flushed = now
                self.flush()
        quiet = time.monotonic()
        while time.monotonic() - quiet < DRAIN_S:
            if self.step(0.05):
                quiet = time.monotonic()

    def advance(self) -> None:
        """Let the rules' timers run up to now."""
        for event in self._rules.advance(time.monotonic_ns() + self._base):
            self._rule_event(event)

    def flush(self) -> None:
        """Put what is held on disk, then acknowledge it."""
        if self._dirty:
            for sink in self._sinks:
                sink.flush()
            self._dirty = False
        for peer in self._peers.values():
            if peer.number > peer.acked:
                peer.acked = peer.number
                self._send(
                    peer.route,
                    frame.Ack(
                        source=peer.source.name,
                        epoch=peer.source.epoch,
                        number=peer.number,
                        sequence=peer.expected - 1,
                    ),
                )

    def close(self, reason: str) -> list[str]:
        """End the run: rules flushed, boundaries written, sinks closed, senders acknowledged. Returns where the results lie."""
        for event in self._rules.flush():
            self._rule_event(event)
        for space in self._spaces:
            self._say(self._pipeline(space), self._boundary(Boundary.END, reason))
        self._dirty = True
        self.flush()
        places = [sink.close(reason) for sink in self._sinks]
        self._socket.close(500)
        self._context.term()
        return places

    # -- frames ----------------------------------------------------------------------------------------------------

    def _send(self, route: bytes, header: frame.Ack | frame.Who) -> None:
        # A ROUTER drops what it can not deliver: a sender that is gone asks again when it is back.
        self._socket.send_multipart([route, frame.encode(header)])

    def _receive(self, parts: list[bytes]) -> None:
        try:
            if len(parts) != 2:
                raise FrameError(f"a message of {len(parts)} parts, where two were expected")
            route, data = parts
            received = frame.decode(data)
            header = received.header
            if isinstance(header, frame.Data):
                self._data(route, header, received)
            elif isinstance(header, frame.Hello):
                self._hello(route, header)
            elif isinstance(header, frame.Bye):
                self._bye(route, header)
            elif isinstance(header, frame.Ping):
                self._known(route, header.source, header.epoch)
            elif isinstance(header, frame.Note):
                self._note(header)
            else:
                raise FrameError(f"a {type(header).__name__} frame is the hub's to send", where=header.source)
        except FrameError as error:
            self.totals.refused += 1
            # The first ones are said whole; after that the count says enough.
            if self.totals.refused <= 10:
                self._health(self._spaces[0], HealthCode.REFUSED_PEER, f"frame refused: {error}", count=1)

    def _known(self, route: bytes, name: str, epoch: int) -> _Peer | None:
        peer = self._peers.get(name)
        if peer is not None and peer.source.epoch == epoch and peer.route == route:
            return peer
        if peer is not None and epoch < peer.source.epoch:
            return None  # a predecessor that was given up
        now = time.monotonic()
        if now - self._asked.get(route, 0.0) > 0.5:
            self._asked[route] = now
            self._send(route, frame.Who(source=name))
        return None

    def _hello(self, route: bytes, header: frame.Hello) -> None:
        try:
            source = _source_decoder.decode(header.source_info)
            channels = _channels_decoder.decode(header.channels)
        except msgspec.MsgspecError as error:
            raise FrameError(f"hello of {header.source}: {error}") from error
        if [channel.index for channel in channels] != list(range(len(channels))):
            raise FrameError("channels are not numbered from 0", where=header.source)
        peer = self._peers.get(header.source)
        if peer is not None and source.epoch < peer.source.epoch:
            return
        if peer is None or source.epoch > peer.source.epoch:
            previous = peer
            peer = _Peer(source, route, [], expected=header.next_sequence)
            self._peers[header.source] = peer
            if previous is not None:
                peer.counts = previous.counts
                peer.last_aligned = previous.last_aligned
                if not previous.ended:
                    peer.counts["restarted"] = 1
        peer.route = route
        if len(channels) > len(peer.channels):
            fresh = channels[len(peer.channels) :]
            peer.channels = channels
            for sink in self._sinks:
                sink.declare(source, fresh)
            self._rules.declare(source, channels)

    def _data(self, route: bytes, header: frame.Data, received: frame.Frame) -> None:
        peer = self._known(route, header.source, header.epoch)
        if peer is None:
            return
        columns = received.columns
        if int(columns[0].min()) < 0 or int(columns[0].max()) >= len(peer.channels):
            raise FrameError("a record names a channel that was not declared", where=header.source)
        first, skip = header.first, 0
        if first < peer.expected:
            skip = min(header.n, peer.expected - first)
            self.totals.duplicates += skip
        peer.number = max(peer.number, header.number)
        if skip == header.n:
            return
        aligned = int(columns[4][skip])
        if peer.counts.pop("restarted", 0):
            self._gap(peer, peer.last_aligned, aligned, None, "the adapter was restarted; what it had not sent is lost")
        if first > peer.expected:
            missing = first - peer.expected
            self.totals.lost += missing
            self._gap(peer, peer.last_aligned, aligned, missing, f"records {peer.expected} to {first - 1} are missing")
        peer.expected = first + header.n
        peer.last_aligned = int(columns[4][-1])
        lengths = columns[8]
        starts = np.cumsum(lengths) - lengths
        batch = Batch(
            source=header.source,
            epoch=header.epoch,
            channel=columns[0][skip:],
            sequence=np.arange(first + skip, first + header.n, dtype=np.int64),
            stamp=columns[1][skip:],
            alt_stamp=columns[2][skip:],
            arrival=columns[3][skip:],
            aligned=columns[4][skip:],
            uncertainty=columns[5][skip:],
            clock_epoch=columns[6][skip:],
            flags=columns[7][skip:],
            start=starts[skip:],
            length=lengths[skip:],
            payload=received.payload,
        )
        self._take(peer, batch)

    def _take(self, peer: _Peer, batch: Batch) -> None:
        indices, counts = np.unique(batch.channel, return_counts=True)
        self.totals.records += len(batch)
        with_events = False
        for index, count in zip(indices.tolist(), counts.tolist(), strict=True):
            channel = peer.channels[index]
            self.totals.channels[channel.topic] = self.totals.channels.get(channel.topic, 0) + count
            with_events = with_events or channel.kind is ChannelKind.EVENT
        flagged: list[tuple[TaskEvent, list[str]]] = []
        if with_events:
            batch, flagged = self._judge(peer, batch)
        self._write(batch)
        for event, violations in flagged:
            self._violations(event, violations)
        self._rules.take(batch)

    def _judge(self, peer: _Peer, batch: Batch) -> tuple[Batch, list[tuple[TaskEvent, list[str]]]]:
        """Show every event to the ledger; the batch that comes back holds the events with what it filled in and flagged."""
        payloads: list[bytes] = []
        flagged: list[tuple[TaskEvent, list[str]]] = []
        changed = False
        view = memoryview(batch.payload)
        for i in range(len(batch)):
            start, length = int(batch.start[i]), int(batch.length[i])
            payload = bytes(view[start : start + length])
            if peer.channels[int(batch.channel[i])].kind is ChannelKind.EVENT:
                self.totals.events += 1
                try:
                    event = codec.decode(payload)
                    judged, violations = self._ledger.observe(event)
                except SchemaError as error:
                    # Kept as it is for the sink, which writes down what it can not decode.
                    self._health(
                        peer.source.space, HealthCode.BAD_QUALITY, f"event of {peer.source.name}: {error}", count=1
                    )
                else:
                    if violations:
                        flagged.append((judged, violations))
                    if judged is not event:
                        payload = codec.encode(judged)
                        changed = True
            payloads.append(payload)
        if not changed:
            return batch, flagged
        lengths = np.array([len(payload) for payload in payloads], dtype=np.int64)
        starts = np.cumsum(lengths) - lengths
        return msgspec.structs.replace(batch, start=starts, length=lengths, payload=b"".join(payloads)), flagged

    def _write(self, batch: Batch) -> None:
        self._dirty = True
        for sink in self._sinks:
            sink.write(batch)

    def _bye(self, route: bytes, header: frame.Bye) -> None:
        peer = self._known(route, header.source, header.epoch)
        if peer is None:
            return
        if header.next_sequence > peer.expected:
            missing = header.next_sequence - peer.expected
            self.totals.lost += missing
            now = time.monotonic_ns() + self._base
            self._gap(peer, peer.last_aligned, now, missing, f"the last {missing} records were not sent")
            peer.expected = header.next_sequence
        peer.number = header.number
        if not peer.ended:
            peer.ended = True
            self._rules.ended(header.source)
        self.flush()
        # Acknowledged once more when the sender asks again: the first answer may have gone to a closed socket.
        self._send(
            route,
            frame.Ack(source=header.source, epoch=header.epoch, number=header.number, sequence=peer.expected - 1),
        )

    def _note(self, header: frame.Note) -> None:
        peer = self._peers.get(header.source)
        space = peer.source.space if peer is not None else self._spaces[0]
        asset = peer.source.asset if peer is not None else Asset()
        if header.code == "restarted":
            self.totals.restarts += 1
            code = HealthCode.RESTARTED
        else:
            code = HealthCode.DISCONNECTED
        window = Interval(t0_ns=header.at_ns, t1_ns=header.at_ns)
        self._health(space, code, f"{header.source}: {header.text}", window=window, asset=asset)

    def _gap(self, peer: _Peer, t0: int | None, t1: int, count: int | None, text: str) -> None:
        self.totals.gaps += 1
        begin = t1 if t0 is None else t0
        window = Interval(t0_ns=min(begin, t1), t1_ns=t1)
        self._rules.gap(peer.source.name, min(begin, t1), t1)
        self._health(
            peer.source.space,
            HealthCode.GAP,
            f"{peer.source.name}: {text}",
            window=window,
            count=count,
            asset=peer.source.asset,
        )

    # -- the hub's own voices ----------------------------------------------------------------------------------------

    def _pipeline(self, space: Space, asset: Asset | None = None) -> _Voice:
        return self._voice(f"dari.{space.value}", space, Asset())

    def _voice(self, name: str, space: Space, asset: Asset, asset_name: str = "dari") -> _Voice:
        voice = self._voices.get(name)
        if voice is None:
            source = Source(name=name, space=space, asset_name=asset_name, asset=asset, run_id=self._run.run_id)
            voice = self._voices[name] = _Voice(source)
        return voice

    def _health(
        self,
        space: Space,
        code: HealthCode,
        text: str,
        *,
        window: Interval | None = None,
        count: int | None = None,
        links: tuple[Link, ...] = (),
        asset: Asset | None = None,
    ) -> None:
        body = Health(code=code, text=text, window=window, count=count)
        self._say(self._pipeline(space), body, links=links, asset=asset)
        self.log("warning", text)

    def _violations(self, event: TaskEvent, violations: list[str]) -> None:
        self.totals.violations += len(violations)
        for text in violations:
            self._health(
                event.space,
                HealthCode.ILLEGAL_TRANSITION,
                f"{event.source}: {text}",
                links=(Link(rel=Relation.CAUSED_BY, id=event.id),),
                asset=event.asset,
            )

    def log(self, level: str, text: str) -> None:
        """A line in `/dari/log`."""
        now = time.monotonic_ns() + self._base
        voice = self._pipeline(self._spaces[0])
        channel = self._voice_channel(voice, "log", ChannelKind.LOG, "rcl_interfaces/msg/Log", "/dari/log")
        line = _log_encoder.encode(LogLine(level, "dari", text))
        self._speak(voice, channel, line, now, now, NO_STAMP)

    def _voice_channel(self, voice: _Voice, name: str, kind: ChannelKind, type_name: str, topic: str) -> Channel:
        channel = voice.channels.get(name)
        if channel is None:
            channel = Channel(
                index=len(voice.channels), name=name, topic=topic, kind=kind, type_name=type_name, rate=Rate.EVENT
            )
            voice.channels[name] = channel
            for sink in self._sinks:
                sink.declare(voice.source, [channel])
        return channel

    def _speak(
        self, voice: _Voice, channel: Channel, payload: bytes, aligned: int, arrival: int, uncertainty: int
    ) -> None:
        def one(value: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
            return np.array([value], dtype=np.int64)

        sequence = voice.sequence
        voice.sequence += 1
        self._write(
            Batch(
                source=voice.source.name,
                epoch=0,
                channel=one(channel.index),
                sequence=one(sequence),
                stamp=one(NO_STAMP),
                alt_stamp=one(NO_STAMP),
                arrival=one(arrival),
                aligned=one(aligned),
                uncertainty=one(uncertainty),
                clock_epoch=one(0),
                flags=one(0),
                start=one(0),
                length=one(len(payload)),
                payload=payload,
            )
        )

    def _say(self, voice: _Voice, body: Body, *, links: tuple[Link, ...] = (), asset: Asset | None = None) -> TaskEvent:
        now = time.monotonic_ns() + self._base
        event = TaskEvent(
            id=ids.event_id(self._run.run_id, voice.source.name, 0, voice.sequence),
            source=voice.source.name,
            sequence=voice.sequence,
            space=voice.source.space,
            # The hub's own clock is the timeline: it knows its own time to the cost of reading it.
            time=Stamp(received_ns=now, aligned_ns=now, uncertainty_ns=1_000),
            body=body,
            run_id=self._run.run_id,
            asset=voice.source.asset if asset is None else asset,
            links=links,
        )
        self._write_event(voice, event)
        return event

    def _write_event(self, voice: _Voice, event: TaskEvent) -> None:
        channel = self._voice_channel(voice, "events", ChannelKind.EVENT, "dari_msgs/msg/TaskEvent", "/dari/events")
        self.totals.events += 1
        time_ = event.time
        uncertainty = NO_STAMP if time_.uncertainty_ns is None else time_.uncertainty_ns
        self._speak(voice, channel, codec.encode(event), time_.aligned_ns, time_.received_ns, uncertainty)

    def _rule_event(self, rule_event: RuleEvent) -> UUID:
        voice = self._voice(f"rules.{rule_event.rule_set}", rule_event.space, rule_event.asset, rule_event.asset_name)
        event, violations = self._ledger.observe(
            rule_event.make_event(self._run.run_id, voice.source.name, voice.sequence)
        )
        self._write_event(voice, event)
        if violations:
            self._violations(event, violations)
        return event.id
