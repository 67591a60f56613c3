"""What the log commands print: tables that fit the terminal, colour only where it is wanted, progress on long work."""

from __future__ import annotations

import os
import shutil
import sys
import time
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TextIO

_CODES: Final = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def wants_colour(stream: TextIO) -> bool:
    """Whether to colour: a terminal, no NO_COLOR (https://no-color.org), and not a dumb one."""
    return stream.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


class Paint:
    """Colours text, or leaves it alone where the stream is no terminal."""

    def __init__(self, stream: TextIO) -> None:
        self.on = wants_colour(stream)

    def __call__(self, text: str, *styles: str) -> str:
        """The text in the styles `bold`, `dim`, `red`, `green`, `yellow`, `cyan`."""
        codes = ";".join(_CODES[style] for style in styles if style)
        return f"\x1b[{codes}m{text}\x1b[0m" if self.on and codes and text else text


def cells(text: str) -> int:
    """Columns that a text takes on a terminal: East Asian letters take two."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(character) in "WF" for character in text)
    return len(text) + wide - sum(unicodedata.combining(character) != 0 for character in text)


def clip(text: str, width: int) -> str:
    """The text cut to `width` columns, with an ellipsis where something was cut off."""
    if cells(text) <= width:
        return text
    kept = ""
    for character in text:
        if cells(kept + character) > width - 1:
            break
        kept += character
    return kept + "…" if width > 0 else ""


@dataclass(frozen=True)
class Column:
    """A column of a table: its head, whether numbers align right, and the least width that it may be squeezed to.

    Where a terminal is too narrow even then, columns that are `spare` are left out, those with the highest number first.
    """

    head: str
    right: bool = False
    least: int = 0
    spare: int = 0


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[str]],
    stream: TextIO,
    styles: Sequence[str] = (),
    indent: str = "",
) -> list[str]:
    """The lines of a table. On a terminal columns are squeezed or left out until it fits; in a file nothing is cut.

    `styles` colours whole rows, one style name (or an empty string) for each.
    """
    paint = Paint(stream)
    widths = [max([cells(c.head), *(cells(row[i]) for row in rows)]) for i, c in enumerate(columns)]
    if stream.isatty():
        room = shutil.get_terminal_size().columns - len(indent)
        kept = _kept(widths, columns, room)
        columns, widths = [columns[i] for i in kept], [widths[i] for i in kept]
        rows = [[row[i] for i in kept] for row in rows]
        _squeeze(widths, columns, room - 2 * (len(columns) - 1))
    lines = [indent + paint(_line([c.head for c in columns], columns, widths), "bold")]
    for number, row in enumerate(rows):
        line = _line(row, columns, widths)
        lines.append(indent + paint(line, styles[number] if number < len(styles) else ""))
    return lines


def _kept(widths: Sequence[int], columns: Sequence[Column], room: int) -> list[int]:
    """The columns for which there is room when all are squeezed, without the spare ones that there is none for."""
    kept = list(range(len(columns)))
    least = [min(width, c.least) if c.least else width for width, c in zip(widths, columns, strict=True)]
    while sum(least[i] for i in kept) + 2 * (len(kept) - 1) > room:
        spare = [i for i in kept if columns[i].spare]
        if not spare:
            break
        kept.remove(max(spare, key=lambda i: columns[i].spare))
    return kept


def _squeeze(widths: list[int], columns: Sequence[Column], room: int) -> None:
    while sum(widths) > room:
        loose = [i for i, c in enumerate(columns) if c.least and widths[i] > c.least]
        if not loose:
            return
        widest = max(loose, key=lambda i: widths[i])
        widths[widest] -= 1


def _line(row: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    parts = []
    for text, column, width in zip(row, columns, widths, strict=True):
        cut = clip(text, width)
        gap = " " * (width - cells(cut))
        parts.append(gap + cut if column.right else cut + gap)
    return "  ".join(parts).rstrip()


class ProgressLine:
    """Says on a terminal how far long work is; silent elsewhere, and for work that is done within half a second."""

    def __init__(self, what: str, stream: TextIO | None = None) -> None:
        self._what = what
        self._stream = stream or sys.stderr
        self._on = self._stream.isatty()
        self._begun = time.monotonic()
        self._said = 0.0
        self._shown = False

    def __call__(self, done: int, total: int) -> None:
        """Say that `done` of `total` is done; at most ten times a second."""
        now = time.monotonic()
        if not self._on or now - self._begun < 0.5 or now - self._said < 0.1:
            return
        self._said = now
        self._shown = True
        self._stream.write(f"\r{self._what}: {100 * done / max(total, 1):.0f}%\x1b[K")
        self._stream.flush()

    def text(self, text: str) -> None:
        """Say a text instead of a share."""
        now = time.monotonic()
        if not self._on or now - self._said < 0.1:
            return
        self._said = now
        self._shown = True
        self._stream.write(f"\r{self._what}: {text}\x1b[K")
        self._stream.flush()

    def done(self) -> None:
        """Take the line away."""
        if self._shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._shown = False
