"""Behind the socket: rules, the tasks' state machine, the pipeline's own events, sinks.

The hub feeds it what comes in live, a replay what a log holds: both get the same events, since nothing in here reads a
clock; time comes in with `advance`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
import numpy as np
from numpy.typing import NDArray

from bridge.adapter import NO_STAMP, Channel, ChannelKind, LogLine, Rate, Source
from bridge.errors import SchemaError
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

READ_NS = 1_000
"""Half-width of the pipeline's own times: the cost of reading the clock that the timeline is made of."""
_log_encoder = msgspec.msgpack.Encoder()


class Totals(msgspec.Struct, kw_only=True):
    """What was counted; said at the end of a run."""

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


@dataclass
class _Voice:
    """A source of the pipeline's own: itself in one space, or one rule set."""

    source: Source
    channels: dict[str, Channel] = field(default_factory=dict)
    sequence: int = 0


class Pipeline:
    """Takes declared channels and batches, and writes them with what the rules and the ledger make of them.

    Args:
        run: the run's identity and clock pair.
        rules: the rule stage, fed with every batch.
        sinks: opened here, closed by `close`.
        spaces: the spaces of the site's sources: the run's beginning and end is said once in each.
        now_ns: the time on the recorder's timeline at which the run begins.
    """

    def __init__(
        self,
        run: RunInfo,
        rules: RuleStage,
        sinks: list[Sink],
        *,
        spaces: list[Space],
        now_ns: int,
        operator: str = "",
        seed: int | None = None,
    ) -> None:
        self._run = run
        self._rules = rules
        self._sinks = sinks
        self._spaces = spaces
        self._operator = operator
        self._seed = seed
        self._now = now_ns
        self._channels: dict[tuple[str, int], list[Channel]] = {}
        self._sources: dict[str, Source] = {}
        self._voices: dict[str, _Voice] = {}
        self._ledger = Ledger()
        self._dirty = True
        self.totals = Totals()
        for sink in sinks:
            sink.open(run)
        for space in spaces:
            self._say(space, self._boundary(Boundary.BEGIN))

    def _boundary(self, boundary: Boundary, reason: str = "") -> Run:
        software = self._run.software if boundary is Boundary.BEGIN else {}
        return Run(boundary=boundary, seed=self._seed, software=software, operator=self._operator, reason=reason)

    # -- what comes in -----------------------------------------------------------------------------------------------

    def declare(self, source: Source, channels: list[Channel]) -> None:
        """Channels of a source, all that it has so far; those that were declared before are passed over."""
        known = self._channels.setdefault((source.name, source.epoch), [])
        fresh = channels[len(known) :]
        if fresh:
            known.extend(fresh)
            self._sources[source.name] = source
            for sink in self._sinks:
                sink.declare(source, fresh)
            self._rules.declare(source, channels)

    def take(self, batch: Batch) -> None:
        """Write a batch of a declared source, its events judged, and let the rules see it."""
        channels = self._channels[(batch.source, batch.epoch)]
        indices, counts = np.unique(batch.channel, return_counts=True)
        totals = self.totals
        totals.records += len(batch)
        with_events = False
        for index, count in zip(indices.tolist(), counts.tolist(), strict=True):
            channel = channels[index]
            totals.channels[channel.topic] = totals.channels.get(channel.topic, 0) + count
            with_events = with_events or channel.kind is ChannelKind.EVENT
        flagged: list[tuple[TaskEvent, list[str]]] = []
        if with_events:
            batch, flagged = self._judge(channels, batch)
        self._write(batch)
        for event, violations in flagged:
            self._violations(event, violations)
        self._rules.take(batch)

    def gap(self, source: str, t0: int | None, t1: int, count: int | None, text: str) -> None:
        """Nothing came from a source between `t0` and `t1` (ns on the timeline); `count` records are known to be lost."""
        self.totals.gaps += 1
        self.totals.lost += count or 0
        begin = t1 if t0 is None else min(t0, t1)
        self._rules.gap(source, begin, t1)
        self.health(source, HealthCode.GAP, text, window=Interval(t0_ns=begin, t1_ns=t1), count=count)

    def ended(self, source: str) -> None:
        """A source has said that nothing more will come."""
        self._rules.ended(source)

    def advance(self, now_ns: int) -> None:
        """It is `now_ns` on the timeline: let what waits for its time go on."""
        self._now = max(self._now, now_ns)
        for event in self._rules.advance(self._now):
            self._rule_event(event)

    def flush(self) -> None:
        """Put what is held where a killed process does not lose it."""
        if self._dirty:
            for sink in self._sinks:
                sink.flush()
            self._dirty = False

    def close(self, reason: str) -> list[str]:
        """End the run: rules flushed, boundaries written, sinks closed. Returns where the results lie."""
        for event in self._rules.flush():
            self._rule_event(event)
        self.totals.late = self._rules.late
        for space in self._spaces:
            self._say(space, self._boundary(Boundary.END, reason))
        return [sink.close(reason) for sink in self._sinks]

    # -- events ------------------------------------------------------------------------------------------------------

    def _judge(self, channels: list[Channel], batch: Batch) -> tuple[Batch, list[tuple[TaskEvent, list[str]]]]:
        """Show every event to the ledger; the batch returned holds what it filled in and flagged."""
        payloads: list[bytes] = []
        flagged: list[tuple[TaskEvent, list[str]]] = []
        changed = False
        view = memoryview(batch.payload)
        for i in range(len(batch)):
            start, length = int(batch.start[i]), int(batch.length[i])
            payload = bytes(view[start : start + length])
            if channels[int(batch.channel[i])].kind is ChannelKind.EVENT:
                self.totals.events += 1
                try:
                    event = codec.decode(payload)
                except SchemaError as error:
                    # Kept as it is for the sink, which writes down what it can not decode.
                    self.health(
                        batch.source, HealthCode.BAD_QUALITY, f"an event does not fit the schema: {error}", count=1
                    )
                else:
                    judged, violations = self._ledger.observe(event)
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

    def _violations(self, event: TaskEvent, violations: list[str]) -> None:
        self.totals.violations += len(violations)
        link = Link(rel=Relation.CAUSED_BY, id=event.id)
        for text in violations:
            self.health(event.source, HealthCode.ILLEGAL_TRANSITION, text, links=(link,))

    def health(
        self,
        source: str,
        code: HealthCode,
        text: str,
        *,
        window: Interval | None = None,
        count: int | None = None,
        links: tuple[Link, ...] = (),
    ) -> None:
        """Say something of the pipeline itself, about `source`: as an event in that source's space, and in `/dari/log`."""
        about = self._sources.get(source)
        space = about.space if about is not None else self._spaces[0]
        asset = about.asset if about is not None else Asset()
        said = f"{source}: {text}" if source else text
        self._say(space, Health(code=code, text=said, window=window, count=count), links=links, asset=asset)
        self.log("warning", said)

    def _rule_event(self, rule_event: RuleEvent) -> None:
        source = rule_event.source
        voice = self._voices.setdefault(source.name, _Voice(source))
        event, violations = self._ledger.observe(rule_event.make_event(self._run.run_id, voice.sequence, self._now))
        self._write_event(voice, event)
        self._violations(event, violations)

    # -- the pipeline's own voices -----------------------------------------------------------------------------------

    def _voice(self, space: Space) -> _Voice:
        name = f"dari.{space.value}"
        voice = self._voices.get(name)
        if voice is None:
            source = Source(name=name, space=space, asset_name="dari", asset=Asset(), run_id=self._run.run_id)
            voice = self._voices[name] = _Voice(source)
        return voice

    def log(self, level: str, text: str) -> None:
        """A line in `/dari/log`."""
        voice = self._voice(self._spaces[0])
        channel = self._voice_channel(voice, "log", ChannelKind.LOG, "rcl_interfaces/msg/Log", "/dari/log")
        line = _log_encoder.encode(LogLine(level, "dari", text))
        self._speak(voice, channel, line, self._now, self._now, NO_STAMP)

    def _voice_channel(self, voice: _Voice, name: str, kind: ChannelKind, type_name: str, topic: str) -> Channel:
        channel = voice.channels.get(name)
        if channel is None:
            index = len(voice.channels)
            channel = Channel(index=index, name=name, topic=topic, kind=kind, type_name=type_name, rate=Rate.EVENT)
            voice.channels[name] = channel
            for sink in self._sinks:
                sink.declare(voice.source, [channel])
        return channel

    def _say(self, space: Space, body: Body, *, links: tuple[Link, ...] = (), asset: Asset | None = None) -> None:
        voice = self._voice(space)
        event = TaskEvent(
            id=ids.event_id(self._run.run_id, voice.source.name, 0, voice.sequence),
            source=voice.source.name,
            sequence=voice.sequence,
            space=space,
            time=Stamp(received_ns=self._now, aligned_ns=self._now, uncertainty_ns=READ_NS),
            body=body,
            run_id=self._run.run_id,
            asset=voice.source.asset if asset is None else asset,
            links=links,
        )
        self._write_event(voice, event)

    def _write_event(self, voice: _Voice, event: TaskEvent) -> None:
        channel = self._voice_channel(voice, "events", ChannelKind.EVENT, "dari_msgs/msg/TaskEvent", "/dari/events")
        self.totals.events += 1
        at = event.time
        uncertainty = NO_STAMP if at.uncertainty_ns is None else at.uncertainty_ns
        self._speak(voice, channel, codec.encode(event), at.aligned_ns, at.received_ns, uncertainty)

    def _speak(
        self, voice: _Voice, channel: Channel, payload: bytes, aligned: int, arrival: int, uncertainty: int
    ) -> None:
        sequence = voice.sequence
        voice.sequence += 1
        none, zero = _one(NO_STAMP), _one(0)
        batch = Batch(
            source=voice.source.name,
            epoch=0,
            channel=_one(channel.index),
            sequence=_one(sequence),
            stamp=none,
            alt_stamp=none,
            arrival=_one(arrival),
            aligned=_one(aligned),
            uncertainty=_one(uncertainty),
            clock_epoch=zero,
            flags=zero,
            start=zero,
            length=_one(len(payload)),
            payload=payload,
        )
        self._write(batch)

    def _write(self, batch: Batch) -> None:
        self._dirty = True
        for sink in self._sinks:
            sink.write(batch)


def _one(value: int) -> NDArray[np.int64]:
    return np.array([value], dtype=np.int64)
