"""The demo: starts the stand-in for a testbed cell, runs a site file against it and the twin, and sums the log up.

dari knows the stand-in by its wires alone. The clocks' offsets are set here, so that what was found can be held against them.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import platform
import signal
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import msgspec

import bridge
from bridge.errors import DariError, MissingPackageError
from bridge.signals import SignalWatch
from bridge.site import load
from bridge.supervisor import Outcome, Supervisor

READY_S = 90.0
STOP_S = 15.0
REST_S = 3.0
DOMAINS = range(20, 100)


class ClockSet(msgspec.Struct, frozen=True, kw_only=True):
    """How one of the stand-in's clocks was set: ahead by `skew_ms` when it started, gaining `drift_ppm`."""

    source: str
    clock: str
    option: str
    skew_ms: float
    drift_ppm: float


CLOCKS = (
    ClockSet(source="testbed", clock="header", option="joint", skew_ms=137.0, drift_ppm=35.0),
    ClockSet(source="plc", clock="device", option="plc", skew_ms=-2300.0, drift_ppm=-40.0),
    ClockSet(source="sensors", clock="device", option="mqtt", skew_ms=640.0, drift_ppm=55.0),
)


def launch_folder() -> Path:
    """Where the site files lie that dari brings: beside the packages in a clone, under `share/dari` when installed.

    Raises:
        MissingPackageError: they are in neither place.
    """
    beside = Path(bridge.__file__).parents[1] / "launch"
    for folder in (beside, Path(sysconfig.get_path("data")) / "share" / "dari" / "launch"):
        if (folder / "demo.yaml").is_file():
            return folder
    raise MissingPackageError(
        "the demo's site file is not installed",
        where=str(beside / "demo.yaml"),
        hint="pip install --force-reinstall dari",
    )


def ros_is_there() -> bool:
    """Whether rclpy can be imported here, from a sourced ROS 2 or from the wheels; it is not imported."""
    return importlib.util.find_spec("rclpy") is not None


class Demo:
    """One run of the demo.

    Args:
        seconds: how long to record.
        seed: what the twin draws; the stand-in draws from another.
        out: the folder for the log, the site file as it was run, and the stand-in's truth.
        ros: False leaves DDS out even where it is to be had.
    """

    def __init__(self, *, seconds: float, seed: int, out: Path, ros: bool = True) -> None:
        self._seconds = seconds
        self._seed = seed
        self._out = out
        self._ros = ros and ros_is_there()
        self._why_no_ros = "as asked" if not ros else f"no rclpy for {platform.system()} {platform.machine()} here"

    def run(self) -> int:
        """Run it; returns the exit code. Everything that it starts is stopped, whatever happens."""
        _need_engine()
        self._out.mkdir(parents=True, exist_ok=True)
        stopping = threading.Event()
        SignalWatch((signal.SIGINT, signal.SIGTERM), stopping.set).install()
        with tempfile.TemporaryDirectory(prefix="dari-demo-") as scratch:
            _say("starting the testbed's cell: a robot, its PLC and its sensors, in processes of their own ...")
            standin = self._start_standin(Path(scratch))
            try:
                ready = self._wait(standin, Path(scratch) / "ready.json", stopping)
                site = self._write_site(ready)
                if not self._ros:
                    _say(f"the testbed robot's leg runs without DDS: {self._why_no_ros}")
                _say(
                    f"recording twin, testbed and field for about {self._seconds:g} s; Ctrl-C stops it and closes the log ..."
                )
                outcome = self._record(site, stopping)
            finally:
                _stop(standin)
        return self._tell(outcome)

    # -- the stand-in ------------------------------------------------------------------------------------------------

    def _start_standin(self, scratch: Path) -> subprocess.Popen[bytes]:
        arguments = ["--seed", str(self._seed + 1), "--ready", str(scratch / "ready.json")]
        # The cell rests until everything is connected, so that no task is joined in its middle.
        arguments += ["--rest", str(REST_S), "--truth", str(self._out / "truth.jsonl")]
        for clock in CLOCKS:
            arguments += [f"--{clock.option}-skew-ms={clock.skew_ms}", f"--{clock.option}-drift-ppm={clock.drift_ppm}"]
        if self._ros:
            # A domain that is unlikely to be another demo's: two of them on one machine must not hear each other.
            arguments += ["--domain", str(DOMAINS[os.getpid() % len(DOMAINS)])]
        else:
            arguments += ["--no-ros", "--link", f"ipc://{scratch}/link"]
        self._started_ns = time.time_ns()
        return subprocess.Popen(
            [sys.executable, "-m", "twin.testbed", *arguments], stdin=subprocess.PIPE, start_new_session=True
        )

    def _wait(self, standin: subprocess.Popen[bytes], ready: Path, stopping: threading.Event) -> dict[str, Any]:
        deadline = time.monotonic() + READY_S
        while not ready.is_file():
            if standin.poll() is not None:
                raise DariError(
                    f"the stand-in for the testbed ended with exit code {standin.returncode}; what it said stands above",
                    hint="dari doctor",
                )
            if stopping.is_set():
                raise KeyboardInterrupt
            if time.monotonic() > deadline:
                raise DariError(
                    f"the stand-in for the testbed was not ready within {READY_S:.0f} s", hint="dari doctor"
                )
            time.sleep(0.05)
        found: dict[str, Any] = msgspec.json.decode(ready.read_bytes())
        return found

    # -- dari --------------------------------------------------------------------------------------------------------

    def _write_site(self, ready: dict[str, Any]) -> Path:
        """The demo's site file with the addresses that were free, beside the log: it can be read, and run again."""
        import yaml

        folder = launch_folder()
        site = yaml.safe_load((folder / "demo.yaml").read_text(encoding="utf-8"))
        site["run"]["seed"] = self._seed
        sources = site["sources"]
        sources["twin"].setdefault("options", {})["seed"] = self._seed
        sources["plc"]["options"]["endpoint"] = ready["opcua"]
        for name in ("modbus", "mqtt"):
            (options,) = (s["options"] for s in sources.values() if s["adapter"] == name)
            options |= {"host": ready[name]["host"], "port": ready[name]["port"]}
        if self._ros:
            sources["testbed"]["options"]["domain"] = ready["domain"]
        else:
            known = sources["testbed"]["options"]
            options = {key: known[key] for key in ("actions", "retry_within_ms")}
            sources["testbed"] |= {"adapter": "standin", "options": {"address": ready["link"], **options}}
        path = self._out / "demo.yaml"
        head = f"# {folder.name}/demo.yaml as `dari demo` ran it: with the ports that were free.\n"
        path.write_text(head + yaml.safe_dump(site, sort_keys=False, width=120), encoding="utf-8")
        for table in folder.glob("*.csv"):
            (self._out / table.name).write_bytes(table.read_bytes())
        return path

    def _record(self, site: Path, stopping: threading.Event) -> Outcome:
        return Supervisor(load(site), directory=self._out, say=_say).run(stopping, self._seconds)

    def _tell(self, outcome: Outcome) -> int:
        """Print what the log says, by the command that a user would use, and the clocks beside how they were set."""
        if not outcome.places:
            raise DariError("no log was written; what went wrong stands above", hint="dari doctor")
        # As one would type it from here.
        log = min(outcome.places[-1], os.path.relpath(outcome.places[-1]), key=len)
        print(flush=True)
        told = subprocess.run([sys.executable, "-m", "bridge.cli", "summary", log], check=False)
        if told.returncode:
            return told.returncode
        found = subprocess.run(
            [sys.executable, "-m", "bridge.cli", "summary", log, "--format", "json"], check=True, capture_output=True
        )
        for line in clock_lines(msgspec.json.decode(found.stdout), self._started_ns):
            print(line)
        first = _first_failure(log)
        failed = {name: code for name, code in outcome.codes.items() if code}
        print(f"\nlog: {log}")
        print("next:")
        print(f"  dari events {log} --failed")
        print("      every failed attempt, from all three spaces")
        if first:
            print(f"  dari why {log} {first}")
            print("      its onset, its evidence read back, the decision before it, the repair after it")
        print(f"  dari replay {log} --to ros2")
        print("      the robot's topics again, in a ROS domain of their own")
        print("  dari init")
        print("      a site file for your own robot, PLC and broker")
        for name, code in failed.items():
            print(f"error: the source {name} ended with exit code {code}; what it said stands above", file=sys.stderr)
        return 1 if failed else 0


