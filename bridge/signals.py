"""Signals without handlers that wait: what is to be done is done by a thread.

A handler runs between two steps of the main thread, which may hold the lock of the very event that the handler would set
(`Event.set` and `Event.wait` share one), or may be in the middle of the same handler: it would wait for itself for ever.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Callable, Iterable
from types import FrameType
from typing import Any


class SignalWatch:
    """Calls `call` from a thread of its own for every signal of `numbers`, once `install` was called in the main thread."""

    def __init__(self, numbers: Iterable[int], call: Callable[[], None]) -> None:
        self._numbers = tuple(numbers)
        self._call = call
        self._before: dict[int, Any] = {}
        self._read, self._write = os.pipe()
        os.set_blocking(self._write, False)
        threading.Thread(target=self._wait, name="signal-watch", daemon=True).start()

    def install(self) -> SignalWatch:
        """Take the signals; again, where something else may have taken them."""
        for number in self._numbers:
            before = signal.signal(number, self._heed)
            if before != self._heed:
                self._before[number] = before
        return self

    def _heed(self, number: int, frame: FrameType | None) -> None:
        # A pipe that is full holds calls enough.
        with contextlib.suppress(OSError):
            os.write(self._write, b"!")

    def _wait(self) -> None:
        while os.read(self._read, 1):
            self._call()
        os.close(self._read)

    def restore(self) -> None:
        """Give the signals back to whom they belonged before; for the end of what watched them."""
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before.clear()
        os.close(self._write)
