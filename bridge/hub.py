"""The hub: frames in, the pipeline behind. Checks gaps, drops what was sent again, acknowledges what is on disk.

One thread, one ROUTER socket. A frame that is malformed is refused and counted and costs nothing else; a hole in the
sequence numbers is an event. Nothing is acknowledged before the sinks have flushed it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import zmq

from bridge.bus import frame
from bridge.errors import DariError, FrameError
from bridge.peers import Peer, Peers
from bridge.pipeline import Pipeline
from bridge.schema import HealthCode, Interval
from bridge.sink import Batch

FLUSH_S = 0.2
"""How often the sinks are flushed and senders acknowledged: what a killed hub can lose, unsent again by its senders."""
FLUSH_BYTES = 8 * 1024 * 1024
"""Flushed earlier when so much has come, so that a sender's window does not fill while it waits for its turn."""
ADVANCE_S = 0.05
DRAIN_S = 0.3
UNANNOUNCED_S = 5.0
"""How long a hub that was not told that all senders are gone waits when it hears nothing; a live one is heard every second."""
LONGEST_END_S = 30.0
SILENT_S = 10.0
"""A sender that has nothing to say is heard every second: one that is not for so long hangs."""
STALL_S = 0.5
SETTLE_S = 0.3
FRAMES_A_TURN = 256
SAID_WHOLE = 10
BEHIND_NS = 60_000_000_000


class _Ending:
    """Knows when all that was on its way has come."""

    def __init__(self, now: float, unannounced: bool) -> None:
        self._begun = self._heard = now
        self._patience = UNANNOUNCED_S if unannounced else DRAIN_S

    def is_over(self, now: float, taken: int, all_ended: bool) -> bool:
        """Whether to wait no longer, after a turn in which `taken` frames came."""
        if taken:
            self._heard = now
        elif all_ended:
            return True
        return now - self._heard > self._patience or now - self._begun > LONGEST_END_S


