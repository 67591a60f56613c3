"""One line of `dari doctor`."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

State = Literal["ok", "warn", "missing"]


@dataclass(frozen=True)
class Finding:
    """What was found of one thing: its state, in words, and what to do next where it is not well.

    `asked` is set where the caller asked for this very thing; then `missing` makes the exit code `code`.
    """

    area: str
    name: str
    state: State
    text: str
    next: str = ""
    asked: bool = False
    code: int = 5

    def wanted(self) -> Finding:
        """The same, asked for: what was worth a warning is then missing."""
        return replace(self, asked=True, state="ok" if self.state == "ok" else "missing")

    def row(self) -> dict[str, object]:
        """As a flat record."""
        return {
            "area": self.area,
            "name": self.name,
            "state": self.state,
            "text": self.text,
            "next": self.next,
            "asked": self.asked,
        }
