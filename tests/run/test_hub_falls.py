"""A hub that is stopped, killed, or has no room to write: the sources hold what comes, and the logs together have all of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import bridge.hub_keeper
import bridge.supervisor
from bridge.commands.run import closing_lines, exit_code
from recorder.reader import open_log
from tests.run.run_rig import (
    ROOT,
    eventually,
    health,
    log_events,
    log_ticks,
    logs,
    rows,
    tick,
    ticks,
    write_site,
)

MCAP = {"sink": "mcap", "sink_options": {"flush_ms": 100}}


def handed_over(folder: Path, name: str, epoch: int = 0) -> list[int]:
    return list(range(int((folder / f"{name}.tally.{epoch}").read_text())))


def test_a_hub_that_stands_still_for_seconds_loses_nothing(tmp_path, running):
    run = running({"one": tick(tmp_path, "one", rate_hz=2000), "two": tick(tmp_path, "two", rate_hz=50)})
    eventually(lambda: len(ticks(tmp_path, "one")) > 200 and ticks(tmp_path, "two"))
    hub = run.supervisor.pids()["hub"]
    os.kill(hub, signal.SIGSTOP)
    time.sleep(3)
    before = len(ticks(tmp_path, "one"))
    os.kill(hub, signal.SIGCONT)
    eventually(lambda: len(ticks(tmp_path, "one")) > before + 6_000)
    outcome = run.stop()
    for name in ("one", "two"):
        assert ticks(tmp_path, name) == handed_over(tmp_path, name)
    assert outcome.totals.gaps == outcome.totals.lost == outcome.totals.duplicates == 0
    assert outcome.hub_restarts == 0
    assert outcome.codes == {"one": 0, "two": 0}


def test_a_stop_while_the_hub_stands_still_waits_for_it(tmp_path, running):
    run = running({"one": tick(tmp_path, "one", rate_hz=500)})
    eventually(lambda: len(ticks(tmp_path, "one")) > 50)
    hub = run.supervisor.pids()["hub"]
    os.kill(hub, signal.SIGSTOP)
    run.stopping.set()
    eventually((tmp_path / "one.tally.0").exists)
    time.sleep(2)
    os.kill(hub, signal.SIGCONT)
    outcome = run.stop()
    assert outcome.codes == {"one": 0}
    assert ticks(tmp_path, "one") == handed_over(tmp_path, "one")


def test_a_killed_hub_goes_on_in_a_second_log_and_both_together_have_everything(tmp_path, running, command):
    sources = {name: tick(tmp_path, name, rate_hz=1000) for name in ("one", "two")}
    run = running(sources, **MCAP)
    eventually(lambda: logs(tmp_path) and len(log_ticks(logs(tmp_path)[0], "one")) > 200)
    first = run.supervisor.pids()["hub"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: len(logs(tmp_path)) == 2 and len(log_ticks(logs(tmp_path)[1], "one")) > 200)
    outcome = run.stop()
    old, new = logs(tmp_path)
    for name in sources:
        both = log_ticks(old, name) + log_ticks(new, name)
        assert sorted(set(both)) == handed_over(tmp_path, name)
        # What stands in both is what had been flushed and not yet confirmed.
        assert len(both) - len(set(both)) < 2000
    assert outcome.places == [str(old), str(new)]
    assert outcome.remarks == {str(old): "NOT closed: the hub ended by signal SIGKILL"}
    assert outcome.uncounted == 1
    assert exit_code(outcome) == 0
    said = "\n".join(closing_lines(outcome))
    assert f"log: {old} (NOT closed" in said and f"next: dari info {new}" in said and "not counted" in said
    assert any(f"dari info {old}" in line for line in run.lines)
    # `dari info` reads what was written, and says that it was not closed.
    out, err = command("info", str(old)).communicate(timeout=60)
    assert "NOT closed" in out and "/field/one/one/signals" in out, err
    # Two logs of one run: no event's id stands for two events.
    ids = [event.id for path in (old, new) for event in log_events(path)]
    assert len(set(ids)) == len(ids)
    with open_log(new) as log:
        assert log.metadata["dari.run"]["part"] == "1"


def test_a_killed_adapter_of_three_leaves_the_others_numbers_without_a_hole(tmp_path, running):
    names = ("one", "two", "three")
    run = running({name: tick(tmp_path, name, rate_hz=500) for name in names}, **MCAP)
    eventually(lambda: logs(tmp_path) and all(len(log_ticks(logs(tmp_path)[0], name)) > 100 for name in names))
    os.kill(run.supervisor.pids()["two"], signal.SIGKILL)
    (log,) = logs(tmp_path)
    # It counts from 0 again: a second epoch in the one log.
    eventually(lambda: log_ticks(log, "two").count(100) == 2)
    outcome = run.stop()
    for name in ("one", "three"):
        assert log_ticks(log, name) == handed_over(tmp_path, name)
    twice = log_ticks(log, "two")
    assert twice[-len(handed_over(tmp_path, "two", 1)) :] == handed_over(tmp_path, "two", 1)
    assert epochs(log) == {"one": {0}, "two": {0, 1}, "three": {0}}
    gaps = [e for e in log_events(log) if e.kind == "health" and e.body.code.value == "gap"]
    assert [gap.ext["dari.about"] for gap in gaps] == ["two"]
    assert outcome.restarts == {"one": 0, "two": 1, "three": 0}
    with open_log(log) as opened:
        assert opened.metadata["dari.starts"]["two"] == "2"


def epochs(path: Path) -> dict[str, set[int]]:
    """The starts of each source in a log, each numbered from 0 without a hole."""
    numbers: dict[str, dict[int, list[int]]] = {}
    with open_log(path) as log:
        clocks = [c.topic for c in log.channels.values() if c.topic.startswith("/dari/clock/")]
        for message in log.messages(clocks):
            columns = log.decode(message)
            if columns.source in ("one", "two", "three"):
                found = numbers.setdefault(columns.source, {}).setdefault(columns.source_epoch, [])
                found += columns.sequence.tolist()
    for of_source in numbers.values():
        for found in of_source.values():
            assert sorted(found) == list(range(len(found)))
    return {source: set(of_source) for source, of_source in numbers.items()}


def test_a_disk_that_fills_up_is_waited_for_and_nothing_is_lost(tmp_path, running, monkeypatch):
    monkeypatch.setattr(bridge.hub_keeper, "FIRST_BACKOFF_S", 0.2)
    monkeypatch.setattr(bridge.hub_keeper, "MAX_BACKOFF_S", 0.5)
    run = running({"one": tick(tmp_path, "one", rate_hz=1000)}, sink="tests.run.plugins:FailingSink")
    eventually(lambda: len(ticks(tmp_path, "one")) > 100)
    full = tmp_path / "records" / "full"
    full.touch()
    eventually(lambda: run.supervisor._hub.record.restarts >= 6)
    full.unlink()
    many = len(ticks(tmp_path, "one"))
    eventually(lambda: len(ticks(tmp_path, "one")) > many + 500)
    outcome = run.stop()
    assert sorted(set(ticks(tmp_path, "one"))) == handed_over(tmp_path, "one")
    assert outcome.codes == {"one": 0}
    assert exit_code(outcome) == 0
    said = [line for line in run.lines if "the disk is full" in line]
    # Said with what to do, and not once for each of the tries.
    assert 1 <= len(said) <= 3
    assert "next: make room" in said[0]
    assert any("the sources hold what comes" in line for line in run.lines)


def test_a_run_that_ends_while_the_disk_is_full_says_what_is_missing(tmp_path, running, monkeypatch):
    monkeypatch.setattr(bridge.hub_keeper, "FIRST_BACKOFF_S", 0.2)
    monkeypatch.setattr(bridge.supervisor, "CONFIRM_S", 2.0)
    run = running({"one": tick(tmp_path, "one", rate_hz=200)}, sink="tests.run.plugins:FailingSink")
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    (tmp_path / "records" / "full").touch()
    eventually(lambda: run.supervisor._hub.record.code == 6)
    outcome = run.stop()
    assert outcome.codes == {"one": 9}
    assert outcome.hub_code == 6
    assert exit_code(outcome) == 6


def test_a_file_that_may_not_grow_any_more_is_followed_by_another(tmp_path):
    sources = {"one": tick(tmp_path, "one", rate_hz=2500)}
    site = write_site(tmp_path, sources, sink="mcap", sink_options={"compression": "none", "flush_ms": 100})

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))

    process = subprocess.Popen(
        [sys.executable, "-m", "bridge.cli", "run", str(site), "--out", str(tmp_path)],
        cwd=ROOT,
        preexec_fn=limit,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        eventually(lambda: len(logs(tmp_path)) >= 2 and len(log_ticks(logs(tmp_path)[-1], "one")) > 500, 90)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "ulimit" in err
    every = [n for path in logs(tmp_path) for n in log_ticks(path, "one")]
    assert sorted(set(every)) == handed_over(tmp_path, "one")
    assert out.count("NOT closed") == len(logs(tmp_path)) - 1


def test_a_hub_that_falls_again_and_again_is_given_up_with_the_adapters_stopped(tmp_path, running, monkeypatch):
    monkeypatch.setattr(bridge.hub_keeper, "FALLS", 2)
    monkeypatch.setattr(bridge.supervisor, "PATIENCE_S", 2.0)
    run = running({"one": tick(tmp_path, "one")})
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    for _ in range(3):
        eventually(lambda: "hub" in run.supervisor.pids() or not run.thread.is_alive())
        hub = run.supervisor.pids().get("hub")
        if hub is not None:
            os.kill(hub, signal.SIGKILL)
            eventually(lambda hub=hub: run.supervisor.pids().get("hub") != hub)
    run.thread.join(60)
    assert run.error is not None
    assert "fell 3 times" in str(run.error) and "SIGKILL" in str(run.error)
    # The adapter took its leave: it was not just killed.
    assert (tmp_path / "one.tally.0").exists()
    assert run.supervisor.pids() == {} or all(
        not Path(f"/proc/{pid}").exists() for pid in run.supervisor.pids().values()
    )


def test_a_folder_that_can_not_be_written_is_said_once_and_nothing_is_left_running(tmp_path, command):
    (tmp_path / "file").write_text("this is no folder")
    site = write_site(tmp_path, {"one": tick(tmp_path, "one")}, sink="mcap")
    site.write_text(site.read_text().replace(str(tmp_path / "records"), str(tmp_path / "file" / "logs")))
    process = command("run", str(site), "--out", str(tmp_path))
    out, err = process.communicate(timeout=60)
    assert process.returncode == 6
    assert "Traceback" not in err
    assert err.count("the log can not be created") == 1
    assert str(tmp_path / "file" / "logs") in err and "next: " in err
    assert out == ""
    found = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(site) not in found
    assert not (tmp_path / "one.tally.0").exists()


def test_an_output_folder_that_can_not_be_made_is_no_traceback(tmp_path, command):
    (tmp_path / "file").write_text("this is no folder")
    site = write_site(tmp_path, {"one": tick(tmp_path, "one")})
    process = command("run", str(site), "--out", str(tmp_path / "file" / "x"))
    _, err = process.communicate(timeout=60)
    assert process.returncode == 6
    assert "Traceback" not in err and "next: " in err


def test_a_hub_killed_while_it_closes_the_log_is_told(tmp_path, running, monkeypatch):
    run = running({"one": tick(tmp_path, "one")}, sink="tests.run.plugins:SlowCloseSink")
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    hub = run.supervisor.pids()["hub"]
    run.stopping.set()
    eventually((tmp_path / "records" / "closing").exists)
    os.kill(hub, signal.SIGKILL)
    outcome = run.stop()
    assert outcome.hub_code == -signal.SIGKILL
    assert exit_code(outcome) == 1
    assert any("SIGKILL" in line and "while it closed the log" in line for line in run.lines)
    (place,) = outcome.places
    assert "NOT closed" in outcome.remarks[place]
    assert ticks(tmp_path, "one") == handed_over(tmp_path, "one")


def test_a_source_that_stays_away_has_its_gap_told_to_the_end(tmp_path, running):
    body = tick(tmp_path, "away", rate_hz=500).replace("TickAdapter", "AwayAdapter")
    run = running({"away": body, "one": tick(tmp_path, "one")})
    eventually(lambda: len(ticks(tmp_path, "away")) > 50)
    os.kill(run.supervisor.pids()["away"], signal.SIGKILL)
    eventually((tmp_path / "away.tally.waiting").exists)
    time.sleep(1.0)
    run.stop()
    (gap,) = health(tmp_path, "gap")
    assert "nothing more came of its source" in gap["text"]
    last = max(row["aligned"] for row in rows(tmp_path) if row.get("source") == "away" and "values" in row)
    assert gap["window"]["t0_ns"] == last
    assert gap["window"]["t1_ns"] - last > 1_000_000_000


def test_what_is_said_of_a_source_that_never_spoke_stands_in_its_space(tmp_path, running):
    site_sources = {"one": tick(tmp_path, "one"), "needy": "adapter: tests.run.plugins:NeedyAdapter\n"}
    path = write_site(tmp_path, site_sources)
    path.write_text(path.read_text().replace("needy:\n    space: field", "needy:\n    space: twin"))
    from tests.run.run_rig import Running

    run = Running(path, tmp_path)
    eventually(lambda: any("stays down" in line for line in run.lines))
    eventually(lambda: health(tmp_path, "disconnected"))
    run.stop()
    spaces = {
        row["event"]["space"]
        for row in rows(tmp_path)
        if "event" in row and row["event"]["body"].get("text", "").startswith("needy: ended")
    }
    assert spaces == {"twin"}
    assert json.dumps(health(tmp_path, "disconnected")).count("stays down") == 1
