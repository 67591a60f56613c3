"""Exact loss counts from a publisher's own numbers: what lies between the first and the last message that came."""

from __future__ import annotations

from typing import NamedTuple

from bridge.schema import Interval


class Gap(NamedTuple):
    """Messages that never came: how many, and the stamps of the messages on either side (None where there was none)."""

    messages: int
    before_ns: int | None
    after_ns: int | None


class PublisherNumbers:
    """The numbers of one publisher on one topic.

    While a subscription is opened anew, two readers deliver the same messages, in no common order: between `overlap` and
    `settle` every number is kept, and holes are counted at the end.
    """

    __slots__ = ("_floor", "_from", "_seen", "_stamp", "last")

    def __init__(self) -> None:
        self.last: int | None = None
        self._stamp: int | None = None
        self._seen: set[int] | None = None
        self._floor = 0
        self._from: int | None = None

    def note(self, number: int, stamp: int | None) -> int:
        """Take a message's number and stamp; returns how many are missing before it, or -1 when it came before."""
        last = self.last
        if self._seen is not None:
            if number in self._seen or number <= self._floor:
                return -1
            self._seen.add(number)
            if last is None or number > last:
                self.last, self._stamp = number, stamp
            return 0
        if last is None:
            self.last, self._stamp = number, stamp
            return 0
        if number <= last:
            return -1
        self.last, self._stamp = number, stamp
        return number - last - 1

    @property
    def stamp(self) -> int | None:
        """The stamp of the newest message."""
        return self._stamp

    def overlap(self) -> None:
        """Two readers from now on."""
        if self._seen is None:
            self._seen = set()
            self._floor = self.last or 0
            self._from = self._stamp

    def settle(self) -> Gap | None:
        """One reader again; what is missing from the overlap, if anything."""
        seen, self._seen = self._seen, None
        if not seen:
            return None
        first = self._floor + 1 if self._floor else min(seen)
        missing = max(seen) - first + 1 - len(seen)
        return Gap(missing, self._from, self._stamp) if missing > 0 else None


class LossReport:
    """Holes of one topic, gathered so that a torrent of losses is told once a second and not once a message."""

    __slots__ = ("_count", "_t0", "_t1")

    def __init__(self) -> None:
        self._count = 0
        self._t0: int | None = None
        self._t1: int | None = None

    def add(self, gap: Gap) -> None:
        """Count a hole."""
        if not self._count:
            self._t0 = gap.before_ns
        self._count += gap.messages
        self._t1 = gap.after_ns

    def take(self) -> tuple[int, Interval | None] | None:
        """The count and the window since the last call, on the clock of the topic's stamps; None when nothing was lost."""
        if not self._count:
            return None
        window = None
        if self._t0 is not None and self._t1 is not None:
            window = Interval(source_t0_ns=min(self._t0, self._t1), source_t1_ns=max(self._t0, self._t1))
        found = (self._count, window)
        self._count, self._t0, self._t1 = 0, None, None
        return found
