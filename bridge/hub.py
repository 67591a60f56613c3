"""The hub: frames in, the pipeline behind. Checks gaps, drops what was sent again, acknowledges what is on disk.

One thread, one ROUTER socket. A frame that is malformed is refused and counted and costs nothing else; a hole in the
sequence numbers is an event. Nothing is acknowledged before the sinks have flushed it.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field

import msgspec
import numpy as np
import zmq

from bridge.adapter import Channel, Source
from bridge.bus import frame
from bridge.errors import FrameError
from bridge.pipeline import Pipeline
from bridge.schema import HealthCode, Interval
from bridge.sink import Batch

FLUSH_S = 0.2
"""How often the sinks are flushed and senders acknowledged: what a killed hub can lose, unsent again by its senders."""
ADVANCE_S = 0.05
DRAIN_S = 0.3
FRAMES_A_TURN = 256
SAID_WHOLE = 10
_source_decoder = msgspec.msgpack.Decoder(Source)
_channels_decoder = msgspec.msgpack.Decoder(list[Channel])


@dataclass
class _Peer:
    """What the hub knows of one source: its route, channels, next expected sequence and last frame."""

    source: Source
    route: bytes
    expected: int
    channels: list[Channel] = field(default_factory=list)
    number: int = -1
    acked: int = -1
    last_aligned: int | None = None
    restarted: bool = False
    ended: bool = False


class Hub:
    """Receives frames at `address` (`ipc://` on one machine) and hands what is in them to the pipeline.

    `base_ns` makes the recorder's timeline from this host's monotonic clock.
    """

    def __init__(self, address: str, pipeline: Pipeline, base_ns: int) -> None:
        self._pipeline = pipeline
        self._base = base_ns
        self._peers: dict[str, _Peer] = {}
        self._asked: dict[bytes, float] = {}
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, frame.MAX_FRAME)
        self._socket.bind(address)

    def _now(self) -> int:
        return time.monotonic_ns() + self._base

    def serve(self, stopping: threading.Event) -> None:
        """Run until `stopping` is set; then take what is still on its way."""
        flushed = advanced = time.monotonic()
        while not stopping.is_set():
            self.step(ADVANCE_S)
            now = time.monotonic()
            if now - advanced >= ADVANCE_S:
                advanced = now
                self._pipeline.advance(self._now())
            if now - flushed >= FLUSH_S:
                flushed = now
                self.flush()
        quiet = time.monotonic()
        while time.monotonic() - quiet < DRAIN_S:
            if self.step(0.05):
                quiet = time.monotonic()

    def step(self, timeout_s: float) -> int:
        """Take what is there, waiting at most `timeout_s` for the first frame; returns the number of frames taken."""
        taken = 0
        if self._socket.poll(round(timeout_s * 1000)):
            # Bounded, so that rules and flushes get their turn under any load.
            while taken < FRAMES_A_TURN:
                try:
                    parts = self._socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                taken += 1
                self._receive(parts)
        return taken

    def flush(self) -> None:
        """Put what is held on disk, then acknowledge it."""
        self._pipeline.flush()
        for peer in self._peers.values():
            if peer.number > peer.acked:
                peer.acked = peer.number
                self._acknowledge(peer)

    def close(self, reason: str) -> list[str]:
        """End: the pipeline closed, the last frames acknowledged. Returns where the results lie."""
        self._pipeline.advance(self._now())
        self.flush()
        places = self._pipeline.close(reason)
        self._socket.close(500)
        self._context.term()
        return places

    # -- frames ------------------------------------------------------------------------------------------------------

    def _acknowledge(self, peer: _Peer) -> None:
        source = peer.source
        ack = frame.Ack(source=source.name, epoch=source.epoch, number=peer.number, sequence=peer.expected - 1)
        self._send(peer.route, ack)

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
            totals = self._pipeline.totals
            totals.refused += 1
            # The first ones are said whole; after that the count says enough.
            if totals.refused <= SAID_WHOLE:
                self._pipeline.health("", HealthCode.REFUSED_PEER, f"frame refused: {error}", count=1)

    def _known(self, route: bytes, name: str, epoch: int) -> _Peer | None:
        """The sender, if it has said Hello from this route; else it is asked to."""
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
        except (msgspec.MsgspecError, ValueError) as error:  # text that is no UTF-8 is a ValueError
            raise FrameError(f"hello of {header.source}: {error}") from error
        if [channel.index for channel in channels] != list(range(len(channels))):
            raise FrameError("channels are not numbered from 0", where=header.source)
        peer = self._peers.get(header.source)
        if peer is not None and source.epoch < peer.source.epoch:
            return
        if peer is None or source.epoch > peer.source.epoch:
            before = peer
            peer = self._peers[header.source] = _Peer(source, route, header.next_sequence)
            if before is not None:
                peer.last_aligned = before.last_aligned
                peer.restarted = not before.ended
        peer.route = route
        if len(channels) > len(peer.channels):
            peer.channels = channels
            self._pipeline.declare(source, channels)

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
            self._pipeline.totals.duplicates += skip
        peer.number = max(peer.number, header.number)
        if skip == header.n:
            return
        aligned = int(columns[4][skip])
        if peer.restarted:
            peer.restarted = False
            text = "the adapter was started again; what it had not sent is lost"
            self._pipeline.gap(header.source, peer.last_aligned, aligned, None, text)
        if first > peer.expected:
            text = f"records {peer.expected} to {first - 1} are missing"
            self._pipeline.gap(header.source, peer.last_aligned, aligned, first - peer.expected, text)
        peer.expected = first + header.n
        peer.last_aligned = int(columns[4][-1])
        lengths = columns[8]
        starts = np.cumsum(lengths) - lengths
        self._pipeline.take(
            Batch(
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
        )

    def _bye(self, route: bytes, header: frame.Bye) -> None:
        peer = self._known(route, header.source, header.epoch)
        if peer is None:
            return
        if header.next_sequence > peer.expected:
            missing = header.next_sequence - peer.expected
            text = f"the last {missing} records were not sent"
            self._pipeline.gap(header.source, peer.last_aligned, self._now(), missing, text)
            peer.expected = header.next_sequence
        peer.number = peer.acked = header.number
        if not peer.ended:
            peer.ended = True
            self._pipeline.ended(header.source)
        self._pipeline.flush()
        # Said again whenever the sender asks: the first answer may have gone to a socket that was closed.
        self._acknowledge(peer)

    def _note(self, header: frame.Note) -> None:
        if header.code == "restarted":
            self._pipeline.totals.restarts += 1
            code = HealthCode.RESTARTED
        else:
            code = HealthCode.DISCONNECTED
        window = Interval(t0_ns=header.at_ns, t1_ns=header.at_ns)
        self._pipeline.health(header.source, code, header.text, window=window)
