"""The sender's end of the bus: batches records into frames, keeps each until the hub says that it is on disk.

At-least-once: what is not acknowledged is sent again to a hub that was restarted, which drops what it already has by
sequence number. Memory is bounded: when the hub is away for long, `put` waits, then drops; a dropped record leaves a hole
in the sequence numbers, which the hub counts and writes down.
"""

from __future__ import annotations

import os
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np
import zmq

from bridge.adapter import Channel, Source
from bridge.bus import frame
from bridge.bus.record import Record

BATCH = 64
MAX_BATCH = 512
LINGER_S = 0.005
PING_S = 1.0
_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


class _Sent(NamedTuple):
    """A frame that waits for its acknowledgement."""

    number: int
    first: int
    last: int
    data: bytes


class HubClient:
    """Sends one source's records to the hub, from a thread of its own.

    Args:
        address: where the hub listens (`ipc:///run/.../hub`).
        source: who speaks; told to the hub again whenever it asks.
        on_ack: called from the client's thread with the highest sequence number that is on disk.
        held_bytes: bound on the bytes that are kept unacknowledged or unsent.
        patience_s: how long `put` waits for room before it drops.
    """

    def __init__(
        self,
        address: str,
        source: Source,
        *,
        on_ack: Callable[[int], None] | None = None,
        held_bytes: int = 128 * 1024 * 1024,
        patience_s: float = 5.0,
    ) -> None:
        self._address = address
        self._source = source
        self._on_ack = on_ack
        self._held_limit = held_bytes
        self._patience = patience_s
        self._changed = threading.Condition()
        self._channels: list[Channel] = []
        self._announced = -1  # nothing was said yet: the first thing to be said is who speaks
        self._sent_sequence = 0
        self._reason = ""
        self._pending: list[tuple[int, Record]] = []
        self._unacked: deque[_Sent] = deque()
        self._held = 0
        self._next_sequence = 0
        self._number = 0
        self._acked_number = -1
        self._closing = False
        self._bye: int | None = None
        self._give_up = False
        self.dropped = 0
        self.sent = 0
        self._thread = threading.Thread(target=self._run, name="hub-client", daemon=True)
        self._thread.start()

    def declare(self, channel: Channel) -> None:
        """Announce a channel; it reaches the hub before any record put after it."""
        with self._changed:
            self._channels.append(channel)
            self._changed.notify()

    def put(self, sequence: int, record: Record) -> bool:
        """Take a record; False when it was dropped because the hub stayed away and memory is bounded."""
        size = len(record.payload) + 80
        with self._changed:
            self._next_sequence = sequence + 1
            if self._held + size > self._held_limit and not self._wait_for_room(size):
                self.dropped += 1
                return False
            self._held += size
            self._pending.append((sequence, record))
            waiting = len(self._pending)
            if waiting == 1 or waiting == BATCH:
                self._changed.notify()
            return True

    def _wait_for_room(self, size: int) -> bool:
        return self._changed.wait_for(
            lambda: self._held + size <= self._held_limit or self._closing, timeout=self._patience
        ) and (self._held + size <= self._held_limit)

    def close(self, reason: str, timeout_s: float = 15.0) -> bool:
        """Send what is held, say `Bye`, wait until the hub has all of it on disk; False when that did not happen in time."""
        with self._changed:
            self._closing = True
            self._reason = reason
            self._changed.notify_all()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            with self._changed:
                self._give_up = True
                self._changed.notify_all()
            self._thread.join(2.0)
            return False
        return self._bye is not None and self._acked_number >= self._bye

    # -- the client's thread ---------------------------------------------------------------------------------------

    def _run(self) -> None:
        context = zmq.Context()
        socket = context.socket(zmq.DEALER)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.SNDHWM, 0)
        socket.setsockopt(zmq.RCVHWM, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 50)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        socket.connect(self._address)
        spoke = 0.0
        try:
            while not self._finished():
                records, channels, closing = self._take()
                if channels:
                    self._say_hello(socket)
                if records:
                    self._send(socket, records)
                if closing and self._bye is None:
                    self._say_bye(socket)
                now = time.monotonic()
                if records or channels:
                    spoke = now
                elif now - spoke > PING_S:
                    spoke = now
                    source = self._source
                    socket.send(frame.encode(frame.Ping(source=source.name, epoch=source.epoch)))
                self._drain(socket)
        finally:
            socket.close(0)
            context.term()

    def _finished(self) -> bool:
        with self._changed:
            return self._give_up or (self._bye is not None and self._acked_number >= self._bye)

    def _take(self) -> tuple[list[tuple[int, Record]], bool, bool]:
        with self._changed:
            if not self._pending and not self._closing and self._announced == len(self._channels):
                self._changed.wait(0.02)
            elif self._bye is not None:
                self._changed.wait(0.005)
            if self._pending and len(self._pending) < BATCH and not self._closing:
                self._changed.wait_for(lambda: len(self._pending) >= BATCH or self._closing, LINGER_S)
            records, self._pending = self._pending, []
            fresh = self._announced < len(self._channels)
            return records, fresh, self._closing

    def _say_hello(self, socket: zmq.Socket[bytes]) -> None:
        source = self._source
        with self._changed:
            channels = list(self._channels)
            self._announced = len(channels)
            first = self._unacked[0].first if self._unacked else None
        hello = frame.Hello(
            source=source.name,
            epoch=source.epoch,
            next_sequence=self._sent_sequence if first is None else first,
            source_info=msgspec.Raw(_encoder.encode(source)),
            channels=msgspec.Raw(_encoder.encode(channels)),
            pid=os.getpid(),
        )
        socket.send(frame.encode(hello))

    def _send(self, socket: zmq.Socket[bytes], records: list[tuple[int, Record]]) -> None:
        begin = 0
        while begin < len(records):
            end = begin + 1
            # A frame's records are numbered without a hole: a dropped record ends the frame.
            while end < len(records) and end - begin < MAX_BATCH and records[end][0] == records[begin][0] + end - begin:
                end += 1
            part = records[begin:end]
            rows = [record[:-1] + (len(record.payload),) for _, record in part]
            columns = np.array(rows, dtype=np.int64).T.copy()
            payload = b"".join([record.payload for _, record in part])
            first, last = part[0][0], part[-1][0]
            source = self._source
            header = frame.Data(source=source.name, epoch=source.epoch, number=self._number, first=first, n=len(part))
            data = frame.encode(header, columns, payload)
            with self._changed:
                self._unacked.append(_Sent(self._number, first, last, data))
                self._held += len(data) - len(payload) - 80 * len(part)
            socket.send(data)
            self.sent += len(part)
            self._number += 1
            self._sent_sequence = last + 1
            begin = end

    def _say_bye(self, socket: zmq.Socket[bytes]) -> None:
        source = self._source
        self._bye = self._number
        socket.send(self._bye_frame(source))

    def _bye_frame(self, source: Source) -> bytes:
        assert self._bye is not None
        return frame.encode(
            frame.Bye(
                source=source.name,
                epoch=source.epoch,
                number=self._bye,
                next_sequence=self._next_sequence,
                reason=self._reason,
            )
        )

    def _drain(self, socket: zmq.Socket[bytes]) -> None:
        acked: int | None = None
        while True:
            try:
                data = socket.recv(zmq.NOBLOCK)
            except zmq.Again:
                break
            header = frame.decode(data).header
            if isinstance(header, frame.Who):
                self._say_hello(socket)
                for sent in list(self._unacked):
                    socket.send(sent.data)
                if self._bye is not None:
                    socket.send(self._bye_frame(self._source))
            elif isinstance(header, frame.Ack) and header.epoch == self._source.epoch:
                with self._changed:
                    self._acked_number = max(self._acked_number, header.number)
                    while self._unacked and self._unacked[0].number <= header.number:
                        self._held -= len(self._unacked.popleft().data)
                    self._changed.notify_all()
                acked = header.sequence
        if acked is not None and self._on_ack is not None:
            self._on_ack(acked)
