"""A process for the hub and one for each adapter: starts them, restarts what falls, stops them in the right order.

A crash or a slow client never takes down the recorder. An adapter that ends with an error is started again with backoff;
one whose fault a restart can not mend (a missing package, a wrong option) is not. On a stop the adapters go first, each
sends what it had received, then the hub closes the log.
"""

from __future__ import annotations

import contextlib
import random
import shutil
import signal
import sys
import tempfile
import threading
import time
import weakref
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import msgspec
import zmq

from bridge.bus import frame
from bridge.child import ChildProcess, how
from bridge.errors import MissingPackageError, SchemaError, SiteError, UsageError
from bridge.hub_keeper import HubKeeper
from bridge.hub_process import HubStart
from bridge.pipeline import Totals
from bridge.runtime import Start
from bridge.schema import ids
from bridge.site import LoadedSite

FINAL_CODES = frozenset(error.exit_code for error in (UsageError, SiteError, MissingPackageError, SchemaError))
"""Exit codes of faults that a restart can not mend."""
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 15.0
STEADY_S = 20.0
"""An adapter that has run this long is taken as sound: its next fall starts again with the first backoff."""
RETURN_S = 8.0
"""How long an adapter that is asked to stop has, before its process ends without it."""
CONFIRM_S = 15.0
"""How long the hub may confirm nothing of what a stopped adapter has sent, before the rest is given up."""
STOP_S = 20.0
"""How long a process that is asked to stop may give no sign of life; longer than what it waits for by itself."""
PATIENCE_S = 5.0
LONGEST_ADDRESS = 100
"""A path of a socket has 107 bytes at most on Linux, 103 on macOS."""


@dataclass
class _Child:
    """One adapter's process, through its restarts."""

    name: str
    restart: bool
    process: ChildProcess | None = None
    epoch: int = 0
    started: float = 0.0
    sign: float = 0.0
    backoff: float = FIRST_BACKOFF_S
    next_start: float = 0.0
    ended: bool = False
    code: int = 0
    restarts: int = 0


@dataclass
class Outcome:
    """How a run ended.

    Attributes:
        places: where the results lie, oldest first.
        remarks: of a place, why it was not closed.
        totals: what the hubs counted.
        uncounted: how many hubs were killed before they could say what they counted.
        codes: each source's last exit code, negative for a signal.
        restarts: how often each source's adapter was started again.
        hub_restarts: how often another hub was started.
        hub_code: exit code of the last hub.
    """

    places: list[str] = field(default_factory=list)
    remarks: dict[str, str] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    uncounted: int = 0
    codes: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    hub_restarts: int = 0
    hub_code: int = 0


