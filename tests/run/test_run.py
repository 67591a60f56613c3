"""Real processes: a hub, adapters, real signals. What was received is on disk, and what is missing is said."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import zmq

from bridge.bus import frame
from bridge.commands.run import closing_lines, exit_code
from bridge.pipeline import Totals
from bridge.supervisor import Outcome
from tests.run.run_rig import alive, children, eventually, health, rows, tick, ticks, write_site


def test_a_clean_stop_loses_nothing(tmp_path, running):
    run = running({"one": tick(tmp_path, "one", rate_hz=2000), "two": tick(tmp_path, "two", rate_hz=50)})
    eventually(lambda: len(ticks(tmp_path, "one")) > 500 and len(ticks(tmp_path, "two")) > 10)
    outcome = run.stop()
    for name in ("one", "two"):
        handed_over = int((tmp_path / f"{name}.tally.0").read_text())
        assert ticks(tmp_path, name) == list(range(handed_over))
    assert outcome.totals.gaps == outcome.totals.lost == outcome.totals.duplicates == 0
    assert outcome.codes == {"one": 0, "two": 0}
    kinds = [row["event"]["body"] for row in rows(tmp_path) if "event" in row]
    assert [body["boundary"] for body in kinds if body["kind"] == "run"] == ["begin", "end"]


def test_it_ends_by_itself_when_every_source_has_ended(tmp_path, running):
    run = running({"one": tick(tmp_path, "one", count=30)})
    run.thread.join(60)
    assert run.outcome is not None
    assert ticks(tmp_path, "one") == list(range(30))


def test_a_killed_adapter_comes_back_and_its_gap_is_an_event(tmp_path, running):
    run = running({"one": tick(tmp_path, "one"), "two": tick(tmp_path, "two")})
    eventually(lambda: len(ticks(tmp_path, "one")) > 50 and len(ticks(tmp_path, "two")) > 50)
    os.kill(run.supervisor.pids()["one"], signal.SIGKILL)
    eventually(lambda: any(row.get("source") == "one" and row.get("epoch") == 1 for row in rows(tmp_path)))
    outcome = run.stop()
    (gap,) = health(tmp_path, "gap")
    window = gap["window"]
    of_one = [row for row in rows(tmp_path) if row.get("source") == "one" and "values" in row]
    before = [row["aligned"] for row in of_one if row["epoch"] == 0]
    after = [row["aligned"] for row in of_one if row["epoch"] == 1]
    assert window["t0_ns"] == max(before)
    assert max(before) < window["t1_ns"] <= min(after)
    assert "one" in gap["text"]
    assert len(health(tmp_path, "restarted")) == 1
    # The other one never stopped: its ticks have no hole, and its process is still the first.
    assert ticks(tmp_path, "two") == list(range(int((tmp_path / "two.tally.0").read_text())))
    assert outcome.restarts == {"one": 1, "two": 0}


def test_a_killed_hub_costs_nothing_that_an_adapter_still_held(tmp_path, running):
    run = running({"one": tick(tmp_path, "one", rate_hz=1000)})
    eventually(lambda: len(ticks(tmp_path, "one")) > 200)
    first = run.supervisor.pids()["hub"]
    os.kill(first, signal.SIGKILL)
    eventually(lambda: run.supervisor.pids().get("hub", first) != first)
    many = len(ticks(tmp_path, "one"))
    eventually(lambda: len(ticks(tmp_path, "one")) > many + 200)
    outcome = run.stop()
    assert outcome.hub_restarts == 1
    handed_over = int((tmp_path / "one.tally.0").read_text())
    assert sorted(set(ticks(tmp_path, "one"))) == list(range(handed_over))
    assert any("hub" in line and "SIGKILL" in line for line in run.lines)


def test_what_a_restart_can_not_mend_stays_down_and_the_others_go_on(tmp_path, running):
    run = running({"one": tick(tmp_path, "one"), "needy": "adapter: tests.run.plugins:NeedyAdapter\n"})
    eventually(lambda: any("stays down" in line for line in run.lines))
    many = len(ticks(tmp_path, "one"))
    eventually(lambda: len(ticks(tmp_path, "one")) > many + 50)
    outcome = run.stop()
    assert outcome.codes["needy"] == 5
    assert outcome.restarts["needy"] == 0
    said = [row["log"] for row in rows(tmp_path) if "log" in row]
    assert any("a_module_that_is_not_there" in text and "pip install" in text for _, _, text in said)


def test_a_crashing_adapter_is_restarted_with_backoff(tmp_path, running):
    run = running({"one": tick(tmp_path, "one"), "bad": tick(tmp_path, "bad", crash_at=3)})
    eventually(lambda: len(health(tmp_path, "gap")) >= 2)
    waits = [float(line.split("again in ")[1].split()[0]) for line in run.lines if "again in" in line]
    run.stop()
    assert waits[1] > waits[0]
    # Three ticks of each life, every one of them kept.
    of_bad = [row["values"] for row in rows(tmp_path) if row.get("source") == "bad" and "values" in row]
    assert of_bad[:6] == [[0], [1], [2], [0], [1], [2]]
    # And the time in which it was down is a gap for each.
    gaps = [body for body in health(tmp_path, "gap") if "had failed and was started again" in body["text"]]
    assert len(gaps) >= 2
    assert all(body["window"]["t1_ns"] - body["window"]["t0_ns"] > 300_000_000 for body in gaps)


def test_a_stranger_with_garbage_costs_nothing(tmp_path, running):
    run = running({"one": tick(tmp_path, "one")})
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    context = zmq.Context()
    stranger = context.socket(zmq.DEALER)
    stranger.setsockopt(zmq.LINGER, 1000)
    stranger.connect(run.supervisor.address)
    stranger.send(b"hello?")
    stranger.send_multipart([b"two", b"parts"])
    stranger.send(frame.encode(frame.Ack(source="one", epoch=0, number=1, sequence=1)))
    eventually(lambda: len(health(tmp_path, "refused_peer")) == 3)
    stranger.close()
    context.term()
    outcome = run.stop()
    assert outcome.totals.refused == 3
    assert ticks(tmp_path, "one") == list(range(int((tmp_path / "one.tally.0").read_text())))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_dari_run_stops_on_a_signal_and_closes_the_log(tmp_path, number, command):
    site = write_site(tmp_path, {"one": tick(tmp_path, "one")})
    process = command("run", str(site), "--out", str(tmp_path))
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert "Traceback" not in err
    assert "log: " in out
    assert ticks(tmp_path, "one") == list(range(int((tmp_path / "one.tally.0").read_text())))
    assert rows(tmp_path)[-1] == {"closed": "stopped"}


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_nothing_outlives_a_killed_supervisor(tmp_path, command):
    site = write_site(tmp_path, {"one": tick(tmp_path, "one")})
    process = command("run", str(site), "--out", str(tmp_path))
    eventually(lambda: len(ticks(tmp_path, "one")) > 20)
    started = children(process.pid)
    assert len(started) == 2
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: not any(alive(pid) for pid in started if Path(f"/proc/{pid}").exists()))
    # And they went in order: what the adapter had handed over is there, and the sink was closed.
    eventually(lambda: rows(tmp_path)[-1].get("closed") is not None)


def test_what_the_rules_counted_is_said_when_there_is_something_to_say():
    totals = Totals(records=1200, rules={"inputs": {"late": 3, "held": 7}, "pick": {"mismatches": 2, "guarded": 9}})
    totals.add(Totals(records=34, rules={"inputs": {"late": 1}}, rules_failed="the rules failed"))
    lines = closing_lines(Outcome(places=["a.mcap"], totals=totals))
    assert lines[0].startswith("1,234 messages")
    assert "rules: inputs: 4 inputs came too late for their place in the order" in lines
    assert "rules: pick: 2 evaluations met a value of the wrong kind" in lines
    assert any(line.startswith("error: the rules failed") for line in lines)
    quiet = closing_lines(Outcome(places=["a.mcap"], totals=Totals(rules={"inputs": {"late": 0}, "pick": {}})))
    assert len(quiet) == 3


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        (Outcome(places=["a"], codes={"one": 0}), 0),
        (Outcome(places=["a"], codes={"one": 0, "two": 4}), 4),
        (Outcome(places=["a"], codes={"one": -9}), 1),
        (Outcome(places=["a"], codes={"one": 9}, hub_code=6), 6),
        (Outcome(places=["a"], codes={"one": 0}, hub_code=-9), 1),
        (Outcome(places=[], codes={"one": 0}), 1),
        (Outcome(places=["a"], totals=Totals(rules_failed="x")), 1),
    ],
)
def test_the_exit_code_says_whether_all_went_well(outcome, code):
    assert exit_code(outcome) == code


def test_a_run_does_not_start_without_its_secrets(tmp_path, command):
    body = """\
        adapter: mqtt
        options: {host: 127.0.0.1, username: someone, password: {env: DARI_TEST_IS_NOT_SET}}
        signals: {value: {topic: line/value}}
        """
    site = write_site(tmp_path, {"broker": body})
    done = command("run", str(site), "--out", str(tmp_path))
    out, err = done.communicate(timeout=60)
    assert done.returncode == 3
    assert "DARI_TEST_IS_NOT_SET" in err and "export" in err
    assert "Traceback" not in err and out == ""
    assert rows(tmp_path) == []
