"""What a sender holds: records that wait to be sent, frames that wait for their acknowledgement. Bounded, whatever the hub does.

Not for several threads at once: `HubClient` guards it with its lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

MAX_BATCH = 512
FRAME_BYTES = 1024 * 1024
"""A frame is sealed when its payloads come to this, so that it is never far from one record's size."""
OVERHEAD = 80
"""Bytes that a record costs beside its payload: its row in the frame, and its share of the header."""


@dataclass(slots=True)
class Chunk:
    """Records that will be one frame, numbered from `first` without a hole."""

    first: int
    rows: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    size: int = 0


class Sent(NamedTuple):
    """A frame that waits for its acknowledgement."""

    number: int
    first: int
    records: int
    data: bytes


class Window:
    """Chunks in front, unacknowledged frames behind.

    Attributes:
        held: bytes of both.
        in_flight: bytes of the frames.
        waiting: records that are not in a frame yet.
        unacked: the frames, oldest first.
    """

    __slots__ = ("_following", "_open", "_sealed", "held", "in_flight", "unacked", "waiting")

    def __init__(self) -> None:
        self.held = 0
        self.in_flight = 0
        self.waiting = 0
        self.unacked: deque[Sent] = deque()
        self._sealed: deque[Chunk] = deque()
        self._open: Chunk | None = None
        self._following = 0

    def add(self, sequence: int, row: bytes, payload: bytes) -> None:
        """Take the record numbered `sequence`; a hole before it begins a new frame."""
        size = len(payload) + OVERHEAD
        chunk = self._open
        if chunk is None or sequence != self._following or chunk.size + size > FRAME_BYTES:
            self._seal()
            chunk = self._open = Chunk(sequence)
        self._following = sequence + 1
        rows = chunk.rows
        rows.append(row)
        chunk.payloads.append(payload)
        chunk.size += size
        self.held += size
        self.waiting += 1
        if len(rows) >= MAX_BATCH:
            self._seal()

    def _seal(self) -> None:
        if self._open is not None:
            self._sealed.append(self._open)
            self._open = None

    def take(self, room: int) -> Iterator[Chunk]:
        """Chunks to be sent now, oldest first, until they come to `room` bytes: at least one where there is room at all."""
        while room > 0 and self.waiting:
            if not self._sealed:
                self._seal()
            chunk = self._sealed.popleft()
            self.waiting -= len(chunk.rows)
            # Counted at once: whoever asks between this and `sent` must not see less than is held.
            self.in_flight += chunk.size
            room -= chunk.size
            yield chunk

    def sent(self, chunk: Chunk, number: int, data: bytes) -> None:
        """A chunk has become the frame `number`."""
        self.unacked.append(Sent(number, chunk.first, len(chunk.rows), data))
        self.held += len(data) - chunk.size
        self.in_flight += len(data) - chunk.size

    def acknowledge(self, number: int) -> None:
        """Everything up to the frame `number` is on disk."""
        while self.unacked and self.unacked[0].number <= number:
            size = len(self.unacked.popleft().data)
            self.held -= size
            self.in_flight -= size

    @property
    def unconfirmed(self) -> int:
        """How many records are held."""
        return self.waiting + sum(sent.records for sent in self.unacked)
