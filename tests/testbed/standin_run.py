"""Starts the real stand-in for tests, and reads what it says truly happened."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

PATIENCE = 60.0


def wait_for(condition: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
    """What `condition` gives, once it is true."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if got := condition():
            return got
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds:.0f} s")


def alive(pid: int) -> bool:
    """Whether a process runs; a zombie does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


class StandinRun:
    """One stand-in process: `ready` holds its addresses."""

    def __init__(self, process: subprocess.Popen[bytes], directory: Path) -> None:
        self.process = process
        self._ready, self._truth = directory / "ready.json", directory / "truth.jsonl"
        self.ready: dict[str, Any] = {}

    def wait_ready(self) -> None:
        """Wait for the ready file."""
        wait_for(lambda: self._ready.exists() or self.process.poll() is not None, "the stand-in gets ready")
        assert self.process.poll() is None, f"the stand-in ended with {self.process.returncode}"
        self.ready = json.loads(self._ready.read_text())

    def truth(self, kind: str) -> list[dict[str, Any]]:
        """The lines of one kind that are whole by now."""
        lines = self._truth.read_text().split("\n")[:-1]
        return [line for line in map(json.loads, lines) if line["kind"] == kind]

    def clock(self, name: str) -> Callable[[int], int]:
        """From true time (ns) to what the clock `name` shows then."""
        (at,) = [line for line in self.truth("clock") if line["name"] == name]

        def shown(true_ns: int) -> int:
            elapsed = true_ns - at["wall0_ns"]
            return int(true_ns + at["skew_ns"] + round(elapsed * at["drift_ppm"] * 1e-6))

        return shown

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ask it to stop; returns its exit status."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextlib.contextmanager
def started(directory: Path, *options: str, stdin: int = subprocess.DEVNULL) -> Iterator[StandinRun]:
    """A stand-in that answers; whatever happens, it is gone afterwards."""
    directory.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "twin.testbed"]
    files = ["--ready", str(directory / "ready.json"), "--truth", str(directory / "truth.jsonl")]
    process = subprocess.Popen([*command, *files, *options], stdin=stdin, stderr=subprocess.PIPE)
    run = StandinRun(process, directory)
    try:
        run.wait_ready()
        yield run
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if process.stdin is not None:
            process.stdin.close()
        assert process.stderr is not None
        complaints = process.stderr.read().decode()
        process.stderr.close()
        print(complaints)
        assert "Traceback" not in complaints


def domain() -> str:
    """A ROS domain that two test runs on one machine hardly share."""
    return str(10 + os.getpid() % 90)
