"""The tables of a log: what their columns count, what is left out on a narrow terminal, and in which order they stand."""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path

import pytest
from recorder_rig import BASE, MONOTONIC, MS, Rig, Told, joint_states, press_signals

import recorder.commands
from bridge.schema import Boundary, Failure, FailureCode, Run, Space, State, Task
from recorder.reader import open_log
from recorder.show import events as events_table
from recorder.show import why as why_table
from recorder.story import Events
from recorder.terminal import Column, table

Dari = Callable[..., str]


@pytest.fixture
def dari(capsys: pytest.CaptureFixture[str]) -> Dari:
    """Run one command in this process; gives what it printed."""

    def call(name: str, *arguments: object) -> str:
        command = getattr(recorder.commands, name)
        parser = argparse.ArgumentParser()
        command.configure(parser)
        capsys.readouterr()
        assert command.run(parser.parse_args([str(a) for a in arguments])) == 0
        return capsys.readouterr().out

    return call


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def row(text: str, begins: str) -> dict[str, str]:
    """The row of the table of tasks that begins so, by its heads (of two words, one)."""
    heads = next(line for line in text.splitlines() if line.startswith("space ") and "jobs" in line)
    cells = next(line for line in text.splitlines() if line.startswith(begins + " "))
    cells = cells.replace(" (1 open)", "")
    return dict(zip(heads.replace("gave up", "gave_up").split(), cells.split(), strict=True))


def test_every_task_is_counted_in_one_column(dari: Dari, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    job = port.task_key("job", 1)
    clock = iter(range(0, 10_000, 10))

    def say(key: str, *states: State, attempt: int = 1) -> None:
        for state in states:
            at = MONOTONIC + next(clock) * MS
            task = {"task_id": port.task_key(key), "parent_id": job, "attempt": attempt}
            if state is State.FAILED:
                port.event(Failure(code=FailureCode.UNKNOWN, detected_by="x"), **task, source_ns=at + BASE, arrival=at)
            port.event(Task(verb="grasp", state=state), **task, source_ns=at + BASE, arrival=at + MS)

    at = {"source_ns": MONOTONIC + BASE, "arrival": MONOTONIC + MS}
    port.event(Task(verb="acme.pick_place", base_verb="move", state=State.RUNNING), task_id=job, **at)
    say("repaired", State.RUNNING, State.FAILED)
    say("repaired", State.RUNNING, State.SUCCEEDED, attempt=2)
    say("given up", State.RUNNING, State.FAILED)
    say("canceled", State.RUNNING, State.CANCELED)
    say("skipped", State.SKIPPED)
    say("running still", State.RUNNING)
    path = rig.close()
    found = row(dari("summary", path), "twin")
    assert found["tasks"] == "5"
    assert (found["succeeded"], found["gave_up"], found["canceled"], found["open"]) == ("1", "1", "2", "1")
    assert found["failures"] == "2", "one of which did not stay"
    assert "1 (1 open)" in dari("summary", path)


def test_what_people_need_first_comes_before_the_channels(dari: Dari, written: tuple[Path, Told]) -> None:
    text = dari("summary", written[0])
    heads = ("space    jobs", "space  failure", "space  correction", "source  clock", "health: ", "topic  ")
    places = [
        next(i for i, line in enumerate(text.splitlines()) if squeezed(line).startswith(squeezed(h))) for h in heads
    ]
    assert places == sorted(places)


def squeezed(line: str) -> str:
    return " ".join(line.split())


def test_the_clock_records_are_one_line_unless_all_is_asked_for(dari: Dari, written: tuple[Path, Told]) -> None:
    for name in ("summary", "info"):
        (line,) = (line for line in dari(name, written[0]).splitlines() if line.startswith("/dari/clock/"))
        assert line.startswith("/dari/clock/* (4 topics)")
    every = [line.split() for line in dari("info", written[0], "--all").splitlines() if line.startswith("/dari/clock/")]
    assert [cells[0] for cells in every] == [f"/dari/clock/{name}" for name in ("host", "press", "robot", "twin")]
    assert int(line.split()[4]) == sum(int(cells[2]) for cells in every)


def test_a_log_that_is_not_closed_says_so_and_what_to_do(
    dari: Dari, written: tuple[Path, Told], tmp_path: Path
) -> None:
    assert "next: ask again" not in dari("info", written[0]) and "mcap recover" not in dari("info", written[0])
    cut = tmp_path / "cut.mcap"
    cut.write_bytes(written[0].read_bytes()[:30_000])
    text = dari("info", cut)
    assert str(cut) in text and "NOT closed" in text and "mcap recover" in text
    rig = Rig(tmp_path)
    joint_states(rig.port("twin"), MONOTONIC, 3)
    rig.send()
    rig.sink.flush()
    text = dari("info", rig.sink.path)
    assert "being written now" in text and "next: ask again" in text
    rig.close()
    assert "next: ask again" not in dari("info", rig.sink.path)


def test_the_sources_are_shown_by_asset_and_path(dari: Dari, written: tuple[Path, Told]) -> None:
    lines = [line.split() for line in dari("info", written[0]).splitlines()]
    assert ["source", "space", "asset", "path", "embodiment", "starts"] in lines
    assert ["press", "field", "press-1", "acme/c1/press-1", "1"] in lines


def test_events_are_suggested_only_where_there_are_some(dari: Dari, tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("press", Space.FIELD, asset="press-1", signals=press_signals())
    joint_states(port, MONOTONIC, 3)
    port.event(Run(boundary=Boundary.BEGIN), arrival=MONOTONIC)
    path = rig.close()
    text = dari("info", path)
    assert "next: dari cat" in text
    assert "jobs" not in text
    assert "no task events in this log" in dari("summary", path)


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    return Terminal()


def test_spare_columns_are_left_out_where_there_is_no_room(narrow: Terminal) -> None:
    columns = [Column("id"), Column("first out", spare=2), Column("second out", spare=1), Column("text", least=10)]
    rows = [["0" * 30, "1" * 20, "2" * 20, "a cause that takes many more columns than there are"]]
    lines = table(columns, rows, narrow)
    assert lines[0].split() == ["id", "second", "out", "text"]
    assert lines[1].endswith("…") and len(lines[1]) == 80
    assert len(table(columns, rows, io.StringIO())[1]) > 120
    columns[2] = Column("second out")
    rows[0][0] = "0" * 60
    assert table(columns, rows, narrow)[0].split() == ["id", "second", "out", "text"], "what is not spare stays"


def test_events_and_failures_fit_a_terminal_of_80_columns(
    written: tuple[Path, Told], narrow: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_log(written[0]) as log:
        found = Events(log)
        monkeypatch.setattr("sys.stdout", narrow)
        why_table._list(log, found, "table")
        lines = [*events_table.lines(found.all, found.short), *narrow.getvalue().splitlines()[:-1]]
    assert len(lines) > 14
    assert max(map(len, lines)) <= 80, max(lines, key=len)
    short = written[1].failure.hex[:8]
    assert sum(line.startswith(short) or line.endswith(short) for line in lines) == 2
