"""What the stand-in's tests need of this machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import pytest
from standin_run import StandinRun, domain, started

HAS_ROS = importlib.util.find_spec("rclpy") is not None and importlib.util.find_spec("test_msgs") is not None


@pytest.fixture(scope="session", autouse=True)
def has_pybullet() -> None:
    """Every test here runs the cell's physics, or a process that does."""
    if importlib.util.find_spec("pybullet") is None:
        pytest.skip("pybullet is not installed: it has no wheel for this Python")


@pytest.fixture(scope="session")
def standin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StandinRun]:
    """One stand-in for all tests that only look: with ROS 2 where it can be had, by the link as well in any case."""
    directory: Path = tmp_path_factory.mktemp("standin")
    options = ["--seed", "2", "--domain", domain(), "--link", f"ipc://{directory}/link"]
    with started(directory, *options, *([] if HAS_ROS else ["--no-ros"])) as run:
        yield run


@pytest.fixture
def ros(standin: StandinRun) -> StandinRun:
    """The stand-in, where it speaks ROS 2."""
    if not HAS_ROS:
        pytest.skip("rclpy is not installed: no wheels for this platform, and no ROS 2 is sourced")
    return standin
