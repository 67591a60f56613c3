"""A real robot process and a real adapter, on a domain of their own, over loopback DDS."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.ros2 import Ros2Adapter, Ros2Options
from bridge.schema import Space
from bridge.testing import RecordingPort, make_source

_numbers = itertools.count()


@pytest.fixture
def domain(monkeypatch: pytest.MonkeyPatch) -> int:
    """A ROS domain for one test: two test sessions on one machine seldom meet."""
    pytest.importorskip("rclpy", reason="rclpy is not installed here: there is no ROS 2 to test against")
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    return (os.getpid() * 7 + next(_numbers)) % 98 + 1


class Robot:
    """The peer's process."""

    def __init__(self, domain: int) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("peer.py")), str(domain)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._answer() == "ready"

    def __call__(self, do: str, **order: Any) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": do, **order}) + "\n")
        self.process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, "the robot's process has ended"
        answer = json.loads(line)
        assert "error" not in answer, answer
        return answer["answer"]

    def until_matched(self, topic: str, seconds: float = 20.0) -> None:
        """Wait until somebody listens to a topic."""
        wait_until(lambda: self("matched", topic=topic) > 0, seconds)

    def end(self) -> None:
        """Let the process go, and wait for it."""
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            stream.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)


@pytest.fixture
def start_robot(domain: int) -> Iterator[Callable[[], Robot]]:
    """Start a robot; several may run."""
    running: list[Robot] = []

    def start() -> Robot:
        running.append(Robot(domain))
        return running[-1]

    yield start
    for robot in running:
        robot.end()


@pytest.fixture
def robot(start_robot: Callable[[], Robot]) -> Robot:
    """One robot."""
    return start_robot()


class Listening:
    """An adapter at work on a thread."""

    def __init__(self, options: Ros2Options, port: RecordingPort) -> None:
        self.port = port
        self.adapter = Ros2Adapter(port.source, options, {})
        self.error: BaseException | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.adapter.run(self.port)
        except BaseException as error:
            self.error = error

    def stop(self) -> RecordingPort:
        """Ask it to stop; returns its port."""
        self.port.stopping.set()
        self.thread.join(20)
        assert not self.thread.is_alive(), "the adapter did not stop"
        if self.error is not None:
            raise self.error
        return self.port


@pytest.fixture
def listen(domain: int) -> Iterator[Callable[..., Listening]]:
    """Start an adapter; `options` are those of the site file, `port` a port of another kind."""
    running: list[Listening] = []

    def start(port: RecordingPort | None = None, **options: Any) -> Listening:
        options = {"domain": domain, "discover_ms": 50, **options}
        port = port or RecordingPort(make_source("robot", Space.TESTBED, "arm"))
        running.append(Listening(Ros2Options(**options), port))
        return running[-1]

    yield start
    for listening in running:
        listening.stop()


def wait_until(condition: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a condition, and fail when it does not come."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not come"
        time.sleep(0.02)