def clock_lines(summary: dict[str, Any], started_ns: int) -> list[str]:
    """The clocks that were set, beside what was found of them: offsets in ms, positive where the device is ahead.

    `started_ns` is when the stand-in's clocks began to drift, known to a second or two, in which they drift by less than 0.1 ms.
    """
    lines = [
        "",
        "clocks of the testbed and its cell: as set, and as found, at the end of the run (ms ahead of the recorder)",
    ]
    lines.append(f"  {'source':<10} {'clock':<10} {'set':>12} {'found':>12} {'within':>12}")
    drifted_s = (summary["end_ns"] - started_ns) / 1e9 if summary["end_ns"] is not None else 0.0
    found = {(row["source"], row["clock"]): row for row in summary["clocks"]}
    for clock in CLOCKS:
        row = found.get((clock.source, clock.clock))
        was = clock.skew_ms + clock.drift_ppm * drifted_s / 1e3
        if row is None or row["offset_ns"] is None or row["uncertainty_ns"] is None:
            lines.append(f"  {clock.source:<10} {clock.clock:<10} {was:>12.3f} {'not found':>12}")
            continue
        offset, within = row["offset_ns"] / 1e6, row["uncertainty_ns"] / 1e6
        verdict = "" if abs(offset - was) <= within else "  OUTSIDE"
        lines.append(
            f"  {clock.source:<10} {clock.clock:<10} {was:>12.3f} {offset:>12.3f} {f'±{within:.3f}':>12}{verdict}"
        )
    return lines


def _first_failure(log: str) -> str:
    """The id of a failure that tells much: the twin's first, else the first of all; empty where there is none."""
    command = [sys.executable, "-m", "bridge.cli", "events", log, "--kind", "failure", "--format", "jsonl"]
    found = subprocess.run(command, check=False, capture_output=True)
    events = [msgspec.json.decode(line) for line in found.stdout.splitlines()]
    events.sort(key=lambda event: event["space"] != "twin")
    return str(events[0]["id"]).split("-")[0] if events else ""


def _need_engine() -> None:
    if importlib.util.find_spec("pybullet") is not None:
        return
    version = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if sys.version_info >= (3, 12):
        raise MissingPackageError(
            f"the twin needs pybullet, which has no wheel for Python {version}",
            hint="use Python 3.11 (make clean; make demo PYTHON=python3.11), or compile it, which takes minutes:"
            " make demo WITH_PYBULLET=compile",
        )
    raise MissingPackageError(
        "the twin needs pybullet, which is not installed", hint="make setup, or pip install 'dari[demo]'"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, then, if it does not heed, SIGKILL to all that it started."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    if process.stdin is not None:
        process.stdin.close()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
