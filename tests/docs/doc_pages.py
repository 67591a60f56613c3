"""The pages that people read, taken apart: fenced blocks with what stands after the fence, links and headings.

What stands after a fence says what a block is:
- ```sh             commands; the test runs them
- ```sh by-hand     commands that need what a test can not have; the block's first line says what
- ```LANGUAGE NAME  a file that the reader saves under NAME; the test writes it
- ```text           what was printed
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
WALKED = [ROOT / "README.md", ROOT / "docs" / "tutorial.md", ROOT / "docs" / "how-to" / "write-an-adapter.md"]
"""Pages whose commands are typed from top to bottom."""
BY_HAND = "by-hand"


@dataclass(frozen=True)
class Block:
    """One fenced block; `line` is the fence's, from 1, `words` what stands after the language."""

    page: Path
    line: int
    language: str
    words: tuple[str, ...]
    text: str

    @property
    def where(self) -> str:
        """For the test's name and its message."""
        return f"{self.page.relative_to(ROOT)}:{self.line}"

    @property
    def file(self) -> str:
        """The name under which the reader saves it, or empty."""
        return self.words[0] if self.words and self.language != "sh" else ""

    @property
    def run(self) -> bool:
        """Whether the test runs it."""
        return self.language == "sh" and BY_HAND not in self.words


def blocks(page: Path) -> list[Block]:
    """All fenced blocks of a page; a fence that is never closed is a fault of the page."""
    found, lines = [], page.read_text(encoding="utf-8").splitlines()
    opened: tuple[int, str, list[str]] | None = None
    for number, line in enumerate(lines, 1):
        fence = re.match(r"^```(.*)$", line)
        if opened is None and fence:
            opened = (number, fence.group(1).strip(), [])
        elif opened is not None and line == "```":
            begin, info, inside = opened
            language, *words = info.split() or [""]
            found.append(Block(page, begin, language, tuple(words), "\n".join(inside) + "\n"))
            opened = None
        elif opened is not None:
            opened[2].append(line)
    assert opened is None, f"{page}:{opened and opened[0]}: the fence is never closed"
    return found


def prose(page: Path) -> str:
    """The page without its fenced blocks and code spans."""
    return re.sub(r"`[^`\n]*`", "`", re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8")))


def links(page: Path) -> list[str]:
    """Targets of links and images, of both kinds that Markdown has."""
    text = prose(page)
    return re.findall(r"\]\(<?([^)\s>]+)>?\)", text) + re.findall(r"(?m)^\[[^\]]+\]:\s*(\S+)", text)


def anchors(page: Path) -> set[str]:
    """What `#...` may name on a page, as the usual viewers make it of headings."""
    headings = re.findall(
        r"(?m)^#{1,6}\s+(.*?)\s*$", re.sub(r"(?ms)^```.*?^```$", "", page.read_text(encoding="utf-8"))
    )
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
