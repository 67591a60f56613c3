"""Replay: order, pace, what is left out, and a clean stop."""

from __future__ import annotations

import argparse
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from recorder_rig import MONOTONIC, MS, SITE_TEXT, Rig, Told, joint_states

import recorder.commands
from bridge import registry
from bridge.errors import DariError, NotConnectedError, UsageError
from bridge.player import PlayedChannel, PlayedMessage, Player
from bridge.schema import Space, codec
from recorder.reader import open_log
from recorder.replay import ReplayReport, Selection, replay
from recorder.show.replay import lines


class KeepingPlayer(Player):
    """A player that keeps what it is given, and when."""

    last: KeepingPlayer

    def __init__(self) -> None:
        self.channels: list[PlayedChannel] = []
        self.options: dict[str, str] = {}
        self.messages: list[PlayedMessage] = []
        self.moments: list[int] = []
        self.closed = False
        self.slow_s = 0.0
        KeepingPlayer.last = self

    def open(self, channels: list[PlayedChannel], options: dict[str, str]) -> list[str]:
        self.channels, self.options = channels, options
        self.taken = frozenset(c.id for c in channels if c.topic != options.get("refuse"))
        return ["/twin/arm/wrench: made up for this test"]

    def play(self, message: PlayedMessage) -> None:
        self.messages.append(message)
        self.moments.append(time.monotonic_ns())
        if self.slow_s:
            time.sleep(self.slow_s)

    def close(self) -> None:
        self.closed = True


class BrokenPlayer(KeepingPlayer):
    """A player whose peer goes away."""

    def play(self, message: PlayedMessage) -> None:
        super().play(message)
        if len(self.messages) == 3:
            raise NotConnectedError("the peer has gone")


@pytest.fixture(autouse=True)
def players() -> object:
    registry.register(registry.PLAYERS, "keeping", KeepingPlayer)
    registry.register(registry.PLAYERS, "broken", BrokenPlayer)
    registry.register(registry.PLAYERS, "ros2", KeepingPlayer)
    yield
    for name in ("keeping", "broken", "ros2"):
        registry.unregister(registry.PLAYERS, name)


def run(*arguments: object) -> int:
    parser = argparse.ArgumentParser()
    recorder.commands.replay.configure(parser)
    return recorder.commands.replay.run(parser.parse_args([str(a) for a in arguments]))


@pytest.fixture
def short(tmp_path: Path) -> Path:
    """A second of joint states at 100 Hz."""
    rig = Rig(tmp_path)
    joint_states(rig.port("twin"), MONOTONIC, 100)
    joint_states(rig.port("robot", Space.TESTBED), MONOTONIC, 100)
    return rig.close()


def test_everything_is_played_in_order_untouched(
    written: tuple[Path, Told], capsys: pytest.CaptureFixture[str]
) -> None:
    path, _ = written
    assert run(path, "--to", "keeping", "--rate", "max", "--set", "domain=42", "--set", "x=a=b") == 0
    player = KeepingPlayer.last
    with open_log(path) as log:
        expected = list(log.messages())
        topics = {c.id: c.topic for c in log.channels.values()}
    assert [(m.channel, m.sequence, m.log_time, m.publish_time, m.data) for m in player.messages] == [
        (m.channel.id, m.sequence, m.log_time, m.publish_time, m.data) for m in expected
    ]
    assert player.closed
    assert player.options == {"domain": "42", "x": "a=b"}
    assert {c.topic for c in player.channels} == set(topics.values())
    joint = next(c for c in player.channels if c.topic == "/twin/arm/joint_states")
    assert joint.type_name == "sensor_msgs/msg/JointState"
    assert "float64[] position" in joint.definition
    out = capsys.readouterr().out
    assert f"played {len(expected)} messages" in out
    assert "  /twin/arm/wrench: made up" in out


