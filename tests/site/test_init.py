"""`dari init`: what it writes passes the loader with the real adapters; it asks on a real terminal; it destroys nothing."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from bridge import registry, site
from bridge.cli import main
from bridge.commands.starter import scalar

ALL = ["--yes", "--ros2", "--opcua", "opc.tcp://127.0.0.1:4840", "--modbus", "10.0.0.2:1502", "--mqtt", "mqtt://h"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "line 1"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    return folder


def test_everything_at_once_gives_a_file_without_faults(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", *ALL]) == 0
    assert "written: site.yaml (robot, plc, io, sensors)" in capsys.readouterr().out
    loaded = site.load("site.yaml")
    assert [(s.name, s.config.adapter, s.config.space.value) for s in loaded.sources] == [
        ("robot", "ros2", "testbed"),
        ("plc", "opcua", "field"),
        ("io", "modbus", "field"),
        ("sensors", "mqtt", "field"),
    ]
    assert loaded.site.site.name == "line-1"
    assert loaded.warnings == ()
    assert main(["check", "site.yaml"]) == 0


@pytest.mark.parametrize("flags", [ALL[1:2], ALL[2:4], ALL[4:6], ALL[6:8]])
def test_each_source_alone_gives_a_file_without_faults(flags: list[str]) -> None:
    assert main(["init", "a.yaml", "--yes", *flags]) == 0
    assert len(site.load("a.yaml").sources) == 1


def test_names_and_addresses_of_any_letters_are_written_so_that_they_are_read_back() -> None:
    flags = [
        *ALL,
        *("--name", "on"),
        *("--opcua-node", '힘=ns=2;s=Press "1": a#b'),
        *("--opcua-node", "on=i=5"),
        *("--modbus-register", "speed=65535"),
        *("--mqtt-topic", "rms=press/a: b/#c".replace("#", "")),
        *("--ros2-topic", "/camera/.*"),
    ]
    assert main(["init", *flags]) == 0
    data = yaml.safe_load(Path("site.yaml").read_text(encoding="utf-8"))
    assert data["site"]["name"] == "on"
    assert data["sources"]["plc"]["signals"] == {"힘": {"node": 'ns=2;s=Press "1": a#b'}, "on": {"node": "i=5"}}
    assert data["sources"]["io"]["signals"]["speed"]["address"] == 65535
    assert data["sources"]["robot"]["options"]["include"] == ["/camera/.*"]
    site.load("site.yaml")


@pytest.mark.parametrize(
    "text", ["on", "No", "12", "0x1", "a: b", "a #b", "", " a", "- a", "힘", '"', "null", "1:30", "~", "a", "{"]
)
def test_a_scalar_is_read_back_as_the_text_that_it_was(text: str) -> None:
    assert yaml.safe_load(f"k: {scalar(text)}")["k"] == text
    assert yaml.safe_load(f"{{{scalar(text)}: 1}}") == {text: 1}


def test_the_example_of_rules_works_once_it_has_real_signals() -> None:
    flags = [
        "--opcua-node",
        "YOUR_START_BIT=i=1",
        "--opcua-node",
        "YOUR_DONE_BIT=i=2",
        "--opcua-node",
        "YOUR_ALARM_CODE=i=3",
    ]
    assert main(["init", *ALL, *flags]) == 0
    text = Path("site.yaml").read_text(encoding="utf-8")
    head, _, tail = text.partition("# rules:")
    rules = "\n".join(line.removeprefix("# ") for line in ("# rules:" + tail).splitlines())
    loaded = site.load_text(head + rules, "site.yaml")
    assert loaded.warnings == ()
    assert len(loaded.site.rules["pick"].rules) == 3


def test_a_user_of_a_broker_gets_a_secret_by_reference(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DARI_MQTT_PASSWORD", raising=False)
    assert main(["init", "--yes", "--mqtt", "mqtts://bob@broker.local"]) == 0
    assert "DARI_MQTT_PASSWORD is not set here" in capsys.readouterr().out
    options = yaml.safe_load(Path("site.yaml").read_text())["sources"]["sensors"]["options"]
    assert options == {
        "host": "broker.local",
        "tls": True,
        "username": "bob",
        "password": {"env": "DARI_MQTT_PASSWORD"},
    }


def test_a_login_without_tls_beyond_this_machine_is_written_only_where_it_is_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["init", "--yes", "--mqtt", "mqtt://bob@broker.local"]) == 2
    err = capsys.readouterr().err
    assert "can be read on the network" in err and "mqtts://" in err and "--allow-insecure-login" in err
    assert not Path("site.yaml").exists()
    assert main(["init", "--yes", "--mqtt", "mqtt://bob@broker.local", "--allow-insecure-login"]) == 0
    options = yaml.safe_load(Path("site.yaml").read_text())["sources"]["sensors"]["options"]
    assert options["allow_insecure_login"] is True
    assert main(["check", "site.yaml"]) == 0
    for address in ("mqtt://bob@localhost", "mqtt://bob@127.0.0.1", "mqtts://bob@broker.local", "mqtt://broker.local"):
        assert main(["init", "--yes", "--force", "--mqtt", address, "--allow-insecure-login"]) == 0
        assert "allow_insecure_login" not in Path("site.yaml").read_text()
        assert main(["check", "site.yaml"]) == 0


def test_it_ends_with_one_command_a_line(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "my line.yaml", "--yes", "--ros2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    commands = [line.strip() for line in lines if line.startswith("  dari ")]
    assert commands == ["dari check 'my line.yaml'", "dari doctor 'my line.yaml'", "dari run 'my line.yaml'"]


def test_a_password_in_an_address_is_refused_and_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--yes", "--mqtt", "mqtt://bob:hunter2@h"]) == 2
    err = capsys.readouterr().err
    assert "a password does not belong in an address" in err
    assert "hunter2" not in err
    assert main(["init", "--yes", "--opcua", "opc.tcp://bob:hunter2@h"]) == 3
    assert "hunter2" not in capsys.readouterr().err
    assert not Path("site.yaml").exists()


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ([], "nothing to connect"),
        (["--opcua", "http://h"], "no OPC UA endpoint"),
        (["--modbus", "h:99999"], "is not HOST:PORT"),
        (["--modbus", "h/x"], "is not HOST:PORT"),
        (["--mqtt", "http://h"], "no address of a broker"),
        (["--modbus", "h", "--modbus-register", "a=x"], "no address from 0 to 65535"),
        (["--modbus", "h", "--modbus-register", "a"], "is not NAME=VALUE"),
        (["--modbus", "h", "--modbus-register", "a=1", "--modbus-register", "a=2"], "names 'a' twice"),
        (["--ros2", "--opcua-node", "a=i=1"], "--opcua-node is given without --opcua"),
    ],
)
def test_what_can_not_be_meant_is_told(flags: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--yes", *flags]) == 2
    assert words in capsys.readouterr().err
    assert not Path("site.yaml").exists()


def test_what_would_be_a_file_with_faults_is_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "--yes", "--ros2", "--name", "2nd line"]) == 3
    assert "site.name" in capsys.readouterr().err
    assert not Path("site.yaml").exists()


def test_a_file_that_is_there_is_kept_unless_forced(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path("site.yaml")
    path.write_text("mine")
    path.chmod(0o600)
    assert main(["init", "--yes", "--ros2"]) == 2
    assert "--force" in capsys.readouterr().err
    assert path.read_text() == "mine"
    assert main(["init", "--yes", "--ros2", "--force"]) == 0
    assert site.load(path).sources
    assert path.stat().st_mode & 0o777 == 0o600
    assert sorted(p.name for p in Path.cwd().iterdir()) == ["site.yaml"]


def test_a_folder_that_is_not_there_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["init", "gone/site.yaml", "--yes", "--ros2"]) == 2
    assert "mkdir -p gone" in capsys.readouterr().err


def test_without_a_terminal_it_says_how_to_do_without_one() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bridge.cli", "init"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "standard input is none" in done.stderr
    assert "dari init --yes" in done.stderr
    assert not Path("site.yaml").exists()


def on_a_terminal(answers: list[str]) -> tuple[int, str]:
    """Run `dari init` on a pseudo-terminal and answer each prompt; returns the exit code and what was shown."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "bridge.cli", "init"], stdin=slave, stdout=slave, stderr=slave, close_fds=True
    )
    os.close(slave)
    shown, waiting = "", list(answers)
    asked = 0
    deadline = time.monotonic() + 60
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([master], [], [], 0.1)
            if ready:
                try:
                    piece = os.read(master, 4096)
                except OSError:  # the other end is closed
                    break
                if not piece:
                    break
                shown += piece.decode()
            if waiting and shown.endswith(": ") and len(shown) > asked:
                asked = len(shown)
                answer = waiting.pop(0)
                os.write(master, b"\x04" if answer == "EOF" else f"{answer}\n".encode())
        return process.wait(timeout=30), shown
    finally:
        process.kill()
        process.wait()
        os.close(master)


