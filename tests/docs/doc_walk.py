"""Types a page's commands from top to bottom in a folder that looks like a clone after `make demo`."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from doc_pages import Block, blocks

SECONDS = 12
TIMEOUT_S = 150
FAILURE_ID = "FAILURE_ID"
"""What the pages write where the reader puts an id in; the test takes one of the log."""
FIXED_PORT = "4305"
"""What the pages write as the example scale's port; the test takes one that is free."""
OF_BASH = "^declare -[a-zA-Z]*r|^declare -[-aAx]* (BASH|FUNCNAME|DIRSTACK|GROUPS|_=)"
"""Variables that are the shell's own, and would be refused if they were set again."""


def need_engine() -> None:
    if importlib.util.find_spec("pybullet") is None:
        pytest.skip("no pybullet here: it has no wheel for Python 3.12 and later (make setup WITH_PYBULLET=compile)")


def environment(home: Path) -> dict[str, str]:
    """What a newcomer's shell has: nothing of pytest's, of make's or of this test's Python."""
    ours = ("MAKE", "MFLAGS", "PYTEST", "PYTHON", "VIRTUAL_ENV", "DARI", "BASH_ENV", "COV_")
    kept = {key: value for key, value in os.environ.items() if not key.startswith(ours)}
    return {**kept, "HOME": str(home), "NO_COLOR": "1"}


def make_demo(folder: Path) -> subprocess.CompletedProcess[str]:
    """What `make demo` does after the set-up, shorter."""
    return subprocess.run(
        [sys.executable, "-m", "bridge.cli", "demo", "--seconds", str(SECONDS)],
        cwd=folder,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_S,
        check=False,
    )


@dataclass(frozen=True)
class Typed:
    """What came of one block; `skipped` says why it was not typed."""

    block: Block
    code: int = 0
    out: str = ""
    err: str = ""
    skipped: str = ""


class Walk:
    """One page in one folder. Blocks run in order, each once; variables, folder and files last from one to the next.

    Args:
        page: whose blocks.
        folder: an empty folder, which gets `.venv` and, with `demo`, the folder that a demo made.
        demo: that folder, or None where the page needs none.
    """

    def __init__(self, page: Path, folder: Path, demo: Path | None) -> None:
        self.blocks = blocks(page)
        self.folder = folder
        self.typed: list[Typed] = []
        self._state = folder / ".state"
        self._state.mkdir()
        (self._state / "folder").write_text(str(folder))
        (folder / ".venv").symlink_to(sys.prefix)
        if demo is not None:
            shutil.copytree(demo, folder / "demo")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = str(free.getsockname()[1])
        self._written = 0

    def until(self, block: Block) -> Typed:
        """Type all up to this block, and say what came of it."""
        for other in self.blocks:
            if any(typed.block == other for typed in self.typed):
                continue
            if other.line > block.line:
                break
            if other.file:
                (self.folder / other.file).write_text(self._filled(other.text), encoding="utf-8")
            elif other.run:
                self.typed.append(self._type(other))
        (found,) = (typed for typed in self.typed if typed.block == block)
        return found

    def _filled(self, text: str) -> str:
        text = text.replace(FIXED_PORT, self._port)
        if FAILURE_ID in text:
            told = subprocess.run(
                [sys.executable, "-m", "bridge.cli", "why", "demo/logs"],
                cwd=self.folder,
                capture_output=True,
                text=True,
                check=True,
            )
            ids = re.findall(r"(?m)^([0-9a-f]{8})\b", told.stdout)
            assert ids, f"no failure in {SECONDS} s of the demo: {told.stdout}"
            text = text.replace(FAILURE_ID, ids[0])
        return text

    def _type(self, block: Block) -> Typed:
        # What `make` is told is held against the Makefile by another test: here it would begin this very test again.
        lines = [line for line in block.text.splitlines() if not line.startswith("make ")]
        if not any(line.strip() for line in lines):
            return Typed(block)
        if any("--to ros2" in line for line in lines) and importlib.util.find_spec("rclpy") is None:
            return Typed(block, skipped="no rclpy for this machine: neither its wheels nor a sourced ROS 2")
        state, text = self._state, self._filled("\n".join(lines))
        # Variables last as in one terminal; those that bash keeps to itself are left out.
        script = f"""
            cd "$(cat {state}/folder)"
            [ ! -f {state}/variables ] || source {state}/variables
            set -euo pipefail
            {{
            :\n{text}\n
            }}
            set +u
            pwd > {state}/folder
            declare -p | grep -v -E '{OF_BASH}' > {state}/variables
        """
        process = subprocess.Popen(
            ["bash", "--noprofile", "--norc", "-c", script],
            cwd=self.folder,
            env=environment(self.folder),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        try:
            out, err = process.communicate(timeout=TIMEOUT_S)
        finally:
            # Whatever a block left running in the background ends with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        return Typed(block, process.returncode, out, err)
