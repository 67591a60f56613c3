"""The recorder as a sink: what goes in is in the file, untouched, at the right times; what can not go in is told."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from recorder_rig import (
    BASE,
    MONOTONIC,
    MS,
    REALTIME,
    RUN_ID,
    SITE_TEXT,
    Rig,
    Told,
    failed_grasp,
    flood,
    joint_states,
    poll,
    press_signals,
)

from bridge.adapter import ChannelKind
from bridge.errors import LogError
from bridge.schema import Signal, Space, codec, flat
from bridge.sink import RunInfo
from recorder.clocks import Clocks
from recorder.disk import LogFile
from recorder.options import McapOptions
from recorder.reader import Log, open_log
from recorder.sink import SAID_PER_CHANNEL, McapSink


def log_texts(log: Log) -> list[tuple[int, str]]:
    return [(m.level, m.msg) for m in map(log.decode, log.messages(["/dari/log"]))]


def test_cdr_goes_to_disk_byte_for_byte(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("robot", Space.TESTBED)
    joint_states(port, MONOTONIC, 50, skew_ns=70 * MS)
    records = list(port.records)
    with open_log(rig.close()) as log:
        found = list(log.messages(["/testbed/arm/joint_states"]))
    assert [m.data for m in found] == [r.payload for r in records]
    assert [m.log_time for m in found] == [r.aligned for r in records]
    assert [m.publish_time for m in found] == [r.arrival for r in records]
    assert [m.sequence for m in found] == list(range(50))


def test_name_metadata_and_attachments(written: tuple[Path, Told]) -> None:
    path, _ = written
    assert path.name == "testcell_20251009T085320Z_0000c0de.mcap"
    with open_log(path) as log:
        assert log.closed
        assert log.metadata["dari.run"]["run_id"] == str(RUN_ID)
        assert log.metadata["dari.run"]["site_attachment"] == "testcell.yaml"
        assert "aligned" in log.metadata["dari.clocks"]["log_time"]
        assert log.metadata["dari.software"] == {"dari": "0.1.0"}
        assert log.metadata["dari.source.press"]["space"] == "field"
        assert log.metadata["dari.end"] == {"reason": "done", "unwritten": "0"}
        assert log.attachment("testcell.yaml") == SITE_TEXT.encode()
        schema = json.loads(log.attachment("task-event.schema.json") or b"")
        assert "TaskEvent" in json.dumps(schema)
        (channel,) = log.of_topic("/field/press_1/temperature")
        assert channel.metadata["dari.unit"] == "Cel"
        assert channel.metadata["dari.source"] == "press"
        assert channel.metadata["dari.tag"] == "temperature"


def test_files_to_attach_and_one_that_is_missing(tmp_path: Path) -> None:
    (tmp_path / "arm.urdf").write_text("<robot name='arm'/>")
    rig = Rig(tmp_path, McapOptions(attach=("arm.urdf",), sync=False))
    with open_log(rig.close()) as log:
        assert log.attachment("arm.urdf") == b"<robot name='arm'/>"
    with pytest.raises(LogError, match="attach can not be read") as caught:
        Rig(tmp_path, McapOptions(attach=("hand.urdf",), sync=False, directory="other"))
    assert "hand.urdf" in str(caught.value)
    assert not (tmp_path / "other").exists(), "no empty log is left behind"


def test_signals_and_tables_come_back_as_they_were(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("press", Space.FIELD, "press", press_signals())
    for n in range(5):
        poll(port, MONOTONIC + n * 100 * MS, n)
    with open_log(rig.close()) as log:
        own = [flat.from_signal_message(log.decode(m)) for m in log.messages(["/field/press/temperature"])]
        tables = [flat.from_signal_table(log.decode(m)) for m in log.messages(["/field/press/press/signals"])]
        first = log.decode(next(log.messages(["/field/press/temperature"])))
    assert [s.value for s in own] == [180.0, 181.0, 182.0, 183.0, 184.0]
    assert first.unit == "Cel"
    assert [s.tag for s in tables[3]] == ["pressure", "running", "program"]
    assert tables[3][2] == Signal("program", None, tables[3][2].quality, "", tables[3][2].source_ns, None)
    assert tables[2][2].value == "온도 A"
    assert tables[2][1].value is True


def test_events_keep_everything(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    told = failed_grasp(port, MONOTONIC)
    events = [codec.decode(r.payload) for r in port.records if r.channel == port._channels["events"].index]
    with open_log(rig.close()) as log:
        found = list(log.events())
        assert not log.problems
    assert sorted(found, key=lambda e: e.sequence) == events
    assert told.failure in {e.id for e in found}


def test_raw_stamps_are_beside_the_messages(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("robot", Space.TESTBED)
    joint_states(port, MONOTONIC, 120, skew_ns=250 * MS)
    records = list(port.records)
    for _ in range(2):
        rig.send()
        rig.sink.flush()
        joint_states(port, MONOTONIC + 2_000 * MS, 0)
    with open_log(rig.close()) as log:
        rows = [log.decode(m) for m in log.messages(["/dari/clock/robot"])]
        joined = {int(s): int(t) for row in rows for s, t in zip(row.sequence, row.stamp, strict=True)}
        for message in log.messages(["/testbed/arm/joint_states"]):
            assert joined[message.sequence] == records[message.sequence].stamp
        assert {row.clock for row in rows} == {"header"}
        clocks = Clocks(log)
    assert clocks.missing == {"robot": 0}
    (clock,) = clocks.clocks
    assert clock.offset_ns is not None
    assert clock.uncertainty_ns is not None
    assert abs(clock.offset_ns - 250 * MS) <= clock.uncertainty_ns
    assert clock.stamps == 120


def test_a_hole_in_the_sequence_numbers_shows(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("robot")
    joint_states(port, MONOTONIC, 10)
    rig.send()
    port.first += 7
    joint_states(port, MONOTONIC + 500 * MS, 10)
    with open_log(rig.close()) as log:
        assert Clocks(log).missing == {"robot": 7}


def test_a_restarted_source_uses_its_channels_again(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    first = rig.port("robot", Space.TESTBED)
    joint_states(first, MONOTONIC, 10)
    rig.send()
    second = rig.port("robot", Space.TESTBED, epoch=1)
    second.channel("wrench", "geometry_msgs/msg/WrenchStamped")
    joint_states(second, MONOTONIC + 1_000 * MS, 10)
    with open_log(rig.close()) as log:
        assert len(log.of_topic("/testbed/arm/joint_states")) == 1
        assert len(list(log.messages(["/testbed/arm/joint_states"]))) == 20
        assert log.metadata["dari.starts"] == {"robot": "2"}
        assert Clocks(log).missing == {"robot": 0}


def test_a_type_that_comes_back_changed_gets_a_channel_of_its_own(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    for epoch, text in enumerate(("float64 x\n", "float64 x\nfloat64 y\n")):
        port = rig.port("robot", Space.TESTBED, epoch=epoch)
        channel = port.channel("odd", "acme_msgs/msg/Odd", definition=text)
        port.emit(channel, b"\0\1\0\0" + bytes(8 * (epoch + 1)), arrival=MONOTONIC + epoch * 1_000 * MS)
        rig.send()
    with open_log(rig.close()) as log:
        channels = log.of_topic("/testbed/arm/odd")
        assert [c.definition for c in channels] == ["float64 x\n", "float64 x\nfloat64 y\n"]
        found = [log.decode(m) for m in log.messages(["/testbed/arm/odd"])]
    assert not hasattr(found[0], "y")
    assert found[1].y == 0.0


def test_what_can_not_be_encoded_is_told_and_counted(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("press", Space.FIELD, "press", press_signals())
    poll(port, MONOTONIC, 0)
    own = next(i for i, c in enumerate(port._channels.values()) if c.kind is ChannelKind.SIGNAL)
    good = port.records[own]
    port.records += [good._replace(payload=b"\xc1garbage") for _ in range(5)]
    port.records.append(good)
    with open_log(rig.close()) as log:
        assert len(list(log.messages(["/field/press/temperature"]))) == 2
        errors = [text for level, text in log_texts(log) if level == 40]
        assert log.metadata["dari.end"]["unwritten"] == "5"
        assert Clocks(log).missing == {"press": 0}, "their stamps are kept"
    told = [text for text in errors if "could not be written (8 bytes, c167617262616765)" in text]
    assert len(told) == SAID_PER_CHANNEL
    assert any("5 records in all" in text for text in errors)
    assert rig.sink.unwritten == 5


def test_an_event_that_is_no_event_is_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    failed_grasp(port, MONOTONIC)
    at = next(i for i, r in enumerate(port.records) if r.channel == port._channels["events"].index)
    port.records[at] = port.records[at]._replace(payload=msgspec.msgpack.encode({"schema": "other/1"}))
    with open_log(rig.close()) as log:
        assert len(list(log.events())) == 11
        assert any("/dari/events could not be written" in text for _, text in log_texts(log))


def test_a_type_without_definition_is_refused_and_its_records_are_told(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("robot")
    channel = port.channel("odd", "acme_msgs/msg/Nowhere")
    port.emit(channel, b"\0\1\0\0abcd", arrival=MONOTONIC)
    joint_states(port, MONOTONIC, 3)
    with open_log(rig.close()) as log:
        assert not log.of_topic("/twin/arm/odd"), "never a channel without a schema"
        assert len(list(log.messages(["/twin/arm/joint_states"]))) == 3
        texts = [text for _, text in log_texts(log)]
    assert any("acme_msgs/msg/Nowhere" in text for text in texts)
    assert any("record 0 of /twin/arm/odd could not be written" in text for text in texts)


def test_a_publisher_with_another_hash_does_not_spoil_the_file(tmp_path: Path) -> None:
    from rosbags.highlevel import AnyReader

    rig = Rig(tmp_path)
    port = rig.port("robot")
    metadata = {"topic_type_hash": "RIHS01_" + "0" * 64, "ros_topic": "/odom"}
    channel = port.channel("odom", "std_msgs/msg/String", metadata=metadata)
    port.emit(channel, b"\0\1\0\0\2\0\0\0a\0", arrival=MONOTONIC)
    path = rig.close()
    with AnyReader([path]) as reader:
        assert reader.message_count > 0
    with open_log(path) as log:
        (found,) = log.of_topic("/twin/arm/odom")
        assert found.metadata["dari.offered_type_hash"] == metadata["topic_type_hash"]
        assert found.metadata["ros_topic"] == "/odom"
        assert any("messages may not decode" in text for _, text in log_texts(log))


def test_health_is_in_the_log_that_people_read(written: tuple[Path, Told]) -> None:
    with open_log(written[0]) as log:
        texts = log_texts(log)
    assert (40, "loss (4) /testbed/arm/joint_states publisher's numbers have a hole") in texts
    assert (30, "the press answers slowly") in texts


def test_times_before_1970_are_clipped_and_said(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    joint_states(port, MONOTONIC, 2)
    port.records[0] = port.records[0]._replace(aligned=-5)
    with open_log(rig.close()) as log:
        assert next(m.log_time for m in log.messages(["/twin/arm/joint_states"])) == 0
        assert any("before 1970" in text for _, text in log_texts(log))


def test_flush_puts_everything_where_another_process_reads_it(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    port = rig.port("twin")
    joint_states(port, MONOTONIC, 30)
    rig.send()
    rig.sink.flush()
    with open_log(rig.sink.path) as log:
        assert not log.closed
        assert log.being_written
        assert "being written now" in log.state
        assert len(list(log.messages(["/twin/arm/joint_states"]))) == 30
        assert Clocks(log).missing == {"twin": 0}
    rig.close()


def test_chunks_are_closed_by_size(tmp_path: Path) -> None:
    rig = Rig(tmp_path, McapOptions(chunk_kib=64, flush_ms=10_000, sync=False))
    port = rig.port("twin")
    flood(port, MONOTONIC, 2_000)
    with open_log(rig.close()) as log:
        assert len(log._layout.blocks) >= 8
        assert log.message_count >= 2_000


def test_a_log_of_that_name_is_never_overwritten(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with pytest.raises(LogError, match="can not be created") as caught:
        Rig(tmp_path)
    assert "is there already" in caught.value.hint
    rig.close()


def test_a_directory_that_can_not_be_is_said(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file")
    with pytest.raises(LogError) as caught:
        Rig(tmp_path)
    assert caught.value.hint
    assert "logs" in caught.value.where


_FULL_DISK = """
import resource, signal, sys
sys.path.insert(0, {here!r})
from pathlib import Path
from recorder_rig import *
from bridge.errors import LogError
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, 300_000))
rig = Rig(Path({there!r}), McapOptions(compression="none", chunk_kib=64, sync=False))
port = rig.port("twin")
try:
    for n in range(100):
        flood(port, MONOTONIC + n * 1000 * MS, 1000)
        rig.send()
