"""The hub's process: started by the supervisor, told on standard input what to do, speaks JSON lines on standard output.

`{"ready": true, ...}` when it listens, `{"closed": [...], "totals": {...}}` when everything is on disk, `{"fault": {...}}`
when it can not go on. Standard input stays open: a word on it says that all adapters have ended, and the log can be closed. Where
it closes without one the supervisor is gone, and the adapters, which see that too, are waited for. So they are after SIGTERM.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path
from uuid import UUID

import msgspec

from bridge.errors import DariError
from bridge.hub import Hub
from bridge.lifeline import Lifeline, keep_stdout, say
from bridge.pipeline import Pipeline, Totals
from bridge.rules.stage import RuleStage
from bridge.schema import Space, ids
from bridge.signals import SignalWatch
from bridge.sink import RunInfo, Sink
from bridge.site import LoadedSite, load_text
from bridge.software import versions

SETTLE_S = 2.0
"""What its predecessor had not confirmed is sent to a hub that takes over in this time; the rules wait for it."""


class HubStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub is told: the site as the supervisor read it, the run, where to listen, the pair of clocks.

    `part` counts the hubs of the run from 0.
    """

    site_text: str
    site_path: str
    address: str
    run_id: UUID
    realtime_ns: int
    monotonic_ns: int
    directory: str = "."
    part: int = 0


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """Why the hub can not go on, as in `bridge.errors.DariError`."""

    what: str
    where: str = ""
    hint: str = ""


class HubSaid(msgspec.Struct, frozen=True, kw_only=True):
    """One line that the hub's process prints for the supervisor. `opened` are the files that its sinks write."""

    ready: bool = False
    opened: list[str] = []
    closed: list[str] = []
    totals: Totals | None = None
    fault: Fault | None = None


class _Line:
    """The line to the supervisor: standard output, kept from everyone else."""

    def __init__(self) -> None:
        self._descriptor = keep_stdout()

    def say(self, said: HubSaid) -> None:
        """One line; a supervisor that is gone misses nothing."""
        with contextlib.suppress(OSError):
            os.write(self._descriptor, msgspec.json.encode(said) + b"\n")


def _start(lifeline: Lifeline) -> HubStart:
    line = lifeline.first_line()
    if not line:
        raise DariError("the hub's process is started by `dari run`", hint="dari run SITE")
    return msgspec.json.decode(line, type=HubStart)


def _pipeline(start: HubStart, site: LoadedSite, run: RunInfo, sinks: list[Sink]) -> Pipeline:
    sources = {s.name: s.make_source(start.run_id, 0) for s in site.sources}
    # The ids of a rule set's events are counted from 0 by every hub: two of one run must not give the same ones.
    ids_of = start.run_id if start.part == 0 else ids.derived_id("part", start.run_id, start.part)
    return Pipeline(
        run,
        RuleStage(site.site.rules, site.site, ids_of, sources, directory=site.directory),
        sinks,
        spaces=sorted({source.space for source in sources.values()}) or [Space.FIELD],
        now_ns=time.monotonic_ns() + start.realtime_ns - start.monotonic_ns,
        operator=site.site.run.operator,
        seed=site.site.run.seed,
        sources=sources.values(),
    )


def serve(start: HubStart, stopping: threading.Event, unannounced: threading.Event, line: _Line) -> None:
    """Run a hub for the site until `stopping` is set; `unannounced` as in `Hub.serve`.

    Raises whatever made it impossible to go on, with the sinks closed as far as they can be, and that told on `line`.
    """
    site = load_text(start.site_text, Path(start.site_path))
    run = RunInfo(
        run_id=start.run_id,
        site_name=site.site.site.name,
        site_text=start.site_text,
        site_path=start.site_path,
        realtime_ns=start.realtime_ns,
        monotonic_ns=start.monotonic_ns,
        software=versions(),
        directory=start.directory,
        part=start.part,
    )
    sinks = site.make_sinks()
    pipeline = _pipeline(start, site, run, sinks)
    try:
        base_ns, settle_s = start.realtime_ns - start.monotonic_ns, SETTLE_S if start.part else 0.0
        hub = Hub(start.address, pipeline, base_ns, settle_s, say)
        line.say(HubSaid(ready=True, opened=[str(sink.path) for sink in sinks if sink.path != Path()]))
        hub.serve(stopping, unannounced)
        places = hub.close("stopped")
    except Exception:
        line.say(HubSaid(closed=pipeline.abandon("the hub failed"), totals=pipeline.totals))
        raise
    line.say(HubSaid(closed=places, totals=pipeline.totals))


def _sweep(address: str) -> None:
    """Take away the folder of the socket: the supervisor, whose task that is, is gone."""
    path = Path(address.removeprefix("ipc://"))
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()


def main() -> int:
    """The process's entry."""
    stopping, unannounced, orphaned = threading.Event(), threading.Event(), threading.Event()

    def heed() -> None:
        # A service manager signals all of a service's processes at once: the adapters are only beginning to stop.
        unannounced.set()
        stopping.set()

    def heed_end() -> None:
        if not stopping.is_set():
            orphaned.set()
            heed()

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    SignalWatch([signal.SIGTERM], heed).install()
    line = _Line()
    try:
        lifeline = Lifeline()
        start = _start(lifeline)
        lifeline.follow(word=stopping.set, end=heed_end)
        serve(start, stopping, unannounced, line)
        if orphaned.is_set():
            _sweep(start.address)
    except DariError as error:
        line.say(HubSaid(fault=Fault(what=error.what, where=error.where, hint=error.hint)))
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main())
