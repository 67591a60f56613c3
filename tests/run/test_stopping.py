"""Stopping: adapters that hang, take their time, or have hardly begun; a supervisor that is killed; a second Ctrl-C."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import pytest

import bridge.supervisor
from tests.run.run_rig import alive, children, eventually, health, rows, tick, ticks, write_site


def stuck(folder: Path, how: str, count: int = 50) -> str:
    options = {"tally": str(folder / "stuck.tally"), "count": count, "how": how, "rate_hz": 500}
    return f"adapter: tests.run.plugins:StuckAdapter\noptions: {json.dumps(options)}\n"


def test_an_adapter_that_does_not_return_costs_nothing_that_it_received(tmp_path, running, monkeypatch):
    monkeypatch.setattr(bridge.supervisor, "RETURN_S", 1.0)
    run = running({"stuck": stuck(tmp_path, "sleep"), "one": tick(tmp_path, "one")})
    eventually(lambda: (tmp_path / "stuck.tally.0").exists() and len(ticks(tmp_path, "one")) > 20)
    outcome = run.stop()
    assert ticks(tmp_path, "stuck") == list(range(50))
    assert outcome.codes == {"stuck": 10, "one": 0}
    assert outcome.totals.gaps == 0
    assert any("did not return within 1 s" in line[2] for line in logs_of(tmp_path))


def logs_of(folder: Path) -> list[list[str]]:
    return [row["log"] for row in rows(folder) if "log" in row]


def test_an_adapter_that_holds_the_interpreter_is_killed_and_that_is_said(tmp_path, running, monkeypatch):
    monkeypatch.setattr(bridge.supervisor, "STOP_S", 3.0)
    run = running({"stuck": stuck(tmp_path, "hold"), "one": tick(tmp_path, "one")})
    eventually(lambda: (tmp_path / "stuck.tally.0").exists() and len(ticks(tmp_path, "one")) > 20)
    outcome = run.stop()
    assert outcome.codes == {"stuck": -signal.SIGKILL, "one": 0}
    assert any("stuck" in line and "gave no sign" in line and "killed" in line for line in run.lines)
    # That it may have held more is in the log, with the window.
    (gap,) = health(tmp_path, "gap")
    assert gap["text"].startswith("stuck: it ended without saying that it had sent everything")
    assert ticks(tmp_path, "one") == list(range(int((tmp_path / "one.tally.0").read_text())))


def test_what_comes_while_an_adapter_takes_its_leave_is_kept(tmp_path, running):
    body = tick(tmp_path, "slow").replace("TickAdapter", "SlowReturnAdapter")
    run = running({"slow": body})
    eventually(lambda: len(ticks(tmp_path, "slow")) > 20)
    outcome = run.stop()
    assert outcome.codes == {"slow": 0}
    assert ticks(tmp_path, "slow")[-1] == -1


def test_a_stop_during_the_construction_of_an_adapter(tmp_path, running, monkeypatch):
    monkeypatch.setattr(bridge.supervisor, "RETURN_S", 1.0)
    run = running({"stuck": stuck(tmp_path, "construct")})
    eventually((tmp_path / "stuck.tally.begun").exists)
    outcome = run.stop()
    assert outcome.codes == {"stuck": 10}
    assert outcome.totals.gaps == 0


def test_a_stop_before_anything_has_begun_is_a_clean_one(tmp_path, running):
    run = running({"one": tick(tmp_path, "one"), "two": tick(tmp_path, "two")})
    eventually(lambda: "one" in run.supervisor.pids())
    outcome = run.stop()
    assert outcome.codes == {"one": 0, "two": 0}
    assert outcome.hub_code == 0
    assert rows(tmp_path)[-1] == {"closed": "stopped"}


def test_a_second_wish_to_stop_does_not_wait(tmp_path, running):
    run = running({"stuck": stuck(tmp_path, "hold"), "one": tick(tmp_path, "one")})
    eventually(lambda: (tmp_path / "stuck.tally.0").exists())
    run.stopping.set()
    eventually(lambda: "one" not in run.supervisor.pids())
    run.hurry.set()
    outcome = run.stop()
    assert outcome.codes["stuck"] == -signal.SIGKILL
    assert any("was not waited for" in line for line in run.lines)
    assert rows(tmp_path)[-1] == {"closed": "stopped"}


def test_what_an_adapter_and_a_sink_print_goes_to_standard_error(tmp_path, command):
    body = tick(tmp_path, "chatty", count=20).replace("TickAdapter", "ChattyAdapter")
    site = write_site(tmp_path, {"chatty": body}, sink="tests.run.plugins:ChattySink")
    out, err = command("run", str(site), "--out", str(tmp_path)).communicate(timeout=60)
    assert "from Python" in err and "from below" in err and "a library says hello" in err
    assert "from" not in out and "library" not in out
    assert ticks(tmp_path, "chatty") == list(range(20))


def test_an_adapter_that_exits_in_the_middle_has_what_it_received_recorded(tmp_path, running):
    body = tick(tmp_path, "abrupt", count=30, rate_hz=1000).replace("TickAdapter", "AbruptAdapter")
    run = running({"abrupt": body + "restart: false\n"})
    run.thread.join(60)
    assert run.outcome is not None
    assert run.outcome.codes == {"abrupt": 1}
    assert ticks(tmp_path, "abrupt") == list(range(30))
    assert any("no license" in text for _, _, text in logs_of(tmp_path))
    assert any("stays down" in line and "restart: false" in line for line in run.lines)


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc")
def test_a_killed_supervisor_leaves_nothing_behind_and_nothing_is_lost(tmp_path, command):
    before = set(Path("/tmp").glob("dari-*"))
    slow = tick(tmp_path, "slow").replace("TickAdapter", "SlowReturnAdapter")
    site = write_site(tmp_path, {"one": tick(tmp_path, "one", rate_hz=1000), "slow": slow})
    env = dict(os.environ, TMPDIR="/tmp")
    process = command("run", str(site), "--out", str(tmp_path), env=env)
    eventually(lambda: len(ticks(tmp_path, "one")) > 200 and len(ticks(tmp_path, "slow")) > 20)
    started = children(process.pid)
    (made,) = {
        path for path in Path("/tmp").glob("dari-*") if str(process.pid) and path not in before and mine(path, started)
    }
    process.kill()
    process.communicate(timeout=60)
    eventually(lambda: not any(alive(pid) for pid in started if Path(f"/proc/{pid}").exists()))
    # The hub waited for the one that took its time.
    assert ticks(tmp_path, "slow")[-1] == -1
    assert ticks(tmp_path, "one") == list(range(int((tmp_path / "one.tally.0").read_text())))
    assert rows(tmp_path)[-1] == {"closed": "stopped"}
    assert not made.exists()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="finds the processes by their parent")
def test_a_service_manager_that_signals_everyone_at_once_loses_nothing(tmp_path, command):
    slow = tick(tmp_path, "slow").replace("TickAdapter", "SlowReturnAdapter")
    site = write_site(tmp_path, {"one": tick(tmp_path, "one", rate_hz=1000), "slow": slow})
    process = command("run", str(site), "--out", str(tmp_path))
    eventually(lambda: len(ticks(tmp_path, "one")) > 200 and len(ticks(tmp_path, "slow")) > 20)
    for pid in (*children(process.pid), process.pid):
        os.kill(pid, signal.SIGTERM)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert ticks(tmp_path, "slow")[-1] == -1
    assert ticks(tmp_path, "one") == list(range(int((tmp_path / "one.tally.0").read_text())))
    assert rows(tmp_path)[-1] == {"closed": "stopped"}
    assert out.count("log: ") == 1


def mine(folder: Path, pids: list[int]) -> bool:
    """Whether one of the processes listens at the socket in the folder."""
    sockets = Path("/proc/net/unix").read_text()
    inodes = {line.split()[6] for line in sockets.splitlines() if line.endswith(f"{folder}/hub")}
    for pid in pids:
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = str(descriptor.readlink())
            except OSError:
                continue
            if target.removeprefix("socket:[").removesuffix("]") in inodes:
                return True
    return False


def test_a_socket_path_that_would_be_too_long_is_not_used(tmp_path, running, monkeypatch):
    deep = tmp_path / ("x" * 90)
    deep.mkdir()
    monkeypatch.setenv("TMPDIR", str(deep))
    monkeypatch.setattr("tempfile.tempdir", None)
    run = running({"one": tick(tmp_path, "one", count=20)})
    run.thread.join(60)
    assert run.outcome is not None, run.error
    assert ticks(tmp_path, "one") == list(range(20))
    assert list(deep.iterdir()) == []


def test_two_interrupts_end_dari_run_whatever_hangs(tmp_path, command):
    site = write_site(tmp_path, {"stuck": stuck(tmp_path, "hold")})
    process = command("run", str(site), "--out", str(tmp_path))
    eventually((tmp_path / "stuck.tally.0").exists)
    process.send_signal(signal.SIGINT)
    time.sleep(0.2)  # two signals at once would be one
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert "log: " in out
    assert rows(tmp_path)[-1] == {"closed": "stopped"}