def test_the_site_file_reaches_the_player(written: tuple[Path, Told], tmp_path: Path) -> None:
    run(written[0], "--to", "keeping", "--rate", "max")
    assert KeepingPlayer.last.site_text == SITE_TEXT
    assert KeepingPlayer.last.site_path == "/somewhere/testcell.yaml"


def test_what_the_player_does_not_take_is_not_counted(written: tuple[Path, Told]) -> None:
    player = KeepingPlayer()
    with open_log(written[0]) as log:
        options = {"refuse": "/twin/arm/joint_states"}
        report = replay(log, player, Selection(include=("/twin/*",)), rate=None, options=options)
    assert set(report.played) == {"/twin/arm/gripper/state", "/twin/arm/wrench"}


def test_the_pace_is_that_of_the_log(short: Path) -> None:
    player = KeepingPlayer()
    with open_log(short) as log:
        only = Selection(include=("/twin/*",))
        report = replay(log, player, only, rate=2.0)
    assert report.messages == 100
    # Never early: the n-th message not before its moment. Late is what a busy machine does, and is counted.
    first = player.messages[0].log_time
    for message, moment in zip(player.messages, player.moments, strict=True):
        assert moment - player.moments[0] >= (message.log_time - first) / 2.0 - 2 * MS
    assert report.elapsed_s >= 0.49


def test_a_slow_player_is_late_and_does_not_drift(short: Path) -> None:
    player = KeepingPlayer()
    player.slow_s = 0.03
    with open_log(short) as log:
        report = replay(log, player, Selection(include=("/twin/*",), duration_s=0.3), rate=1.0)
    assert report.late > 5
    assert report.latest_ns > 10 * MS
    assert report.messages == 31, "nothing is left out because it is late"


def test_selections(written: tuple[Path, Told]) -> None:
    with open_log(written[0]) as log:

        def topics(selection: Selection) -> set[str]:
            return {t for t, n in replay(log, KeepingPlayer(), selection, rate=None).played.items() if n}

        assert topics(Selection(include=("/twin/*",))) == {
            "/twin/arm/joint_states",
            "/twin/arm/gripper/state",
            "/twin/arm/wrench",
        }
        assert topics(Selection(include=("/twin/*",), exclude=("*wrench",))) == {
            "/twin/arm/joint_states",
            "/twin/arm/gripper/state",
        }
        assert not [t for t in topics(Selection(own=False)) if t.startswith("/dari/")]
        assert "/dari/events" in topics(Selection(own=False, include=("/dari/events", "/twin/*")))
        report = replay(log, KeepingPlayer(), Selection(include=("/twin/*",), own=False), rate=None)
        assert "/dari/events" in report.left_out["not included"]


def test_one_space_has_its_own_events_only(written: tuple[Path, Told]) -> None:
    player = KeepingPlayer()
    with open_log(written[0]) as log:
        report = replay(log, player, Selection(space="testbed"), rate=None)
        (events,) = log.of_topic("/dari/events")
        found = [m for m in player.messages if m.channel == events.id]
        spaces = [
            codec.from_json(log.decode(m).body_json).space
            for m in log.messages(["/dari/events"])
            if m.sequence in {f.sequence for f in found} and m.log_time in {f.log_time for f in found}
        ]
    assert spaces == [Space.TESTBED]
    assert report.left_out["not of the space testbed"]
    assert all(not topic.startswith("/twin/") for topic in report.played)


def test_a_window_of_the_log(short: Path) -> None:
    with open_log(short) as log:
        only = ("/twin/*",)
        whole = log.time_range
        assert whole is not None
        player = KeepingPlayer()
        replay(log, player, Selection(include=only, start_s=0.2, duration_s=0.1), rate=None)
        assert len(player.messages) in (10, 11)
        assert player.messages[0].log_time >= whole[0] + 200 * MS
        player = KeepingPlayer()
        assert replay(log, player, Selection(include=only, start_s=1e6), rate=None).messages == 0
        assert player.closed