class Hub:
    """Receives frames at `address` (`ipc://` on one machine) and hands what is in them to the pipeline.

    Args:
        address: where to listen.
        pipeline: takes what comes.
        base_ns: makes the recorder's timeline from this host's monotonic clock.
        settle_s: how long the rules' time stands still at first: a hub that takes over is first sent what its predecessor
            had not confirmed, and that must not count as late.
        say: takes a source, a level and a text for the person at the machine.

    Raises:
        DariError: it can not listen there.
    """

    def __init__(
        self,
        address: str,
        pipeline: Pipeline,
        base_ns: int,
        settle_s: float = 0.0,
        say: Callable[[str, str, str], None] = lambda source, level, text: None,
    ) -> None:
        self._pipeline = pipeline
        self._base = base_ns
        self._say = say
        self._peers = Peers()
        self._asked: dict[bytes, float] = {}
        self._heard: dict[str, int] = {}
        self._received = 0
        self._settled = time.monotonic() + settle_s
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 500)
        self._socket.setsockopt(zmq.RCVHWM, 0)
        self._socket.setsockopt(zmq.SNDHWM, 0)
        self._socket.setsockopt(zmq.MAXMSGSIZE, frame.MAX_FRAME)
        try:
            self._socket.bind(address)
        except zmq.ZMQError as error:
            self._socket.close(0)
            self._context.term()
            raise DariError(
                f"the hub can not listen there: {error}",
                where=address,
                hint="set TMPDIR to a short path on a local disk",
            ) from error

    def _now(self) -> int:
        return time.monotonic_ns() + self._base

    def serve(self, stopping: threading.Event, unannounced: threading.Event | None = None) -> None:
        """Run until `stopping` is set and what was on its way has come.

        `unannounced` tells that it was set by a signal, or because the supervisor is gone: senders are then only beginning to
        stop, and are waited for.
        """
        flushed = advanced = turned = time.monotonic()
        ending: _Ending | None = None
        while True:
            taken = self.step(ADVANCE_S)
            now = time.monotonic()
            if stopping.is_set():
                ending = ending or _Ending(now, unannounced is not None and unannounced.is_set())
                if ending.is_over(now, taken, self._peers.all_ended()):
                    return
            if now - turned > STALL_S and now - self._settled > 2.0:
                # It stood still (SIGSTOP, a disk that hangs): what was sent meanwhile is only now on its way in here.
                self._settled = now + SETTLE_S
                for peer in self._peers:
                    peer.heard_s = now
            turned = now
            if now - advanced >= ADVANCE_S:
                advanced = now
                self._advance(now)
                self._miss(now)
            if now - flushed >= FLUSH_S or self._received >= FLUSH_BYTES:
                self.flush()
                flushed = time.monotonic()

    def _advance(self, now_s: float) -> None:
        """Let the rules' time go on, but not past what a sender has yet to deliver."""
        if now_s < self._settled:
            return
        now = self._now()
        # Each sender's records come in the order of their arrival: what it said last bounds what is still to come of it.
        behind = [arrival for arrival in self._heard.values() if arrival > now - BEHIND_NS]
        self._heard.clear()
        self._pipeline.advance(now, min([now, *behind]))

    def _miss(self, now_s: float) -> None:
        """Say of each sender when it falls silent: its process hangs, or was stopped."""
        for peer in self._peers.current():
            silent = now_s - peer.heard_s
            if peer.ended or peer.down or (silent > SILENT_S) == peer.missed:
                continue
            peer.missed = not peer.missed
            name = peer.source.name
            if peer.missed:
                text = f"its process has not been heard for {silent:.0f} s: it hangs, or was stopped"
                window = Interval(t0_ns=self._now() - round(silent * 1e9), t1_ns=self._now())
                self._pipeline.health(name, HealthCode.SILENCE, text, window=window)
                self._say(name, "error", f"{text}; end process {peer.pid} to have it started again")
            else:
                self._pipeline.health(name, HealthCode.CONNECTED, "its process is heard again")
                self._say(name, "info", "its process is heard again")

    def step(self, timeout_s: float) -> int:
        """Take what is there, waiting at most `timeout_s` for the first frame; returns the number of frames taken."""
        taken = 0
        if self._socket.poll(round(timeout_s * 1000)):
            # Bounded, so that rules and flushes get their turn under any load.
            while taken < FRAMES_A_TURN and self._received < FLUSH_BYTES:
                try:
                    parts = self._socket.recv_multipart(zmq.NOBLOCK)
                except zmq.Again:
                    break
                taken += 1
                self._receive(parts)
        return taken

    def flush(self) -> None:
        """Put what is held on disk, then acknowledge it."""
        self._received = 0
        self._pipeline.flush()
        for peer in self._peers:
            if peer.number > peer.acked:
                peer.acked = peer.number
                self._acknowledge(peer)

    def close(self, reason: str) -> list[str]:
        """End: the pipeline closed, the last frames acknowledged. Returns where the results lie."""
        for peer in self._peers.current():
            text = peer.missing_at_end()
            if text:
                self._pipeline.gap(peer.source.name, peer.last_aligned, self._now(), None, text)
        self._pipeline.advance(self._now())
        self.flush()
        places = self._pipeline.close(reason)
        self._socket.close(500)
        self._context.term()
        return places

    # -- frames ------------------------------------------------------------------------------------------------------

    def _acknowledge(self, peer: Peer) -> None:
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
                self._received += len(data)
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

    def _known(self, route: bytes, name: str, epoch: int) -> Peer | None:
        """The sender, if it has said Hello from this route; else it is asked to."""
        peer = self._peers.find(name, epoch)
        if peer is not None and peer.route == route:
            peer.heard_s = time.monotonic()
            return peer
        now = time.monotonic()
        if now - self._asked.get(route, 0.0) > 0.5:
            self._asked[route] = now
            self._send(route, frame.Who(source=name))
        return None

    def _hello(self, route: bytes, header: frame.Hello) -> None:
        peer, fresh = self._peers.hello(route, header)
        self._asked.pop(route, None)
        peer.heard_s = time.monotonic()
        if fresh:
            self._pipeline.declare(peer.source, peer.channels)

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
        if peer.away:
            back = peer.back_at(batch)
            if back is not None:
                self._pipeline.gap(header.source, peer.last_aligned, back, None, peer.away)
                peer.away = ""
        if first > peer.expected:
            text = f"records {peer.expected} to {first - 1} are missing"
            self._pipeline.gap(header.source, peer.last_aligned, int(batch.aligned[0]), first - peer.expected, text)
        peer.expected = first + header.n
        peer.saw(batch)
        self._heard[header.source] = int(columns[3][-1])
        self._pipeline.take(batch)

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
        self.flush()
        # Said again whenever the sender asks: the first answer may have gone to a socket that was closed.
        self._acknowledge(peer)

    def _note(self, header: frame.Note) -> None:
        restarted = header.code == "restarted"
        self._pipeline.totals.restarts += restarted
        for peer in self._peers.current():
            if peer.source.name == header.source:
                peer.down, peer.heard_s = not restarted, time.monotonic()
        code = HealthCode.RESTARTED if restarted else HealthCode.DISCONNECTED
        window = Interval(t0_ns=header.at_ns, t1_ns=header.at_ns)
        self._pipeline.health(header.source, code, header.text, window=window)
