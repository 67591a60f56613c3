"""One run of the twin that the tests of this folder look at: a dozen episodes, made once."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

import pytest

from bridge.schema import TaskEvent
from twin.cell import Cell, cell_path, load_cell
from twin.episode import Outcome, run_episodes
from twin.faults import FaultOptions
from twin.output import Kept, MemoryOutput

collect_ignore = []
if importlib.util.find_spec("pybullet") is None:
    # pybullet has no wheel for this Python; what needs no physics is tested all the same.
    collect_ignore += ["test_adapter.py", "test_determinism.py", "test_episodes.py", "test_physics.py"]


@dataclass(frozen=True)
class TwinRun:
    """What a run told: its events, samples and outcomes."""

    cell: Cell
    events: list[TaskEvent]
    samples: list[Kept]
    outcomes: list[Outcome]


@pytest.fixture(scope="session")
def cell() -> Cell:
    """The cell that is shipped."""
    return load_cell(cell_path("panda_belt"))


@pytest.fixture(scope="session")
def twin_run(cell: Cell) -> TwinRun:
    """Twelve episodes of seed 1 with the default faults."""
    from twin.engine import make_engine

    engine = make_engine("pybullet", cell.robot)
    out = MemoryOutput("seed-1")
    outcomes = list(run_episodes(engine, cell, 1, FaultOptions(), out, episodes=12))
    engine.close()
    return TwinRun(cell, out.events, out.samples, outcomes)
