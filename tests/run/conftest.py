"""Starts runs, and ends them whatever a test does."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.run.run_rig import ROOT, Running, write_site


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    started: list[Running] = []

    def start(sources: dict[str, str], **site: str) -> Running:
        started.append(Running(write_site(tmp_path, sources, **site), tmp_path))
        return started[-1]

    yield start
    for run in started:
        run.stopping.set()
        run.thread.join(60)


@pytest.fixture
def command() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """`dari ARGUMENTS` as a process, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "bridge.cli", *arguments],
            cwd=ROOT,
            env=env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()  # its children see that their lifeline has gone
            process.communicate()
