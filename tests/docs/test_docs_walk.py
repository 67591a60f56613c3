"""Every command of the README, the tutorial and the how-to for adapters does what the page says."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from doc_pages import ROOT, WALKED, Block, blocks
from doc_walk import Walk

COMMANDS = [block for page in WALKED for block in blocks(page) if block.run]
PRINTED = [block for block in blocks(ROOT / "README.md") if block.language == "text"]


@pytest.mark.parametrize("block", COMMANDS, ids=lambda block: block.where)
def test_what_the_page_tells_to_type_works(block: Block, walk) -> None:
    typed = walk(block.page).until(block)
    if typed.skipped:
        pytest.skip(typed.skipped)
    told = f"{block.where}\n{block.text}--- exit code {typed.code}\n{typed.out}\n{typed.err}"
    assert typed.code == 0, told
    assert "Traceback" not in typed.err + typed.out, told


def typed_in(walk, page: Path, command: str):
    """The block of a page that types this command, after it was typed."""
    (block,) = (block for block in COMMANDS if block.page == page and command in block.text)
    typed = walk(page).until(block)
    if typed.skipped:
        pytest.skip(typed.skipped)
    return typed


TUTORIAL, ADAPTER = WALKED[1:]


def test_the_stricter_contract_makes_failures_of_the_same_log(walk):
    before = typed_in(walk, TUTORIAL, "dari events demo/logs --failed").out
    after = typed_in(walk, TUTORIAL, "--set site=demo/contract.yaml").out
    failures = [line for line in after.splitlines() if " failure " in line]
    assert failures and all("motion.timeout" in line and "rules.pick_place" in line for line in failures)
    timeouts = [line for line in before.splitlines() if " rules.pick_place " in line and "motion.timeout" in line]
    assert len(failures) > len(timeouts)


def test_the_two_mistakes_are_both_found(walk):
    typed = typed_in(walk, TUTORIAL, "endpiont")
    assert "exit code 3" in typed.out
    told = typed.out + typed.err
    assert "did you mean 'endpoint'?" in told and "did you mean 'mqtt'?" in told


def test_the_ten_lines_of_the_tutorial_are_ten_and_record(walk):
    (adapter,) = (block for block in blocks(TUTORIAL) if block.file == "my_plc.py")
    assert len([line for line in adapter.text.splitlines() if line.strip()]) <= 10
    typed_in(walk, TUTORIAL, "dari run mine.yaml")
    cat = typed_in(walk, TUTORIAL, "dari cat mine")
    assert cat.out.count('"tags": ["load"]') == 2


def test_the_how_to_s_adapter_records_what_its_scale_says(walk):
    typed = typed_in(walk, ADAPTER, "dari cat packed")
    assert '"tag": "weight"' in typed.out
    assert "0.5" in typed.out and "0.312" in typed.out


def test_the_how_to_s_adapter_says_that_its_scale_is_off(walk):
    typed = typed_in(walk, ADAPTER, "--out off")
    assert "exit code 4" in typed.out
    assert "can not be read" in typed.err and "  next: check that it is on" in typed.err
    assert "disconnected" in typed.out


@pytest.mark.parametrize("block", PRINTED, ids=lambda block: block.where)
def test_what_the_readme_shows_as_printed_has_the_shape_of_what_is_printed(block: Block, short_demo, walk) -> None:
    """Headings, labels and the words around the figures: figures and ids differ from run to run."""
    said = short_demo.out + typed_in(walk, ROOT / "README.md", "dari why demo FAILURE_ID").out
    shapes = {shape(line) for line in said.splitlines()}
    fixed = re.compile(r"^(space|clocks of|  source|health:|evidence|decision before|correction after)")
    headings = [line for line in block.text.splitlines() if fixed.match(line)]
    assert len(headings) >= 3
    for line in headings:
        assert shape(line) in shapes, f"{block.where}: the demo no longer prints a line like {line!r}"


def shape(line: str) -> str:
    """A line with its figures taken out, and single spaces."""
    return " ".join(re.sub(r"[\d.]+", "0", line).split())


def test_a_page_with_a_fault_would_be_found(tmp_path):
    """The walk itself: a command that fails in the middle of a block fails it; variables and folders last; by-hand is left."""
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nsource .venv/bin/activate\nmkdir sub\ncd sub\nNAME=value\n```\n"
        "```text FILE\nx\n```\n"
        "```sh by-hand\n# by hand: a test\nexit 9\n```\n"
        '```sh\ntest "$NAME" = value\nbasename "$PWD"\ncommand -v dari\ncat ../FILE\n```\n'
        "```sh\ndari evnts\ntrue\n```\n"
    )
    (tmp_path / "folder").mkdir()
    walk = Walk(page, tmp_path / "folder", None)
    first, lasting, broken = (walk.until(block) for block in blocks(page) if block.run)
    assert first.code == 0, first.err
    assert lasting.code == 0, lasting.err
    name, command, saved = lasting.out.splitlines()
    assert (name, saved) == ("sub", "x") and command.endswith("dari")
    assert broken.code == 2
    assert "did you mean `dari events`?" in broken.err
    assert len(walk.typed) == 3
