"""`dari adapters`: what there is, what it needs, what it can be told."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from bridge import registry
from bridge.cli import main


def test_the_list_says_what_each_needs_and_whether_it_is_here(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    assert main(["adapters"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["adapter", "space", "needs", "here", "from", "what", "it", "connects"]
    probe = next(line for line in lines if line.startswith("probe"))
    assert probe.split() == ["probe", "field", "nothing", "yes", "this", "process", "nothing,", "for", "tests"]
    quiet = next(line for line in lines if line.startswith("quiet"))
    assert "a_module_that_is_not_there" in quiet
    assert "no: pip install 'dari[field]'" in quiet
    assert any(line.startswith("opcua") for line in lines)


def test_an_adapter_that_can_not_be_imported_is_listed_with_the_reason(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    real = registry.load

    def load(group: str, name: str) -> object:
        if name == "probe":
            raise registry.PluginError("of acme-dari 1.2: No module named 'acme'")
        return real(group, name)

    monkeypatch.setattr(registry, "load", load)
    assert main(["adapters", "--format", "json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert rows["probe"]["here"] == "broken"
    assert "acme-dari 1.2" in rows["probe"]["summary"]
    assert rows["quiet"]["missing"] == ["a_module_that_is_not_there"]
    assert rows["quiet"]["here"].startswith("no: ")


def test_one_adapter_shows_its_keys_with_types_defaults_and_meanings(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["adapters", "probe"]) == 0
    rows = [line.split(maxsplit=2) for line in capsys.readouterr().out.splitlines()]
    assert ["host", "required", "text"] in rows
    assert ["port", "4840", "a whole number from 1 to 65535"] in rows
    assert ["mode", "fast", "one of fast, slow"] in rows
    assert ["address", "required", "a whole number from 0 to 65535"] in rows
    assert ["scale", "1", "a number"] in rows
    assert ["low", "required", "a number. the lower one."] in rows
    assert rows.index(["host", "required", "text"]) < rows.index(["port", "4840", "a whole number from 1 to 65535"])


def test_the_same_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "probe", "--format", "json"]) == 0
    row = json.loads(capsys.readouterr().out)
    options = {field["name"]: field for field in row["options"]}
    assert options["host"]["default"] is None
    assert options["port"] == {
        "name": "port",
        "takes": "a whole number from 1 to 65535",
        "default": "4840",
        "meaning": "",
    }
    assert {field["name"] for field in row["signals"]} >= {"address", "unit", "scale", "offset", "own"}


def test_an_unknown_adapter_is_told_with_what_was_meant(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["adapters", "prob"]) == 2
    err = capsys.readouterr().err
    assert "no adapter is named 'prob'" in err
    assert "did you mean 'probe'?" in err


OWN = '''
from bridge.adapter import Adapter, Options, SignalConfig


class PlcSignal(SignalConfig, frozen=True, kw_only=True):
    register: int


class MyAdapter(Adapter):
    """My PLC, over a wire of its own."""

    options_type = Options
    signal_type = PlcSignal

    def run(self, port):
        port.stopping.wait()


NO_ADAPTER = 3
'''


@pytest.fixture
def my_plc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A module of one's own on Python's path; its name."""
    (tmp_path / "my_own_plc.py").write_text(OWN)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "my_own_plc", raising=False)
    return "my_own_plc"


def test_an_adapter_by_its_path_is_shown_as_one_that_is_installed(
    my_plc: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapters", f"{my_plc}:MyAdapter"]) == 0
    out = capsys.readouterr().out
    assert "My PLC, over a wire of its own" in out
    assert "from my_own_plc.py" in out
    assert any(line.split()[:2] == ["register", "required"] for line in out.splitlines())
    assert main(["adapters", f"{my_plc}:MyAdapter", "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["name"] == "my_own_plc:MyAdapter"


@pytest.mark.parametrize(
    ("path", "words", "code"),
    [
        ("my_own_plc:NO_ADAPTER", "is no adapter", 2),
        ("my_own_plc:Gone", "has no attribute 'Gone'", 5),
        ("not_there_at_all:X", "PYTHONPATH", 5),
        (":", "module:Class", 5),
    ],
)
def test_a_path_that_leads_to_no_adapter_is_told(
    my_plc: str, path: str, words: str, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["adapters", path]) == code
    assert words in capsys.readouterr().err
