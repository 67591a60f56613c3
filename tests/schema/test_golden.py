"""Golden files: what an earlier version wrote is read by this one, with the same values."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import msgpack
import msgspec
import numpy as np
import pytest
from schema_cases import cases, clock, signals

from bridge import messages
from bridge.schema import TaskEvent, decode, decode_signals, from_json
from bridge.schema.flat import from_flat, from_signal_message, from_signal_table, to_flat
from bridge.schema.interfaces import MESSAGES, ClockMessage, Message, TaskEventMessage

GOLDEN = Path(__file__).parent / "golden"
VERSIONS = sorted(folder.name for folder in GOLDEN.iterdir() if (folder / "type-hashes.json").is_file())
V1 = cases()


def test_version_one_is_there_and_holds_every_kind() -> None:
    assert "v1" in VERSIONS
    assert len(list((GOLDEN / "v1").glob("*-full.*"))) == len(list((GOLDEN / "v1").glob("*-minimal.*"))) == 27


@pytest.mark.parametrize("name", V1)
def test_events_of_version_one_are_read(name: str) -> None:
    stem = GOLDEN / "v1" / name
    assert decode(stem.with_suffix(".msgpack").read_bytes()) == V1[name]
    assert from_json(stem.with_suffix(".json").read_bytes()) == V1[name]
    message = messages.deserialize("dari_msgs/msg/TaskEvent", stem.with_suffix(".cdr").read_bytes())
    assert from_flat(message) == V1[name]
    _same_columns(message, to_flat(V1[name]), TaskEventMessage, besides={"body_json"})


@pytest.mark.parametrize("name", V1)
def test_the_plain_values_of_a_golden_file_are_all_in_the_event(name: str) -> None:
    """Without a look at the classes: what is written in the file is found again under the same path."""
    event = msgspec.to_builtins(decode((GOLDEN / "v1" / f"{name}.msgpack").read_bytes()))
    _within(json.loads((GOLDEN / "v1" / f"{name}.json").read_text(encoding="utf-8")), event, name)


@pytest.mark.parametrize("version", VERSIONS)
def test_files_of_every_version_are_read_in_all_three_forms_alike(version: str) -> None:
    stems = sorted(path.with_suffix("") for path in (GOLDEN / version).glob("*.msgpack") if path.stem != "signals")
    assert stems
    for stem in stems:
        event = decode(stem.with_suffix(".msgpack").read_bytes())
        assert from_json(stem.with_suffix(".json").read_bytes()) == event
        cdr = messages.deserialize("dari_msgs/msg/TaskEvent", stem.with_suffix(".cdr").read_bytes())
        assert from_flat(cdr) == event
        assert cdr.kind == event.kind and cdr.aligned_ns == event.time.aligned_ns


def test_signals_and_clocks_of_version_one_are_read() -> None:
    folder = GOLDEN / "v1"
    assert decode_signals((folder / "signals.msgpack").read_bytes()) == signals()
    table = messages.deserialize("dari_msgs/msg/SignalTable", (folder / "signal-table.cdr").read_bytes())
    assert from_signal_table(table) == signals()
    assert table.units == ["", "1", "m/s", "", ""]
    assert (table.header.stamp.sec, table.header.stamp.nanosec) == (1_700_000_000, 7)
    for number, signal in enumerate(signals()):
        message = messages.deserialize("dari_msgs/msg/Signal", (folder / f"signal-{number}.cdr").read_bytes())
        assert from_signal_message(message) == signal
        assert message.unit == "mm"
    model = messages.deserialize("dari_msgs/msg/ClockModel", (folder / "clock-model.cdr").read_bytes())
    _same_columns(model, clock(), ClockMessage)


def test_the_columns_of_version_one_are_frozen() -> None:
    frozen = json.loads((GOLDEN / "v1" / "type-hashes.json").read_text())
    assert frozen == {message.type_name: messages.type_hash(message.type_name) for message in MESSAGES}


def test_what_is_written_today_is_what_was_written_then() -> None:
    """Bytes may change only on purpose: with a new version folder, and with this test altered."""
    for name, data in _make().files().items():
        golden = (GOLDEN / "v1" / name).read_bytes()
        if name.endswith(".msgpack"):
            assert msgpack.unpackb(data) == msgpack.unpackb(golden)
        assert data == golden, name


def test_golden_files_are_never_overwritten(tmp_path: Path) -> None:
    make = _make()
    written = make.write(tmp_path / "v9")
    assert len(written) == len(make.files())
    for path in written[:-1]:
        path.unlink()
    written[-1].write_bytes(b"kept")
    with pytest.raises(FileExistsError, match="1 golden files exist"):
        make.write(tmp_path / "v9")
    assert written[-1].read_bytes() == b"kept"
    assert not written[0].exists()


def _make() -> ModuleType:
    spec = importlib.util.spec_from_file_location("golden_make", GOLDEN / "make.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _same_columns(message: object, expected: Message, type_: type[Message], besides: set[str] = frozenset()) -> None:
    for name in type_.__struct_fields__:
        if name in besides or name == "header":
            continue
        got, want = getattr(message, name), getattr(expected, name)
        if isinstance(want, np.ndarray):
            assert np.array_equal(got, want), name
        else:
            assert got == want or (got != got and want != want), name


def _within(part: object, whole: object, where: str) -> None:
    if isinstance(part, dict):
        assert isinstance(whole, dict), where
        for key, item in part.items():
            assert key in whole, f"{where}.{key}"
            _within(item, whole[key], f"{where}.{key}")
    elif isinstance(part, list):
        assert isinstance(whole, (list, tuple)) and len(part) == len(whole), where
        for index, item in enumerate(part):
            _within(item, whole[index], f"{where}[{index}]")
    else:
        assert part == whole, where


def test_the_reader_of_golden_files_can_fail() -> None:
    with pytest.raises(AssertionError):
        _within({"a": [1, {"b": 2}]}, {"a": [1, {"b": 3}]}, "x")
    assert isinstance(next(iter(V1.values())), TaskEvent)
