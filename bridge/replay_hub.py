"""Replays a log into the pipeline behind the hub: the same rules and ledger, on the log's times, into a new log.

Nothing here reads the wall clock, so the same log gives the same events whatever the rate. What rules and pipeline said in
the recorded run is left out: they say it again, by the rules of the site file that is used now.

Where the log tells what had come each time that the rules looked, and how far they saw, they see the same again: an input that
was late then is late now.
"""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from bridge import messages
from bridge.adapter import NO_STAMP, Channel, ChannelKind, Rate
from bridge.errors import SchemaError, UsageError
from bridge.names import nearest
from bridge.pipeline import WATERMARK_TOPIC, Pipeline
from bridge.player import PlayedChannel, PlayedMessage, Player
from bridge.rules.stage import RuleStage
from bridge.schema import Health, HealthCode, TaskEvent, codec, flat, ids
from bridge.schema.interfaces import SignalMessage, SignalTableMessage, TaskEventMessage
from bridge.sink import Batch, RunInfo
from bridge.site import LoadedSite, load, load_text
from bridge.software import versions
from bridge.voices import ABOUT

OPTIONS = ("site", "out")
OWN_SOURCES = ("rules.", "dari.")
_KINDS = {
    SignalMessage.type_name: ChannelKind.SIGNAL,
    SignalTableMessage.type_name: ChannelKind.SIGNALS,
    TaskEventMessage.type_name: ChannelKind.EVENT,
}


