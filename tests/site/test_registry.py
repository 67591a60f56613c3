"""The registry: lazy, quick, and plain about what can not be loaded. Real distributions are made and put on the path."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bridge import registry
from bridge.errors import UsageError


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the path where distributions can be put; what is remembered is forgotten before and after."""
    monkeypatch.syspath_prepend(str(tmp_path))
    registry._installed.cache_clear()
    yield tmp_path
    registry._installed.cache_clear()


def put(shelf: Path, name: str, entry_points: str, **modules: str) -> None:
    """An installed distribution, as pip leaves it."""
    info = shelf / f"{name.replace('-', '_')}-1.2.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(entry_points)
    for module, text in modules.items():
        (shelf / f"{module}.py").write_text(text)


def test_another_companys_package_plugs_in(shelf: Path) -> None:
    put(shelf, "acme-dari", "[dari.adapters]\nacme = acme_source:Thing\n", acme_source="class Thing:\n    pass\n")
    assert "acme" in registry.names(registry.ADAPTERS)
    assert "acme_source" not in sys.modules, "names are read without importing anything"
    thing = registry.load(registry.ADAPTERS, "acme")
    assert thing.__module__ == "acme_source"
    (entry,) = [e for e in registry.entries(registry.ADAPTERS) if e.name == "acme"]
    assert (entry.distribution, entry.version, entry.target) == ("acme-dari", "1.2", "acme_source:Thing")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("acme_absent:Thing", "No module named 'acme_absent'"),
        ("acme_broken:Thing", "ZeroDivisionError: division by zero"),
        ("acme_other:Thing", "AttributeError"),
    ],
)
def test_what_can_not_be_imported_says_whose_it_is_and_why(shelf: Path, target: str, why: str) -> None:
    put(shelf, "acme-dari", f"[dari.adapters]\nacme = {target}\n", acme_broken="1 / 0\n", acme_other="")
    with pytest.raises(registry.PluginError) as caught:
        registry.load(registry.ADAPTERS, "acme")
    text = str(caught.value)
    assert "acme-dari 1.2" in text
    assert target in text
    assert why in text
    assert caught.value.exit_code == 5


def test_one_name_from_two_distributions_is_refused_with_both(shelf: Path) -> None:
    put(shelf, "acme-dari", "[dari.sinks]\nheap2 = a:X\n")
    put(shelf, "other-dari", "[dari.sinks]\nheap2 = b:Y\n")
    with pytest.raises(registry.PluginError, match=r"acme-dari \(a:X\).*other-dari \(b:Y\)|other-dari .*acme-dari"):
        registry.load(registry.SINKS, "heap2")


def test_the_same_distribution_twice_on_the_path_is_no_conflict(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An editable installation leaves its metadata in the source folder too."""
    put(shelf, "acme-dari", "[dari.adapters]\nacme = acme_twice:Thing\n", acme_twice="Thing = 1\n")
    (shelf / "again").mkdir()
    put(shelf / "again", "acme-dari", "[dari.adapters]\nacme = acme_twice:Thing\n")
    monkeypatch.syspath_prepend(str(shelf / "again"))
    registry._installed.cache_clear()
    assert registry.load(registry.ADAPTERS, "acme") == 1


def test_an_unknown_name_says_what_was_probably_meant() -> None:
    with pytest.raises(UsageError) as caught:
        registry.load(registry.ADAPTERS, "prob")
    assert "no adapter is named 'prob'" in caught.value.what
    assert "did you mean 'probe'?" in caught.value.hint
    with pytest.raises(UsageError, match="no sink is named 'xyzzy'") as caught:
        registry.load(registry.SINKS, "xyzzy")
    assert "known: " in caught.value.hint


def test_a_group_that_is_not_ours_is_a_fault_of_the_caller() -> None:
    for call in (registry.names, registry.entries):
        with pytest.raises(ValueError, match=r"dari\.adapters"):
            call("dari.adaptors")


def test_what_is_registered_goes_before_what_is_installed_and_can_be_taken_back(shelf: Path) -> None:
    put(shelf, "acme-dari", "[dari.players]\nacme = acme_player:Thing\n", acme_player="Thing = 'installed'\n")
    registry.register(registry.PLAYERS, "acme", "registered")
    try:
        assert registry.load(registry.PLAYERS, "acme") == "registered"
        assert [e.distribution for e in registry.entries(registry.PLAYERS) if e.name == "acme"] == ["this process"]
    finally:
        registry.unregister(registry.PLAYERS, "acme")
    assert registry.load(registry.PLAYERS, "acme") == "installed"
    registry.unregister(registry.PLAYERS, "acme")


def test_looking_up_names_imports_none_of_what_they_name() -> None:
    code = (
        "import sys; from bridge import registry; registry.names('dari.adapters'); registry.entries('dari.sinks');"
        "heavy = {'adapters', 'twin', 'recorder', 'numpy', 'zmq', 'yaml'} & set(sys.modules); print(sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"


def test_what_comes_with_dari_is_found_in_this_environment() -> None:
    assert {"modbus", "mqtt", "opcua", "ros2", "twin"} <= set(registry.names(registry.ADAPTERS))
    assert "mcap" in registry.names(registry.SINKS)
    assert {"info", "events", "why", "replay"} <= set(registry.names(registry.COMMANDS))
    assert {e.distribution for e in registry.entries(registry.COMMANDS)} == {"dari"}
