"""From a folder that a person names to the log in it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.errors import LogError
from recorder.find import find_log
from recorder.layout import MAGIC


def log(path: Path, age_s: float = 0.0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(MAGIC + bytes(8))
    os.utime(path, (1_700_000_000 - age_s, 1_700_000_000 - age_s))
    return path


def test_the_log_in_the_folder_logs_is_meant(tmp_path: Path) -> None:
    path = log(tmp_path / "logs" / "one.mcap")
    assert find_log(tmp_path) == path
    second = log(tmp_path / "logs" / "two.mcap", age_s=60)
    with pytest.raises(LogError, match="holds 2 logs") as caught:
        find_log(tmp_path)
    assert caught.value.where == str(tmp_path / "logs")
    assert str(path) in caught.value.hint and second.name not in caught.value.hint


def test_a_log_of_the_folder_itself_goes_first(tmp_path: Path) -> None:
    log(tmp_path / "logs" / "one.mcap")
    assert find_log(log(tmp_path / "mine.mcap").parent) == tmp_path / "mine.mcap"


def test_folders_below_that_hold_logs_are_named_newest_first(tmp_path: Path) -> None:
    log(tmp_path / "demo" / "logs" / "a.mcap", age_s=60)
    log(tmp_path / "replayed" / "logs" / "b.mcap")
    log(tmp_path / ".hidden" / "c.mcap")
    log(tmp_path / "far" / "too" / "deep" / "down" / "d.mcap")
    with pytest.raises(LogError, match=r"no \.mcap file in this folder") as caught:
        find_log(tmp_path)
    assert caught.value.hint == (
        f"there are logs in {tmp_path / 'replayed' / 'logs'}, {tmp_path / 'demo' / 'logs'}, the newest first"
    )


def test_a_name_that_is_not_there_names_the_folder_below_that_holds_logs(tmp_path: Path) -> None:
    log(tmp_path / "logs" / "a.mcap")
    with pytest.raises(LogError, match="no such log") as caught:
        find_log(tmp_path / "log")
    assert caught.value.hint == f"there are logs in {tmp_path / 'logs'}"


def test_where_no_log_is_anywhere_it_says_what_writes_one(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    with pytest.raises(LogError) as caught:
        find_log(tmp_path)
    assert "dari run SITE" in caught.value.hint
