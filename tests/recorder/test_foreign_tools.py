"""Tools that are not ours read a log: every channel decodes, every CRC holds."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mcap.reader import NonSeekingReader, make_reader
from mcap.records import DataEnd
from mcap.stream_reader import StreamReader
from mcap_ros2.decoder import DecoderFactory
from recorder_rig import Told, whole_log
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader

from bridge.schema import codec
from recorder.options import McapOptions
from recorder.reader import open_log

TOPICS = {
    "/dari/clock/host",
    "/dari/clock/press",
    "/dari/clock/robot",
    "/dari/clock/twin",
    "/dari/events",
    "/dari/log",
    "/field/press_1/press/signals",
    "/field/press_1/temperature",
    "/testbed/arm/joint_states",
    "/testbed/arm/wrench",
    "/twin/arm/gripper/state",
    "/twin/arm/joint_states",
    "/twin/arm/wrench",
}


def test_mcap_reads_it_with_crc_checks(written: tuple[Path, Told]) -> None:
    path, _ = written
    with path.open("rb") as file:
        records = list(StreamReader(file, validate_crcs=True).records)
    end = next(record for record in records if isinstance(record, DataEnd))
    assert end.data_section_crc != 0
    with path.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        assert summary is not None
        assert {c.topic for c in summary.channels.values()} == TOPICS
        for channel in summary.channels.values():
            assert channel.message_encoding == "cdr"
            assert summary.schemas[channel.schema_id].encoding == "ros2msg"
            assert "offered_qos_profiles" in channel.metadata
            assert channel.metadata["topic_type_hash"].startswith("RIHS01_")
        count = sum(1 for _ in reader.iter_messages())
        assert summary.statistics is not None
        assert count == summary.statistics.message_count > 0


@pytest.mark.parametrize("compression", ["zstd", "lz4", "none"])
def test_mcap_ros2_decodes_every_message(tmp_path: Path, compression: str) -> None:
    path, told = whole_log(tmp_path, McapOptions(compression=compression, sync=False))  # type: ignore[arg-type]
    seen: Counter[str] = Counter()
    events = []
    with path.open("rb") as file:
        reader = NonSeekingReader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages():
            seen[channel.topic] += 1
            if channel.topic == "/dari/events":
                event = codec.from_json(decoded.body_json)
                assert str(event.id) == decoded.id
                assert event.time.aligned_ns == message.log_time == decoded.aligned_ns
                assert event.sequence == message.sequence
                events.append(event)
            if channel.topic == "/twin/arm/joint_states":
                assert list(decoded.name)[:7] == [f"panda_joint{i}" for i in range(1, 8)]
    assert set(seen) == TOPICS
    assert seen["/twin/arm/joint_states"] == seen["/testbed/arm/joint_states"] == 200
    assert told.failure in {event.id for event in events}


@pytest.mark.parametrize("distribution", ["jazzy", "humble"])
def test_rosbags_decodes_every_message(tmp_path: Path, distribution: str) -> None:
    path, _ = whole_log(tmp_path, McapOptions(rosbag2=distribution, sync=False))  # type: ignore[arg-type]
    seen: Counter[str] = Counter()
    # AnyReader holds each type's hash against its definition before it reads.
    with AnyReader([path]) as reader:
        for connection, _, data in reader.messages():
            message = reader.deserialize(data, connection.msgtype)
            seen[connection.topic] += 1
            if connection.topic == "/field/press_1/press/signals":
                assert list(message.tags) == ["pressure", "running", "program"]  # type: ignore[attr-defined]
                assert list(message.units) == ["bar", "", ""]  # type: ignore[attr-defined]
    assert set(seen) == TOPICS
    with Reader(path) as bag:
        qos = {c.topic: c.ext.offered_qos_profiles for c in bag.connections}  # type: ignore[union-attr]
    assert all(len(profiles) == 1 for profiles in qos.values())
    assert {profiles[0].reliability.name for profiles in qos.values()} == {"RELIABLE"}
    assert qos["/dari/events"][0].durability.name == "TRANSIENT_LOCAL"


def test_rosbags_reads_it_as_a_directory_with_our_rosbag2_record(written: tuple[Path, Told], tmp_path: Path) -> None:
    """The metadata that rosbag2's own reader takes from the file is a legal metadata.yaml."""
    import yaml

    path, _ = written
    with open_log(path) as log:
        records = [r for r in log._layout.metadata if r.name == "rosbag2"]
        count, times = log.message_count, log.time_range
    assert len(records) == 2, "one when it was opened, one when it was closed"
    first, last = (yaml.safe_load(record.metadata["serialized_metadata"]) for record in records)
    assert first["message_count"] == 0
    assert last["message_count"] == count
    assert times is not None
    assert last["starting_time"]["nanoseconds_since_epoch"] == times[0]
    assert last["duration"]["nanoseconds"] == times[1] - times[0]
    assert {t["topic_metadata"]["name"] for t in last["topics_with_message_count"]} == TOPICS
    (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "metadata.yaml").write_text(yaml.safe_dump({"rosbag2_bagfile_information": last}))
    with AnyReader([tmp_path]) as reader:
        assert reader.message_count == count
        assert sum(1 for _ in reader.messages()) == count
    with open_log(tmp_path) as log:
        assert log.message_count == count


@pytest.mark.skipif(not Path(sys.executable).with_name("rerun").exists(), reason="rerun-sdk has no program here")
def test_rerun_finds_nothing_wrong(written: tuple[Path, Told]) -> None:
    rerun = Path(sys.executable).with_name("rerun")
    done = subprocess.run(
        [rerun, "mcap", "check", "--full", written[0]], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "PROBLEM" not in done.stdout
    for topic in TOPICS:
        assert topic in done.stdout
    # It has plots of its own for joint states only where it could decode them.
    assert "/twin/arm/joint_states/position" in done.stdout
