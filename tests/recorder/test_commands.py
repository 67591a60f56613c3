"""The log commands as a person uses them: what they print, what they answer to wrong input."""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

import pytest
from recorder_rig import BASE, MONOTONIC, MS, PLANNER, Rig, Told, failed_grasp, poll, press_signals

import recorder.commands
from bridge.errors import LogError, UsageError
from bridge.schema import (
    Body,
    Change,
    Correction,
    Failure,
    FailureCode,
    Measure,
    Space,
    State,
    Strategy,
    Task,
    codec,
)
from recorder.decode import plain
from recorder.terminal import Column, ProgressLine, clip, table, wants_colour
from recorder.wording import offset, size, span

Dari = Callable[..., str]


@pytest.fixture
def dari(capsys: pytest.CaptureFixture[str]) -> Dari:
    """Run one command in this process; gives what it printed."""

    def call(name: str, *arguments: object, code: int = 0) -> str:
        command = getattr(recorder.commands, name)
        parser = argparse.ArgumentParser()
        command.configure(parser)
        capsys.readouterr()
        assert command.run(parser.parse_args([str(a) for a in arguments])) == code
        return capsys.readouterr().out

    return call


def test_info_tells_what_is_there(dari: Dari, written: tuple[Path, Told]) -> None:
    text = dari("info", written[0])
    for words in (
        "closed",
        "site testcell",
        "/twin/arm/joint_states",
        "100 Hz",
        "task 7",
        "losses 1",
        "messages lost 4",
        "missing sequence numbers 0",
        "acme/c1/press-1",
        "+249.000 ms",
        "task-event.schema.json",
    ):
        assert words in text, words
    assert "\x1b" not in text, "no colour in a pipe"
    lines = [json.loads(line) for line in dari("info", written[0], "--format", "jsonl").splitlines()]
    assert {line["record"] for line in lines} == {"log", "source", "channel", "clock", "space"}
    channel = next(line for line in lines if line.get("topic") == "/testbed/arm/joint_states")
    assert (channel["count"], channel["lost"]) == (200, 4)


def test_info_of_a_log_that_was_cut(dari: Dari, written: tuple[Path, Told], tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    whole = written[0].read_bytes()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    text = dari("info", path)
    assert "NOT closed" in text
    assert "messages can be read" in text
    assert "/twin/arm/joint_states" in text


def test_info_of_a_foreign_log(dari: Dari, tmp_path: Path) -> None:
    from mcap.writer import Writer

    path = tmp_path / "foreign.mcap"
    with path.open("wb") as file:
        writer = Writer(file)
        writer.start(library="someone else's")
        schema = writer.register_schema("std_msgs/msg/Int64", "ros2msg", b"int64 data")
        channel = writer.register_channel("/x", "cdr", schema)
        for n in range(5):
            writer.add_message(channel, n * 10**9, b"\0\1\0\0" + n.to_bytes(8, "little"), n)
        writer.finish()
    text = dari("info", path)
    assert "someone else's" in text
    assert "/x" in text
    assert "events: none" in text
    assert "no task events" in dari("summary", path)
    assert "no failures" in dari("why", path)
    lines = [json.loads(line) for line in dari("cat", path).splitlines()]
    assert [line["message"] for line in lines] == [{"data": n} for n in range(5)]


def test_events_and_their_filters(dari: Dari, written: tuple[Path, Told]) -> None:
    path, told = written

    def ids(*arguments: str) -> list[str]:
        found = dari("events", path, "--format", "jsonl", *arguments).splitlines()
        return [str(codec.from_json(line).id) for line in found]

    whole = ids()
    assert len(whole) == 13
    assert ids("--space", "testbed") != whole
    assert len(ids("--space", "testbed")) == 1
    assert len(ids("--space", "testbed", "--space", "twin")) == 13
    assert len(ids("--kind", "correction")) == 2
    assert len(ids("--failed")) == 2
    assert str(told.failure) in ids("--failed")
    assert len(ids("--state", "running")) == 3
    assert len(ids("--task", told.job.hex[:8])) == 12
    assert len(ids("--task", str(told.task))) == 10
    assert len(ids("--verb", "grasp")) == 10
    assert len(ids("--verb", "move", "--kind", "task")) == 2, "by base verb"
    assert len(ids("--source", "robot")) == 1
    text = dari("events", path)
    assert "grasp.slip, found by force_monitor" in text
    assert told.failure.hex[:8] in text
    assert "1 of 13 events" in dari("events", path, "--kind", "failure")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (("--state", "runing"), "RUNNING"),
        (("--source", "robott"), "robot"),
        (("--verb", "gras"), "grasp"),
        (("--task", "ffffffffffff"), "there are"),
    ],
)
def test_filters_that_can_not_be_meant(
    dari: Dari, written: tuple[Path, Told], arguments: tuple[str, str], hint: str
) -> None:
    with pytest.raises(UsageError) as caught:
        dari("events", written[0], *arguments)
    assert hint in caught.value.hint


