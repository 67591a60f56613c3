"""Names of channels in the log: `/<space>/<asset>/<signal>`, with one rule that escapes what ROS 2 does not allow.

ROS 2 topic names hold letters, digits, `_` and `/`; no part begins with a digit and none holds two underscores in a row
(https://design.ros2.org/articles/topic_and_service_names.html). PLC tags hold anything. The rule: every other character
becomes `_`, runs of `_` become one, and a part that begins with a digit gets a leading `n`. The original name stays in
the channel's metadata, so nothing is lost.
"""

from __future__ import annotations

import re

_NOT_ALLOWED = re.compile(r"[^A-Za-z0-9_]+")
_RUNS = re.compile(r"_{2,}")


def escape_part(text: str) -> str:
    """One part of a topic name, made legal. Never empty: a part with nothing legal in it becomes `x`.

    >>> escape_part("DB1.X0-0"), escape_part("2nd"), escape_part("온도")
    ('DB1_X0_0', 'n2nd', 'x')
    """
    part = _RUNS.sub("_", _NOT_ALLOWED.sub("_", text)).strip("_")
    if not part:
        return "x"
    return f"n{part}" if part[0].isdigit() else part


def channel_topic(space: str, asset: str, signal: str) -> str:
    """The log's topic for a signal of an asset in a space; slashes in `signal` stay parts of the name.

    >>> channel_topic("field", "press-1", "/joint_states")
    '/field/press_1/joint_states'
    """
    parts = [escape_part(part) for part in signal.split("/") if part]
    return "/" + "/".join([escape_part(space), escape_part(asset), *(parts or ["x"])])


def nearest(word: str, known: list[str] | tuple[str, ...]) -> str | None:
    """The known word that was probably meant, or None when nothing is near."""
    import difflib

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None
