"""The site file in the how-to is one that dari takes."""

from __future__ import annotations

import re
from pathlib import Path

from adapters.ros2 import Ros2Options
from bridge.site import load_text

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "connect-a-ros2-robot.md"


def test_the_site_files_of_the_how_to_load() -> None:
    whole, clocks = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.S)
    assert load_text(whole, PAGE).sources
    # The second piece goes below `options:`.
    with_clocks = whole.replace("      domain: 0\n", f"      domain: 0\n{clocks}")
    options = load_text(with_clocks, PAGE).source("robot").options
    assert isinstance(options, Ros2Options)
    assert options.clocks == {"/camera/.*": "camera"}
    assert options.actions["/arm/insert"].base_verb == "place"
