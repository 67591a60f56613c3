"""A real hub, and senders that say just what a test wants."""

from __future__ import annotations

import pytest

from tests.bus.bus_rig import RunningHub, Speaker


@pytest.fixture
def hub(tmp_path):
    made = RunningHub(tmp_path)
    yield made
    made.stop()


@pytest.fixture
def speaker(hub):
    made: list[Speaker] = []

    def start(*args, **options) -> Speaker:
        made.append(Speaker(hub.address, *args, **options))
        return made[-1]

    yield start
    for one in made:
        one.close()
