"""The order of what was placed: within an epoch, a later stamp is never placed before an earlier one."""

from __future__ import annotations

from bisect import bisect_left

HISTORY = 256
"""How many stamps are remembered, to keep the order of those that arrive out of order."""


class Order:
    """The last stamps of an epoch and where they were put; both ascend."""

    __slots__ = ("placed", "stamps")

    def __init__(self) -> None:
        self.stamps: list[int] = []
        self.placed: list[int] = []

    def between(self, stamp: int, aligned: int, arrival: int) -> int:
        """Where a stamp that is not the newest may lie: between its neighbours, not after `arrival`."""
        stamps, placed = self.stamps, self.placed
        index = bisect_left(stamps, stamp)
        if index < len(stamps):
            aligned = min(aligned, placed[index])
            if stamps[index] == stamp:
                return min(placed[index], arrival)
        if index > 0:
            aligned = max(aligned, placed[index - 1])
        aligned = min(aligned, arrival)
        if index > 0 or len(stamps) < HISTORY:
            stamps.insert(index, stamp)
            placed.insert(index, aligned)
        return aligned

    def knows(self, stamp: int) -> bool:
        """Whether exactly this stamp was placed."""
        index = bisect_left(self.stamps, stamp)
        return index < len(self.stamps) and self.stamps[index] == stamp

    def clear(self) -> None:
        """Begin an epoch."""
        self.stamps.clear()
        self.placed.clear()

    def trim(self) -> None:
        """Forget the oldest."""
        if len(self.stamps) > 2 * HISTORY:
            del self.stamps[:-HISTORY]
            del self.placed[:-HISTORY]
