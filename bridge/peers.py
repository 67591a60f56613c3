"""What the hub knows of those who send: who they are, where they answer, what of theirs has come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec

from bridge.adapter import Channel, ChannelKind, Source
from bridge.bus import frame
from bridge.errors import FrameError, SchemaError
from bridge.schema import Health, codec
from bridge.sink import Batch

EPOCHS_KEPT = 4
"""Starts of one source that are remembered: frames of a killed one may still be on their way when its successor speaks."""
_source_decoder = msgspec.msgpack.Decoder(Source)
_channels_decoder = msgspec.msgpack.Decoder(list[Channel])


@dataclass
class Peer:
    """One start of one source.

    Attributes:
        source: who it is.
        route: where it is answered.
        pid: of its process; 0 where it did not say.
        expected: the number of its next record.
        channels: all that it has declared.
        number: of its newest frame.
        acked: of the newest frame that was acknowledged.
        last_aligned: aligned time of its newest data, or its predecessor's; None as long as there was none.
        away: why no data of the source has come since its predecessor ended; empty when there has.
        ended: it has said goodbye.
        heard_s: when it was heard last, on this host's monotonic clock.
        missed: that it is not heard was said.
        down: the supervisor has said that its process ended; that it is not heard is no news then.
    """

    source: Source
    route: bytes
    pid: int
    expected: int
    channels: list[Channel] = field(default_factory=list)
    number: int = -1
    acked: int = -1
    last_aligned: int | None = None
    away: str = ""
    ended: bool = False
    heard_s: float = 0.0
    missed: bool = False
    down: bool = False

    def saw(self, batch: Batch) -> None:
        """Its newest data may be in this batch."""
        if not self.away and (self.last_aligned is not None or self.back_at(batch) is not None):
            self.last_aligned = int(batch.aligned[-1])

    def missing_at_end(self) -> str:
        """Why its data does not go to the end of the run; empty where it does, or it had none to begin with."""
        if self.away:
            return "the adapter was started again, but nothing more came of its source"
        if not self.ended:
            return "it ended without saying that it had sent everything; what it still held is lost"
        if self.down and self.last_aligned is not None:
            return "the adapter had ended with an error and stayed down"
        return ""

    def back_at(self, batch: Batch) -> int | None:
        """The aligned time at which its data goes on, or None: what an adapter says of itself is no data of its source yet."""
        for i, index in enumerate(batch.channel.tolist()):
            kind = self.channels[index].kind
            if kind is ChannelKind.LOG or (kind is ChannelKind.EVENT and _is_health(batch, i)):
                continue
            return int(batch.aligned[i])
        return None


def _is_health(batch: Batch, i: int) -> bool:
    start = int(batch.start[i])
    try:
        event = codec.decode(bytes(batch.payload[start : start + int(batch.length[i])]))
    except SchemaError:
        return False
    return isinstance(event.body, Health)


class Peers:
    """The senders, by source and start."""

    def __init__(self) -> None:
        self._starts: dict[str, dict[int, Peer]] = {}

    def __iter__(self) -> Iterator[Peer]:
        """All of them, those whose process is gone included."""
        for starts in self._starts.values():
            yield from starts.values()

    def find(self, name: str, epoch: int) -> Peer | None:
        """The start `epoch` of a source, if it has said Hello."""
        return self._starts.get(name, {}).get(epoch)

    def current(self) -> list[Peer]:
        """The newest start of each source."""
        return [starts[max(starts)] for starts in self._starts.values()]

    def all_ended(self) -> bool:
        """Whether every source has said goodbye, and there is one."""
        return bool(self._starts) and all(peer.ended for peer in self.current())

    def hello(self, route: bytes, header: frame.Hello) -> tuple[Peer, bool]:
        """Take a Hello; returns the peer, and whether there are channels to declare.

        Raises:
            FrameError: it makes no sense, or another process speaks for the source already.
        """
        try:
            source = _source_decoder.decode(header.source_info)
            channels = _channels_decoder.decode(header.channels)
        except (msgspec.MsgspecError, ValueError) as error:  # text that is no UTF-8 is a ValueError
            raise FrameError(f"hello of {header.source}: {error}") from error
        if source.name != header.source or source.epoch != header.epoch:
            raise FrameError("a hello that contradicts itself", where=header.source)
        if [channel.index for channel in channels] != list(range(len(channels))):
            raise FrameError("channels are not numbered from 0", where=header.source)
        starts = self._starts.setdefault(source.name, {})
        peer = starts.get(source.epoch)
        if peer is None:
            peer = starts[source.epoch] = self._successor(source, route, header, starts)
            while len(starts) > EPOCHS_KEPT:
                del starts[min(starts)]
        elif peer.pid != header.pid and peer.pid and header.pid:
            raise FrameError(
                f"process {header.pid} says that it is {source.name}, but process {peer.pid} is", where=source.name
            )
        peer.route = route
        if len(channels) <= len(peer.channels):
            return peer, False
        peer.channels = channels
        return peer, True

    def _successor(self, source: Source, route: bytes, header: frame.Hello, starts: dict[int, Peer]) -> Peer:
        peer = Peer(source, route, header.pid, header.next_sequence)
        if starts and source.epoch > max(starts):
            before = starts[max(starts)]
            peer.last_aligned = before.last_aligned
            if before.away:
                peer.away = before.away
            elif not before.ended:
                peer.away = "the adapter was started again; what it had not sent is lost"
            elif before.last_aligned is not None:
                peer.away = "the adapter had failed and was started again; nothing was received in between"
        return peer
