"""Message types: the same layouts, hashes and bytes as ROS 2's own."""

from __future__ import annotations

import json
import math
import struct
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap_ros2._dynamic import generate_dynamic
from rosbags.interfaces import QosDurability, QosReliability
from rosbags.rosbag2.metadata import parse_qos

from bridge import messages
from bridge.errors import SchemaError
from bridge.messages import JointStateEncoder, MessageTypes, header_stamp_ns

JOINT_STATE = "sensor_msgs/msg/JointState"
SHARE = Path(sys.prefix) / "share"
SHIPPED = sorted(SHARE.glob("*/msg/*.json"))
needs_ros = pytest.mark.skipif(not SHIPPED, reason="no ROS 2 interface packages in this environment")


def _name(path: Path) -> str:
    return f"{path.parents[1].name}/msg/{path.stem}"


@needs_ros
def test_hashes_are_those_that_ros_ships() -> None:
    compared = 0
    for path in SHIPPED:
        if messages.known(_name(path)):
            shipped = {item["type_name"]: item["hash_string"] for item in json.loads(path.read_text())["type_hashes"]}
            assert messages.type_hash(_name(path)) == shipped[_name(path)], path.name
            compared += 1
    assert compared > 50


@needs_ros
def test_the_shipped_text_of_a_type_that_is_not_known_can_be_registered() -> None:
    types = MessageTypes()
    path = SHARE / "test_msgs/msg/BasicTypes"
    assert not types.known("test_msgs/msg/BasicTypes")
    types.register("test_msgs/msg/BasicTypes", path.with_suffix(".msg").read_text())
    hashes = {
        item["type_name"]: item["hash_string"]
        for item in json.loads(path.with_suffix(".json").read_text())["type_hashes"]
    }
    assert types.type_hash("test_msgs/msg/BasicTypes") == hashes["test_msgs/msg/BasicTypes"]
    data = types.serialize("test_msgs/msg/BasicTypes", types.message("test_msgs/msg/BasicTypes", int32_value=-7))
    assert types.deserialize("test_msgs/msg/BasicTypes", data).int32_value == -7


@needs_ros
def test_ros_itself_reads_what_is_written_here() -> None:
    encoder = JointStateEncoder(["panda_joint1", "관절"], "base")
    data = encoder.encode(1_700_000_000_000_000_005, [0.5, -1.5], [], [2.0, 3.0])
    pose = messages.message("geometry_msgs/msg/PoseStamped", pose={"position": {"y": 2.5}}, header={"frame_id": "cell"})
    code = (
        "import sys\n"
        "from rclpy.serialization import deserialize_message, serialize_message\n"
        "from sensor_msgs.msg import JointState\n"
        "from geometry_msgs.msg import PoseStamped\n"
        "a, b = (bytes.fromhex(line) for line in sys.stdin.read().split())\n"
        "m, p = deserialize_message(a, JointState), deserialize_message(b, PoseStamped)\n"
        "print(m.header.stamp.sec, m.header.stamp.nanosec, m.header.frame_id, *m.name, *m.position, len(m.velocity), *m.effort)\n"
        "print(p.pose.position.y, p.pose.orientation.w, p.header.frame_id)\n"
        "print(serialize_message(m).hex())\n"
    )
    text = data.hex() + "\n" + messages.serialize("geometry_msgs/msg/PoseStamped", pose).hex()
    done = subprocess.run(
        [sys.executable, "-c", code], input=text, capture_output=True, text=True, timeout=120, check=False
    )
    if "No module named 'rclpy'" in done.stderr:
        pytest.skip("rclpy is not installed")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == "1700000000 5 base panda_joint1 관절 0.5 -1.5 0 2.0 3.0"
    assert lines[1] == "2.5 1.0 cell"
    # ROS's own bytes are read here; its padding is not initialised, so bytes are not compared
    theirs = messages.deserialize(JOINT_STATE, bytes.fromhex(lines[2]))
    assert theirs.name == ["panda_joint1", "관절"] and theirs.effort.tolist() == [2.0, 3.0]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=9)
NUMBERS = st.floats(allow_nan=False, allow_infinity=True)


