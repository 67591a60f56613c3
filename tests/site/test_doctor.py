"""`dari doctor`: what it finds on this machine and on those that tests make up; its exit code."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from bridge.cli import main
from bridge.commands.doctor import exit_code, told
from bridge.commands.machine import clock, installed, resources, ros
from bridge.commands.machine.finding import Finding


def rows(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, dict[tuple[str, str], dict[str, object]]]:
    code = main(["doctor", "--format", "json", *args])
    return code, {(r["area"], r["name"]): r for r in json.loads(capsys.readouterr().out)}


def test_it_looks_at_everything_and_is_content_where_nothing_was_asked(capsys: pytest.CaptureFixture[str]) -> None:
    code, found = rows(capsys)
    assert code == 0
    assert {area for area, _ in found} == {"python", "extras", "adapters", "ros2", "clock", "disk", "sockets"}
    assert found["python", "Python"]["state"] == "ok"
    assert found["sockets", "bus"]["state"] == "ok"
    assert found["adapters", "probe"]["state"] == "ok"
    quiet = found["adapters", "quiet"]
    assert quiet["state"] == "warn"
    assert "a_module_that_is_not_there" in str(quiet["text"])
    assert "dari[field]" in str(quiet["next"])
    for row in found.values():
        assert row["text"], row
        assert row["state"] == "ok" or row["next"], row


@pytest.mark.parametrize(("need", "code"), [("probe", 0), ("quiet", 5), ("nope", 2)])
def test_what_is_asked_for_decides_the_exit_code(need: str, code: int, capsys: pytest.CaptureFixture[str]) -> None:
    got, found = rows(capsys, "--need", need)
    assert got == code
    assert found["adapters", need]["asked"] is True
    assert found["adapters", need]["state"] == ("ok" if code == 0 else "missing")


def test_a_site_file_asks_for_its_adapters_and_tells_its_warnings(
    sound: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NOT_SET_HERE", raising=False)
    path = tmp_path / "site.yaml"
    robot = "  robot: {adapter: quiet, space: testbed, asset: press}\nrules:"
    path.write_text(sound.replace("host: plc-1", "host: plc-1, password: {env: NOT_SET_HERE}"))
    code, found = rows(capsys, str(path))
    assert code == 0
    assert "NOT_SET_HERE" in str(found["site", "sources.plc.options.password"]["text"])
    path.write_text(sound.replace("rules:", robot, 1))
    assert rows(capsys, str(path))[0] == 5
    path.write_text("dari: 2")
    assert main(["doctor", str(path)]) == 3


def test_a_directory_that_is_asked_for_must_take_logs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert rows(capsys, "--dir", str(tmp_path / "not" / "yet"))[0] == 0
    code, found = rows(capsys, "--dir", str(tmp_path / "file"))
    assert code == 6
    assert found["disk", str(tmp_path / "file")]["state"] == "missing"


def test_scarce_room_is_a_warning_and_none_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Usage:
        free = 0

    monkeypatch.setattr(resources.shutil, "disk_usage", lambda path: Usage)
    for free, state in ((6e9, "ok"), (1e9, "warn"), (1e6, "missing")):
        Usage.free = int(free)
        assert resources.disk(tmp_path, False).state == state


def test_the_lines_for_people_say_what_to_do_next(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["doctor", "--need", "quiet"]) == 5
    out = capsys.readouterr().out
    assert "\x1b" not in out
    assert "missing quiet" in out
    assert "next: pip install 'dari[field]'" in out
    assert out.rstrip().splitlines()[-1].endswith("1 missing")
    lines = told([Finding("disk", "x", "ok", "words " * 40)])
    assert max(len(line) for line in lines) <= 100


def test_only_what_was_asked_for_and_is_missing_counts() -> None:
    found = [Finding("a", "x", "missing", "t"), Finding("a", "y", "warn", "t", asked=True)]
    assert exit_code(found) == 0
    assert exit_code([*found, Finding("a", "z", "missing", "t", asked=True, code=6)]) == 6
    assert Finding("a", "x", "warn", "t").wanted().state == "missing"
    assert Finding("a", "x", "ok", "t").wanted().state == "ok"


# -- the clock ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has adjtimex")
def test_the_kernel_says_of_its_clock_what_its_own_tools_read() -> None:
    kernel = clock.discipline()
    if kernel is None:
        pytest.skip("this sandbox does not let the kernel's clock be asked")
    assert kernel.estimated_error_us >= 0
    assert kernel.maximum_error_us >= 0
    assert abs(kernel.frequency_ppm) <= 501, "the kernel slews by 500 ppm at most: else the structure is misread"


@pytest.mark.parametrize(
    ("kernel", "running", "state", "words"),
    [
        (clock.Discipline(True, 120, 3000, -12.5), ["chronyd"], "ok", "kept right by chronyd: estimated error 120 us"),
        (clock.Discipline(True, 120, 3000, 0.0), [], "ok", "not seen from here"),
        (clock.Discipline(True, 50_000, 900_000, 0.0), ["ntpd"], "warn", "estimated error 50000 us"),
        (clock.Discipline(False, 16, 16, 0.0), [], "warn", "free running"),
        (clock.Discipline(False, 16, 16, 0.0), ["chronyd"], "warn", "has not set the clock yet"),
        (None, [], "warn", "not known"),
        (None, ["ptp4l"], "ok", "ptp4l runs"),
    ],
)
def test_what_keeps_the_clock_is_told_in_words(
    kernel: clock.Discipline | None, running: list[str], state: str, words: str
) -> None:
    finding = clock._disciplined(kernel, running)
    assert finding.state == state
    assert words in finding.text
    assert finding.state == "ok" or finding.next


def test_programs_that_keep_a_clock_are_found_by_their_names(tmp_path: Path) -> None:
    for pid, name in (("1", "systemd"), ("12", "chronyd"), ("13", "systemd-timesyn"), ("x", "ntpd")):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "comm").write_text(name + "\n")
    assert clock.daemons(tmp_path) == ["chronyd", "systemd-timesyncd"]


# -- ROS 2 -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "state", "words"),
    [
        ("", "ok", "domain 0"),
        ("7", "ok", "7"),
        ("150", "warn", "may already be taken"),
        ("233", "missing", "is no domain"),
        ("-1", "missing", "is no domain"),
        ("٣", "missing", "is no domain"),
        ("x", "missing", "is no domain"),
    ],
)
def test_the_domain_of_the_environment(value: str, state: str, words: str) -> None:
    finding = ros.domain({"ROS_DOMAIN_ID": value})
    assert finding.state == state
    assert words in finding.text


def test_how_far_ros_looks() -> None:
    assert ros.discovery({}).text == "this subnet, by default"
    assert ros.discovery({"ROS_AUTOMATIC_DISCOVERY_RANGE": "localhost"}).text == "this machine only"
    assert "overrides" in ros.discovery({"ROS_LOCALHOST_ONLY": "1"}).text
    assert ros.discovery({"ROS_AUTOMATIC_DISCOVERY_RANGE": "FAR"}).state == "warn"


def test_rclpy_is_really_loaded_where_it_is_installed() -> None:
    try:
        metadata.version(ros.WHEELS)
    except metadata.PackageNotFoundError:
        pytest.skip("rclpy is not here as wheels")
    found = {finding.name: finding for finding in ros.look(asked=True)}
    assert found["rclpy"].state == "ok", found["rclpy"]
    assert found["rclpy"].asked
    assert "wheels" in found["rclpy"].text
    assert found["RMW"].text.startswith("rmw_")


def test_a_middleware_that_is_not_installed_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        metadata.version(ros.WHEELS)
    except metadata.PackageNotFoundError:
        pytest.skip("rclpy is not here as wheels")
    monkeypatch.setenv("RMW_IMPLEMENTATION", "rmw_of_nobody")
    found = {finding.name: finding for finding in ros.look(asked=False)}
    assert found["rclpy"].state == "missing"
    assert "RMW_IMPLEMENTATION" in found["rclpy"].next


def test_a_ros_that_is_here_twice_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        metadata.version(ros.WHEELS)
    except metadata.PackageNotFoundError:
        pytest.skip("rclpy is not here as wheels")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/other")
    found = {finding.name: finding for finding in ros.look(asked=False)}
    assert found["rclpy"].state == "missing"
    assert "twice" in found["rclpy"].text


@pytest.mark.parametrize(
    ("environ", "words"),
    [
        ({"AMENT_PREFIX_PATH": "/opt/ros/x", "ROS_DISTRO": "x"}, "is sourced (x)"),
        ({}, "not installed"),
    ],
)
def test_why_rclpy_is_absent(environ: dict[str, str], words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ros.importlib.util, "find_spec", lambda name: None)
    finding, rmw = ros._rclpy(environ)
    assert rmw is None
    assert finding.state == "warn"
    assert words in finding.text
    assert finding.next


# -- what is installed -------------------------------------------------------------------------------------------------


def test_extras_are_read_from_the_metadata_of_dari(monkeypatch: pytest.MonkeyPatch) -> None:
    lines = [
        "numpy>=1.26",
        'asyncua>=1.1; extra == "field"',
        "nothing-of-this-name>=3; (python_version < '3.12') and extra == 'twin'",
        "nothing-of-this-name>=3; extra == 'twin-compile'",
        "other ; extra == \"ros\" and sys_platform == 'linux'",
        'dari[field]; extra == "demo"',
        'pytest>=8; extra == "dev"',
    ]
    monkeypatch.setattr(installed.importlib.metadata, "requires", lambda name: lines)
    assert installed.extras() == {
        "field": [("asyncua", ">=1.1", "")],
        "twin": [("nothing-of-this-name", ">=3", "(python_version < '3.12')")],
        "twin-compile": [("nothing-of-this-name", ">=3", "")],
        "ros": [("other", "", "sys_platform == 'linux'")],
    }
    found = {finding.name: finding for finding in installed.look()}
    assert found["twin"].state == "warn"
    assert "python_version < '3.12'" in found["twin"].text
    assert "dari[twin]" in found["twin"].next
    assert "it is compiled" in found["twin"].next and "dari[twin-compile]" in found["twin"].next
    assert "twin-compile" not in found, "a way to an extra is none that one has or lacks"
    assert "compiled" not in found["ros"].next


def test_an_adapter_that_is_here_says_what_it_is_for() -> None:
    found = {finding.name: finding for finding in installed.adapters(set())}
    assert "zmq installed" in found["standin"].text
    assert "the demo's testbed robot where there is no ROS 2" in found["standin"].text


def test_nothing_heavy_is_imported_to_show_the_help() -> None:
    code = (
        "import sys, contextlib, io\n"
        "from bridge.commands import adapters, check, doctor, init\n"
        "import argparse\n"
        "for m in (adapters.adapters, check.check, doctor.doctor, init.init):\n"
        "    m.configure(argparse.ArgumentParser())\n"
        "print(sorted({'yaml', 'msgspec', 'numpy', 'zmq', 'bridge.site', 'subprocess'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