def test_why_tells_the_story(dari: Dari, written: tuple[Path, Told]) -> None:
    path, told = written
    text = dari("why", path, told.failure.hex[:10])
    for words in (
        "grasp.slip (fault), twin, acme/c1/arm",
        "130 ms after the onset",
        "low friction was injected (says twin, confidence 1.00)",
        "min(effort[gripper_width]) < 1.0",
        "recorded  0.25 N, threshold 1 N",
        "read back 0.25 N (13 samples), agrees",
        "which grasp: top",
        "the last one of this attempt",
        "rejected: nearer to the wall",
        "grasp.force_n: 5.0 -> 20.0",
        "repaired after 125 ms",
        "attempt 2  grasp SUCCEEDED",
    ):
        assert words in text, words
    story = json.loads(dari("why", path, str(told.failure), "--format", "jsonl"))
    assert story["decision"]["id"] == str(told.decision)
    assert story["corrections"][0]["begun"]["id"] == str(told.correction)
    assert story["evidence"][0]["read_back"]["agrees"] is True
    listed = dari("why", path)
    assert told.failure.hex[:8] in listed
    assert "low friction was injected" in listed


def test_why_says_when_the_telemetry_tells_another_story(dari: Dari, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    told = failed_grasp(port, MONOTONIC)
    # Take the telemetry away: the evidence then rests on nothing that the log holds.
    grip = port._channels["gripper/state"].index
    port.records = [r for r in port.records if r.channel != grip]
    path = rig.close()
    assert "not possible: " in dari("why", path, told.failure.hex)


def test_why_with_ids_that_are_none(dari: Dari, written: tuple[Path, Told]) -> None:
    path, told = written
    with pytest.raises(UsageError, match="no failure in this log") as caught:
        dari("why", path, "zzzz")
    assert told.failure.hex[:8] in caught.value.hint
    typo = told.failure.hex[:7] + ("0" if told.failure.hex[7] != "0" else "1")
    with pytest.raises(UsageError) as caught:
        dari("why", path, typo)
    assert told.failure.hex[:8] in caught.value.hint
    with pytest.raises(UsageError, match="is a correction event") as caught:
        dari("why", path, told.correction.hex)
    assert told.failure.hex[:8] in caught.value.hint
    with pytest.raises(UsageError, match="is a decision event") as caught:
        dari("why", path, told.decision.hex)
    assert told.failure.hex[:8] in caught.value.hint


def test_an_ambiguous_id_names_them_all(dari: Dari, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    told = [failed_grasp(port, MONOTONIC + n * 10**9, n) for n in range(40)]
    path = rig.close()
    first = [t.failure.hex[0] for t in told]
    shared = next(letter for letter in first if first.count(letter) > 1)
    with pytest.raises(UsageError, match="is the beginning of") as caught:
        dari("why", path, shared)
    assert "grasp.slip" in caught.value.what
    summary = json.loads(dari("summary", path, "--format", "json"))
    twin = summary["spaces"]["twin"]
    assert (twin["jobs"], twin["tasks"], twin["attempts"]) == (40, 40, 80)
    assert twin["failures"] == [
        {"code": "grasp.slip", "count": 40, "causes": {"low friction was injected": 40}, "corrected": 40}
    ]
    assert twin["corrections"] == [
        {"strategy": "reparameterise", "count": 40, "repaired": 40, "partial": 0, "none": 0, "open": 0}
    ]
    assert "low friction was injected (40 times)" in dari("summary", path)


def test_why_writes_what_is_not_there_in_words_and_the_history_in_order(dari: Dari, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    task = port.task_key("avoid", 1)

    def say(ms: int, body: Body) -> UUID:
        at = MONOTONIC + ms * MS
        return port.event(body, task_id=task, source_ns=at + BASE, arrival=at + MS)

    say(0, Task(verb="avoid", state=State.RUNNING))
    say(5, Measure(name="clearance", value=0.03, unit="m", passed=False))
    failure = say(10, Failure(code=FailureCode.UNKNOWN, detected_by="bumper"))
    changes = (
        Change(path="way", before="outer", after=None),
        Change(path="home.rise", before=False, after=True),
        Change(path="part.camera", before=None, after="wrist"),
    )
    say(10, Correction(corrects=failure, actor=PLANNER, strategy=Strategy.REPLAN, changes=changes))
    say(12, Task(verb="avoid", state=State.FAILED))
    path = rig.close()
    text = dari("why", path, failure.hex)
    assert "None" not in text
    for words in ("way: outer -> any other", "home.rise: no -> yes", "part.camera: none -> wrist"):
        assert f"    {words}\n" in text
    assert "by planner grasp_planner, at once" in text
    history = text.partition("the task's history")[2].splitlines()[1:]
    assert [line.split()[3:5] for line in history] == [["avoid", "RUNNING"], ["clearance", "="], ["avoid", "FAILED"]]
    assert "None" not in dari("events", path)
    assert "way: outer -> any other" in dari("events", path)


def test_cat_writes_null_for_what_is_null_in_our_types_only(dari: Dari, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    press = rig.port("press", Space.FIELD, asset="press-1", signals=press_signals())
    poll(press, MONOTONIC, 3)
    path = rig.close()
    (one,) = (json.loads(line)["message"] for line in dari("cat", path, "*/temperature").splitlines())
    assert one["server_ns"] is None and one["source_ns"] > 0 and one["value"] == 183.0
    (table_,) = (json.loads(line)["message"] for line in dari("cat", path, "*/signals").splitlines())
    assert table_["server_ns"] == [None] * 3
    assert "quality" in one and not [key for key in one if key.isupper()], "constants are no fields"
    text = dari("cat", path)
    assert str(-(2**63)) not in text and str(2**64 - 1) not in text and "NaN" not in text


@dataclass
class Foreign:
    """As the decoder would make it of a message with one int64."""

    data: int


def test_the_least_number_of_a_foreign_type_stays_a_number() -> None:
    assert plain(Foreign(-(2**63)), "std_msgs/msg/Int64") == {"data": -(2**63)}
    assert plain(Foreign(-(2**63)), "dari_msgs/msg/Signal") == {"data": None}
    assert plain(Foreign(0), "dari_msgs/msg/Signal") == {"data": 0}


def test_the_summary_in_either_json(dari: Dari, written: tuple[Path, Told]) -> None:
    as_lines = dari("summary", written[0], "--format", "jsonl")
    assert as_lines == dari("summary", written[0], "--format", "json")
    assert json.loads(as_lines)["site"] == "testcell"
    assert as_lines.count("\n") == 1


def test_cat_decodes(dari: Dari, written: tuple[Path, Told]) -> None:
    path, _ = written
    lines = [json.loads(line) for line in dari("cat", path, "/twin/*/joint_states", "--limit", "3").splitlines()]
    assert [line["message"]["position"][0] for line in lines] == [0.0, 0.01, 0.02]
    raw = json.loads(dari("cat", path, "/twin/arm/joint_states", "--limit", "1", "--raw"))
    assert raw["data"].startswith("00010000")
    assert len(dari("cat", path, "/twin/arm/joint_states", "--duration", "0.5").splitlines()) > 10
    assert dari("cat", path, "--limit", "0") == ""
    with pytest.raises(UsageError) as caught:
        dari("cat", path, "/twin/arm/joint_state")
    assert "/twin/arm/joint_states" in caught.value.hint
    for line in dari("cat", path).splitlines():
        assert "error" not in json.loads(line)


@pytest.mark.parametrize("command", ["info", "events", "why", "summary", "cat"])
def test_a_log_that_is_none(dari: Dari, tmp_path: Path, command: str) -> None:
    path = tmp_path / "text.mcap"
    path.write_text("not a log at all")
    with pytest.raises(LogError, match="no MCAP file"):
        dari(command, path)


@pytest.mark.parametrize("cut", [9, 40, 2_000, 30_000])
@pytest.mark.parametrize("command", ["info", "events", "why", "summary", "cat"])
def test_every_command_takes_a_cut_log(
    dari: Dari, written: tuple[Path, Told], tmp_path: Path, command: str, cut: int
) -> None:
    path = tmp_path / "cut.mcap"
    path.write_bytes(written[0].read_bytes()[:cut])
    dari(command, path)


def test_the_commands_are_light_to_import() -> None:
    """`dari --help` imports this module: nothing heavy may come with it."""
    script = (
        "import sys, recorder.commands\n"
        "heavy = {'numpy', 'mcap', 'rosbags', 'msgspec', 'zstandard', 'yaml', 'zmq'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_table_fits_the_terminal_and_is_whole_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    columns = [Column("id"), Column("what", least=5), Column("n", right=True)]
    rows = [
        ["abcd", "a very long text that does not fit at all", "12"],
        ["ef", "온도가 너무 높습니다 온도가 너무 높습니다", "3"],
    ]
    plain = table(columns, rows, io.StringIO())
    assert plain[1].endswith("a very long text that does not fit at all  12")
    monkeypatch.setenv("NO_COLOR", "1")
    narrow = table(columns, rows, _Terminal(), ["red", ""])
    assert all(len(line) <= 40 for line in narrow)
    assert "…" in narrow[1]
    assert not wants_colour(_Terminal())
    monkeypatch.delenv("NO_COLOR")
    assert table(columns, rows, _Terminal(), ["red", ""])[1].startswith("\x1b[31m")
    assert clip("온도", 3) == "온…"


def test_progress_is_for_terminals() -> None:
    silent = io.StringIO()
    line = ProgressLine("reading", silent)
    line._begun -= 10
    line(1, 2)
    line.done()
    assert silent.getvalue() == ""
    shown = _Terminal()
    line = ProgressLine("reading", shown)
    line._begun -= 10
    line(1, 2)
    line.done()
    assert "reading: 50%" in shown.getvalue()


def test_wording() -> None:
    assert [
        span(n) for n in (0, 999, 1_500, 2_500_000, 12_300_000_000, 245_000_000_000, 8_000 * 10**9, 2 * 86_400 * 10**9)
    ] == [
        "0 ns",
        "999 ns",
        "1.5 us",
        "2.5 ms",
        "12.3 s",
        "4 m 05 s",
        "2 h 13 m",
        "2 d 00 h",
    ]
    assert [offset(n) for n in (250_000_000, -3_000_000_000, 1_500, -(10**18))] == [
        "+250.000 ms",
        "-3.000000 s",
        "+1.5 us",
        "own epoch",
    ]
    assert [size(n) for n in (12, 2048, 3 * 2**30)] == ["12 B", "2.0 KiB", "3.0 GiB"]
