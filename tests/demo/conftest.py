"""One run of `dari demo`, the way a user starts it, for all tests of this folder."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from recorder.reader import Log, open_log

SECONDS = 30


def need_engine() -> None:
    if importlib.util.find_spec("pybullet") is None:
        pytest.skip("no pybullet here: it has no wheel for Python 3.12 and later (make setup WITH_PYBULLET=compile)")


def run_dari(*arguments: str, cwd: Path, timeout: float = 240) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", *arguments],
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )


@dataclass
class DemoRun:
    """What it printed, and what it left."""

    folder: Path
    code: int
    out: str
    err: str

    @property
    def log(self) -> Path:
        (found,) = (self.folder / "demo" / "logs").glob("*.mcap")
        return found

    def truth(self, kind: str) -> list[dict]:
        lines = (self.folder / "demo" / "truth.jsonl").read_text().splitlines()
        return [line for line in map(json.loads, lines) if line["kind"] == kind]


@pytest.fixture(scope="session")
def demo(tmp_path_factory) -> DemoRun:
    need_engine()
    folder = tmp_path_factory.mktemp("demo")
    done = run_dari("demo", "--seconds", str(SECONDS), cwd=folder)
    return DemoRun(folder, done.returncode, done.stdout, done.stderr)


@pytest.fixture(scope="session")
def log(demo) -> Log:
    with open_log(demo.log) as opened:
        yield opened
