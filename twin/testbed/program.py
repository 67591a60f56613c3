"""The stand-in's job program: a client of the robot's actions that feeds parts, places them, and tries again.

It runs in a thread of its own and blocks on each goal, as a cell's sequence does. It is told no cause when a goal aborts.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Protocol

from twin.testbed.draws import Fault, JobDraw, jobs
from twin.testbed.robot import Skill, Target

FIRST_FORCE = 12
"""Grip force of a first try, N."""
SECOND_FORCE = 32
"""Grip force when the first try failed, N."""
MOST_TRIES = 3
"""Failed goals in one job after which it is given up."""
RETRY_PAUSE = 0.45
FEED_PATIENCE = 2.6
BELT_STOP = 0.15
BETWEEN_JOBS = 0.3
"""A moment longer than the PLC's pulses: the end of a job is over before the next one begins."""


class Stopped(Exception):
    """The stand-in is shutting down."""


class Actions(Protocol):
    """How goals reach the robot: by a ROS 2 action client, or directly where there is no ROS 2."""

    def send(self, skill: Skill, order: int) -> bool:
        """Send a goal, wait for its end; whether it succeeded. Raises `Stopped` when the stand-in stops."""


class Bench(Protocol):
    """What the program can do to its cell, from its own thread."""

    def feed(self, draw: JobDraw) -> None:
        """Ask the feeder for a part."""

    def take(self) -> None:
        """Say that the part is in the gripper."""

    def accept(self) -> None:
        """Say that the part is in the tray."""

    def wipe(self) -> None:
        """Clear the cell."""

    def part_seen(self) -> bool:
        """The photo-eye at the pick position."""

    def holding(self) -> bool:
        """The gripper's switch."""

    def inject(self, draw: JobDraw) -> None:
        """Let the job's fault act on the move that begins now."""

    def count(self, what: str, serial: int) -> None:
        """Tell the PLC: `started`, `done`, `retried` or `abandoned`."""

    def note(self, kind: str, **fields: object) -> None:
        """Write to the truth file."""

    def pause(self, seconds: float) -> None:
        """Wait. Raises `Stopped` when the stand-in stops."""


class Program:
    """Does one job after the other until the stand-in stops."""

    def __init__(self, bench: Bench, actions: Actions, seed: int, rest: float = 0.3) -> None:
        """`rest` is how long the cell rests before its first job, s."""
        self._bench = bench
        self._actions = actions
        self._rest = rest
        self._jobs = jobs(seed)
        self._braked = -1

    def run(self) -> None:
        """Work until `Stopped`."""
        draw = next(self._jobs)
        try:
            # A while in which the PLC sees the cell at rest, so that the first job's start is an edge.
            self._bench.pause(max(0.1, self._rest))
            self._feed(draw)
            while True:
                after = next(self._jobs)
                self._job(draw, after)
                draw = after
                self._bench.pause(BETWEEN_JOBS)
        except Stopped:
            return

    def _feed(self, draw: JobDraw) -> None:
        if draw.fault in (Fault.SLIPPERY, Fault.MISSING):
            self._bench.note("fault", job=draw.job, fault=draw.fault.value, friction=draw.part_friction)
        if draw.fault is not Fault.MISSING:
            self._bench.feed(draw)

    def _job(self, draw: JobDraw, after: JobDraw) -> None:
        bench = self._bench
        bench.note("job", state="started", **draw.truth())
        bench.count("started", draw.job)
        steps: list[Callable[[], bool]] = [
            lambda: self._send(draw, Skill.MOVE, Target.PICK),
            lambda: self._grasp(draw, FIRST_FORCE if failures == 0 else SECOND_FORCE),
            lambda: self._carry(draw),
            lambda: self._send(draw, Skill.PLACE, 0),
        ]
        step = failures = 0
        while step < len(steps):
            if steps[step]():
                step += 1
                if step == 2:
                    bench.take()
                    self._feed(after)
                continue
            failures += 1
            lost = step >= 2 and not bench.holding()
            if failures >= MOST_TRIES or lost:
                bench.count("abandoned", draw.job)
                bench.note("job", state="abandoned", job=draw.job, failures=failures, lost=lost)
                bench.wipe()
                if step < 2:
                    self._feed(after)
                return
            bench.pause(RETRY_PAUSE)
            if step == 1 and not bench.part_seen():
                bench.feed(draw)
            bench.count("retried", draw.job)
        bench.accept()
        bench.count("done", draw.job)
        bench.note("job", state="done", job=draw.job, failures=failures)

    def _grasp(self, draw: JobDraw, force: int) -> bool:
        waited = 0.0
        while not self._bench.part_seen() and waited < FEED_PATIENCE:
            if draw.fault is Fault.MISSING and force == FIRST_FORCE and waited > 0.4:
                break  # the feeder says that it has fed
            self._bench.pause(0.02)
            waited += 0.02
        if waited > 0:
            self._bench.pause(BELT_STOP)
        return self._send(draw, Skill.GRASP, force)

    def _carry(self, draw: JobDraw) -> bool:
        if draw.fault is Fault.BRAKE and self._braked != draw.job:
            self._braked = draw.job
            self._bench.inject(draw)
        return self._send(draw, Skill.MOVE, Target.PLACE)

    def _send(self, draw: JobDraw, skill: Skill, order: int) -> bool:
        self._bench.note("goal", job=draw.job, skill=skill.value, order=int(order))
        return self._actions.send(skill, int(order))


class Worker(threading.Thread):
    """The thread in which the program runs; what it died of is kept in `error`."""

    def __init__(self, program: Program) -> None:
        super().__init__(name="program", daemon=True)
        self._program = program
        self.error: BaseException | None = None

    def run(self) -> None:
        """Run the program to its end."""
        try:
            self._program.run()
        except BaseException as error:
            self.error = error
