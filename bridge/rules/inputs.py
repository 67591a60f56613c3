"""Picks the inputs of rules out of batches: decodes the channels that some rule reads, and no others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import NamedTuple

import msgspec

from bridge import messages
from bridge.adapter import NO_STAMP, Channel, ChannelKind, Source
from bridge.errors import SchemaError
from bridge.names import channel_topic
from bridge.rules.field import FieldPath
from bridge.rules.plan import Plan
from bridge.rules.tree import Scalar
from bridge.schema import Quality, Signal
from bridge.sink import Batch

_signal = msgspec.msgpack.Decoder(Signal)
_signals = msgspec.msgpack.Decoder(list[Signal])
TIMELINE = (-(2**62), 2**62)
"""Times outside of these are no times: a stamp of a signal that its source made up."""


class Target(NamedTuple):
    """An input of a rule set, by their places."""

    rule_set: int
    place: int


class Picked(NamedTuple):
    """A value that some inputs take, and where in the order and in the log it stands.

    `aligned_ns` is the value's own time, `record_ns` that of the record that brought it.
    """

    aligned_ns: int
    epoch: int
    sequence: int
    number: int
    value: Scalar
    targets: tuple[Target, ...]
    record_ns: int
    uncertainty_ns: int | None
    topic: str
    field: str


class _FieldReader(NamedTuple):
    path: FieldPath
    targets: tuple[Target, ...]


class _Reader(NamedTuple):
    """How one channel is read: its tags, or its fields."""

    channel: Channel
    tags: Mapping[str, tuple[Target, ...]]
    fields: tuple[_FieldReader, ...]

    def stream(self) -> str:
        """What keeps its order on the way: a topic, or all tags of a session together."""
        return self.channel.topic if self.channel.kind is ChannelKind.CDR else "tags"


class InputPicker:
    """Knows which channels the rules read. `counts` holds `undecodable` (payloads) and `bad` (values of bad quality)."""

    def __init__(self, plans: list[Plan]) -> None:
        self._plans = plans
        self._readers: dict[tuple[str, int], dict[int, _Reader]] = {}
        self.counts: Counter[str] = Counter()

    @property
    def sources(self) -> list[str]:
        """The sources that some rule reads."""
        return sorted({item.source for plan in self._plans for item in plan.inputs})

    def declare(self, source: Source, channels: list[Channel]) -> None:
        """All channels that a source has so far; those of an earlier start of it are forgotten."""
        readers = {channel.index: reader for channel in channels if (reader := self._reader(source, channel))}
        self._readers = {key: kept for key, kept in self._readers.items() if key[0] != source.name}
        self._readers[source.name, source.epoch] = readers

    def streams(self, source: Source) -> list[str]:
        """The streams of a declared source that the rules read."""
        return sorted({reader.stream() for reader in self._readers.get((source.name, source.epoch), {}).values()})

    def reached(self, batch: Batch) -> Iterator[tuple[str, int]]:
        """(stream, newest aligned time) of each stream in a batch that the rules read."""
        for index, reader in self._readers.get((batch.source, batch.epoch), {}).items():
            aligned = batch.aligned[batch.channel == index]
            if aligned.size:
                yield reader.stream(), int(aligned.max())

    def pick(self, batch: Batch) -> Iterator[Picked]:
        """The values in a batch that some rule reads, in the order of its records."""
        readers = self._readers.get((batch.source, batch.epoch))
        if not readers:
            return
        view = memoryview(batch.payload)
        for i, index in enumerate(batch.channel.tolist()):
            reader = readers.get(index)
            if reader is None:
                continue
            start = int(batch.start[i])
            payload = view[start : start + int(batch.length[i])]
            uncertainty = int(batch.uncertainty[i])
            record = _Record(
                epoch=batch.epoch,
                sequence=int(batch.sequence[i]),
                aligned=int(batch.aligned[i]),
                stamp=int(batch.stamp[i]),
                arrival=int(batch.arrival[i]),
                uncertainty=None if uncertainty == NO_STAMP else uncertainty,
            )
            try:
                if reader.channel.kind is ChannelKind.CDR:
                    yield from self._fields(reader, record, payload)
                elif reader.channel.kind is ChannelKind.SIGNAL:
                    yield from self._tags(reader, record, [_signal.decode(payload)])
                else:
                    yield from self._tags(reader, record, _signals.decode(payload))
            except Exception:  # one message that can not be read must not stop the others; the log keeps it
                self.counts["undecodable"] += 1

    # -- one record ------------------------------------------------------------------------------------------------

    def _fields(self, reader: _Reader, record: _Record, payload: memoryview) -> Iterator[Picked]:
        message = messages.deserialize(reader.channel.type_name, payload)
        for index, (path, targets) in enumerate(reader.fields):
            yield record.picked(record.aligned, index, path.value(message), targets, reader.channel.topic, path.text)

    def _tags(self, reader: _Reader, record: _Record, signals: list[Signal]) -> Iterator[Picked]:
        own = reader.channel.kind is ChannelKind.SIGNAL
        for index, signal in enumerate(signals):
            targets = reader.tags.get(signal.tag)
            if targets is None:
                continue
            value = signal.value
            if signal.quality is Quality.BAD:
                self.counts["bad"] += 1
                value = None
            aligned = record.aligned
            if signal.source_ns is not None and record.stamp != NO_STAMP:
                # The record was aligned by one stamp; its other signals lie beside it by as much as theirs differ.
                own_time = aligned + signal.source_ns - record.stamp
                aligned = min(own_time, record.arrival) if TIMELINE[0] < own_time < TIMELINE[1] else aligned
            field = "value" if own else f"value[{signal.tag}]"
            yield record.picked(aligned, index, value, targets, reader.channel.topic, field)

    # -- what is read ----------------------------------------------------------------------------------------------

    def _reader(self, source: Source, channel: Channel) -> _Reader | None:
        tags: dict[str, tuple[Target, ...]] = {}
        fields: dict[str, _FieldReader] = {}
        for number, plan in enumerate(self._plans):
            for place, item in enumerate(plan.inputs):
                target = Target(number, place)
                if item.source != source.name:
                    continue
                if item.tag is not None and channel.kind in (ChannelKind.SIGNAL, ChannelKind.SIGNALS):
                    tags[item.tag] = (*tags.get(item.tag, ()), target)
                elif item.field is not None and channel.kind is ChannelKind.CDR and _is(channel, source, item.topic):
                    known = fields.get(item.field.text, _FieldReader(item.field, ()))
                    fields[item.field.text] = _FieldReader(known.path, (*known.targets, target))
        if not tags and not fields:
            return None
        if channel.kind is ChannelKind.CDR and channel.definition and not messages.known(channel.type_name):
            with suppress(SchemaError):  # then its messages can not be decoded either, and are counted
                messages.register(channel.type_name, channel.definition)
        return _Reader(channel, tags, tuple(fields.values()))


class _Record(NamedTuple):
    """What the values of one record share."""

    epoch: int
    sequence: int
    aligned: int
    stamp: int
    arrival: int
    uncertainty: int | None

    def picked(
        self, aligned: int, index: int, value: Scalar, targets: tuple[Target, ...], topic: str, field: str
    ) -> Picked:
        """A value of this record."""
        return Picked(
            aligned, self.epoch, self.sequence, index, value, targets, self.aligned, self.uncertainty, topic, field
        )


def _is(channel: Channel, source: Source, topic: str | None) -> bool:
    """Whether a rule means this channel: by its name at the source, or by its topic in the log."""
    if topic is None:
        return False
    if topic in (channel.name, channel.topic):
        return True
    return channel.topic == channel_topic(source.space.value, source.asset_name, topic)
