"""Logs that several tests read; written once."""

from __future__ import annotations

from pathlib import Path

import pytest
from recorder_rig import Told, whole_log


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Told]:
    """A closed log of three spaces, and the ids of the failure in it."""
    return whole_log(tmp_path_factory.mktemp("whole"))