class Supervisor:
    """Runs a site.

    Args:
        site: the loaded site file.
        directory: relative paths of sinks are meant against this.
        say: takes lines for the person at the machine.
        python: starts the processes (default: this Python).
    """

    def __init__(
        self,
        site: LoadedSite,
        *,
        directory: Path,
        say: Callable[[str], None],
        run_id: UUID | None = None,
        python: str = sys.executable,
    ) -> None:
        self._site = site
        self._directory = directory
        self._say = say
        self._python = python
        self.run_id = run_id or ids.uuid7()
        self.realtime_ns, self.monotonic_ns = _clock_pair()
        place = _socket_folder()
        # However this object ends, its folder goes.
        self._sweep = weakref.finalize(self, shutil.rmtree, place, ignore_errors=True)
        self.address = f"ipc://{place}/hub"
        self._hub = HubKeeper(self._hub_start, python=python, say=say)
        self._children = {s.name: _Child(s.name, s.config.restart) for s in site.sources if s.config.enabled}

    @property
    def base_ns(self) -> int:
        """The recorder's timeline is the monotonic clock plus this, for the whole run."""
        return self.realtime_ns - self.monotonic_ns

    def pids(self) -> dict[str, int]:
        """Process ids of what runs now, by source; the hub's is named `hub`."""
        found = {c.name: c.process.pid for c in self._children.values() if c.process is not None}
        hub = self._hub.pid()
        return found if hub is None else {**found, "hub": hub}

    def run(
        self, stopping: threading.Event, seconds: float | None = None, hurry: threading.Event | None = None
    ) -> Outcome:
        """Start everything, keep it running until `stopping` is set, `seconds` have passed or every source has ended.

        `hurry`, set while it stops, ends without waiting for sources that take their time.

        Raises:
            DariError: the hub could not start (the sink's directory can not be written, say), or can not go on.
        """
        with contextlib.ExitStack() as stack:
            stack.callback(self._sweep)
            context = zmq.Context()
            stack.callback(context.term)
            self._notes = context.socket(zmq.DEALER)
            self._notes.setsockopt(zmq.LINGER, 200)
            stack.callback(self._notes.close)
            stack.callback(self._hub.kill)
            stack.callback(self._end_children)
            self._hub.start(stopping)
            self._notes.connect(self.address)
            end = None if seconds is None else time.monotonic() + seconds
            while not stopping.is_set() and (end is None or time.monotonic() < end):
                self._hub.watch()
                for child in self._children.values():
                    self._watch(child)
                if all(child.ended for child in self._children.values()):
                    break
                stopping.wait(0.05)
            self._stop(hurry)
            self._hub.stop(hurry or threading.Event())
            return self._outcome()

    def _hub_start(self, part: int) -> HubStart:
        return HubStart(
            site_text=self._site.text,
            site_path=str(self._site.path),
            address=self.address,
            run_id=self.run_id,
            realtime_ns=self.realtime_ns,
            monotonic_ns=self.monotonic_ns,
            directory=str(self._directory),
            part=part,
        )

    # -- adapters ----------------------------------------------------------------------------------------------------

    def _start_child(self, child: _Child) -> None:
        start = Start(
            source=child.name,
            site_text=self._site.text,
            site_path=str(self._site.path),
            hub=self.address,
            run_id=self.run_id,
            epoch=child.epoch,
            base_ns=self.base_ns,
            return_s=RETURN_S,
            confirm_s=CONFIRM_S,
        )
        child.epoch += 1
        child.started = time.monotonic()
        try:
            child.process = ChildProcess(self._python, "bridge.runtime", msgspec.json.encode(start))
        except OSError as error:
            child.code = 1
            self._say(f"{child.name:<12} error: no process can be started for it: {error.strerror or error}")
            self._schedule(child)

    def _watch(self, child: _Child) -> None:
        if child.ended:
            return
        if child.process is None:
            if time.monotonic() >= child.next_start:
                if child.epoch:
                    child.restarts += 1
                    self._note(child.name, "restarted", f"start {child.epoch + 1} of this source")
                self._start_child(child)
            return
        code = child.process.ended()
        if code is None:
            return
        child.code = code
        child.process.close()
        child.process = None
        if code == 0:
            child.ended = True
            self._say(f"{child.name:<12} ended")
        elif code in FINAL_CODES or not child.restart:
            child.ended = True
            why = "a restart can not mend it" if code in FINAL_CODES else "`restart: false` in the site file"
            self._say(f"{child.name:<12} error: ended {how(code)} and stays down: {why}; the others go on")
            self._note(child.name, "ended", f"ended {how(code)} and stays down")
        else:
            if time.monotonic() - child.started > STEADY_S:
                child.backoff = FIRST_BACKOFF_S
            wait = self._schedule(child)
            self._say(
                f"{child.name:<12} error: ended {how(code)}; it is started again in {wait:.1f} s; the others go on"
            )
            self._note(child.name, "ended", f"ended {how(code)}")

    def _schedule(self, child: _Child) -> float:
        """Set when it is started again; returns in how many seconds that is."""
        # Jitter, so that a dozen sources that lost the same switch do not come back in one beat.
        wait = child.backoff * random.uniform(0.8, 1.2)
        child.backoff = min(child.backoff * 2, MAX_BACKOFF_S)
        child.next_start = time.monotonic() + wait
        return wait

    def _note(self, source: str, code: str, text: str) -> None:
        at = time.monotonic_ns() + self.base_ns
        # While there is no hub for long, what was said on standard error must do.
        with contextlib.suppress(zmq.Again):
            self._notes.send(frame.encode(frame.Note(source=source, code=code, text=text, at_ns=at)), zmq.NOBLOCK)

    # -- stopping ----------------------------------------------------------------------------------------------------

    def _stop(self, hurry: threading.Event | None) -> None:
        """Ask every adapter to stop, and wait as long as each gives signs that it does."""
        begun = time.monotonic()
        for child in self._children.values():
            child.sign = begun
            if child.process is not None:
                child.process.stop()
        told = False
        while live := [child for child in self._children.values() if child.process is not None]:
            # A hub that fell while the adapters were stopping would keep them waiting for nothing.
            self._hub.watch(stopping=True)
            for child in live:
                self._see_out(child, hurry is not None and hurry.is_set())
            if not told and time.monotonic() - begun > PATIENCE_S:
                told = True
                names = ", ".join(child.name for child in live)
                again = "" if hurry is None else "; Ctrl-C again does not wait"
                self._say(f"stopping     waiting for {names} to send what they hold{again}")
            time.sleep(0.02)

    def _see_out(self, child: _Child, hurry: bool) -> None:
        """Look whether a child that was asked to stop has; kill it when it gives no sign of life."""
        process = child.process
        assert process is not None
        now = time.monotonic()
        code = process.ended()
        if code is None and process.heard():
            child.sign = now
        if code is None and (hurry or now - child.sign > STOP_S):
            why = "was not waited for" if hurry else f"gave no sign that it stops for {STOP_S:.0f} s"
            self._say(f"{child.name:<12} error: {why} and was killed; what it still held is lost")
            code = process.kill()
        if code is not None:
            # Ended by the signal itself: it had not come so far as to heed it, let alone to receive anything.
            child.code = 0 if code == -signal.SIGTERM else code
            process.close()
            child.process = None

    def _end_children(self) -> None:
        """End what still runs after an error: there is no hub to send to, but a device should see its client take leave."""
        live = [child.process for child in self._children.values() if child.process is not None]
        for process in live:
            process.stop()
        deadline = time.monotonic() + PATIENCE_S
        for process in live:
            if process.wait(max(0.0, deadline - time.monotonic())) is None:
                process.kill()
            process.close()

    def _outcome(self) -> Outcome:
        record = self._hub.record
        return Outcome(
            places=record.places,
            remarks=record.remarks,
            totals=record.totals,
            uncounted=record.uncounted,
            codes={c.name: c.code for c in self._children.values()},
            restarts={c.name: c.restarts for c in self._children.values()},
            hub_restarts=record.restarts,
            hub_code=record.code,
        )


def _socket_folder() -> Path:
    """A folder of this user's alone for the hub's socket, with a path that is short enough for one."""
    place = Path(tempfile.mkdtemp(prefix="dari-"))
    if len(f"ipc://{place}/hub".encode()) <= LONGEST_ADDRESS:
        return place
    place.rmdir()
    return Path(tempfile.mkdtemp(prefix="dari-", dir="/tmp"))


def _clock_pair() -> tuple[int, int]:
    """Realtime and monotonic, ns, read together: of several tries the one with the smallest bracket."""
    best: tuple[int, int, int] | None = None
    for _ in range(9):
        before = time.monotonic_ns()
        real = time.time_ns()
        after = time.monotonic_ns()
        if best is None or after - before < best[0]:
            best = (after - before, real, (before + after) // 2)
    assert best is not None
    return best[1], best[2]
