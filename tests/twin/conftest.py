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

PHYSICS = {"test_adapter.py", "test_determinism.py", "test_episodes.py", "test_physics.py"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what needs physics where pybullet is not installed: what needs none is tested all the same."""
    if importlib.util.find_spec("pybullet") is not None:
        return
    reason = "pybullet is not installed: it has no wheel for Python 3.12 and later"
    for item in items:
        if item.path.parent.name == "twin" and item.path.name in PHYSICS:
            item.add_marker(pytest.mark.skip(reason=reason))


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