except LogError as error:
    print(error)
else:
    print("nothing was raised")
print(rig.sink.close("full"))
"""


def test_a_disk_that_is_full_is_an_error_with_advice_and_the_file_stays_readable(tmp_path: Path) -> None:
    script = _FULL_DISK.format(here=str(Path(__file__).parent), there=str(tmp_path))
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "the log can not be written after" in done.stdout
    assert "next: " in done.stdout
    assert "NOT closed" in done.stdout
    (path,) = (tmp_path / "logs").glob("*.mcap")
    with open_log(path) as log:
        assert not log.closed
        assert log.kept_bytes == log.size, "cut back to the last whole record"
        assert log.message_count > 500


def test_a_file_that_failed_says_the_same_again(tmp_path: Path) -> None:
    file = LogFile(tmp_path / "x.mcap")
    file.failed = LogError("the disk is gone")
    with pytest.raises(LogError, match="the disk is gone"):
        file.write(b"x")
    file.close()


def test_little_space_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("recorder.sink.LOW_SPACE", 2**63)
    rig = Rig(tmp_path)
    with open_log(rig.close()) as log:
        assert any("are free where the log goes" in text for _, text in log_texts(log))
    assert "warning: only" in capsys.readouterr().err


def test_options_are_strict() -> None:
    with pytest.raises(msgspec.ValidationError, match="chunk_kib"):
        msgspec.convert({"chunk_kib": 1}, McapOptions)
    with pytest.raises(msgspec.ValidationError, match="compress"):
        msgspec.convert({"compress": "zstd"}, McapOptions)
    assert McapSink.options_type is McapOptions


def test_an_empty_run_is_a_whole_log(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    with open_log(rig.close()) as log:
        assert log.closed
        assert not list(log.events())
        assert {c.topic for c in log.channels.values()} == {"/dari/log", "/dari/clock/host"}


def test_a_site_name_makes_a_file_name(tmp_path: Path) -> None:
    sink = McapSink(McapOptions(directory="deep/er", sync=False))
    sink.open(
        RunInfo(
            run_id=RUN_ID,
            site_name="line-1",
            site_text="",
            site_path="",
            realtime_ns=REALTIME,
            monotonic_ns=REALTIME - BASE,
            software={},
            directory=str(tmp_path),
        )
    )
    path = Path(sink.close("done"))
    assert path.parent == (tmp_path / "deep/er").resolve()
    assert path.name.startswith("line-1_2025")


def test_a_log_played_again_lies_on_its_own_times_only(tmp_path: Path) -> None:
    rig = Rig(tmp_path, live=False)
    port = rig.port("robot", Space.TESTBED)
    joint_states(port, MONOTONIC, 50)
    port.channel("unheard", "acme_msgs/msg/Unheard")  # no definition: a line in /dari/log
    times = [record.aligned for record in port.records]
    with open_log(rig.close()) as log:
        assert [text for _, text in log_texts(log) if "/testbed/arm/unheard" in text]
        assert "/dari/clock/host" not in {c.topic for c in log.channels.values()}
        assert log.time_range is not None
        assert log.time_range[0] >= REALTIME
        assert log.time_range[1] <= max(times) + MS
