"""How long to wait before the next attempt: doubling, bounded, with jitter so that a plant's clients do not return at once."""

from __future__ import annotations

import random


class Backoff:
    """Waiting times in seconds that double from `first` up to `last`; each is drawn from 75 to 125 % of its nominal value."""

    def __init__(self, first: float = 0.5, last: float = 5.0) -> None:
        self.first = first
        self.last = last
        self._nominal = first
        self._random = random.Random()

    def next(self) -> float:
        """The wait before the next attempt, in seconds."""
        wait = self._nominal * self._random.uniform(0.75, 1.25)
        self._nominal = min(self._nominal * 2, self.last)
        return min(wait, self.last)

    def reset(self) -> None:
        """The last attempt worked: begin again at `first`."""
        self._nominal = self.first
