"""The small plug-ins, registered for one test; a sound site file; a way to examine a text."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest
from site_cases import SOUND, Look
from site_plugins import HeapSink, ProbeAdapter, QuietAdapter

from bridge import registry
from bridge.site import Examination, examine


@pytest.fixture(autouse=True)
def plugins() -> Iterator[None]:
    """The small adapters and sinks, registered for one test."""
    things: list[tuple[str, str, object]] = [
        (registry.ADAPTERS, "probe", ProbeAdapter),
        (registry.ADAPTERS, "quiet", QuietAdapter),
        (registry.SINKS, "heap", HeapSink),
        (registry.SINKS, "mcap", HeapSink),
    ]
    for group, name, thing in things:
        registry.register(group, name, thing)
    yield
    for group, name, _ in things:
        registry.unregister(group, name)


@pytest.fixture
def sound() -> str:
    """A site file without faults or warnings."""
    return SOUND


@pytest.fixture
def look(tmp_path: Path) -> Look:
    """Examine a text as if it stood in a file of an empty folder."""

    def examined(text: str) -> Examination:
        return examine(textwrap.dedent(text), tmp_path / "site.yaml")

    return examined
