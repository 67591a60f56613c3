"""An adapter's process: reads what it is to do from standard input, runs the adapter, sends what it yields to the hub.

`python -m bridge.runtime` reads one line of JSON (`Start`) and then keeps standard input open: when it closes, the adapter
is stopped, since the process that started this one is gone or wants it to end. SIGTERM does the same. The adapter returns,
everything that it had received is sent, and the process ends when the hub has it on disk. SIGINT is left to the supervisor.

Standard output is the supervisor's: a byte says that the end is still getting nearer. What an adapter, or a library
under it, prints goes to standard error.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec

from bridge.adapter import Adapter, Source, require
from bridge.bus.client import HubClient
from bridge.bus_port import BusPort
from bridge.errors import DariError
from bridge.lifeline import Lifeline, keep_stdout, say
from bridge.signals import SignalWatch
from bridge.site import load_text
from bridge.site.load import ResolvedSource

STOPPED_UNSENT = 9
"""Exit code: stopped, but the hub did not confirm everything; the text on standard error says what is missing."""
STUCK = 10
"""Exit code: asked to stop, the adapter did not return; what it had received was sent."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter's process is told on its first line of standard input.

    `site_text` is the site file as the supervisor read it, so that an edit in mid-run can not break a restart. `return_s`
    is how long an adapter that is asked to stop has for its goodbyes, `confirm_s` how long the hub may confirm nothing
    after that before the rest is given up.
    """

    source: str
    site_text: str
    site_path: str
    hub: str
    run_id: UUID
    epoch: int
    base_ns: int
    return_s: float = 8.0
    confirm_s: float = 15.0


class AdapterRun:
    """One run of one source's adapter, from its construction to the last confirmation.

    Args:
        start: what to run.
        stopping: set it to stop the adapter.
        alive: called while the end takes its time, as long as it gets nearer.
    """

    def __init__(self, start: Start, stopping: threading.Event, alive: Callable[[], None] = lambda: None) -> None:
        self._start = start
        self._stopping = stopping
        self._alive = alive
        self._resolved: ResolvedSource = load_text(start.site_text, Path(start.site_path)).source(start.source)
        self._source: Source = self._resolved.make_source(start.run_id, start.epoch)
        self._adapter: Adapter | None = None
        self._fault = ""
        self._ending = threading.Lock()
        self._returned = threading.Event()
        adapter_class = self._resolved.adapter_class
        # What such a source's broker is not told of, it keeps: better to make it wait than to drop what it would send again.
        keeps = adapter_class.acknowledge is not Adapter.acknowledge
        self._client = HubClient(
            start.hub,
            self._source,
            on_ack=self._acknowledge if keeps else None,
            on_failure=self._fail,
            say=self._say,
            stopping=stopping,
            patience_s=None if keeps else 5.0,
        )
        prior = self._resolved.config.delay_prior_ms
        self.port = BusPort(
            self._source,
            self._resolved.signals,
            self._client,
            prior_delay_ns=adapter_class.prior_delay_ns if prior is None else round(prior * 1e6),
            base_ns=start.base_ns,
            stopping=stopping,
            say=self._say,
        )

    def run(self, before: Callable[[], None] = lambda: None) -> int:
        """Run it until it ends or is stopped; returns the process's exit code. `before` is called last before the adapter."""
        threading.Thread(target=self._bound_the_stop, name="stop-watch", daemon=True).start()
        code, reason = self._run_adapter(before)
        self._returned.set()
        return self._finish(code, reason)

    def _run_adapter(self, before: Callable[[], None]) -> tuple[int, str]:
        resolved, port = self._resolved, self.port
        try:
            require(resolved.adapter_class.requirements, f"source {resolved.name} (adapter {resolved.config.adapter})")
            self._adapter = resolved.adapter_class(self._source, resolved.options, resolved.signals)
            before()
            if not self._stopping.is_set():
                self._adapter.run(port)
        except DariError as error:
            port.log("error", str(error))
            return error.exit_code, str(error)
        except (Exception, SystemExit) as error:  # the adapter's own fault: say it whole, let the supervisor restart it
            reason = f"{type(error).__name__}: {error}"
            where = traceback.extract_tb(error.__traceback__)[-1]
            log = "all of it is in the log: dari cat LOG /dari/log"
            port.log("error", f"{reason} (in {Path(where.filename).name}, line {where.lineno}; {log})")
            port.log("debug", traceback.format_exc())
            return 1, reason
        if self._fault:
            return 1, self._fault
        return 0, "stopped" if self._stopping.is_set() else "ended"

    def _bound_the_stop(self) -> None:
        """Once asked to stop: an adapter that does not return must not cost what it has received."""
        self._stopping.wait()
        if self._returned.wait(self._start.return_s):
            return
        self._alive()
        seconds = f"{self._start.return_s:g} s"
        self.port.last_words(
            f"the adapter did not return within {seconds} of being asked to stop: its process is ended without it"
        )
        os._exit(self._finish(STUCK, "did not return"))

    def _finish(self, code: int, reason: str) -> int:
        """Send the rest, and wait until the hub has it."""
        # Never released: an adapter that returns while it is being given up must not end the process before that is done.
        self._ending.acquire()
        self.port.tell_drops(seconds=2.0)
        self._alive()
        if self._client.close(reason, self._start.confirm_s, self._alive):
            if self._client.dropped:
                self._say(
                    "error", f"{self._client.dropped} records were dropped in this run; the log tells of which channels"
                )
            return code
        self._say(
            "error",
            f"{self._client.unconfirmed} records were not confirmed by the hub within {self._start.confirm_s:g} s and may be "
            f"missing from the log, {self._client.dropped} more were dropped before",
        )
        return code or STOPPED_UNSENT

    def _acknowledge(self, sequence: int) -> None:
        if self._adapter is not None:
            self._adapter.acknowledge(sequence)

    def _fail(self, reason: str) -> None:
        self._say("error", reason)
        self._fault = reason
        self._stopping.set()

    def _say(self, level: str, text: str) -> None:
        say(self._start.source, level, text)


def _read_start(lifeline: Lifeline, stopping: threading.Event) -> Start | None:
    """What to do; None when the process was stopped before it was told."""
    line = lifeline.first_line()
    if line:
        return msgspec.json.decode(line, type=Start)
    if stopping.is_set():
        return None
    raise DariError(
        "an adapter's process is started by `dari run`, which tells it on standard input what to do",
        hint="dari run SITE",
    )


def main() -> int:
    """The process's entry."""
    stopping = threading.Event()

    watch = SignalWatch([signal.SIGTERM], stopping.set)

    def heed_signals() -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        watch.install()

    heed_signals()
    own = keep_stdout()

    def alive() -> None:
        with contextlib.suppress(OSError):
            os.write(own, b".")

    try:
        lifeline = Lifeline()
        start = _read_start(lifeline, stopping)
        if start is None:
            return 0
        lifeline.follow(end=stopping.set)
        # Libraries that an adapter imports may install handlers of their own: ours come back.
        return AdapterRun(start, stopping, alive).run(before=heed_signals)
    except DariError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
