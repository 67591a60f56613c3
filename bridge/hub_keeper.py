"""Keeps a hub running: starts it, starts another when it falls, stops it, and knows which logs there are.

A hub that falls costs nothing that the sources still hold, so another is started whatever the reason, as long as there is
hope: a disk that is full may be freed, a bug that makes it fall at each start will not go away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from bridge.child import ChildProcess, how
from bridge.errors import DariError, LogError, MissingPackageError, SchemaError, SiteError, UsageError
from bridge.hub_process import Fault, HubSaid, HubStart
from bridge.pipeline import Totals

READY_S = 60.0
STOP_S = 60.0
"""How long the hub has for closing the log: a slow disk may have much to take."""
FALLS = 5
FIRST_BACKOFF_S = 0.5
MAX_BACKOFF_S = 15.0
STOPPING_BACKOFF_S = 1.0
STEADY_S = 20.0
SAY_AGAIN_S = 60.0
_ERRORS: dict[int, type[DariError]] = {
    error.exit_code: error for error in (UsageError, SiteError, MissingPackageError, LogError, SchemaError)
}
FINAL_CODES = frozenset(_ERRORS) - {LogError.exit_code}
"""Exit codes of faults that another start can not mend."""


@dataclass
class HubRecord:
    """What is known of the hubs of a run.

    Attributes:
        places: the logs and other places that were written, oldest first.
        remarks: of a place, what is to be known of it: that it was not closed, and why.
        totals: the sum of what the hubs counted.
        uncounted: how many hubs were killed before they could say what they counted.
        restarts: how often another was started.
        code: exit code of the last one, negative for a signal.
    """

    places: list[str] = field(default_factory=list)
    remarks: dict[str, str] = field(default_factory=dict)
    totals: Totals = field(default_factory=Totals)
    uncounted: int = 0
    restarts: int = 0
    code: int = 0


class _Hub:
    """One hub's process, and what it said."""

    def __init__(self, python: str, start: HubStart, say: Callable[[str], None]) -> None:
        self.process = ChildProcess(python, "bridge.hub_process", msgspec.json.encode(start))
        self.started = time.monotonic()
        self.ready = threading.Event()
        self.opened: list[str] = []
        self.closed: list[str] = []
        self.totals: Totals | None = None
        self.fault: Fault | None = None
        self._say = say
        self._reader = threading.Thread(target=self._read, name="hub-reader", daemon=True)
        self._reader.start()

    def _read(self) -> None:
        rest = b""
        while part := self.process.said.read(65536):
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                self._take(line)

    def _take(self, line: bytes) -> None:
        try:
            said = msgspec.json.decode(line, type=HubSaid)
        except msgspec.MsgspecError:
            self._say(f"hub          {line.decode(errors='replace').rstrip()}")
            return
        self.opened += said.opened
        self.closed += said.closed
        self.totals = said.totals or self.totals
        self.fault = said.fault or self.fault
        if said.ready:
            self.ready.set()

    def finish(self) -> None:
        """It has ended: take the last of what it said."""
        self._reader.join(5.0)
        self.process.close(said=not self._reader.is_alive())


