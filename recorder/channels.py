"""MCAP channels for the channels that sources declare: type, definition, QoS and hash, never without a schema."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from mcap.writer import Writer

from bridge import messages
from bridge.adapter import Channel, ChannelKind, Rate, Source
from bridge.errors import SchemaError
from bridge.messages import MessageTypes
from bridge.schema.interfaces import SignalMessage, SignalTableMessage, TaskEventMessage
from recorder.encode import LOG_TYPE, Encoder, encoder_for
from recorder.rosbag import Distribution, qos_for

QOS: Final = "offered_qos_profiles"
HASH: Final = "topic_type_hash"
_SHARED: Final = {ChannelKind.EVENT: "/dari/events", ChannelKind.LOG: "/dari/log"}
_TYPES: Final = {
    ChannelKind.SIGNAL: SignalMessage.type_name,
    ChannelKind.SIGNALS: SignalTableMessage.type_name,
    ChannelKind.EVENT: TaskEventMessage.type_name,
    ChannelKind.LOG: LOG_TYPE,
}


@dataclass
class Bound:
    """A source's channel and where its records go: the MCAP channel's id, or why they can not be written."""

    channel: Channel
    id: int = 0
    encode: Encoder | None = None
    refusal: str = ""
    unwritten: int = 0

    @property
    def is_event(self) -> bool:
        """Whether its records are task events."""
        return self.channel.kind is ChannelKind.EVENT


@dataclass
class Written:
    """An MCAP channel of the file, and how many messages it has."""

    topic: str
    type_name: str
    qos: str
    type_hash: str
    count: int = 0


class ChannelTable:
    """Registers channels with the writer, each once: one that is declared again as it was is used again."""

    def __init__(self, writer: Writer, distribution: Distribution) -> None:
        self._writer = writer
        self._distribution = distribution
        self._schemas: dict[tuple[str, str], int] = {}
        self._known: dict[tuple[object, ...], int] = {}
        self.written: dict[int, Written] = {}
        self.warnings: list[str] = []

    def bind(self, source: Source, channel: Channel) -> Bound:
        """The place of a source's channel in the file; the warnings that came up go to `warnings`."""
        topic = _SHARED.get(channel.kind, channel.topic)
        type_name = _TYPES.get(channel.kind, channel.type_name)
        try:
            text = channel.definition if channel.kind is ChannelKind.CDR else ""
            text = text or messages.definition(type_name)
            metadata = {} if channel.kind in _SHARED else self._metadata(source, channel)
            identity = self.register(topic, type_name, text, channel.rate, metadata)
        except SchemaError as error:
            return Bound(channel, refusal=f"the type {type_name!r} has no definition: {error.what}")
        encode = None if channel.kind is ChannelKind.EVENT else encoder_for(channel)
        return Bound(channel, identity, encode)

    def _metadata(self, source: Source, channel: Channel) -> dict[str, str]:
        return {
            "dari.source": source.name,
            "dari.space": source.space.value,
            "dari.asset": source.asset_name,
            "dari.kind": channel.kind.value,
            "dari.name": channel.name,
            "dari.clock": channel.clock,
            **channel.metadata,
        }

    def own(self, topic: str, type_name: str, rate: Rate = Rate.EVENT) -> int:
        """A channel of the recorder's own."""
        return self.register(topic, type_name, messages.definition(type_name), rate, {})

    def register(self, topic: str, type_name: str, text: str, rate: Rate, metadata: dict[str, str]) -> int:
        """The id of the channel with just these properties; registered where it is new. Raises `SchemaError`."""
        metadata = dict(metadata)
        metadata[QOS] = qos_for(metadata.get(QOS) or messages.default_qos(rate.value), self._distribution)
        key = (topic, type_name, text, *sorted(metadata.items()))
        known = self._known.get(key)
        if known is not None:
            return known
        computed, offered = _type_hash(type_name, text), metadata.pop(HASH, "")
        if computed:
            metadata[HASH] = computed
        if offered and offered != computed:
            # Readers check the hash against the definition, and refuse the file where they differ.
            metadata["dari.offered_type_hash"] = offered
            if computed:
                self.warnings.append(
                    f"{topic}: its publisher's {type_name} has the hash {offered}, the definition known here {computed}; "
                    "messages may not decode"
                )
        schema = self._schemas.get((type_name, text))
        if schema is None:
            schema = self._writer.register_schema(type_name, "ros2msg", text.encode())
            self._schemas[type_name, text] = schema
        identity = self._writer.register_channel(topic, "cdr", schema, metadata)
        self._known[key] = identity
        self.written[identity] = Written(topic, type_name, metadata[QOS], computed)
        return identity


def _type_hash(type_name: str, text: str) -> str:
    """The hash of a type as its text defines it; empty where it can not be told."""
    try:
        if messages.known(type_name) and messages.definition(type_name) == text:
            return messages.type_hash(type_name)
        types = MessageTypes()
        types.register(type_name, text)
        return types.type_hash(type_name)
    except SchemaError:
        # Another version of a type that is known here: the text goes into the file, its hash can not be computed.
        return ""
