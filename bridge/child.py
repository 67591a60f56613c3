"""A process that the supervisor starts: told what to do on its first line of standard input, which stays open as its lifeline."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
from typing import IO


class ChildProcess:
    """One process, in a session of its own: a Ctrl-C in the terminal reaches the supervisor alone.

    Args:
        python: what starts it.
        module: what it runs.
        first_line: what it is told, without the line's end.

    Raises:
        OSError: the system has no room for another process.
    """

    def __init__(self, python: str, module: str, first_line: bytes) -> None:
        self._process = subprocess.Popen(
            [python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            bufsize=0,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        self._told = threading.Event()
        # A site file may be longer than the pipe holds, and a process that hangs before it reads must not hang this one.
        threading.Thread(target=self._tell, args=(first_line + b"\n",), name="tell", daemon=True).start()

    def _tell(self, line: bytes) -> None:
        assert self._process.stdin is not None
        rest = memoryview(line)
        # One that has ended already is found by its exit code.
        with contextlib.suppress(OSError):
            while rest:
                rest = rest[self._process.stdin.write(rest) or 0 :]
        self._told.set()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def said(self) -> IO[bytes]:
        """What it says to the supervisor."""
        assert self._process.stdout is not None
        return self._process.stdout

    def ended(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, waited for; None when it still runs after that."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            return self._process.wait(seconds)
        return None

    def tell(self, word: bytes) -> None:
        """Say one word more, once it was told what to do."""
        stdin = self._process.stdin
        with contextlib.suppress(OSError):
            if self._told.wait(5.0) and stdin is not None and not stdin.closed:
                stdin.write(word)

    def stop(self) -> None:
        """Ask it to end: by a signal, and by its lifeline, which it heeds where its main thread is held up."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        self._let_go()

    def kill(self) -> int:
        """End it now; returns its exit code."""
        self._process.kill()
        return self._process.wait()

    def heard(self) -> bool:
        """Whether it has said anything since the last call; for one whose words are no more than signs of life."""
        os.set_blocking(self.said.fileno(), False)
        with contextlib.suppress(OSError):
            return bool(self.said.read(4096))
        return False

    def _let_go(self) -> None:
        stdin = self._process.stdin
        if self._told.is_set() and stdin is not None and not stdin.closed:
            with contextlib.suppress(OSError):
                stdin.close()

    def close(self, *, said: bool = True) -> None:
        """Let go of its pipes, once it has ended; `said` False where another thread reads what it said."""
        self._told.wait(1.0)
        self._let_go()
        if said:
            self.said.close()


def how(code: int) -> str:
    """An exit code in words."""
    if code >= 0:
        return f"with exit code {code}"
    try:
        return f"by signal {signal.Signals(-code).name}"
    except ValueError:
        return f"by signal {-code}"
