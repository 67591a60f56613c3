"""Paths into a JSON payload: `rms`, `data.value[0]`, `data["odd.key"]`."""

from __future__ import annotations

import re
from typing import Any

Path = tuple[str | int, ...]
_STEP = re.compile(r"""\.?(?P<key>[^.\[\]"']+)|\[(?P<index>-?\d+)\]|\[(?P<quote>["'])(?P<quoted>.+?)(?P=quote)\]""")


def parse_path(text: str) -> Path:
    """The steps of a path: a text is a member's name, a number a place in a list (from the end when negative).

    >>> parse_path('data.value[0]'), parse_path('["a.b"].c')
    (('data', 'value', 0), ('a.b', 'c'))

    Raises:
        ValueError: it can not be read as a path; the message says from where on.
    """
    steps: list[str | int] = []
    at = 0
    while at < len(text):
        match = _STEP.match(text, at)
        if match is None or (match["key"] is not None and bool(steps) != text.startswith(".", at)):
            raise ValueError(f"can not be read from {text[at:]!r} on; a path is written like data.value[0]")
        if match["key"] is not None:
            steps.append(match["key"])
        elif match["index"] is not None:
            steps.append(int(match["index"]))
        else:
            steps.append(match["quoted"])
        at = match.end()
    if not steps:
        raise ValueError("it is empty")
    return tuple(steps)


def follow(document: Any, path: Path) -> Any:
    """What lies at the end of the path; `LookupError` names the first step that leads nowhere."""
    here = document
    for step in path:
        if isinstance(step, str):
            if not isinstance(here, dict) or step not in here:
                raise LookupError(f"there is no {step!r}")
            here = here[step]
        else:
            if not isinstance(here, list) or not -len(here) <= step < len(here):
                raise LookupError(f"there is no [{step}]")
            here = here[step]
    return here
