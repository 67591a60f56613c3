"""A process's end of the pipes to the supervisor: told what to do on standard input, heard on standard output.

Standard input stays open as long as the supervisor lives, so that nothing outlives it, whatever kills it.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Callable


class Lifeline:
    """Standard input: a first line that says what to do, words after it, and its end."""

    def __init__(self) -> None:
        self._descriptor = sys.stdin.fileno()
        self._rest = b""

    def first_line(self) -> bytes:
        """What this process is told to do; empty where standard input ends before."""
        line = bytearray()
        while b"\n" not in line:
            part = os.read(self._descriptor, 65536)
            if not part:
                return b""
            line += part
        first, _, self._rest = bytes(line).partition(b"\n")
        return first

    def follow(self, *, word: Callable[[], None] = lambda: None, end: Callable[[], None]) -> None:
        """Call `word` when something more is said, `end` when standard input closes; from a thread of its own.

        A signal's handler runs in the main thread alone, which may be held in a call that does not return.
        """

        def wait() -> None:
            if self._rest:
                word()
            while os.read(self._descriptor, 4096):
                word()
            end()

        threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def keep_stdout() -> int:
    """The descriptor of standard output, which from now on is no one else's: what others print goes to standard error."""
    sys.stdout.flush()
    own = os.dup(1)
    os.dup2(2, 1)
    return own


def say(source: str, level: str, text: str) -> None:
    """One line on standard error for the person at the machine."""
    mark = "" if level == "info" else f"{level}: "
    # A terminal that is gone must not end a source.
    with contextlib.suppress(OSError):
        print(f"{source:<12} {mark}{text}", file=sys.stderr, flush=True)
