"""The stated order of inputs from several sources, behind a watermark.

Sources reach the hub by different ways and in bunches, but a rule that joins two of them must see what happened in the order in
which it happened. Inputs are put in one total order, by (aligned time, source, epoch, sequence, number in the record), and
released when the watermark has passed them. The watermark says: everything up to here has come. It is what all streams of all
sources have reached, and at most `lateness` behind now, so that one that is silent does not stop the rest. What comes after the
watermark has passed it is late: counted, flagged, and released at once.

A stream is what keeps its order on the way: a topic of a ROS 2 source, or all tags of one session. Two topics of one robot may be
delayed differently, so that what the one has reached says nothing of the other.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")

LATENESS_NS = 250_000_000


class Place(NamedTuple):
    """Where an input stands in the order. `number` tells the inputs of one record apart."""

    aligned_ns: int
    source: str
    epoch: int
    sequence: int
    number: int


@dataclass(frozen=True)
class Released(Generic[T]):
    """An input whose turn it is."""

    place: Place
    item: T
    late: bool


class Reorder(Generic[T]):
    """Holds inputs until the watermark passes them.

    Args:
        sources: those that the watermark waits for; each is one stream until `expect` says more.
        lateness_ns: how far it is behind now at most.

    `watermark_ns` is None until the first release; it never goes back. `late` counts late inputs.
    """

    def __init__(self, sources: Iterable[str] = (), lateness_ns: int = LATENESS_NS) -> None:
        self._lateness = lateness_ns
        self._said: dict[str, dict[str, int | None]] = {source: {"": None} for source in sources}
        self._ended: set[str] = set()
        self._held: list[tuple[Place, int, T]] = []
        self._overdue: list[tuple[Place, int, T]] = []
        self._pushed = 0  # tells apart what stands at one place, in the order in which it came
        self.watermark_ns: int | None = None
        self.late = 0

    def __len__(self) -> int:
        """How many inputs are held."""
        return len(self._held) + len(self._overdue)

    def push(self, place: Place, item: T) -> bool:
        """Take an input; whether it is late."""
        self._pushed += 1
        if self.watermark_ns is not None and place.aligned_ns <= self.watermark_ns:
            self.late += 1
            heapq.heappush(self._overdue, (place, self._pushed, item))
            return True
        heapq.heappush(self._held, (place, self._pushed, item))
        return False

    def expect(self, source: str, streams: Iterable[str]) -> None:
        """The streams that a source has; what those known before have reached is kept."""
        if source in self._said:
            before = self._said[source]
            self._said[source] = {stream: before.get(stream) for stream in streams} or {"": None}
            self._ended.discard(source)

    def said(self, source: str, aligned_ns: int, stream: str = "") -> None:
        """A stream has reached `aligned_ns`."""
        streams = self._said.get(source)
        if streams is not None and stream in streams:
            before = streams[stream]
            streams[stream] = aligned_ns if before is None else max(before, aligned_ns)
            self._ended.discard(source)

    def ended(self, source: str) -> None:
        """A source will say nothing more: the watermark does not wait for it."""
        if source in self._said:
            self._ended.add(source)

    def release(self, now_ns: int, watermark_ns: int | None = None) -> list[Released[T]]:
        """Move the watermark on to what it can be at `now_ns`, and give out what it has passed, late inputs first.

        On replay `watermark_ns` is what the log says that it was; it is used as it is.
        """
        self._move(self._reached(now_ns) if watermark_ns is None else watermark_ns)
        return self._take()

    def flush(self) -> list[Released[T]]:
        """Give out all that is held: nothing more will come. The watermark goes to the last of it."""
        reached = [said for streams in self._said.values() for said in streams.values() if said is not None]
        last = max([*reached, *(place.aligned_ns for place, _, _ in self._held)], default=None)
        if last is not None:
            self._move(last)
        return self._take()

    def _reached(self, now_ns: int) -> int:
        said_by = self._said.items()
        waited_for = [said for source, streams in said_by if source not in self._ended for said in streams.values()]
        known = [said for said in waited_for if said is not None]
        # Another record of the same time may follow the last one, so it is not passed before it is late.
        all_said = min(known) - 1 if known and len(known) == len(waited_for) else now_ns - self._lateness
        return max(all_said, now_ns - self._lateness)

    def _move(self, watermark_ns: int) -> None:
        if self.watermark_ns is None or watermark_ns > self.watermark_ns:
            self.watermark_ns = watermark_ns

    def _take(self) -> list[Released[T]]:
        out = []
        while self._overdue:
            place, _, item = heapq.heappop(self._overdue)
            out.append(Released(place, item, True))
        watermark, held = self.watermark_ns, self._held
        while held and watermark is not None and held[0][0].aligned_ns <= watermark:
            place, _, item = heapq.heappop(held)
            out.append(Released(place, item, False))
        return out
