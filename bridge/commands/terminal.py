"""Plain tables and a little colour for the commands: colour only on a terminal, widths that count wide letters."""

from __future__ import annotations

import os
import sys
import textwrap
import unicodedata
from collections.abc import Sequence
from typing import Final, TextIO

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def paint(text: str, style: str, stream: TextIO | None = None) -> str:
    """`text` in a style (`bold`, `dim`, `red`, `green`, `yellow`, `cyan`) where the stream is a terminal that wants colour."""
    stream = sys.stdout if stream is None else stream
    plain = not stream.isatty() or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb"
    return text if plain or not text else f"\x1b[{_CODES[style]}m{text}\x1b[0m"


def cells(text: str) -> int:
    """Columns that a text takes on a terminal: East Asian letters take two."""
    return sum(0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]], width: int = 0) -> list[str]:
    """Lines of a table, columns two spaces apart; with a `width`, the last column wraps to stay within it."""
    every = [list(heads), *[list(row) for row in rows]]
    widths = [max(cells(row[i]) for row in every) for i in range(len(heads))]
    before = sum(widths[:-1]) + 2 * (len(heads) - 1)
    room = max(24, width - before) if width else 0
    lines: list[str] = []
    for number, row in enumerate(every):
        lead = "".join(cell + " " * (widths[i] - cells(cell) + 2) for i, cell in enumerate(row[:-1]))
        last = textwrap.wrap(row[-1], room, break_long_words=False, break_on_hyphens=False) if room else [row[-1]]
        for i, part in enumerate(last or [""]):
            line = (lead if i == 0 else " " * before) + part
            lines.append(paint(line.rstrip(), "bold") if number == 0 else line.rstrip())
    return lines


def counted(number: int, one: str, many: str = "") -> str:
    """`1 fault`, `2 faults`."""
    return f"{number} {one if number == 1 else many or one + 's'}"
