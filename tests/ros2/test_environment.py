"""Where rclpy comes from, what is said when it does not, and the options that can not be meant."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.ros2 import ActionMap, Ros2Adapter, Ros2Options
from adapters.ros2 import environment as env
from bridge.adapter import require
from bridge.errors import DariError, MissingPackageError, UsageError
from bridge.schema import Verb
from bridge.testing import RecordingPort, make_source


def adapter(**options: object) -> Ros2Adapter:
    return Ros2Adapter(make_source(), Ros2Options(**options), {})  # type: ignore[arg-type]


def test_the_package_imports_without_rclpy() -> None:
    code = "import sys, adapters.ros2, adapters.ros2.player; assert 'rclpy' not in sys.modules; print('light')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "light\n"


def test_missing_rclpy_names_the_extra_and_the_other_way(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(env, "find_spec", lambda name: None)
    with pytest.raises(MissingPackageError) as raised:
        adapter().run(RecordingPort())
    assert "rclpy" in raised.value.what
    assert "dari[ros2]" in raised.value.hint and "source" in raised.value.hint

    monkeypatch.setattr(env.platform, "machine", lambda: "aarch64")
    with pytest.raises(MissingPackageError) as raised:
        adapter().run(RecordingPort())
    assert "x86-64" in raised.value.hint and "dari[ros2]" not in raised.value.hint


def test_what_doctor_says_of_the_requirement(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.adapter.Requirement.missing", lambda self: True)
    with pytest.raises(MissingPackageError, match=r"dari\[ros2\]"):
        require(Ros2Adapter.requirements, "source robot")


def test_an_rclpy_of_another_python_is_said(tmp_path: Path) -> None:
    (tmp_path / "rclpy" / "impl").mkdir(parents=True)
    (tmp_path / "rclpy" / "__init__.py").write_text("import _no_such_c_part\n")
    code = "from adapters.ros2.environment import load_rclpy; load_rclpy()"
    path = os.pathsep.join([str(tmp_path), str(Path(__file__).parents[2])])
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert "MissingPackageError" in done.stderr and "can not be loaded by Python" in done.stderr


def test_a_sourced_ros_beside_the_wheels_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed here: there are no wheels to mix with")
    monkeypatch.setenv("AMENT_PREFIX_PATH", "/opt/ros/jazzy")
    with pytest.raises(DariError, match="twice") as raised:
        env.load_rclpy()
    assert "/opt/ros/jazzy" in raised.value.what and raised.value.hint
    monkeypatch.setenv("AMENT_PREFIX_PATH", sys.prefix)
    env.load_rclpy()


def test_another_environments_python_does_not_inherit_the_wheels() -> None:
    inside = str(Path(sys.prefix) / "lib")
    given = {"_ROS_WHEELS_BOOTSTRAP_COMPLETE": "1", "LD_LIBRARY_PATH": f"{inside}:/usr/local/lib", "HOME": "/h"}
    assert env.child_environment(given) == {"LD_LIBRARY_PATH": "/usr/local/lib", "HOME": "/h"}
    assert env.child_environment({**given, "LD_LIBRARY_PATH": inside}) == {"HOME": "/h"}
    sourced = {"LD_LIBRARY_PATH": "/opt/ros/jazzy/lib"}
    assert env.child_environment(sourced) == sourced


def test_the_wheels_start_anew_in_the_same_process_with_its_streams() -> None:
    """An adapter's process may be started with or without the guard: the id, stdin and descriptors stay."""
    pytest.importorskip("rclpy", reason="rclpy is not installed here: nothing is started anew")
    code = "import os, sys; print(os.getpid(), sys.stdin.readline(), os.read(int(sys.argv[1]), 9).decode(), end='')"
    for bare in (False, True):
        environ = env.child_environment(os.environ) if bare else dict(os.environ)
        reading, writing = os.pipe()
        os.write(writing, b"inherited")
        with subprocess.Popen(
            [sys.executable, "-c", code, str(reading)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=[reading],
            env=environ,
            text=True,
        ) as process:
            output, _ = process.communicate("first line\n")
        os.close(reading)
        os.close(writing)
        assert output == f"{process.pid} first line\n inherited"


def test_every_fault_of_the_options_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROS_DOMAIN_ID", raising=False)
    assert adapter().check() == []
    faults = adapter(
        domain=500,
        include=("/camera/[",),
        clocks={"*": "camera"},
        actions={"weld": ActionMap(verb="com.acme.weld"), "pick": ActionMap(verb="grasp")},
    ).check()
    assert len(faults) == 4
    assert "500" in faults[0] and "/camera/[" in faults[1] and "clocks" in faults[2] and "base_verb" in faults[3]
    assert adapter(actions={"weld": ActionMap(verb="com.acme.weld", base_verb=Verb.MOVE)}).check() == []
    monkeypatch.setenv("ROS_DOMAIN_ID", "seven")
    assert "ROS_DOMAIN_ID is 'seven'" in adapter().check()[0]
    assert adapter(domain=3).check() == []


def test_a_domain_out_of_range_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rclpy", reason="rclpy is not installed here")
    with pytest.raises(UsageError, match="out of range"):
        adapter(domain=233).run(RecordingPort())
