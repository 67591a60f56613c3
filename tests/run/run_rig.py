"""A supervisor in a thread, or `dari run` as a process, with the sources and the sink of `plugins.py`."""

from __future__ import annotations

import json
import os
import subprocess
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

from bridge.errors import DariError
from bridge.schema import TaskEvent, flat
from bridge.site import load
from bridge.supervisor import Outcome, Supervisor
from recorder.reader import open_log

ROOT = Path(__file__).parents[2]


def write_site(
    folder: Path,
    sources: dict[str, str],
    *,
    sink: str = "tests.run.plugins:JsonlSink",
    sink_options: dict[str, object] | None = None,
) -> Path:
    """A site file whose sources are given as YAML bodies; assets and sink are made to fit."""
    records = folder / "records"
    records.mkdir(exist_ok=True)
    text = "dari: 1\nsite: {name: test}\nassets:\n"
    text += "".join(f"  {name}: {{cell: {name}}}\n" for name in sources)
    text += "sources:\n"
    for name, body in sources.items():
        head = f"space: field\nasset: {name}\n"
        text += f"  {name}:\n" + textwrap.indent(head + textwrap.dedent(body), "    ")
    options = {"directory": str(records), **(sink_options or {})}
    text += f"sinks:\n  rows:\n    sink: {sink}\n    options: {json.dumps(options)}\n"
    path = folder / "site.yaml"
    path.write_text(text)
    return path


def tick(folder: Path, name: str, **options: object) -> str:
    options = {"tally": str(folder / f"{name}.tally"), **options}
    return f"adapter: tests.run.plugins:TickAdapter\noptions: {json.dumps(options)}\n"


def rows(folder: Path) -> list[dict]:
    """Every whole line of every sink's file, oldest file first."""
    found = []
    for path in sorted((folder / "records").glob("*.jsonl"), key=lambda p: p.stat().st_ctime_ns):
        for line in path.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except json.JSONDecodeError:
                continue
    return found


def ticks(folder: Path, source: str) -> list[int]:
    return [value for row in rows(folder) if row.get("source") == source for value in row.get("values", [])]


def health(folder: Path, code: str) -> list[dict]:
    bodies = [row["event"]["body"] for row in rows(folder) if "event" in row]
    return [body for body in bodies if body["kind"] == "health" and body["code"] == code]


def logs(folder: Path) -> list[Path]:
    """The MCAP files, oldest first."""
    return sorted((folder / "records").glob("*.mcap"), key=lambda p: p.stat().st_mtime_ns)


def log_ticks(path: Path, source: str) -> list[int]:
    """What a source counted, in the order of a log, closed or not."""
    found: list[int] = []
    with open_log(path) as log:
        for message in log.messages([f"/field/{source}/{source}/signals"]):
            found += [signal.value for signal in flat.from_signal_table(log.decode(message))]
    return found


def log_events(path: Path) -> list[TaskEvent]:
    """The events of a log."""
    with open_log(path) as log:
        return list(log.events())


def eventually(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Running:
    """A supervisor in a thread of this process."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.lines: list[str] = []
        self.hurry = threading.Event()
        self.supervisor = Supervisor(load(site), directory=folder, say=self.lines.append)
        self.stopping = threading.Event()
        self.outcome: Outcome | None = None
        self.error: DariError | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self.supervisor.run(self.stopping, hurry=self.hurry)
        except DariError as error:
            self.error = error

    def stop(self) -> Outcome:
        self.stopping.set()
        self.thread.join(60)
        assert self.outcome is not None, self.error
        return self.outcome


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    # A zombie still answers to signal 0, but it runs no more.
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()


def children(pid: int) -> list[int]:
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]