def test_it_stops_when_asked(short: Path) -> None:
    player = KeepingPlayer()
    stopping = threading.Event()
    with open_log(short) as log:
        timer = threading.Timer(0.2, stopping.set)
        timer.start()
        report = replay(log, player, Selection(), rate=0.01, stopping=stopping)
        timer.join()
    assert report.stopped
    assert report.messages < 10
    assert player.closed


def test_sigint_stops_it_cleanly(short: Path, capsys: pytest.CaptureFixture[str]) -> None:
    timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
    timer.start()
    assert run(short, "--to", "keeping", "--rate", "0.01") == 130
    timer.join()
    assert KeepingPlayer.last.closed
    assert "stopped before the end" in capsys.readouterr().out


def test_dari_s_own_topics_do_not_go_to_ros2(written: tuple[Path, Told], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(written[0], "--to", "ros2", "--rate", "max") == 0
    assert not [c.topic for c in KeepingPlayer.last.channels if c.topic.startswith("/dari/")]
    assert "left out (dari's own): 4 of /dari/clock/*, /dari/events, /dari/log" in capsys.readouterr().out


def test_a_player_that_fails_is_closed(short: Path) -> None:
    with pytest.raises(NotConnectedError, match="the peer has gone"):
        run(short, "--to", "broken", "--rate", "max")
    assert KeepingPlayer.last.closed


def test_a_log_that_was_cut_is_played_as_far_as_it_goes(short: Path, tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    path.write_bytes(short.read_bytes()[:-60])
    assert run(path, "--to", "keeping", "--rate", "max") == 0
    assert len(KeepingPlayer.last.messages) > 200


def test_wrong_use(short: Path) -> None:
    with pytest.raises(UsageError, match="no player is named"):
        run(short, "--to", "keping")
    with pytest.raises(UsageError, match="KEY=VALUE"):
        run(short, "--to", "keeping", "--set", "domain")
    for wrong in (("--rate", "0"), ("--rate", "-1"), ("--rate", "nan"), ("--start", "-1"), ("--duration", "inf")):
        with pytest.raises(SystemExit):
            run(short, "--to", "keeping", *wrong)


@pytest.mark.parametrize(
    ("arguments", "what", "hint", "code"),
    [
        (("--include", "/nothing"), "no topic of the log is chosen", "--include", 2),
        (("--start", "1e6"), "no message in that part of the log, which is ", "--start", 2),
        (("--include", "/twin/*", "--set", "refuse=/twin/arm/joint_states"), "can play none", "--to hub", 1),
    ],
)
def test_where_nothing_is_played_it_says_what_to_do(
    short: Path, arguments: tuple[str, ...], what: str, hint: str, code: int
) -> None:
    with pytest.raises(DariError, match=what) as caught:
        run(short, "--to", "keeping", "--rate", "max", *arguments)
    assert hint in caught.value.hint
    assert caught.value.where == str(short)
    assert caught.value.exit_code == code
    assert KeepingPlayer.last.closed


def test_what_is_said_alike_of_many_topics_is_one_line() -> None:
    report = ReplayReport(closing="log: /new/one.mcap")
    report.cannot = [f"/dari/clock/{n}: made anew" for n in range(10)] + ["/dari/log: made anew", "/x: another reason"]
    report.cannot += [f"/field/cell/{n} (acme/msg/{n}) is not played: acme is not here" for n in "ab"]
    report.left_out = {"excluded": [f"/twin/arm/{n}" for n in range(4)], "other": [f"/a/{n}/b" for n in range(9)]}
    assert lines(report, "hub")[1:] == [
        "  10 of /dari/clock/*, /dari/log: made anew",
        "  /x: another reason",
        "  /field/cell/a, /field/cell/b are not played: acme is not here",
        "  left out (excluded): 4 of /twin/arm/*",
        "  left out (other): /a/0/b, /a/1/b, /a/2/b, /a/3/b, /a/4/b, /a/5/b and 3 more",
        "log: /new/one.mcap",
        "next: dari events /new/one.mcap",
    ]
