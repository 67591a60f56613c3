"""The hub's process: started by the supervisor, told on standard input what to do, speaks JSON lines on standard output.

`{"ready": true}` when it listens, `{"closed": [...], "totals": {...}}` when everything is on disk. Standard input stays open
as a lifeline, as in `bridge.runtime`.
"""

from __future__ import annotations

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
from bridge.pipeline import Pipeline, Totals
from bridge.rules.stage import RuleStage
from bridge.schema import Space
from bridge.sink import RunInfo, Sink
from bridge.software import versions


class HubStart(msgspec.Struct, frozen=True, kw_only=True):
    """What the hub is told: the site as the supervisor read it, the run, where to listen, the pair of clocks."""

    site_text: str
    site_path: str
    address: str
    run_id: UUID
    realtime_ns: int
    monotonic_ns: int
    directory: str = "."


class HubSaid(msgspec.Struct, frozen=True, kw_only=True):
    """One line that the hub's process prints for the supervisor."""

    ready: bool = False
    closed: list[str] = []
    totals: Totals | None = None


def say(said: HubSaid) -> None:
    """Print one line for the supervisor."""
    sys.stdout.write(msgspec.json.encode(said).decode() + "\n")
    sys.stdout.flush()


def _start() -> HubStart:
    line = sys.stdin.buffer.readline()
    if not line:
        raise DariError("the hub's process is started by `dari run`", hint="dari run SITE")
    return msgspec.json.decode(line, type=HubStart)


def _follow_parent(stopping: threading.Event) -> None:
    def wait() -> None:
        while os.read(sys.stdin.fileno(), 4096):
            pass
        stopping.set()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def serve(start: HubStart, stopping: threading.Event) -> tuple[list[str], Totals]:
    """Run a hub for the site until `stopping` is set; returns where the results lie, and what was counted."""
    from bridge.site import load_text

    loaded = load_text(start.site_text, Path(start.site_path))
    run = RunInfo(
        run_id=start.run_id,
        site_name=loaded.site.site.name,
        site_text=start.site_text,
        site_path=start.site_path,
        realtime_ns=start.realtime_ns,
        monotonic_ns=start.monotonic_ns,
        software=versions(),
        directory=start.directory,
    )
    sources = {s.name: s.make_source(start.run_id, 0) for s in loaded.sources}
    spaces = sorted({source.space for source in sources.values()}) or [Space.FIELD]
    sinks: list[Sink] = loaded.make_sinks()
    pipeline = Pipeline(
        run,
        RuleStage(loaded.site.rules, loaded.site, start.run_id, sources),
        sinks,
        spaces=spaces,
        now_ns=time.monotonic_ns() + start.realtime_ns - start.monotonic_ns,
        operator=loaded.site.run.operator,
        seed=loaded.site.run.seed,
    )
    hub = Hub(start.address, pipeline, start.realtime_ns - start.monotonic_ns)
    say(HubSaid(ready=True))
    hub.serve(stopping)
    places = hub.close("stopped")
    return places, pipeline.totals


def main() -> int:
    """The process's entry."""
    stopping = threading.Event()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: stopping.set())
    try:
        start = _start()
        _follow_parent(stopping)
        places, totals = serve(start, stopping)
    except DariError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code
    say(HubSaid(closed=places, totals=totals))
    return 0


if __name__ == "__main__":
    sys.exit(main())
