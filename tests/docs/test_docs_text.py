"""What the pages say that can be held against the tree without running it: links, files, targets, site files."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from doc_pages import BY_HAND, PAGES, ROOT, WALKED, Block, anchors, blocks, links

ALL = [block for page in PAGES for block in blocks(page)]
SITES = [block for block in ALL if block.language == "yaml" and re.search(r"(?m)^dari: 1\b", block.text)]
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in links(page):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        to = (page.parent / path).resolve() if path else page
        assert to.exists(), f"{page.relative_to(ROOT)} links to {target}, which is not there"
        assert to.is_relative_to(ROOT), f"{page.relative_to(ROOT)} links out of the repository: {target}"
        if anchor:
            assert anchor in anchors(to), f"{page.relative_to(ROOT)} links to {target}: no such heading"


def test_every_page_is_reached_from_the_index() -> None:
    index = ROOT / "docs" / "index.md"
    linked = {(index.parent / target.partition("#")[0]).resolve() for target in links(index)}
    missing = [
        page.relative_to(ROOT)
        for page in PAGES
        if page != index and page not in linked and (ROOT / "docs" / "decisions") not in page.parents
    ]
    assert not missing


@pytest.mark.parametrize("block", SITES, ids=lambda block: block.where)
def test_every_site_file_passes_the_check(block: Block, tmp_path: Path, monkeypatch) -> None:
    # The files that the same page tells to save are there, for adapters by path and alarm tables.
    for other in blocks(block.page):
        if other.file:
            (tmp_path / other.file).write_text(other.text, encoding="utf-8")
    site = tmp_path / "site-of-the-page.yaml"
    site.write_text(block.text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    done = subprocess.run(
        [sys.executable, "-m", "bridge.cli", "check", str(site)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, f"{block.where}\n{done.stdout}{done.stderr}"


def test_there_are_site_files_to_check() -> None:
    pages = {block.page.name for block in SITES}
    assert {"README.md", "tutorial.md", "write-an-adapter.md", "site-file.md"} <= pages


@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.name)
def test_every_make_command_names_a_target_and_variables_of_the_makefile(page: Path) -> None:
    targets = set(re.findall(r"(?m)^([a-z][a-z-]*):", MAKEFILE))
    commands = re.findall(r"(?m)^make (.*)$", "\n".join(b.text for b in blocks(page) if b.language == "sh"))
    commands += re.findall(r"`make ([^`]+)`", page.read_text(encoding="utf-8"))
    for command in commands:
        for word in command.split("#")[0].split():
            variable, equals, _ = word.partition("=")
            if equals:
                assert re.search(rf"(?m)^{variable} \?=", MAKEFILE), f"the Makefile takes no {variable}"
            else:
                assert word in targets, f"the Makefile has no target {word}"


def test_the_readme_has_the_two_commands() -> None:
    (first, *_) = (block for block in blocks(ROOT / "README.md") if block.language == "sh")
    assert first.text.split("\n") == ["make demo", "make test", ""]


@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.name)
def test_what_is_not_run_says_why(page: Path) -> None:
    for block in blocks(page):
        assert block.language, f"{block.where}: a block must say what it is"
        if BY_HAND in block.words:
            assert block.text.startswith("# by hand: "), f"{block.where}: its first line must say what it needs"
        elif block.language in ("sh", "text", "toml"):
            assert not block.words, f"{block.where}: {block.words} means nothing"
        else:
            assert block.file, f"{block.where}: code that is not saved as a file is run by nothing"
            assert f"`{block.file}`" in page.read_text(encoding="utf-8"), f"{block.where}: {block.file} is not named"


def test_no_command_hides_outside_of_the_blocks() -> None:
    """A line of `dari ...` in a block that is no command block would be run by nothing."""
    for page in WALKED:
        for block in blocks(page):
            if block.language == "text":
                assert not re.search(r"(?m)^(\$ )?(dari|make|pip|python3?) ", block.text), block.where


def test_rerun_is_where_the_readme_says() -> None:
    if sys.platform != "linux":
        pytest.skip("the README promises it for Linux")
    assert shutil.which("rerun", path=str(Path(sys.executable).parent)), "rerun is not beside this Python"


def test_the_readme_is_two_screens_long() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 120
