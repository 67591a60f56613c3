"""One fault of a site file: where it stands, at which key, what was expected, what was found, what to write instead."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from bridge.errors import SiteError
from bridge.site.secret import mask

MASK: Final = "***"
_BREAK: Final = re.compile("\r\n|[\n\r\x85\u2028\u2029]")


def lines_of(text: str) -> list[str]:
    """The lines of a text, broken where YAML breaks them (`str.splitlines` breaks at more characters)."""
    return _BREAK.split(text)


@dataclass(frozen=True)
class Mark:
    """A place in the file: line and column count from 1; `width` is how many characters the thing takes on its line."""

    line: int
    column: int
    width: int = 1


class SiteProblem(SiteError):
    """A fault, or with `warning` something that works but is hardly meant.

    `key` is dotted from the root of the file. From the column `hide` on, the line must not be shown: a secret stands there.
    """

    hide: int | None = None

    def __init__(
        self,
        what: str,
        *,
        path: str,
        mark: Mark | None,
        key: str = "",
        hint: str = "",
        warning: bool = False,
        secret: bool = False,
    ) -> None:
        self.path = path
        self.mark = mark
        self.key = key
        self.warning = warning
        if secret and mark is not None:
            self.hide = mark.column
        place = f"{path}:{mark.line}:{mark.column}" if mark is not None else path
        super().__init__(what, where=f"{place}: {key}" if key else place, hint=hint)

    def excerpt(self, text: str) -> str:
        """The line of `text` (the whole file) with a caret below the place; empty where there is none to show."""
        if self.mark is None:
            return ""
        lines = lines_of(text)
        if not 1 <= self.mark.line <= len(lines):
            return ""
        line = mask(lines[self.mark.line - 1])
        start = self.mark.column - 1
        width = max(1, min(self.mark.width, len(line) - start))
        if self.hide is not None:
            if start > self.hide - 1:
                return ""
            line = line[: self.hide - 1] + MASK
            width = min(width, len(line) - start)
        # A tab before the place must stay a tab below it, or the caret points elsewhere.
        lead = "".join("\t" if letter == "\t" else " " for letter in line[:start])
        number = str(self.mark.line)
        return f"{number} | {line}\n{' ' * len(number)} | {lead}{'^' * width}"

    def row(self) -> dict[str, object]:
        """For editors: one flat record."""
        return {
            "path": self.path,
            "line": self.mark.line if self.mark is not None else None,
            "column": self.mark.column if self.mark is not None else None,
            "end_column": self.mark.column + self.mark.width if self.mark is not None else None,
            "severity": "warning" if self.warning else "error",
            "key": self.key,
            "message": self.what,
            "hint": self.hint,
        }


class Problems:
    """Collects every fault of one file. `path` is how the file is called in messages."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.all: list[SiteProblem] = []

    def add(
        self,
        what: str,
        mark: Mark | None,
        key: str | tuple[str, ...] = "",
        *,
        hint: str = "",
        warning: bool = False,
        secret: bool = False,
    ) -> None:
        """Note a fault."""
        name = key if isinstance(key, str) else dotted(key)
        self.all.append(
            SiteProblem(mask(what), path=self.path, mark=mark, key=name, hint=hint, warning=warning, secret=secret)
        )

    def ordered(self) -> list[SiteProblem]:
        """All of them in the order of the file, each once; none of their excerpts will show a secret of its line."""
        first = Mark(0, 0)
        unique: dict[object, SiteProblem] = {}
        for problem in self.all:
            # A fault in what an anchor shares is met at each alias.
            unique.setdefault((problem.mark, problem.what), problem)
        found = sorted(unique.values(), key=lambda p: ((p.mark or first).line, (p.mark or first).column, p.warning))
        hidden: dict[int, int] = {}
        for problem in found:
            if problem.hide is not None and problem.mark is not None:
                line = problem.mark.line
                hidden[line] = min(problem.hide, hidden.get(line, problem.hide))
        for problem in found:
            if problem.mark is not None:
                problem.hide = hidden.get(problem.mark.line)
        return found

    @property
    def errors(self) -> list[SiteProblem]:
        """The faults, without the warnings, in the order of the file."""
        return [p for p in self.ordered() if not p.warning]

    @property
    def warnings(self) -> list[SiteProblem]:
        """The warnings, in the order of the file."""
        return [p for p in self.ordered() if p.warning]


def dotted(path: tuple[str, ...]) -> str:
    """A key as one writes it: `sources.press.signals.speed`, `rules.pick.rules[2].when`."""
    out = ""
    for part in path:
        if part.startswith("["):
            out += part
        else:
            out += f".{part}" if out else part
    return out