@settings(deadline=None, max_examples=200)
@given(st.data(), st.lists(TEXT, max_size=10), TEXT, st.integers(-(2**31) * 10**9, (2**31) * 10**9 - 1))
def test_the_fast_writer_is_byte_for_byte_the_general_one(
    data: st.DataObject, names: list[str], frame: str, stamp: int
) -> None:
    column = st.just([]) | st.lists(NUMBERS, min_size=len(names), max_size=len(names))
    encoder = JointStateEncoder(names, frame)
    for _ in range(2):
        position, velocity, effort = data.draw(column), data.draw(column), data.draw(column)
        fast = encoder.encode(stamp, position, velocity, effort)
        general = messages.message(
            JOINT_STATE,
            header={"stamp": {"sec": stamp // 10**9, "nanosec": stamp % 10**9}, "frame_id": frame},
            name=names,
            position=position,
            velocity=velocity,
            effort=effort,
        )
        assert fast == messages.serialize(JOINT_STATE, general)
        assert header_stamp_ns(fast) == (stamp or None)


def test_the_fast_writer_takes_arrays_and_refuses_wrong_lengths_and_times() -> None:
    encoder = JointStateEncoder(["a", "b"])
    assert encoder.encode(1, np.array([1.0, 2.0])) == encoder.encode(1, [1.0, 2.0])
    with pytest.raises(SchemaError, match="velocity has 3 values for 2 joints"):
        encoder.encode(1, [1, 2], [1, 2, 3])
    with pytest.raises(SchemaError, match="can not be written as a ROS 2 time"):
        encoder.encode(2**62)


def test_a_stamp_is_read_in_both_byte_orders() -> None:
    assert header_stamp_ns(b"\0\1\0\0" + struct.pack("<iI", 5, 7)) == 5_000_000_007
    assert header_stamp_ns(b"\0\0\0\0" + struct.pack(">iI", 5, 7)) == 5_000_000_007
    assert header_stamp_ns(memoryview(b"\0\1\0\0" + struct.pack("<iI", -1, 0) + b"more")) == -1_000_000_000
    # XCDR2, little-endian
    assert header_stamp_ns(b"\0\x07\0\0" + struct.pack("<iI", 5, 7)) == 5_000_000_007
    assert header_stamp_ns(b"\0\1\0\0" + bytes(8)) is None
    assert header_stamp_ns(b"\0\1\0\0" + struct.pack("<iI", 5, 10**9)) is None
    assert header_stamp_ns(b"\0\1\0\0" + bytes(7)) is None


def test_which_types_begin_with_a_header() -> None:
    assert messages.begins_with_header(JOINT_STATE)
    assert messages.begins_with_header("dari_msgs/msg/TaskEvent")
    assert not messages.begins_with_header("tf2_msgs/msg/TFMessage")
    assert not messages.begins_with_header("std_msgs/msg/String")
    assert not messages.begins_with_header("std_msgs/msg/Empty")
    assert not messages.begins_with_header("std_msgs/msg/Header")


def test_every_known_type_can_be_built_written_and_read() -> None:
    names = sorted(MessageTypes()._store.fielddefs)
    assert len(names) > 150
    for name in names:
        empty = messages.message(name)
        data = messages.serialize(name, empty)
        again = messages.deserialize(name, data)
        assert messages.serialize(name, again) == data, name
        assert messages.definition(name).count("MSG: ") == len({*messages.definition(name).split("MSG: ")[1:]})


def test_definitions_are_full_and_another_parser_reads_them() -> None:
    text = messages.definition(JOINT_STATE)
    assert text == (
        "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity\nfloat64[] effort\n"
        + "=" * 80
        + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n"
        + "=" * 80
        + "\nMSG: builtin_interfaces/Time\nint32 sec\nuint32 nanosec\n"
    )
    ours = messages.definition("dari_msgs/msg/TaskEvent")
    assert ours.startswith("# One event in the life of a task")
    assert "uint8 STATE_FAILED=8" in ours and ours.endswith("int32 sec\nuint32 nanosec\n")
    for name in (
        JOINT_STATE,
        "geometry_msgs/msg/WrenchStamped",
        "sensor_msgs/msg/PointCloud2",
        "rcl_interfaces/msg/Log",
    ):
        decoders = generate_dynamic(name, messages.definition(name))
        assert decoders[name](messages.serialize(name, messages.message(name))) is not None


def test_a_message_is_filled_with_zeros_and_takes_maps_and_lists() -> None:
    tf = messages.message(
        "tf2_msgs/msg/TFMessage",
        transforms=[
            {"child_frame_id": "hand", "transform": {"translation": {"x": 1}}},
            {"header": {"frame_id": "base"}},
        ],
    )
    again = messages.deserialize("tf2_msgs/msg/TFMessage", messages.serialize("tf2_msgs/msg/TFMessage", tf))
    assert [item.child_frame_id for item in again.transforms] == ["hand", ""]
    assert again.transforms[0].transform.translation.x == 1.0
    assert again.transforms[0].transform.rotation.w == 1.0
    image = messages.message("sensor_msgs/msg/CompressedImage", format="jpeg", data=b"\xff\xd8")
    data = messages.serialize("sensor_msgs/msg/CompressedImage", image)
    assert messages.deserialize("sensor_msgs/msg/CompressedImage", data).data.tobytes() == b"\xff\xd8"
    imu = messages.message("sensor_msgs/msg/Imu", angular_velocity_covariance=range(9))
    assert (
        messages.deserialize(
            "sensor_msgs/msg/Imu", messages.serialize("sensor_msgs/msg/Imu", imu)
        ).angular_velocity_covariance[8]
        == 8
    )


def test_mistakes_are_told() -> None:
    with pytest.raises(SchemaError, match="did you mean 'sensor_msgs/msg/JointState'"):
        messages.definition("sensor_msgs/msg/JointStates")
    with pytest.raises(SchemaError, match="did you mean 'position'"):
        messages.message(JOINT_STATE, positon=[1])
    with pytest.raises(SchemaError, match=r"JointState\.position: these are no float64"):
        messages.message(JOINT_STATE, position=["x"])
    with pytest.raises(SchemaError, match="9 items, 3 were given"):
        messages.message("sensor_msgs/msg/Imu", angular_velocity_covariance=[1, 2, 3])
    with pytest.raises(SchemaError, match="is no sensor_msgs/msg/JointState"):
        messages.serialize(JOINT_STATE, messages.message("std_msgs/msg/Header"))
    whole = messages.serialize(JOINT_STATE, messages.message(JOINT_STATE, name=["a"], position=[1.0]))
    for cut in (b"", whole[:3], whole[:20], whole[:-9], b"\xff" * 40):
        with pytest.raises(SchemaError, match="bytes are no sensor_msgs/msg/JointState"):
            messages.deserialize(JOINT_STATE, cut)


def test_registering() -> None:
    types = MessageTypes()
    text = (
        "# comment\nstd_msgs/Header header\nInner[] inner\n"
        + "=" * 80
        + "\nMSG: acme_msgs/Inner\nfloat32[3] xyz\nuint8 A=1\n"
    )
    types.register(
        "acme_msgs/msg/Outer",
        text + "=" * 80 + "\nMSG: std_msgs/Header\nbuiltin_interfaces/Time stamp\nstring frame_id\n",
    )
    made = types.message("acme_msgs/msg/Outer", inner=[{"xyz": [1, 2, 3]}, {}])
    again = types.deserialize("acme_msgs/msg/Outer", types.serialize("acme_msgs/msg/Outer", made))
    assert again.inner[0].xyz.tolist() == [1, 2, 3] and again.inner[1].xyz.tolist() == [0, 0, 0]
    full = types.definition("acme_msgs/msg/Outer")
    assert (
        full.startswith("# comment\nstd_msgs/Header header\nInner[] inner\n") and "MSG: builtin_interfaces/Time" in full
    )
    assert generate_dynamic("acme_msgs/msg/Outer", full)
    types.register("acme_msgs/msg/Outer", text)  # the same again
    assert not messages.known("acme_msgs/msg/Outer")
    with pytest.raises(SchemaError, match="leaves out what it contains: acme_msgs/msg/Absent"):
        types.register("acme_msgs/msg/Broken", "Absent x\n")
    assert not types.known("acme_msgs/msg/Broken")
    with pytest.raises(SchemaError, match="already present with different definition"):
        types.register("acme_msgs/msg/Outer", "int32 other\n")
    with pytest.raises(SchemaError, match="no ros2msg text"):
        types.register("acme_msgs/msg/Bad", "int32\n")
    with pytest.raises(SchemaError, match="no ROS 2 type name"):
        types.register("Bad", "int32 a\n")


def test_importing_is_cheap_and_first_use_from_many_threads_is_safe() -> None:
    code = (
        "import sys, threading, bridge.messages as m\n"
        "assert not {name for name in sys.modules if name.startswith(('rosbags', 'numpy'))}\n"
        "barrier, seen = threading.Barrier(8), []\n"
        "def use():\n"
        "    barrier.wait()\n"
        "    seen.append(m.serialize('sensor_msgs/msg/Imu', m.message('sensor_msgs/msg/Imu')))\n"
        "threads = [threading.Thread(target=use) for _ in range(8)]\n"
        "[t.start() for t in threads]; [t.join() for t in threads]\n"
        "assert len(seen) == 8 and len(set(seen)) == 1\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert threading.active_count() >= 1


@pytest.mark.parametrize("kind", ["event", "telemetry", "blob", "latched"])
def test_qos_text_is_what_rosbag2_parses(kind: str) -> None:
    jazzy, humble = messages.default_qos(kind), messages.default_qos(kind, "humble")  # type: ignore[arg-type]
    assert parse_qos(jazzy) == parse_qos(humble)
    (profile,) = parse_qos(jazzy)
    assert profile.reliability is QosReliability.RELIABLE
    latched = kind in {"event", "latched"}
    assert profile.durability is (QosDurability.TRANSIENT_LOCAL if latched else QosDurability.VOLATILE)
    assert (profile.deadline.sec, profile.deadline.nsec) == (9223372036, 854775807)
    assert yaml.safe_load(jazzy)[0]["history"] == "keep_last"
    assert yaml.safe_load(humble)[0]["history"] == 1 and yaml.safe_load(humble)[0]["durability"] in (1, 2)
    assert math.isfinite(profile.depth) and profile.depth >= 1


@needs_ros
def test_ros_own_generator_takes_the_msg_files_and_finds_the_same_hashes(tmp_path: Path) -> None:
    """`.msg` to IDL to type hash by rosidl itself: what a build of the package `dari_msgs` would announce on the graph."""
    adapter = pytest.importorskip("rosidl_adapter.msg", reason="rosidl is not installed")
    hasher = pytest.importorskip("rosidl_generator_type_description", reason="rosidl is not installed")
    from bridge.schema.generate import PACKAGE, ROOT

    package = tmp_path / "dari_msgs"
    (package / "msg").mkdir(parents=True)
    files = sorted((ROOT / PACKAGE / "msg").glob("*.msg"))
    assert len(files) == 4
    for file in files:
        (package / "msg" / file.name).write_text(file.read_text(encoding="utf-8"), encoding="utf-8")
        adapter.convert_msg_to_idl(package, "dari_msgs", Path("msg") / file.name, package / "msg")
    arguments = tmp_path / "arguments.json"
    arguments.write_text(
        json.dumps(
            {
                "package_name": "dari_msgs",
                "output_dir": str(tmp_path / "out"),
                "idl_tuples": [f"{package}:msg/{file.stem}.idl" for file in files],
                "include_paths": [f"{name}:{SHARE / name}" for name in ("std_msgs", "builtin_interfaces")],
            }
        )
    )
    hasher.generate_type_hash(str(arguments))
    for file in files:
        made = json.loads((tmp_path / "out" / "msg" / f"{file.stem}.json").read_text())
        hashes = {item["type_name"]: item["hash_string"] for item in made["type_hashes"]}
        name = f"dari_msgs/msg/{file.stem}"
        assert hashes[name] == messages.type_hash(name)
