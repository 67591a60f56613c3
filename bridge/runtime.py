"""An adapter's process: reads what it is to do from standard input, runs the adapter, sends what it yields to the hub.

`python -m bridge.runtime` reads one line of JSON (`Start`) and then keeps standard input open: when it closes, the process
that started this one is gone, and the adapter is stopped. SIGTERM stops it cleanly: the adapter returns, everything that it
had received is sent, and the process ends when the hub has it on disk. SIGINT is left to the supervisor.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from uuid import UUID

import msgspec

from bridge.adapter import Adapter, Channel, SignalConfig, Source, require
from bridge.bus.client import HubClient
from bridge.bus.record import Record
from bridge.errors import DariError
from bridge.port import StampingPort

STOPPED_UNSENT = 9
"""Exit code: stopped, but the hub did not confirm everything; the text on standard error says what is missing."""


class Start(msgspec.Struct, frozen=True, kw_only=True):
    """What an adapter's process is told on its first line of standard input.

    `site_text` is the site file as the supervisor read it, so that an edit in mid-run can not break a restart.
    """

    source: str
    site_text: str
    site_path: str
    hub: str
    run_id: UUID
    epoch: int
    base_ns: int


class BusPort(StampingPort):
    """The port of a running adapter: records go to the hub."""

    def __init__(
        self,
        source: Source,
        signals: dict[str, SignalConfig],
        client: HubClient,
        *,
        prior_delay_ns: int,
        base_ns: int,
        say: Callable[[str, str], None],
    ) -> None:
        super().__init__(source, signals, prior_delay_ns=prior_delay_ns, base_ns=base_ns)
        self._client = client
        self._say = say

    def _put(self, record: Record) -> None:
        self._client.put(self._next - 1, record)

    def _declared(self, channel: Channel) -> None:
        self._client.declare(channel)

    def log(self, level: str, text: str) -> None:
        """Say it on standard error, and in the log."""
        if level != "debug":
            self._say(level, text)
        super().log(level, text)


def say(source: str, level: str, text: str) -> None:
    """One line on standard error for the person at the machine."""
    mark = "" if level == "info" else f"{level}: "
    print(f"{source:<12} {mark}{text}", file=sys.stderr, flush=True)


def _watch_parent(stopping: threading.Event) -> None:
    """Set `stopping` when standard input closes: the supervisor is gone, however it went."""

    def wait() -> None:
        descriptor = sys.stdin.fileno()
        while os.read(descriptor, 4096):
            pass
        stopping.set()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def _read_start() -> Start:
    """The first line of standard input, read byte by byte so that nothing of what follows is swallowed."""
    line = bytearray()
    while not line.endswith(b"\n"):
        byte = os.read(sys.stdin.fileno(), 1)
        if not byte:
            raise DariError(
                "an adapter's process is started by `dari run`, which tells it on standard input what to do",
                hint="dari run SITE",
            )
        line += byte
    return msgspec.json.decode(bytes(line), type=Start)


def run_adapter(start: Start, on_start: Callable[[BusPort], None] = lambda port: None) -> int:
    """Run one source's adapter until it ends or is stopped; returns the process's exit code.

    `on_start` is called with the port before the adapter runs.
    """
    from bridge.site import load_text

    loaded = load_text(start.site_text, Path(start.site_path))
    resolved = loaded.source(start.source)
    adapter_class: type[Adapter] = resolved.adapter_class
    source = resolved.make_source(start.run_id, start.epoch)
    adapter = adapter_class(source, resolved.options, resolved.signals)
    prior = resolved.config.delay_prior_ms
    client = HubClient(start.hub, source, on_ack=adapter.acknowledge)
    port = BusPort(
        source,
        resolved.signals,
        client,
        prior_delay_ns=adapter_class.prior_delay_ns if prior is None else round(prior * 1e6),
        base_ns=start.base_ns,
        say=lambda level, text: say(source.name, level, text),
    )
    on_start(port)
    code, reason = 0, "ended"
    try:
        require(adapter_class.requirements, f"source {source.name} (adapter {resolved.config.adapter})")
        adapter.run(port)
        if port.stopping.is_set():
            reason = "stopped"
    except DariError as error:
        code, reason = error.exit_code, str(error)
        port.log("error", reason)
    except Exception as error:  # the adapter's own fault: say it whole, let the supervisor restart it
        code, reason = 1, f"{type(error).__name__}: {error}"
        where = traceback.extract_tb(error.__traceback__)[-1]
        port.log("error", f"{reason} (in {Path(where.filename).name}, line {where.lineno}); it will be started again")
        port.log("debug", traceback.format_exc())
    if not client.close(reason):
        missing = client.dropped
        text = f"the hub did not confirm the last records ({missing} were dropped for want of room)"
        say(source.name, "error", text)
        return code or STOPPED_UNSENT
    return code


def main() -> int:
    """The process's entry."""
    try:
        start = _read_start()

        def watch(port: BusPort) -> None:
            # Libraries that an adapter imports may install handlers of their own; ours come back in `on_start`.
            signal.signal(signal.SIGINT, signal.SIG_IGN)
            signal.signal(signal.SIGTERM, lambda *_: port.stopping.set())
            _watch_parent(port.stopping)

        return run_adapter(start, watch)
    except DariError as error:
        print(error, file=sys.stderr, flush=True)
        return error.exit_code


if __name__ == "__main__":
    sys.exit(main())