class HubKeeper:
    """Keeps one hub running.

    Args:
        make_start: what the hub of a part of the run (from 0) is told.
        python: what starts it.
        say: takes lines for the person at the machine.
    """

    def __init__(self, make_start: Callable[[int], HubStart], *, python: str, say: Callable[[str], None]) -> None:
        self._make_start = make_start
        self._python = python
        self._say = say
        self._hub: _Hub | None = None
        self._part = 0
        self._falls = 0
        self._backoff = FIRST_BACKOFF_S
        self._next_start = 0.0
        self._said = ("", 0.0)
        self._slow_said = False
        self.record = HubRecord()

    def pid(self) -> int | None:
        """The process id of the hub that runs; None while there is none."""
        return None if self._hub is None or self._hub.process.ended() is not None else self._hub.process.pid

    def start(self, stopping: threading.Event) -> None:
        """Start the first one; returns when it listens, or `stopping` is set.

        Raises:
            DariError: it can not, with what it said itself (the sink's folder can not be written, say).
        """
        hub = self._hub = self._spawn()
        deadline = time.monotonic() + READY_S
        while not hub.ready.wait(0.02):
            code = hub.process.ended()
            if code is not None:
                hub.finish()
                self._hub = None
                if hub.fault is not None:
                    raise _error(code, hub.fault)
                raise DariError(
                    f"the hub ended {how(code)} as it started; what it said stands above", hint="dari doctor"
                )
            if stopping.is_set():
                return
            if time.monotonic() > deadline:
                raise DariError(
                    f"the hub was not ready within {READY_S:.0f} s",
                    hint="check the disk that the sinks write to, dari doctor",
                )

    def _spawn(self) -> _Hub:
        self._slow_said = False
        return _Hub(self._python, self._make_start(self._part), self._say)

    def watch(self, stopping: bool = False) -> None:
        """Look after it: to be called a few times a second. `stopping` is True where sources wait for it to confirm the last.

        Raises:
            DariError: there is no hope that another start would mend it.
        """
        hub, now = self._hub, time.monotonic()
        if hub is None:
            if now >= self._next_start:
                self._start_another(now)
            return
        if hub.process.ended() is not None:
            self._fell(hub, stopping)
        elif hub.ready.is_set() and now - hub.started > STEADY_S:
            self._falls, self._backoff = 0, FIRST_BACKOFF_S
        elif not hub.ready.is_set() and now - hub.started > READY_S and not self._slow_said:
            self._slow_said = True
            self._say("hub          error: is not ready yet; check the disk that the sinks write to")

    def _start_another(self, now: float) -> None:
        self._part += 1
        self.record.restarts += 1
        try:
            self._hub = self._spawn()
        except OSError as error:
            self._next_start = now + self._backoff
            self._say(f"hub          error: no process can be started for it: {error.strerror or error}")

    def _fell(self, hub: _Hub, stopping: bool) -> None:
        code = self._ended(hub)
        if code == 0 and stopping:
            # Signalled as everyone was, it has waited for the sources and closed the log.
            self._next_start = float("inf")
            return
        now = time.monotonic()
        steady = hub.ready.is_set() and now - hub.started > STEADY_S
        if steady:
            self._falls, self._backoff = 0, FIRST_BACKOFF_S
        if code in FINAL_CODES and hub.fault is not None:
            raise _error(code, hub.fault)
        # A log that can not be written is for a person to mend; that the sources go on meanwhile is worth the wait.
        self._falls += code != LogError.exit_code
        if self._falls > FALLS:
            raise DariError(
                f"the hub fell {self._falls} times, the last time {how(code)}; what it said stands above",
                hint=f"dari doctor; what was written is kept: {', '.join(self.record.places) or 'nothing'}",
            )
        wait = 0.0 if self._falls == 1 and hub.ready.is_set() else self._backoff
        self._backoff = min(self._backoff * 2, MAX_BACKOFF_S)
        self._next_start = now + (min(wait, STOPPING_BACKOFF_S) if stopping else wait)
        self._tell_fall(hub, code, now)

    def _tell_fall(self, hub: _Hub, code: int, now: float) -> None:
        why = str(_error(code, hub.fault)) if hub.fault is not None else f"ended {how(code)}"
        # Each log has a path of its own, so that the same fault of the next one reads otherwise.
        what = hub.fault.what if hub.fault is not None else why
        before, at = self._said
        if what == before and now - at < SAY_AGAIN_S:
            return
        self._said = (what, now)
        self._say(f"hub          error: {why}")
        self._say(
            "hub          error: another is started, with a new log, as often as it takes; until then the sources hold what "
            "comes, as far as their memory goes"
        )
        for path in hub.opened:
            self._say(f"hub          what it wrote is kept: dari info {path}")

    def _ended(self, hub: _Hub) -> int:
        """Take stock of a hub that has ended; returns its exit code."""
        hub.finish()
        self._hub = None
        code = hub.process.ended()
        assert code is not None
        record = self.record
        record.code = code
        closed = {path: text for text in hub.closed for path in hub.opened if text.startswith(path)}
        for path in hub.opened:
            record.places.append(path)
            if path not in closed:
                record.remarks[path] = f"NOT closed: the hub ended {how(code)}"
            elif closed[path] != path:
                record.remarks[path] = closed[path][len(path) :].strip(" ()")
        record.places += [text for text in hub.closed if text not in closed.values()]
        if hub.totals is None:
            record.uncounted += 1
        else:
            record.totals.add(hub.totals)
        return code

    def stop(self, hurry: threading.Event) -> None:
        """Let it close the log, once all sources have ended."""
        hub = self._hub
        if hub is None:
            return
        hub.process.tell(b"end\n")
        begun = time.monotonic()
        told = False
        while hub.process.wait(0.05) is None:
            waited = time.monotonic() - begun
            if waited > STOP_S or (hurry.is_set() and waited > 5.0):
                self._say(f"hub          error: did not end within {waited:.0f} s and was killed")
                hub.process.kill()
            elif waited > 5.0 and not told:
                told = True
                self._say("hub          is still closing the log")
        code = self._ended(hub)
        if hub.fault is not None:
            self._say(f"hub          error: {_error(code, hub.fault)}")
        elif code:
            self._say(f"hub          error: ended {how(code)} while it closed the log")

    def kill(self) -> None:
        """End it now."""
        if self._hub is not None:
            self._hub.process.kill()
            self._ended(self._hub)


def _error(code: int, fault: Fault) -> DariError:
    """What the hub said, as the error that it was."""
    return _ERRORS.get(code, DariError)(fault.what, where=fault.where, hint=fault.hint)
