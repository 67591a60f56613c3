"""Real processes: a hub, adapters, real signals. What was received is on disk, and what is missing is said."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import zmq

from bridge.bus import frame
from bridge.errors import DariError
from bridge.site import load
from bridge.supervisor import Outcome, Supervisor

ROOT = Path(__file__).parents[2]


def write_site(folder: Path, sources: dict[str, str], *, sink: str = "tests.run.plugins:JsonlSink") -> Path:
    """A site file whose sources are given as YAML bodies; assets and sink are made to fit."""
    records = folder / "records"
    records.mkdir(exist_ok=True)
    text = "dari: 1\nsite: {name: test}\nassets:\n"
    text += "".join(f"  {name}: {{cell: {name}}}\n" for name in sources)
    text += "sources:\n"
    for name, body in sources.items():
        head = f"space: field\nasset: {name}\n"
        text += f"  {name}:\n" + textwrap.indent(head + textwrap.dedent(body), "    ")
    text += f"sinks:\n  rows:\n    sink: {sink}\n    options: {{directory: {json.dumps(str(records))}}}\n"
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


def eventually(condition: Callable[[], bool], seconds: float = 40.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


class Running:
    """A supervisor in a thread of this process."""

    def __init__(self, site: Path, folder: Path) -> None:
        self.lines: list[str] = []
        self.supervisor = Supervisor(load(site), directory=folder, say=self.lines.append)
        self.stopping = threading.Event()
        self.outcome: Outcome | None = None
        self.error: DariError | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self.supervisor.run(self.stopping)
        except DariError as error:
            self.error = error

    def stop(self) -> Outcome:
        self.stopping.set()
        self.thread.join(60)
        assert self.outcome is not None, self.error
        return self.outcome


@pytest.fixture
def running(tmp_path):
    started: list[Running] = []

    def start(sources: dict[str, str]) -> Running:
        started.append(Running(write_site(tmp_path, sources), tmp_path))
        return started[-1]

    yield start
    for run in started:
        run.stopping.set()
        run.thread.join(60)


def test_a_clean_stop_loses_nothing(tmp_path, running):
    run = running({"one": tick(tmp_path, "one", rate_hz=2000), "two": tick(tmp_path, "two", rate_hz=50)})
    eventually(lambda: len(ticks(tmp_path, "one")) > 500 and len(ticks(tmp_path, "two")) > 10)
    outcome = run.stop()
    for name in ("one", "two"):
        handed_over = int((tmp_path / f"{name}.tally.0").read_text())
        assert ticks(tmp_path, name) == list(range(handed_over))
    assert outcome.totals.gaps == outcome.totals.lost == outcome.totals.duplicates == 0
    assert outcome.codes == {"one": 0, "two": 0}
    kinds = [row["event"]["body"] for row in rows(tmp_path) if "event" in row]
    assert [body["boundary"] for body in kinds if body["kind"] == "run"] == ["begin", "end"]


def test_it_ends_by_itself_when_every_source_has_ended(tmp_path, running):
    run = running({"one": tick(tmp_path, "one", count=30)})
    run.thread.join(60)
    assert run.outcome is not None
    assert ticks(tmp_path, "one") == list(range(30))


def test_a_killed_adapter_comes_back_and_its_gap_is_an_event(tmp_path, running):
    run = running({"one": tick(tmp_path, "one"), "two": tick(tmp_path, "two")})
    eventually(lambda: len(ticks(tmp_path, "one")) > 50 and len(ticks(tmp_path, "two")) > 50)
    os.kill(run.supervisor.pids()["one"], signal.SIGKILL)
    eventually(lambda: any(row.get("source") == "one" and row.get("epoch") == 1 for row in rows(tmp_path)))
    outcome = run.stop()
    (gap,) = health(tmp_path, "gap")
    window = gap["window"]
    of_one = [row for row in rows(tmp_path) if row.get("source") == "one" and "values" in row]
    before = [row["aligned"] for row in of_one if row["epoch"] == 0]
    after = [row["aligned"] for row in of_one if row["epoch"] == 1]
    assert window["t0_ns"] == max(before)
    assert max(before) < window["t1_ns"] <= min(after)
    assert "one" in gap["text"]
    assert len(health(tmp_path, "restarted")) == 1
    # The other one never stopped: its ticks have no hole, and its process is still the first.
    assert ticks(tmp_path, "two") == list(range(int((tmp_path / "two.tally.0").read_text())))
    assert outcome.restarts == {"one": 1, "two": 0}


def test_a_killed_hub_costs_nothing_that_an_adapter_still_held(tmp_path, running):
    run = running({"one": tick(tmp_path, "one", rate_hz=1000)})
    eventually(lambda: len(ticks(tmp_path, "one")) > 200)
    first = run.supervisor.pids()["hub"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: run.supervisor.pids().get("hub", first) != first)
    many = len(ticks(tmp_path, "one"))
    eventually(lambda: len(ticks(tmp_path, "one")) > many + 200)
    outcome = run.stop()
    assert outcome.hub_restarts == 1
    handed_over = int((tmp_path / "one.tally.0").read_text())
    assert sorted(set(ticks(tmp_path, "one"))) == list(range(handed_over))
    assert any("hub" in line and "SIGKILL" in line for line in run.lines)


def test_what_a_restart_can_not_mend_stays_down_and_the_others_go_on(tmp_path, running):
    run = running({"one": tick(tmp_path, "one"), "needy": "adapter: tests.run.plugins:NeedyAdapter\n"})
    eventually(lambda: any("stays down" in line for line in run.lines))
    many = len(ticks(tmp_path, "one"))
    eventually(lambda: len(ticks(tmp_path, "one")) > many + 50)
    outcome = run.stop()
    assert outcome.codes["needy"] == 5
    assert outcome.restarts["needy"] == 0
    said = [row["log"] for row in rows(tmp_path) if "log" in row]
    assert any("a_module_that_is_not_there" in text and "pip install" in text for _, _, text in said)


def test_a_crashing_adapter_is_restarted_with_backoff(tmp_path, running):
    run = running({"one": tick(tmp_path, "one"), "bad": tick(tmp_path, "bad", crash_at=3)})
    eventually(lambda: run.supervisor._children["bad"].restarts >= 2)
    waits = [float(line.split("again in ")[1].split()[0]) for line in run.lines if "again in" in line]
    run.stop()
    assert waits[1] > waits[0]
    # Three ticks of each life, every one of them kept.
    of_bad = [row["values"] for row in rows(tmp_path) if row.get("source") == "bad" and "values" in row]
    assert of_bad[:6] == [[0], [1], [2], [0], [1], [2]]


def test_a_stranger_with_garbage_costs_nothing(tmp_path, running):
    run = running({"one": tick(tmp_path, "one")})
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.LINGER, 1000)
    stranger.connect(run.supervisor.address)
    stranger.send(b"hello?")
    stranger.send_multipart([b"two", b"parts"])
    stranger.send(frame.encode(frame.Ack(source="one", epoch=0, number=1, sequence=1)))
    eventually(lambda: len(health(tmp_path, "refused_peer")) == 3)
    stranger.close()
    context.term()
    outcome = run.stop()
    assert outcome.totals.refused == 3
    assert ticks(tmp_path, "one") == list(range(int((tmp_path / "one.tally.0").read_text())))


def start_command(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bridge.cli", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


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


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dari_run_stops_on_a_signal_and_closes_the_log(tmp_path, number):
    site = write_site(tmp_path, {"one": tick(tmp_path, "one")})
    process = start_command("run", str(site), "--out", str(tmp_path))
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "log: " in out
    assert ticks(tmp_path, "one") == list(range(int((tmp_path / "one.tally.0").read_text())))
    assert rows(tmp_path)[-1] == {"closed": "stopped"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_nothing_outlives_a_killed_supervisor(tmp_path):
    site = write_site(tmp_path, {"one": tick(tmp_path, "one")})
    process = start_command("run", str(site), "--out", str(tmp_path))
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    started = children(process.pid)
    assert len(started) == 2
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: not any(alive(pid) for pid in started if Path(f"/proc/{pid}").exists()))
    # And they went in order: what the adapter had handed over is there, and the sink was closed.
    eventually(lambda: rows(tmp_path)[-1].get("closed") is not None)
