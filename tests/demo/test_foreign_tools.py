"""The demo's log, read by tools that are not ours: every channel decodes, and every event by the definition in the file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory

from bridge.schema.codec import from_json


def test_mcap_finds_no_error_with_crc_checks_on(demo, log):
    counts: Counter[str] = Counter()
    with demo.log.open("rb") as file:
        reader = make_reader(file, validate_crcs=True)
        assert reader.get_header().profile == "ros2"
        summary = reader.get_summary()
        for schema, channel, _ in reader.iter_messages():
            assert schema is not None and schema.encoding == "ros2msg"
            assert channel.message_encoding == "cdr"
            assert "offered_qos_profiles" in channel.metadata
            counts[channel.topic] += 1
    assert summary.statistics.message_count == sum(counts.values()) == log.message_count


def test_mcap_ros2_decodes_every_channel_and_the_events_by_their_embedded_definition(demo):
    topics = set()
    kinds: Counter[str] = Counter()
    with demo.log.open("rb") as file:
        for _, channel, message, decoded in make_reader(
            file, decoder_factories=[DecoderFactory()]
        ).iter_decoded_messages():
            topics.add(channel.topic)
            if channel.topic == "/dari/events":
                event = from_json(decoded.body_json)
                assert decoded.kind == event.kind
                assert decoded.space == event.space.value
                assert decoded.aligned_ns == event.time.aligned_ns == message.log_time
                kinds[decoded.kind] += 1
    assert {"/twin/arm/joint_states", "/testbed/arm/joint_states", "/field/cell1/grip_ok"} <= topics
    assert {"task", "decision", "failure", "correction", "measure", "run", "episode"} <= set(kinds)


def test_rosbags_decodes_every_message(demo):
    from rosbags.highlevel import AnyReader

    seen: Counter[str] = Counter()
    with AnyReader([demo.log]) as reader:
        for connection, _, data in reader.messages():
            reader.deserialize(data, connection.msgtype)
            seen[connection.topic] += 1
    assert seen["/twin/arm/joint_states"] > 1000
    assert seen["/testbed/arm/joint_states"] > 1000
    assert seen["/dari/events"] > 100


@pytest.fixture(scope="module")
def rerun() -> str:
    beside = Path(sys.executable).parent / "rerun"
    found = str(beside) if beside.is_file() else shutil.which("rerun")
    if found is None:
        pytest.skip("the rerun command of rerun-sdk is not installed here")
    return found


def test_reruns_loader_takes_it_whole(demo, rerun, tmp_path):
    out = tmp_path / "demo.rrd"
    done = subprocess.run(
        [rerun, "mcap", "convert", str(demo.log), "-o", str(out)],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    said = (done.stdout + done.stderr).lower()
    assert "error" not in said and "failed" not in said, said
    stats = subprocess.run(
        [rerun, "rrd", "print", str(out)], capture_output=True, text=True, check=True, timeout=120
    ).stdout
    for topic in ("/twin/arm/joint_states", "/testbed/arm/joint_states", "/field/cell1/grip_ok", "/dari/events"):
        assert topic in stats


def test_the_json_in_the_file_is_plain_json_for_anyone(demo):
    with demo.log.open("rb") as file:
        for _, _, _, decoded in make_reader(file, decoder_factories=[DecoderFactory()]).iter_decoded_messages(
            topics=["/dari/events"]
        ):
            body = json.loads(decoded.body_json)
            assert body["schema"] == "dari.task_event/1"
            # Unknown is left out or null, and never written as 0.
            assert body["time"].get("uncertainty_ns", 1) != 0