class HubPlayer(Player):
    """Plays into a pipeline of its own, made from a site file.

    Options: `site` (a site file to use instead of the one in the log: to see what changed rules would have made of it) and
    `out` (the folder against which the sinks' paths are meant; default `replayed`).
    """

    def __init__(self) -> None:
        self._pipeline: Pipeline | None = None
        self._places: list[str] = []
        self._sequence: dict[str, int] = {}
        self._held: list[tuple[str, PlayedMessage]] = []

    def open(self, channels: list[PlayedChannel], options: dict[str, str]) -> list[str]:
        """Read the site file, and sort the log's channels by their source. See `Player.open`."""
        for key in options:
            if key not in OPTIONS:
                near = nearest(key, OPTIONS)
                hint = f"did you mean {near}=?" if near else f"its options: {', '.join(OPTIONS)}"
                raise UsageError(f"the player hub has no option {key!r}", hint=hint)
        self._site = self._load(options)
        self._out = Path(options.get("out", "replayed"))
        self._run_id = ids.uuid7()
        self._sources = {s.name: s.make_source(self._run_id) for s in self._site.sources}
        self._declared: dict[str, list[Channel]] = {name: [] for name in self._sources}
        self._bound: dict[int, tuple[str, Channel]] = {}
        self._event_channels: dict[str, Channel] = {}
        self._events: set[int] = set()
        self._watermarks: set[int] = set()
        cannot: list[str] = []
        for channel in channels:
            kind = _KINDS.get(channel.type_name, ChannelKind.CDR)
            if kind is ChannelKind.EVENT:
                self._events.add(channel.id)
                continue
            if channel.topic == WATERMARK_TOPIC:
                self._watermarks.add(channel.id)
                continue
            if channel.topic.startswith("/dari/"):
                cannot.append(f"{channel.topic}: made anew, not played")
                continue
            source = channel.metadata.get("dari.source", "")
            if source not in self._sources:
                cannot.append(f"{channel.topic}: its source {source!r} is not in the site file")
                continue
            self._bound[channel.id] = (source, self._declare(source, channel, kind))
        self.taken = frozenset(self._bound) | self._events | self._watermarks
        return cannot

    def _load(self, options: dict[str, str]) -> LoadedSite:
        if "site" in options:
            return load(Path(options["site"]))
        if not self.site_text:
            raise UsageError(
                "the log has no site file in it, so nothing says which rules and sinks to use",
                hint="dari replay LOG --to hub --set site=SITE",
            )
        return load_text(self.site_text, Path(self.site_path or "site.yaml"))

    def _declare(self, source: str, played: PlayedChannel, kind: ChannelKind) -> Channel:
        channels = self._declared[source]
        name = played.metadata.get("dari.tag") or played.topic.split("/", 3)[-1]
        channel = Channel(
            index=len(channels),
            name=name,
            topic=played.topic,
            kind=kind,
            type_name=played.type_name,
            definition=played.definition if kind is ChannelKind.CDR else "",
            metadata=dict(played.metadata),
            clock=played.metadata.get("dari.clock", "device"),
        )
        channels.append(channel)
        return channel

    def _begin(self, now_ns: int) -> Pipeline:
        """The pipeline begins at the log's first message, so that nothing depends on when it is replayed."""
        site = self._site
        self._out.mkdir(parents=True, exist_ok=True)
        run = RunInfo(
            run_id=self._run_id,
            site_name=site.site.site.name,
            site_text=site.text,
            site_path=str(site.path),
            realtime_ns=now_ns,
            monotonic_ns=0,
            software=versions(),
            directory=str(self._out),
            live=False,
        )
        pipeline = Pipeline(
            run,
            RuleStage(site.site.rules, site.site, self._run_id, self._sources, directory=site.directory),
            site.make_sinks(),
            spaces=sorted({source.space for source in self._sources.values()}),
            now_ns=now_ns,
            operator=site.site.run.operator,
            seed=site.site.run.seed,
        )
        for name, channels in self._declared.items():
            pipeline.declare(self._sources[name], channels)
        return pipeline

    def play(self, message: PlayedMessage) -> None:
        """Hand one message to the pipeline, or keep it until the rules had seen it; its log time is now."""
        if self._pipeline is None:
            self._pipeline = self._begin(message.log_time)
        if not self._watermarks:
            self._pipeline.advance(message.log_time)
            self._hand_over(self._pipeline, message)
        elif message.channel in self._watermarks:
            self._look(self._pipeline, message)
        else:
            self._held.append((self._source_of(message), message))

    def _look(self, pipeline: Pipeline, message: PlayedMessage) -> None:
        """The rules looked at what the hub had heard by then, up to a watermark."""
        mark, *rows = flat.from_signal_table(messages.deserialize(SignalTableMessage.type_name, message.data))
        heard = {row.tag: row.value for row in rows}
        due: list[PlayedMessage] = []
        kept: list[tuple[str, PlayedMessage]] = []
        for source, one in self._held:
            if source in heard:
                limit = heard[source]
                had_come = isinstance(limit, int) and one.publish_time <= limit
            else:
                # What the hub said at the time of a look, it said after it.
                had_come = one.publish_time < message.log_time
            if had_come:
                due.append(one)
            else:
                kept.append((source, one))
        self._held = kept
        for one in sorted(due, key=_arrival):
            self._hand_over(pipeline, one)
        if isinstance(mark.value, int):
            pipeline.advance(message.log_time, watermark_ns=mark.value)

    def _source_of(self, message: PlayedMessage) -> str:
        """Who sent a message; all events share one topic, and say it themselves."""
        bound = self._bound.get(message.channel)
        if bound is not None:
            return bound[0]
        if message.channel not in self._events:
            return ""
        return str(messages.deserialize(TaskEventMessage.type_name, message.data).source)

    def _hand_over(self, pipeline: Pipeline, message: PlayedMessage) -> None:
        pipeline.tick(message.log_time)
        if message.channel in self._events:
            self._play_event(pipeline, message)
            return
        bound = self._bound.get(message.channel)
        if bound is None:
            return
        source, channel = bound
        payload, stamp = message.data, NO_STAMP
        if channel.kind is ChannelKind.SIGNAL:
            signal = flat.from_signal_message(messages.deserialize(channel.type_name, message.data))
            payload = codec.encode_signal(signal)
            stamp = NO_STAMP if signal.source_ns is None else signal.source_ns
        elif channel.kind is ChannelKind.SIGNALS:
            signals = flat.from_signal_table(messages.deserialize(channel.type_name, message.data))
            payload = codec.encode_signals(signals)
            stamp = max((s.source_ns for s in signals if s.source_ns is not None), default=NO_STAMP)
        self._put(pipeline, source, channel, payload, message, stamp)

    def _play_event(self, pipeline: Pipeline, message: PlayedMessage) -> None:
        try:
            event = flat.from_flat(messages.deserialize(TaskEventMessage.type_name, message.data))
        except SchemaError as error:
            raise SchemaError(error.what, where=f"event at {message.log_time}", hint="dari events LOG") from error
        if event.source.startswith(OWN_SOURCES):
            self._play_gap(pipeline, event)
        if event.source.startswith(OWN_SOURCES) or event.source not in self._sources:
            return
        source = event.source
        channel = self._event_channels.get(source)
        if channel is None:
            channels = self._declared[source]
            channel = Channel(
                index=len(channels),
                name="events",
                topic="/dari/events",
                kind=ChannelKind.EVENT,
                type_name=TaskEventMessage.type_name,
                rate=Rate.EVENT,
            )
            channels.append(channel)
            self._event_channels[source] = channel
            pipeline.declare(self._sources[source], channels)
        # The ledger judges it again; what it said the first time would else stand there twice.
        payload = codec.encode(msgspec.structs.replace(event, flags=()))
        self._put(pipeline, source, channel, payload, message, NO_STAMP)

    def _play_gap(self, pipeline: Pipeline, event: TaskEvent) -> None:
        """The rules were told of a gap that the hub saw, and are told again."""
        source, body = str(event.ext.get(ABOUT, "")), event.body
        if source not in self._sources or not isinstance(body, Health) or body.code is not HealthCode.GAP:
            return
        if body.window is not None and body.window.t1_ns is not None:
            text = body.text.removeprefix(f"{source}: ")
            pipeline.gap(source, body.window.t0_ns, body.window.t1_ns, body.count, text)

    def _put(
        self, pipeline: Pipeline, source: str, channel: Channel, payload: bytes, message: PlayedMessage, stamp: int
    ) -> None:
        sequence = self._sequence.get(source, 0)
        self._sequence[source] = sequence + 1
        pipeline.take(
            Batch(
                source=source,
                epoch=0,
                channel=_one(channel.index),
                sequence=_one(sequence),
                stamp=_one(stamp),
                alt_stamp=_one(NO_STAMP),
                arrival=_one(message.publish_time),
                aligned=_one(message.log_time),
                uncertainty=_one(NO_STAMP),
                clock_epoch=_one(0),
                flags=_one(0),
                start=_one(0),
                length=_one(len(payload)),
                payload=payload,
            )
        )

    def close(self) -> None:
        """End the replayed run and close its log."""
        if self._pipeline is not None:
            for message in sorted((message for _, message in self._held), key=_arrival):
                self._hand_over(self._pipeline, message)
            self._held = []
            self._places = self._pipeline.close("replayed")
            self._pipeline = None

    def closing(self) -> str:
        """Where the new log lies."""
        return f"log: {', '.join(self._places)}" if self._places else ""


def _arrival(message: PlayedMessage) -> int:
    return message.publish_time


def _one(value: int) -> NDArray[np.int64]:
    return np.array([value], dtype=np.int64)
