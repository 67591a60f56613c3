"""A process for the hub and one for each adapter: starts them, restarts what falls, stops them in the right order.

A crash or a slow client never takes down the recorder. An adapter that ends with an error is started again with backoff;
one whose fault a restart can not mend (a missing package, a wrong option) is not. On a stop the adapters go first, each
sends what it had received, then the hub closes the log.
"""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from uuid import UUID

import msgspec
import zmq

from bridge.bus import frame
from bridge.errors import DariError, MissingPackageError, NotConnectedError, SchemaError, SiteError, UsageError
from bridge.hub_process import HubSaid, HubStart
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
STOP_S = 20.0


@dataclass
class _Child:
    """One adapter's process, through its restarts."""

    name: str
    restart: bool
    process: subprocess.Popen[bytes] | None = None
    epoch: int = 0
    started: float = 0.0
    backoff: float = FIRST_BACKOFF_S
    next_start: float = 0.0
    ended: bool = False
    code: int = 0
    restarts: int = 0


@dataclass
class Outcome:
    """How a run ended: where the results lie, what the hub counted, each source's last exit code, restarts."""

    places: list[str] = field(default_factory=list)
    totals: Totals = field(default_factory=Totals)
    codes: dict[str, int] = field(default_factory=dict)
    restarts: dict[str, int] = field(default_factory=dict)
    hub_restarts: int = 0


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
        self._place = Path(tempfile.mkdtemp(prefix="dari-"))
        self.address = f"ipc://{self._place}/hub"
        self._hub: subprocess.Popen[bytes] | None = None
        self._hub_ready = threading.Event()
        self._hub_restarts = 0
        self._reader: threading.Thread | None = None
        self._said: list[HubSaid] = []
        self._children = {s.name: _Child(s.name, s.config.restart) for s in site.sources if s.config.enabled}
        self._context = zmq.Context()
        self._notes = self._context.socket(zmq.DEALER)
        self._notes.setsockopt(zmq.LINGER, 200)
        self._outcome = Outcome()

    @property
    def base_ns(self) -> int:
        """The recorder's timeline is the monotonic clock plus this, for the whole run."""
        return self.realtime_ns - self.monotonic_ns

    def pids(self) -> dict[str, int]:
        """Process ids of what runs now, by source; the hub's is named `hub`."""
        found = {c.name: c.process.pid for c in self._children.values() if c.process is not None}
        if self._hub is not None and self._hub.poll() is None:
            found["hub"] = self._hub.pid
        return found

    def run(self, stopping: threading.Event, seconds: float | None = None) -> Outcome:
        """Start everything, keep it running until `stopping` is set, `seconds` have passed or every source has ended.

        Raises:
            DariError: the hub could not start (the sink's directory can not be written, say).
        """
        try:
            self._start_hub(first=True)
            self._notes.connect(self.address)
            end = None if seconds is None else time.monotonic() + seconds
            for child in self._children.values():
                self._start_child(child)
            while not stopping.is_set() and (end is None or time.monotonic() < end):
                self._watch_hub()
                for child in self._children.values():
                    self._watch(child)
                if all(child.ended for child in self._children.values()):
                    break
                stopping.wait(0.05)
            self._stop()
            return self._result()
        finally:
            self._kill()
            self._notes.close()
            self._context.term()
            shutil.rmtree(self._place, ignore_errors=True)

    # -- the hub -----------------------------------------------------------------------------------------------------

    def _start_hub(self, first: bool) -> None:
        start = HubStart(
            site_text=self._site.text,
            site_path=str(self._site.path),
            address=self.address,
            run_id=self.run_id,
            realtime_ns=self.realtime_ns,
            monotonic_ns=self.monotonic_ns,
            directory=str(self._directory),
        )
        self._hub_ready.clear()
        self._hub = self._spawn("bridge.hub_process", msgspec.json.encode(start), stdout=subprocess.PIPE)
        self._reader = threading.Thread(target=self._read_hub, args=(self._hub,), name="hub-reader", daemon=True)
        self._reader.start()
        deadline = time.monotonic() + 30
        while not self._hub_ready.wait(0.05):
            code = self._hub.poll()
            if code is not None and first:
                raise DariError(
                    f"the hub could not start (exit code {code}); what it said stands above",
                    hint="dari check SITE, dari doctor",
                )
            if code is not None or time.monotonic() > deadline:
                break

    def _read_hub(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                try:
                    said = msgspec.json.decode(line, type=HubSaid)
                except msgspec.MsgspecError:
                    self._say(line.decode(errors="replace").rstrip())
                    continue
                if said.ready:
                    self._hub_ready.set()
                else:
                    self._said.append(said)

    def _watch_hub(self) -> None:
        if self._hub is None or self._hub.poll() is None:
            return
        code = self._hub.returncode
        _close_pipe(self._hub)
        self._hub_restarts += 1
        self._say(
            f"hub          error: ended {_how(code)}; a new one is started with a new log. The log it wrote is kept: "
            "`dari info` reads it"
        )
        if self._hub_restarts > 5 or code == DariError.exit_code:
            raise DariError("the hub can not go on; what it said stands above", hint="dari doctor")
        self._start_hub(first=False)

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
        )
        child.process = self._spawn("bridge.runtime", msgspec.json.encode(start))
        child.started = time.monotonic()

    def _watch(self, child: _Child) -> None:
        if child.ended:
            return
        now = time.monotonic()
        if child.process is None:
            if now >= child.next_start:
                child.epoch += 1
                child.restarts += 1
                self._note(child.name, "restarted", f"start {child.epoch + 1} of this source")
                self._start_child(child)
            return
        code = child.process.poll()
        if code is None:
            return
        child.code = code
        _close_pipe(child.process)
        child.process = None
        if code == 0:
            child.ended = True
            self._say(f"{child.name:<12} ended")
            return
        if code in FINAL_CODES or not child.restart:
            child.ended = True
            why = "a restart can not mend it" if code in FINAL_CODES else "`restart: false` in the site file"
            self._say(f"{child.name:<12} error: ended {_how(code)} and stays down: {why}; the others go on")
            self._note(child.name, "ended", f"ended {_how(code)} and stays down")
            return
        if now - child.started > STEADY_S:
            child.backoff = FIRST_BACKOFF_S
        # Jitter, so that a dozen sources that lost the same switch do not come back in one beat.
        wait = child.backoff * random.uniform(0.8, 1.2)
        child.backoff = min(child.backoff * 2, MAX_BACKOFF_S)
        child.next_start = now + wait
        self._say(f"{child.name:<12} error: ended {_how(code)}; it is started again in {wait:.1f} s; the others go on")
        self._note(child.name, "ended", f"ended {_how(code)}")

    def _note(self, source: str, code: str, text: str) -> None:
        at = time.monotonic_ns() + self.base_ns
        self._notes.send(frame.encode(frame.Note(source=source, code=code, text=text, at_ns=at)))

    # -- stopping ----------------------------------------------------------------------------------------------------

    def _stop(self) -> None:
        live = [c for c in self._children.values() if c.process is not None]
        for child in live:
            assert child.process is not None
            if child.process.poll() is None:
                child.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        for child in live:
            assert child.process is not None
            # A hub that fell while the adapters were stopping would keep them waiting for nothing.
            while child.process.poll() is None and time.monotonic() < deadline:
                self._watch_hub()
                time.sleep(0.02)
            if child.process.poll() is None:
                self._say(f"{child.name:<12} error: did not stop within {STOP_S:.0f} s and was killed")
                child.process.kill()
                child.process.wait()
            child.code = child.process.returncode
            _close_pipe(child.process)
            child.process = None
        if self._hub is not None and self._hub.poll() is None:
            self._hub.send_signal(signal.SIGTERM)
            try:
                self._hub.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self._say(
                    f"hub          error: did not stop within {STOP_S:.0f} s and was killed; its log was not closed"
                )
                self._hub.kill()
                self._hub.wait()

    def _kill(self) -> None:
        processes = [c.process for c in self._children.values() if c.process is not None]
        if self._hub is not None:
            processes.append(self._hub)
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
            _close_pipe(process)

    def _result(self) -> Outcome:
        if self._reader is not None:
            self._reader.join(5.0)
        outcome = self._outcome
        for said in self._said:
            outcome.places.extend(said.closed)
            if said.totals is not None:
                outcome.totals = said.totals
        outcome.codes = {c.name: c.code for c in self._children.values()}
        outcome.restarts = {c.name: c.restarts for c in self._children.values()}
        outcome.hub_restarts = self._hub_restarts
        return outcome

    def _spawn(self, module: str, first_line: bytes, stdout: int | None = None) -> subprocess.Popen[bytes]:
        # A session of its own for each child: a Ctrl-C in the terminal reaches the supervisor alone, which then stops
        # adapters before the hub.
        process = subprocess.Popen(
            [self._python, "-m", module],
            stdin=subprocess.PIPE,
            stdout=stdout,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            start_new_session=True,
        )
        assert process.stdin is not None
        try:
            process.stdin.write(first_line + b"\n")
            process.stdin.flush()
        except BrokenPipeError as error:
            raise NotConnectedError(f"{module} ended before it was told what to do") from error
        return process


def _close_pipe(process: subprocess.Popen[bytes]) -> None:
    """Let go of a child's lifeline; what it prints is closed by the thread that reads it."""
    if process.stdin is not None and not process.stdin.closed:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()


def _how(code: int) -> str:
    """An exit code in words."""
    if code < 0:
        return f"by signal {signal.Signals(-code).name}"
    return f"with exit code {code}"


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
