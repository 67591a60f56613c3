"""What the pipeline itself says, as records of sources of its own: `dari.<space>`, and one for each rule set."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from bridge.adapter import NO_STAMP, Channel, ChannelKind, Rate, Source
from bridge.schema import Asset, Body, Link, Signal, Space, Stamp, TaskEvent, codec, ids
from bridge.sink import Batch

OWN = "dari."
"""Names of the pipeline's own sources begin with this."""
ABOUT = "dari.about"
"""Key of an event's `ext`: the source that the pipeline speaks of."""
READ_NS = 1_000
"""Half-width of the pipeline's own times: the cost of reading the clock that the timeline is made of."""


@dataclass
class Voice:
    """A source of the pipeline's own: itself in one space, or one rule set. `sequence` numbers its next record."""

    source: Source
    channels: dict[str, Channel] = field(default_factory=dict)
    sequence: int = 0


class Voices:
    """Makes batches of what the pipeline says.

    Args:
        run_id: the run.
        part: which hub of the run this is, counted from 0: the epoch of its voices, so that no two hubs of a run give
            one id to two events.
        declare: takes a voice's new channel.
        write: takes a batch.
        spoken: called for every event that is written.
    """

    def __init__(
        self,
        run_id: UUID,
        part: int,
        *,
        declare: Callable[[Source, Channel], None],
        write: Callable[[Batch], None],
        spoken: Callable[[], None],
    ) -> None:
        self._run_id = run_id
        self._part = part
        self._declare = declare
        self._write = write
        self._spoken = spoken
        self._voices: dict[str, Voice] = {}

    def of_space(self, space: Space) -> Voice:
        """The pipeline in one space."""
        name = f"{OWN}{space.value}"
        voice = self._voices.get(name)
        if voice is None:
            source = Source(
                name=name, space=space, asset_name="dari", asset=Asset(), run_id=self._run_id, epoch=self._part
            )
            voice = self._voices[name] = Voice(source)
        return voice

    def of_source(self, source: Source) -> Voice:
        """The voice of a rule set, which has a source made for it."""
        voice = self._voices.get(source.name)
        if voice is None:
            voice = self._voices[source.name] = Voice(msgspec.structs.replace(source, epoch=self._part))
        return voice

    def say(
        self,
        space: Space,
        body: Body,
        now_ns: int,
        *,
        links: tuple[Link, ...] = (),
        asset: Asset | None = None,
        about: str = "",
    ) -> None:
        """An event of the pipeline in a space, at `now_ns` on the timeline; `about` is the source that it speaks of."""
        voice = self.of_space(space)
        event = TaskEvent(
            id=ids.event_id(self._run_id, voice.source.name, self._part, voice.sequence),
            source=voice.source.name,
            sequence=voice.sequence,
            space=space,
            time=Stamp(received_ns=now_ns, aligned_ns=now_ns, uncertainty_ns=READ_NS),
            body=body,
            run_id=self._run_id,
            asset=voice.source.asset if asset is None else asset,
            links=links,
            ext={ABOUT: about} if about else {},
        )
        self.event(voice, event)

    def event(self, voice: Voice, event: TaskEvent) -> None:
        """An event that a voice has made."""
        channel = self._channel(voice, "events", ChannelKind.EVENT, "dari_msgs/msg/TaskEvent", "/dari/events")
        self._spoken()
        at = event.time
        uncertainty = NO_STAMP if at.uncertainty_ns is None else at.uncertainty_ns
        self._speak(voice, channel, codec.encode(event), at.aligned_ns, at.received_ns, uncertainty)

    def signals(self, space: Space, topic: str, signals: Sequence[Signal], now_ns: int) -> None:
        """Numbers of the pipeline's own, as one row batch of a table."""
        voice = self.of_space(space)
        channel = self._channel(voice, topic, ChannelKind.SIGNALS, "dari_msgs/msg/SignalTable", topic)
        self._speak(voice, channel, codec.encode_signals(signals), now_ns, now_ns, NO_STAMP)

    def _channel(self, voice: Voice, name: str, kind: ChannelKind, type_name: str, topic: str) -> Channel:
        channel = voice.channels.get(name)
        if channel is None:
            index = len(voice.channels)
            channel = Channel(index=index, name=name, topic=topic, kind=kind, type_name=type_name, rate=Rate.EVENT)
            voice.channels[name] = channel
            self._declare(voice.source, channel)
        return channel

    def _speak(
        self, voice: Voice, channel: Channel, payload: bytes, aligned: int, arrival: int, uncertainty: int
    ) -> None:
        sequence = voice.sequence
        voice.sequence += 1
        none, zero = _one(NO_STAMP), _one(0)
        self._write(
            Batch(
                source=voice.source.name,
                epoch=self._part,
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
        )


def _one(value: int) -> NDArray[np.int64]:
    return np.array([value], dtype=np.int64)
