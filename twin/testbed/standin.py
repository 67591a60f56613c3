"""The stand-in itself: physics in real time in the main thread, the job program beside it, and what both tell each other."""

from __future__ import annotations

import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Protocol

import numpy as np

from twin.testbed.cell import TICK, Cell, Reading
from twin.testbed.clock import SkewedClock
from twin.testbed.draws import Fault, JobDraw
from twin.testbed.plc import Image
from twin.testbed.program import Stopped
from twin.testbed.robot import Outcome, Request, Robot
from twin.testbed.truth import Truth

_BEHIND = 0.25
_BRAKE_AFTER = 0.18
_LEVER = 0.6
"""Where the vibration sensor sits on the arm, m from the joints."""


class Face(Protocol):
    """Something that the robot speaks by: called once a tick, in the physics thread."""

    def publish(self, reading: Reading, stamp_ns: int) -> None:
        """Publish one tick; `stamp_ns` is the robot's clock."""

    def goal(self, request: Request) -> None:
        """A goal begins (`request.outcome` is None) or has ended."""


class Standin:
    """One cell in real time. It is the `Bench` of its program; `submit` brings goals from any thread."""

    def __init__(
        self, seed: int, clock: SkewedClock, truth: Truth, wire: Callable[[Image], None], stopping: threading.Event
    ) -> None:
        self.stopping = stopping
        self._truth = truth
        self._clock = clock
        self._wire = wire
        self._cell = Cell(seed)
        self._robot = Robot(self._cell)
        self._requests: queue.SimpleQueue[Request] = queue.SimpleQueue()
        self._commands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._later: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._counts = {"started": 0, "done": 0, "retried": 0, "abandoned": 0}
        self._serial = 0
        self._fault = ""
        self._seen = False
        self._weight = 0.0
        self._velocity = np.zeros(7)
        self._shaken: list[float] = []
        self._busy: tuple[Request, int] | None = None
        self._faces: list[Face] = []
        self.ticks = 0
        self.skipped_s = 0.0

    # -- goals ----------------------------------------------------------------------------------------------------

    def submit(self, request: Request) -> None:
        """Hand the robot a request; `request.wait()` then waits for its end. Ends at once when the stand-in is stopping."""
        self._requests.put(request)
        if self.stopping.is_set():
            request.finish(Outcome(False, "shutdown"))

    # -- the bench ------------------------------------------------------------------------------------------------

    def feed(self, draw: JobDraw) -> None:
        """See `Bench`."""
        self._commands.put(lambda: self._cell.feed(draw))

    def take(self) -> None:
        """See `Bench`."""
        self._commands.put(self._cell.take)

    def accept(self) -> None:
        """See `Bench`."""
        self._commands.put(self._cell.accept)

    def wipe(self) -> None:
        """See `Bench`."""
        self._commands.put(self._cell.wipe)

    def part_seen(self) -> bool:
        """See `Bench`."""
        return self._seen

    def holding(self) -> bool:
        """See `Bench`."""
        return self._robot.holding

    def inject(self, draw: JobDraw) -> None:
        """Close the first joint's brake a moment from now, and open it again after `brake_hold` seconds."""

        def close() -> None:
            self._cell.brake(True)
            self.note("fault", job=draw.job, fault=Fault.BRAKE.value, seconds=draw.brake_hold)

        def release() -> None:
            self._cell.brake(False)
            self.note("fault_end", job=draw.job, fault=Fault.BRAKE.value)

        self._commands.put(lambda: self._after(_BRAKE_AFTER, close))
        self._commands.put(lambda: self._after(_BRAKE_AFTER + draw.brake_hold, release))

    def count(self, what: str, serial: int) -> None:
        """See `Bench`."""
        self._serial = serial
        if what in ("retried", "started"):
            self._fault = ""
        self._counts[what] += 1

    def note(self, kind: str, **fields: object) -> None:
        """See `Bench`."""
        self._truth.write(kind, fields)

    def pause(self, seconds: float) -> None:
        """See `Bench`."""
        if self.stopping.wait(seconds):
            raise Stopped

    def _after(self, seconds: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._later, (self.ticks * TICK + seconds, next(self._order), what))

    # -- time -----------------------------------------------------------------------------------------------------

    def run(self, faces: list[Face], until: Callable[[], bool]) -> None:
        """Run in real time until `stopping` is set or `until()` says so (asked at every tick). Then no request is left open."""
        self._faces = faces
        begun = due = time.monotonic()
        try:
            while not self.stopping.is_set() and not until():
                self._tick()
                due += TICK
                left = due - time.monotonic()
                if left > 0:
                    time.sleep(left)
                elif left < -_BEHIND:
                    # The machine held us up for longer than a robot may catch up: the time is lost, and the loss is told.
                    self.skipped_s -= left
                    due -= left
        finally:
            self.stopping.set()
            self._robot.stop()
            while not self._requests.empty():
                self._requests.get().finish(Outcome(False, "shutdown"))
            elapsed = time.monotonic() - begun
            pace = {
                "ticks": self.ticks,
                "seconds": elapsed,
                "real_time_factor": self.ticks * TICK / elapsed if elapsed > 0 else 0.0,
                "skipped_s": self.skipped_s,
                "cpu_s": time.process_time(),
            }
            self._truth.write("pace", pace)
            self._cell.close()

    def _tick(self) -> None:
        while not self._commands.empty():
            self._commands.get()()
        while self._later and self._later[0][0] <= self.ticks * TICK:
            heapq.heappop(self._later)[2]()
        if not self._robot.busy and not self._requests.empty():
            self._begin(self._requests.get())
        reading = self._cell.tick()
        now = time.monotonic_ns()
        self.ticks += 1
        stamp = self._clock.at(now)
        for face in self._faces:
            face.publish(reading, stamp)
        self._robot.tick(reading)
        if self._busy is not None and self._busy[0].outcome is not None:
            self._ended(now)
        self._seen = self._cell.part_seen()
        self._wire(self._image(reading, now))

    def _begin(self, request: Request) -> None:
        self._busy = (request, time.monotonic_ns())
        self._fault = ""
        for face in self._faces:
            face.goal(request)
        self._robot.begin(request)

    def _ended(self, now: int) -> None:
        assert self._busy is not None
        request, began = self._busy
        self._busy = None
        outcome = request.outcome
        assert outcome is not None
        self._fault = outcome.reason
        for face in self._faces:
            face.goal(request)
        task = {
            "job": self._serial,
            "skill": request.skill.value,
            "order": request.order,
            "t0_true_ns": self._truth.clock.at(began),
            "t1_true_ns": self._truth.clock.at(now),
            "succeeded": outcome.succeeded,
            "reason": outcome.reason,
        }
        self._truth.write("task", task, now)

    def _image(self, reading: Reading, now: int) -> Image:
        shaken = np.abs(reading.velocity - self._velocity).max() / TICK * _LEVER
        self._velocity = reading.velocity
        self._shaken = [*self._shaken[-11:], float(shaken)]
        if self.ticks % 25 == 0:
            self._weight = self._cell.scale()
        return Image(
            monotonic_ns=now,
            serial=self._serial,
            started=self._counts["started"],
            done=self._counts["done"],
            retried=self._counts["retried"],
            abandoned=self._counts["abandoned"],
            grip_output=self._robot.grip_output,
            grip_ok=self._robot.holding,
            part_present=self._seen,
            fault=self._fault,
            belt=self._cell.belt_speed,
            power=65.0 + float(np.abs(reading.effort * reading.velocity).sum()) + 320.0 * self._cell.belt_speed,
            vibration=float(np.sqrt(np.mean(np.square(self._shaken)))),
            weight=self._weight,
        )
