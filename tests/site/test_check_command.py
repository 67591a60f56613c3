"""`dari check`: golden outputs, exit codes, and lines for editors.

After a change of words that is meant, `DARI_WRITE_GOLDEN=1 pytest tests/site/test_check_command.py` writes the files anew.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from site_cases import ALL_AT_ONCE

from bridge import errors
from bridge.cli import INTERRUPTED, main

GOLDEN = Path(__file__).parent / "golden"


def agrees(name: str, text: str) -> None:
    """Hold a text against its golden file."""
    path = GOLDEN / name
    if os.environ.get("DARI_WRITE_GOLDEN"):
        path.write_text(text, encoding="utf-8")
    assert text == path.read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def check(text: str | bytes, capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str, str]:
    Path("site.yaml").write_bytes(text if isinstance(text, bytes) else text.encode())
    code = main(["check", "site.yaml", *more])
    out, err = capsys.readouterr()
    return code, out, err


def test_a_sound_file_says_what_it_connects(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = sound.replace(
        "rules:",
        "  robot: {adapter: quiet, space: testbed, asset: press}\n"
        "  spare: {adapter: quiet, space: testbed, asset: press, enabled: false}\nrules:",
        1,
    )
    code, out, err = check(text, capsys)
    assert (code, err) == (0, "")
    agrees("check_sound.txt", out)


def test_every_fault_is_shown_with_its_line_and_counted(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(ALL_AT_ONCE, capsys)
    assert (code, err) == (3, "")
    assert "hunter2" not in out
    agrees("check_faults.txt", out)


def test_a_warning_is_shown_and_does_not_fail(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = check(sound.replace("  press: {cell", "  spare: {}\n  press: {cell"), capsys)
    assert code == 0
    assert out.startswith("site.yaml:4:3: assets.spare\n  warning: nothing is connected to the asset 'spare'\n")
    assert "\n1 warning\n" in out


def test_editors_get_one_json_object_for_each_fault(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(ALL_AT_ONCE, capsys, "--format", "jsonl")
    assert (code, err) == (3, "")
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 17
    assert rows[0] == {
        "path": "site.yaml",
        "line": 1,
        "column": 7,
        "end_column": 8,
        "severity": "error",
        "key": "dari",
        "message": "expected the number 1, found the number 2",
        "hint": "",
    }
    assert "hunter2" not in out


def test_a_sound_file_gives_editors_nothing(sound: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(sound, capsys, "--format", "jsonl") == (0, "", "")


def test_a_file_that_can_not_be_read_is_told_in_both_formats(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = check(b"a: 1\nb: \xb0\xa1\n", capsys)
    assert (code, out) == (3, "")
    assert err.startswith("site.yaml:2:4: the file is not UTF-8")
    code, out, err = check(b"a: 1\nb: \xb0\xa1\n", capsys, "--format", "jsonl")
    assert (code, err) == (3, "")
    row = json.loads(out)
    assert (row["path"], row["line"], row["column"], row["severity"]) == ("site.yaml", 2, 4, "error")


def test_a_missing_file_and_a_directory(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", "gone.yaml"]) == 3
    err = capsys.readouterr().err
    assert "gone.yaml: there is no such file" in err
    assert "next: " in err
    assert main(["check", str(here)]) == 3
    assert "this is a directory" in capsys.readouterr().err
    assert main(["check", "gone.yaml", "--format", "jsonl"]) == 3
    assert json.loads(capsys.readouterr().out)["line"] is None


def test_the_page_of_errors_has_the_codes_of_the_classes() -> None:
    page = (Path(__file__).parents[2] / "docs" / "reference" / "errors.md").read_text(encoding="utf-8")
    classes = [c for c in vars(errors).values() if isinstance(c, type) and issubclass(c, errors.DariError)]
    assert len(classes) >= 8
    for kind in classes:
        assert f"| {kind.exit_code} | `{kind.__name__}` |" in page
    assert f"| {INTERRUPTED} |" in page
