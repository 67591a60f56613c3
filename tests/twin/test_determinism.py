"""The same seed gives the same twin: across processes, with other work before, and whatever Python's hash seed is."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
PROGRAM = """
import sys
from tests.twin.test_determinism import digest
print(digest(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
"""


def digest(seed: int, first: int, episodes: int) -> str:
    """The SHA-256 of all events and samples of a run, ids by their order of appearance."""
    import msgspec

    from twin.cell import cell_path, load_cell
    from twin.engine import make_engine
    from twin.episode import run_episodes
    from twin.faults import FaultOptions
    from twin.output import MemoryOutput

    cell = load_cell(cell_path("panda_belt"))
    engine = make_engine("pybullet", cell.robot)
    out = MemoryOutput("x")
    for _ in run_episodes(engine, cell, seed, FaultOptions(), out, first=first, episodes=episodes):
        pass
    engine.close()
    hashed = hashlib.sha256()
    for event in out.events:
        hashed.update(msgspec.msgpack.encode(event))
    for kept in out.samples:
        hashed.update(repr(kept).encode())
    return hashed.hexdigest()


def in_a_process(*arguments: int, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", PROGRAM, *(str(number) for number in arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True, timeout=120, cwd=ROOT)
    assert done.stderr == "", "nothing of pybullet's own talk comes through"
    return done.stdout.strip()


def test_two_processes_tell_the_same_events_and_samples():
    first = in_a_process(1, 0, 5, hash_seed="1")
    assert first == in_a_process(1, 0, 5, hash_seed="2")
    assert first != in_a_process(2, 0, 5, hash_seed="1")


def test_an_episode_does_not_depend_on_what_ran_before_it():
    alone = in_a_process(1, 3, 2, hash_seed="1")
    digest(1, 0, 1)
    assert digest(1, 3, 2) == alone
