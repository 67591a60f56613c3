"""Real peers for the adapters of the shop floor, each in a process of its own, so that it can be killed and frozen."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from bridge.adapter import Adapter, SignalConfig
from bridge.testing import RecordingPort, make_source

PEERS = Path(__file__).parent / "peers"
PATIENCE_S = 40.0


def free_port() -> int:
    """A TCP port of 127.0.0.1 that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Peer:
    """A server in a process of its own. It prints `ready` when it serves, and ends when its standard input ends."""

    def __init__(
        self, command: Sequence[str], env: dict[str, str] | None = None, ready: Callable[[], bool] | None = None
    ):
        self.command = list(command)
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[str] | None = None
        self.said: queue.Queue[str] = queue.Queue()
        self._ready = ready
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the peer

    def start(self) -> Peer:
        """Start it, and wait until it serves."""
        self.said = queue.Queue()
        self.process = subprocess.Popen(
            self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True, env=self.env
        )
        threading.Thread(target=self._read, args=(self.process, self.said), daemon=True).start()
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            if self._ready is not None and self._ready():
                return self
            with contextlib.suppress(queue.Empty):
                if self.said.get(timeout=0.05).strip() == "ready" and self._ready is None:
                    return self
            if self.process.poll() is not None:
                break
        raise AssertionError(f"{self.command} did not start:\n{self.errors()}")

    @staticmethod
    def _read(process: subprocess.Popen[str], said: queue.Queue[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            said.put(line)

    def errors(self) -> str:
        """What it wrote to standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def tell(self, **command: Any) -> None:
        """Send one command, as a line of JSON, and wait until it is done."""
        assert self.process is not None and self.process.stdin is not None
        self.process.stdin.write(json.dumps(command) + "\n")
        self.process.stdin.flush()
        answer = ""
        while answer not in ("done", "failed"):  # a server may print of its own accord
            answer = self.said.get(timeout=PATIENCE_S).strip()
        assert answer == "done", self.errors()

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        assert self.process is not None
        self.process.send_signal(signal.SIGKILL)
        self._reap()

    def _reap(self) -> None:
        assert self.process is not None
        self.process.wait(PATIENCE_S)
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self.process = None

    def freeze(self) -> None:
        """SIGSTOP: its sockets stay open, and no one answers."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """SIGCONT."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """End it, in whatever state it is."""
        if self.process is not None:
            self.kill()
        self._errors.close()


Serve = Callable[..., tuple[Peer, str]]
"""Starts a server; returns it and where it is reached."""


def python_peer(script: str, *args: object) -> Peer:
    """A peer of `tests/field/peers`, not started yet."""
    return Peer([sys.executable, "-u", str(PEERS / script), *map(str, args)])


@contextlib.contextmanager
def running(adapter: Adapter, port: RecordingPort) -> Iterator[RecordingPort]:
    """Run an adapter in a thread until the block ends; what it raises is raised here, and it must end when asked to."""
    raised: list[BaseException] = []

    def run() -> None:
        try:
            adapter.run(port)
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        port.stopping.set()
        thread.join(10.0)
        ended = not thread.is_alive()
        if raised:
            raise raised[0]
    assert ended, "the adapter did not end when it was asked to"


def port_for(signals: dict[str, SignalConfig], name: str = "plc") -> RecordingPort:
    """A recording port for a source with these signals."""
    return RecordingPort(make_source(name), signals)


def values(port: RecordingPort, tag: str) -> list[Any]:
    """All values of one tag so far, in order, bad ones left out."""
    return [signal.value for signal in list(port.signals_seen) if signal.tag == tag and signal.quality.value < 2]


def grows(tag: str, by: int = 3) -> Callable[[RecordingPort], bool]:
    """A condition: `by` more values of the tag than when it was first asked."""
    start: list[int] = []

    def condition(port: RecordingPort) -> bool:
        count = len(values(port, tag))
        if not start:
            start.append(count)
        return count >= start[0] + by

    return condition


def ups_and_downs(port: RecordingPort) -> list[str]:
    """`connected` and `disconnected`, in order, repeated ones once."""
    words = [word for word, _ in list(port.connections)]
    return [word for i, word in enumerate(words) if i == 0 or words[i - 1] != word]
