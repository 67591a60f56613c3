"""Types: the text is rosbag2's, the hash is the type's, and other people's readers decode by it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from adapters.ros2 import interfaces
from adapters.ros2.environment import load_rclpy

pytest.importorskip("rclpy", reason="rclpy is not installed here: there is no share/ to read")
SHARE = Path(sys.prefix) / "share"


def test_the_text_is_that_of_rosbag2(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Written out by hand after rosbag2's rule: each dependency once, depth first, sorted within its user, named as its
    # user names it; nothing between a file's last byte and the delimiter but a line end.
    files = {
        "a_msgs/msg/Top.msg": "# comment z_msgs/NotThis no\nz_msgs/Zed[3] z\nInner[<=2] inner\nstring<=10 text\nuint8 K=1\n",
        "a_msgs/msg/Inner.msg": "z_msgs/Zed zed\r\nwstring w",
        "z_msgs/msg/Zed.msg": "float64 x 1.5\n",
    }
    for name, text in files.items():
        path = tmp_path / "share" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())
    monkeypatch.setenv("AMENT_PREFIX_PATH", str(tmp_path))
    line = "=" * 80
    assert interfaces.definition("a_msgs/msg/Top") == (
        files["a_msgs/msg/Top.msg"]
        + f"\n{line}\nMSG: a_msgs/Inner\n"
        + files["a_msgs/msg/Inner.msg"]
        + f"\n{line}\nMSG: z_msgs/Zed\n"
        + files["z_msgs/msg/Zed.msg"]
    )


@pytest.mark.parametrize(
    "package", ["sensor_msgs", "geometry_msgs", "diagnostic_msgs", "action_msgs", "rcl_interfaces"]
)
def test_every_installed_type_has_a_text_that_others_can_read(package: str) -> None:
    from mcap_ros2._dynamic import generate_dynamic

    names = sorted(path.stem for path in (SHARE / package / "msg").glob("*.msg"))
    assert names
    for name in names:
        type_name = f"{package}/msg/{name}"
        text = interfaces.definition(type_name)
        assert type_name in generate_dynamic(type_name, text)
        assert interfaces.type_hash(type_name).startswith("RIHS01_")


def test_a_header_is_seen_only_where_the_type_begins_with_one() -> None:
    load_rclpy()
    for type_name, begins in {
        "sensor_msgs/msg/JointState": True,
        "geometry_msgs/msg/WrenchStamped": True,
        "std_msgs/msg/Header": False,
        "std_msgs/msg/String": False,
        "rcl_interfaces/msg/Log": False,
    }.items():
        assert interfaces.begins_with_header(interfaces.message_class(type_name)) is begins, type_name


def test_feedback_of_an_action_has_a_class() -> None:
    load_rclpy()
    assert (
        interfaces.message_class("test_msgs/action/Fibonacci_FeedbackMessage").__name__ == "Fibonacci_FeedbackMessage"
    )


@pytest.mark.parametrize("type_name", ["no_such_msgs/msg/X", "std_msgs/msg/NoSuch", "nonsense", "a/b/c/d"])
def test_what_is_not_installed_is_said(type_name: str) -> None:
    with pytest.raises(interfaces.NotInstalled):
        interfaces.message_class(type_name)
