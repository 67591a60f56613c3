"""The stand-in's end of the wires to its PLC and sensors: starts that process, feeds it, hears it, stops it."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import sys
import threading
from typing import Any

import msgspec

from bridge.errors import DariError
from twin.testbed.plant import PlantSettings
from twin.testbed.plc import Image
from twin.testbed.truth import Truth


class ShopFloorError(DariError, RuntimeError):
    """The process with the PLC and the sensors did not start, or ended by itself. Exit code 4."""

    exit_code = 4


class ShopFloor:
    """One child process. `send` is called from the physics thread and never waits for long: a pipe holds seconds of images."""

    def __init__(self, settings: PlantSettings, truth: Truth) -> None:
        self._truth = truth
        self._answers: queue.Queue[dict[str, Any]] = queue.Queue()
        self._encoder = msgspec.json.Encoder()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "twin.testbed.plant", msgspec.json.encode(settings).decode()],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._thread = threading.Thread(target=self._listen, name="shopfloor", daemon=True)
        self._thread.start()

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def ready(self, timeout: float = 60.0) -> dict[str, Any]:
        """Wait until every server answers; returns the addresses.

        Raises:
            ShopFloorError: it said why it can not, died, or took longer than `timeout` seconds.
        """
        try:
            answer = self._answers.get(timeout=timeout)
        except queue.Empty:
            raise ShopFloorError(f"the PLC and the sensors did not answer within {timeout:.0f} s") from None
        if "ready" not in answer:
            raise ShopFloorError(
                f"the PLC and the sensors did not start: {answer.get('error', 'the process ended')}",
                hint="pip install 'dari[demo]' brings what they need; another port may help as well",
            )
        return dict(answer["ready"])

    def alive(self) -> bool:
        """Whether the process still runs."""
        return self._process.poll() is None

    def check(self) -> None:
        """Raise `ShopFloorError` if the process has ended by itself."""
        status = self._process.poll()
        if status is None:
            return
        said = self._answers.get_nowait().get("error") if not self._answers.empty() else None
        raise ShopFloorError(
            f"the PLC and the sensors ended in mid-run: {said or f'exit status {status}'}",
            hint="start the stand-in again; what it wrote so far is in the truth file",
        )

    def send(self, image: Image) -> None:
        """One bus cycle's image."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(self._encoder.encode(image) + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            return  # it ended: whoever runs the cell asks `alive`

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = msgspec.json.decode(line)
            if "tag" in answer:
                self._truth.write("tag", answer, answer["monotonic_ns"])
            else:
                self._answers.put(answer)
        self._answers.put({})

    def stop(self) -> None:
        """End the wires, wait for the process, and kill it if it does not go."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        try:
            self._process.wait(10.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._thread.join(5.0)
        assert self._process.stdout is not None
        self._process.stdout.close()
