"""What docs/how-to/open-a-log.md tells to type works."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from recorder_rig import Told

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "open-a-log.md"
SNIPPETS = re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize("number", range(len(SNIPPETS)))
def test_the_python_of_the_page_runs(number: int, written: tuple[Path, Told]) -> None:
    script = SNIPPETS[number].replace('"LOG"', repr(str(written[0])))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "failure" in done.stdout


def test_the_page_has_its_snippets() -> None:
    assert len(SNIPPETS) == 2