def test_it_asks_on_a_terminal_and_asks_again_what_it_can_not_use() -> None:
    answers = [
        *("2nd", "pilot", ""),  # the name, once more; the company
        *("y", "", "/joint_states"),  # ROS 2: domain, topics
        *("maybe", "y", "http://h", "", "force=i=7", "", "n"),  # OPC UA; no Modbus
        "n",  # no MQTT
    ]
    code, shown = on_a_terminal(answers)
    assert code == 0, shown
    assert "'2nd' is no name" in shown
    assert "answer y or n" in shown
    assert "no OPC UA endpoint" in shown
    loaded = site.load("site.yaml")
    assert loaded.site.site.name == "pilot"
    assert [s.name for s in loaded.sources] == ["robot", "plc"]
    assert list(loaded.source("plc").signals) == ["force"]


def test_it_asks_again_for_a_broker_whose_password_could_be_read() -> None:
    answers = [
        *("pilot", "acme", "n", "n", "n"),
        *("y", "mqtt://bob@broker.local", "n"),  # no, that was not meant
        *("mqtt://bob@broker.local", "y", "rms=press/rms", ""),
    ]
    code, shown = on_a_terminal(answers)
    assert code == 0, shown
    assert "enterprise" in shown and "company" not in shown
    assert shown.count("can be read on the network") == 2
    loaded = site.load("site.yaml")
    assert loaded.site.site.enterprise == "acme"
    assert "allow_insecure_login: true" in loaded.text


def test_answers_that_end_early_write_nothing() -> None:
    code, shown = on_a_terminal(["pilot", "EOF"])
    assert code == 2, shown
    assert "the answers ended" in shown
    assert not Path("site.yaml").exists()


def test_the_real_adapters_were_used() -> None:
    for name in ("ros2", "opcua", "modbus", "mqtt"):
        assert registry.load(registry.ADAPTERS, name).__module__.startswith("adapters.")
