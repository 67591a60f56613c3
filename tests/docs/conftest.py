"""One short run of the demo for all pages, and one walk through each page."""

from __future__ import annotations

import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from doc_walk import Walk, make_demo, need_engine


@dataclass(frozen=True)
class ShortDemo:
    """What the demo left in `folder`, and what it printed."""

    folder: Path
    out: str


@pytest.fixture(scope="session")
def short_demo(tmp_path_factory) -> ShortDemo:
    need_engine()
    folder = tmp_path_factory.mktemp("docs-demo")
    done = make_demo(folder)
    assert done.returncode == 0, done.stderr
    return ShortDemo(folder / "demo", done.stdout)


@pytest.fixture(scope="session")
def walk(tmp_path_factory, request):
    """A function that gives the walk through a page, the same one for all of its blocks."""
    if shutil.which("bash") is None:
        pytest.skip("no bash here, which the pages are written for")
    if not (Path(sys.prefix) / "bin" / "activate").is_file():
        pytest.skip("this Python is no virtual environment, so the pages' `source .venv/bin/activate` has none")
    walks: dict[Path, Walk] = {}

    def of(page: Path) -> Walk:
        if page not in walks:
            demo = request.getfixturevalue("short_demo").folder if "demo/" in page.read_text(encoding="utf-8") else None
            walks[page] = Walk(page, tmp_path_factory.mktemp(page.stem), demo)
        return walks[page]

    return of
