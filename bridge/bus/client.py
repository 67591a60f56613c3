"""The sender's end of the bus: batches records into frames, keeps each until the hub says that it is on disk.

At-least-once: what is not acknowledged is sent again to a hub that was restarted, which drops what it already has by
sequence number. Memory is bounded: when the hub is away for long, `put` waits, then drops; a dropped record leaves a hole
in the sequence numbers, which the hub counts and writes down.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import msgspec
import numpy as np
import zmq

from bridge.adapter import Channel, Source
from bridge.bus import frame
from bridge.bus.record import Record, row
from bridge.bus.window import Chunk, Window
from bridge.errors import FrameError

BATCH = 64
LINGER_S = 0.005
IDLE_S = 0.02
PING_S = 1.0
CROSSED_S = 0.3
"""A hub that asks so soon after it was told asked before it had heard."""
WAKE = 0.75
"""Once records were dropped, none is taken before the store is down to this part: else every second one would be a gap."""
LAST_PATIENCE_S = 5.0
MAX_RECORD = frame.MAX_FRAME - 64 * 1024
_COLUMNS = len(frame.COLUMNS)
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


def _silent(level: str, text: str) -> None:
    """Say nothing."""


class HubClient:
    """Sends one source's records to the hub, from a thread of its own.

    Args:
        address: where the hub listens (`ipc:///run/.../hub`).
        source: who speaks; told to the hub again whenever it asks.
        on_ack: called from the client's thread with the highest sequence number that is on disk.
        on_failure: called from the client's thread when it can not go on, with the reason; nothing is sent after that.
        say: takes a level and a text for the person at the machine.
        held_bytes: bound on the bytes that are kept unacknowledged or unsent.
        window_bytes: bound on those of them that are on their way to the hub; the hub's memory and what is sent again to a
            new hub are bounded by it too.
        patience_s: how long `put` waits for room before it drops. None where the source keeps what is not acknowledged:
            `put` then waits until there is room, and drops only when `stopping` has been set for 5 s.
        stopping: set when the source is asked to stop.
    """

    def __init__(
        self,
        address: str,
        source: Source,
        *,
        on_ack: Callable[[int], None] | None = None,
        on_failure: Callable[[str], None] | None = None,
        say: Callable[[str, str], None] = _silent,
        held_bytes: int = 128 * 1024 * 1024,
        window_bytes: int = 32 * 1024 * 1024,
        patience_s: float | None = 5.0,
        stopping: threading.Event | None = None,
    ) -> None:
        self._address = address
        self._source = source
        self._on_ack = on_ack
        self._on_failure = on_failure
        self._say = say
        self._held_limit = held_bytes
        self._window_limit = min(window_bytes, held_bytes)
        self._patience = patience_s
        self._stopping = stopping or threading.Event()
        self._changed = threading.Condition(threading.Lock())
        self._channels: list[Channel] = []
        self._announced = -1  # nothing was said yet: the first thing to be said is who speaks
        self._window = Window()
        self._sent_sequence = 0
        self._next_sequence = 0
        self._number = 0
        self._acked_number = -1
        self._ack_limit: int | None = None
        self._ack_failed = False
        self._reason = ""
        self._closing = False
        self._ended = False  # all was taken that will be
        self._bye: int | None = None
        self._give_up = False
        self._failure = ""
        self._dropping = 0  # how many were dropped since the last that was taken
        self._told_at = 0.0
        self.dropped = 0
        self.sent = 0
        self._thread = threading.Thread(target=self._run, name="hub-client", daemon=True)
        self._thread.start()

    # -- any thread ------------------------------------------------------------------------------------------------

    def declare(self, channel: Channel) -> None:
        """Announce a channel; it reaches the hub before any record put after it."""
        with self._changed:
            self._channels.append(channel)
            self._changed.notify()

    def put(self, sequence: int, record: Record) -> str:
        """Take a record. Empty when it was taken, else why it was dropped. Raises `TypeError` for a payload that is no bytes."""
        payload = record.payload
        if type(payload) is not bytes:
            # What a library lends may change after this: keep a copy.
            payload = memoryview(payload).tobytes()
        length = len(payload)
        packed = row(record, length)
        with self._changed:
            window = self._window
            self._next_sequence = sequence + 1
            if self._dropping or self._ended or length > MAX_RECORD or window.held + length > self._held_limit:
                reason = self._refusal(sequence, length)
                if reason:
                    self.dropped += 1
                    return reason
            window.add(sequence, packed, payload)
            if window.waiting == 1 or window.waiting == BATCH:
                self._changed.notify()
            return ""

    def close(
        self,
        reason: str,
        timeout_s: float = 15.0,
        on_progress: Callable[[], None] | None = None,
    ) -> bool:
        """Send what is held, say `Bye`, wait until the hub has all of it on disk.

        As long as the hub goes on confirming, this goes on waiting, and calls `on_progress`; False when it confirmed nothing
        for `timeout_s`, or the client had failed. `unconfirmed` then says how many records are missing.
        """
        with self._changed:
            self._closing = True
            self._reason = reason
            self._changed.notify_all()
        before, since = -1, time.monotonic()
        while self._thread.is_alive():
            self._thread.join(0.1)
            now, left = time.monotonic(), self.unconfirmed
            if left != before:
                before, since = left, now
                if on_progress is not None:
                    on_progress()
            elif now - since > timeout_s:
                with self._changed:
                    self._give_up = True
                    self._changed.notify_all()
                self._thread.join(2.0)
                break
        # All on disk, but the goodbye unanswered: nothing is missing.
        return not self._failure and self.unconfirmed == 0

    @property
    def unconfirmed(self) -> int:
        """How many of the records that were taken are not known to be on disk."""
        with self._changed:
            return self._window.unconfirmed

    # -- room ------------------------------------------------------------------------------------------------------

    def _refusal(self, sequence: int, length: int) -> str:
        """Why a record can not be taken now, having waited for room; under the lock."""
        if length > MAX_RECORD:
            return f"it has {length} bytes, and the most that a record may have is {MAX_RECORD}"
        window = self._window
        if not self._ended and not self._failure:
            if self._dropping:
                if not window.held or window.held + length <= WAKE * self._held_limit:
                    self._say("warning", f"the hub takes records again; {self._dropping} were dropped")
                    self._dropping = 0
                    return ""
            elif self._wait_for_room(length):
                return ""
            elif not self._failure:
                self._say(
                    "error", f"the hub takes no records: {window.unconfirmed} are held, more are dropped and counted"
                )
        if self._ack_limit is None:
            self._ack_limit = sequence
        self._dropping += 1
        if self._ended:
            return "it came after the adapter had ended"
        return self._failure or "the hub took no records, and the memory for them is bounded"

    def _wait_for_room(self, length: int) -> bool:
        begun = time.monotonic()
        asked = None if self._patience is None else begun
        patience = LAST_PATIENCE_S if self._patience is None else self._patience
        # One record is taken however large it is, when nothing else is held.
        while self._window.held and self._window.held + length > self._held_limit:
            now = time.monotonic()
            if asked is None and self._stopping.is_set():
                asked = now
            if self._closing or self._failure or (asked is not None and now - asked >= patience):
                return False
            if self._patience is None and now - self._told_at > 60 and now - begun > LAST_PATIENCE_S:
                self._told_at = now
                self._say("error", "the hub takes no records; this source waits, and its broker keeps what comes")
            self._changed.wait(0.1)
        return True

    # -- the client's thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        try:
            self._talk()
        except Exception as error:  # nothing that is put from now on would be sent: it must be known
            with self._changed:
                self._failure = f"the link to the hub failed: {type(error).__name__}: {error}"
                self._dropping = max(1, self._dropping)
                self._changed.notify_all()
            if self._on_failure is not None:
                self._on_failure(self._failure)

    def _talk(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        try:
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.SNDHWM, 0)
            socket.setsockopt(zmq.RCVHWM, 0)
            socket.setsockopt(zmq.RECONNECT_IVL, 50)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
            socket.connect(self._address)
            self._spoke = self._introduced = 0.0
            while not self._finished():
                self._turn(socket)
        finally:
            socket.close(0)
            context.term()

    def _turn(self, socket: zmq.Socket[bytes]) -> None:
        chunks, fresh, ending = self._take()
        if fresh:
            self._say_hello(socket)
        for chunk in chunks:
            self._send(socket, chunk)
        if ending and self._bye is None:
            self._bye = self._number
            self._say_bye(socket)
        now = time.monotonic()
        if chunks or fresh:
            self._spoke = now
        elif now - self._spoke > PING_S:
            self._spoke = now
            socket.send(frame.encode(frame.Ping(source=self._source.name, epoch=self._source.epoch)))
        if not chunks and not fresh and self._window.in_flight >= self._window_limit:
            socket.poll(round(IDLE_S * 1000))
        self._drain(socket)

    def _finished(self) -> bool:
        with self._changed:
            return self._give_up or (self._bye is not None and self._acked_number >= self._bye)

    def _take(self) -> tuple[list[Chunk], bool, bool]:
        """What is to be sent now, whether the hub is to be told of channels, and whether that is all that there will be."""
        with self._changed:
            window = self._window
            if window.in_flight < self._window_limit:
                if self._ended:
                    self._changed.wait(LINGER_S)
                elif not window.waiting and not self._closing and self._announced == len(self._channels):
                    self._changed.wait(IDLE_S)
                if window.waiting and window.waiting < BATCH and not self._closing:
                    self._changed.wait_for(lambda: window.waiting >= BATCH or self._closing, LINGER_S)
            chunks = list(window.take(self._window_limit - window.in_flight))
            if self._closing and not window.waiting:
                self._ended = True
            return chunks, self._announced < len(self._channels), self._ended

    def _say_hello(self, socket: zmq.Socket[bytes]) -> None:
        source = self._source
        with self._changed:
            channels = list(self._channels)
            self._announced = len(channels)
            unacked = self._window.unacked
            first = unacked[0].first if unacked else self._sent_sequence
        hello = frame.Hello(
            source=source.name,
            epoch=source.epoch,
            next_sequence=first,
            source_info=msgspec.Raw(_encoder.encode(source)),
            channels=msgspec.Raw(_encoder.encode(channels)),
            pid=os.getpid(),
        )
        self._introduced = time.monotonic()
        socket.send(frame.encode(hello))

    def _send(self, socket: zmq.Socket[bytes], chunk: Chunk) -> None:
        n = len(chunk.rows)
        columns = np.frombuffer(b"".join(chunk.rows), dtype="<i8").reshape(n, _COLUMNS).T.copy()
        source = self._source
        header = frame.Data(source=source.name, epoch=source.epoch, number=self._number, first=chunk.first, n=n)
        data = frame.encode(header, columns, b"".join(chunk.payloads))
        with self._changed:
            self._window.sent(chunk, self._number, data)
            self._number += 1
            self._sent_sequence = chunk.first + n
        socket.send(data)
        self.sent += n

    def _say_bye(self, socket: zmq.Socket[bytes]) -> None:
        assert self._bye is not None
        source = self._source
        bye = frame.Bye(
            source=source.name,
            epoch=source.epoch,
            number=self._bye,
            next_sequence=self._next_sequence,
            reason=self._reason,
        )
        socket.send(frame.encode(bye))

    def _drain(self, socket: zmq.Socket[bytes]) -> None:
        acked: int | None = None
        while True:
            try:
                data = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            try:
                header = frame.decode(data).header
            except FrameError as error:
                self._say("warning", f"a frame of the hub was not understood: {error}")
                continue
            if isinstance(header, frame.Who):
                self._say_again(socket)
            elif isinstance(header, frame.Ack) and header.epoch == self._source.epoch:
                with self._changed:
                    self._acked_number = max(self._acked_number, header.number)
                    self._window.acknowledge(header.number)
                    self._changed.notify_all()
                acked = header.sequence
        if acked is not None and self._on_ack is not None:
            self._tell_source(acked)

    def _say_again(self, socket: zmq.Socket[bytes]) -> None:
        """The hub does not know this source: say who it is, and send again what is not acknowledged."""
        if time.monotonic() - self._introduced < CROSSED_S:
            return
        self._say_hello(socket)
        for sent in list(self._window.unacked):
            socket.send(sent.data)
        if self._bye is not None:
            self._say_bye(socket)

    def _tell_source(self, acked: int) -> None:
        assert self._on_ack is not None
        with self._changed:
            # What was dropped is not on disk: a broker that still has it is not to be told so.
            if self._ack_limit is not None and self._patience is None:
                acked = min(acked, self._ack_limit - 1)
        if acked < 0:
            return
        try:
            self._on_ack(acked)
        except Exception as error:  # the source's own fault; what is recorded is recorded all the same
            if not self._ack_failed:
                self._ack_failed = True
                self._say("error", f"the source could not be told what is recorded: {type(error).__name__}: {error}")
