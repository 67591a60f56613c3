"""Reading logs in every state: whole, cut anywhere, damaged, killed in the middle, foreign, and files that are no log."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mcap.writer import CompressionType, IndexType, Writer
from recorder_rig import MONOTONIC, MS, Rig, Told, flood, joint_states, whole_log

from bridge.errors import LogError
from recorder.blocks import walk
from recorder.clocks import Clocks
from recorder.options import McapOptions
from recorder.reader import LogMessage, open_log
from recorder.summary import summarise


def everything(path: Path) -> tuple[list[LogMessage], bool, list[str]]:
    """All that a log gives: messages decoded, events, summary; nothing may raise but `LogError`."""
    with open_log(path) as log:
        found = list(log.messages())
        for message in found:
            log.decode(message)
        summary = summarise(log)
        assert summary.messages == sum(log.counts.values())
        assert log.state
        return found, log.closed, list(log.problems)


@pytest.fixture(scope="module", params=["zstd", "lz4", "none"])
def bytes_of_a_log(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path, _ = whole_log(tmp_path_factory.mktemp("cut"), McapOptions(compression=request.param, sync=False))
    return path.read_bytes()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_log_cut_anywhere_gives_what_is_there(bytes_of_a_log: bytes, tmp_path: Path, data: st.DataObject) -> None:
    whole = bytes_of_a_log
    cut = data.draw(st.integers(0, len(whole) - 1))
    path = tmp_path / "cut.mcap"
    path.write_bytes(whole)
    expected, _, _ = everything(path)
    path.write_bytes(whole[:cut])
    if cut < 8:
        with pytest.raises(LogError) as caught:
            open_log(path)
        assert caught.value.hint
        return
    found, closed, _ = everything(path)
    assert not closed
    by_key = {(m.channel.topic, m.sequence, m.log_time): m.data for m in expected}
    for message in found:
        assert by_key[message.channel.topic, message.sequence, message.log_time] == message.data


def test_a_longer_piece_never_gives_less(written: tuple[Path, Told], tmp_path: Path) -> None:
    whole = written[0].read_bytes()
    path = tmp_path / "cut.mcap"
    before = 0
    for cut in range(64, len(whole), len(whole) // 40):
        path.write_bytes(whole[:cut])
        with open_log(path) as log:
            assert log.message_count >= before
            before = log.message_count
    with open_log(written[0]) as log:
        assert before == log.message_count, "only the index was cut off"


def test_a_chunk_cut_in_its_middle_gives_its_front(tmp_path: Path) -> None:
    """Messages that do not compress, so that the cut chunk has whole zstd blocks to take."""
    rig = Rig(tmp_path, McapOptions(chunk_kib=4096, flush_ms=10_000, sync=False))
    port = rig.port("camera")
    channel = port.channel("image", "std_msgs/msg/UInt8MultiArray")
    rng = random.Random(1)
    for n in range(40):
        body = rng.randbytes(20_000)
        head = b"\0\1\0\0" + bytes(8) + len(body).to_bytes(4, "little")
        port.emit(channel, head + body, arrival=MONOTONIC + n * MS)
    path = rig.close()
    with open_log(path) as log:
        block = max(log._layout.blocks, key=lambda b: b.length)
    whole = path.read_bytes()
    path.write_bytes(whole[: block.offset + block.length // 2])
    with open_log(path) as log:
        assert not log.closed
        assert 10 <= len(list(log.messages(["/twin/arm/image"]))) <= 20
        assert "NOT closed" in log.state


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_log_never_gives_a_traceback(bytes_of_a_log: bytes, tmp_path: Path, data: st.DataObject) -> None:
    damaged = bytearray(bytes_of_a_log)
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        damaged[at] = data.draw(st.integers(0, 255))
    path = tmp_path / "damaged.mcap"
    path.write_bytes(damaged)
    try:
        with open_log(path) as log:
            for message in log.messages():
                with contextlib.suppress(LogError):
                    log.decode(message)
            summarise(log)
    except LogError as error:
        assert error.hint


def test_a_damaged_chunk_costs_itself_and_is_said(tmp_path: Path) -> None:
    rig = Rig(tmp_path, McapOptions(chunk_kib=16, flush_ms=10_000, compression="none", sync=False))
    flood(rig.port("twin"), MONOTONIC, 500)
    path = rig.close()
    with open_log(path) as log:
        blocks = log._layout.blocks
        all_of_them = log.message_count
        assert len(blocks) > 5
        third = blocks[2]
    damaged = bytearray(path.read_bytes())
    damaged[third.offset + third.length // 2] ^= 0xFF
    path.write_bytes(damaged)
    with open_log(path) as log:
        found = len(list(log.messages()))
        assert 0 < all_of_them - found < 100
        assert any("CRC" in problem for problem in log.problems)
    # The same by the walk, with the index cut off.
    path.write_bytes(damaged[:-100])
    with open_log(path) as log:
        assert len(list(log.messages())) == found
        assert any("CRC" in problem for problem in log.problems)


def test_zeros_at_the_end_as_a_power_cut_leaves_them(written: tuple[Path, Told], tmp_path: Path) -> None:
    whole = written[0].read_bytes()
    path = tmp_path / "zeros.mcap"
    path.write_bytes(whole[: len(whole) // 2] + bytes(100_000))
    found, closed, problems = everything(path)
    assert found
    assert not closed
    assert problems


_WRITER = """
import sys
sys.path.insert(0, {here!r})
from pathlib import Path
from recorder_rig import *
rig = Rig(Path({there!r}), McapOptions(flush_ms=100))
port = rig.port("twin")
n = 0
while True:
    joint_states(port, MONOTONIC + n * 100 * MS, 10)
    rig.send()
    n += 10
    if n % 100 == 0:
        rig.sink.flush()
        print(n, flush=True)
"""


def test_kill_9_costs_at_most_what_was_not_flushed(tmp_path: Path) -> None:
    script = _WRITER.format(here=str(Path(__file__).parent), there=str(tmp_path))
    writer = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    try:
        flushed = 0
        while flushed < 1_000:
            flushed = int(writer.stdout.readline())
        (path,) = (tmp_path / "logs").glob("*.mcap")
        with open_log(path) as log:
            assert log.being_written
    finally:
        os.kill(writer.pid, signal.SIGKILL)
        rest = writer.stdout.read().split()
        writer.wait()
        writer.stdout.close()
    flushed = max([flushed, *(int(word) for word in rest)])
    with open_log(path) as log:
        assert not log.closed
        assert log.being_written is False
        assert "NOT closed" in log.state
        found = [m.sequence for m in log.messages(["/twin/arm/joint_states"])]
        assert sorted(found) == list(range(len(found))), "no hole in what was kept"
        assert len(found) >= flushed
        assert Clocks(log).missing == {"twin": 0}
        assert log.metadata["dari.run"]["site"] == "testcell"
        assert log.attachment("testcell.yaml")


def test_messages_come_in_order_of_log_time_from_chunks_that_overlap(tmp_path: Path) -> None:
    path = tmp_path / "overlap.mcap"
    times = list(range(1, 2_001))
    random.Random(7).shuffle(times)
    with path.open("wb") as file:
        writer = Writer(file, chunk_size=2_000)
        writer.start()
        schema = writer.register_schema("std_msgs/msg/Int64", "ros2msg", b"int64 data")
        channel = writer.register_channel("/x", "cdr", schema)
        for at in times:
            writer.add_message(channel, at, b"\0\1\0\0" + at.to_bytes(8, "little"), at)
        writer.finish()
    with open_log(path) as log:
        assert [m.log_time for m in log.messages()] == list(range(1, 2_001))
        window = [m.log_time for m in log.messages(["/x"], 100, 200)]
        assert window == list(range(100, 201)), "both ends are included"
        assert log.times({channel}).tolist() == list(range(1, 2_001))
        assert log.decode(next(log.messages())).data == 1


@pytest.mark.parametrize("indexes", [IndexType.ALL, IndexType.NONE, IndexType.CHUNK, IndexType.MESSAGE])
@pytest.mark.parametrize("chunks", [True, False])
def test_foreign_logs_with_and_without_indexes(tmp_path: Path, indexes: IndexType, chunks: bool) -> None:
    path = tmp_path / "foreign.mcap"
    with path.open("wb") as file:
        writer = Writer(
            file,
            index_types=indexes,
            use_chunking=chunks,
            use_statistics=chunks,
            repeat_channels=chunks,
            compression=CompressionType.LZ4,
            chunk_size=500,
        )
        writer.start(profile="", library="someone else's")
        schema = writer.register_schema("std_msgs/msg/Int64", "ros2msg", b"int64 data")
        json_schema = writer.register_schema("thing", "jsonschema", b"{}")
        channel = writer.register_channel("/x", "cdr", schema)
        other = writer.register_channel("/json", "json", json_schema)
        bare = writer.register_channel("/bare", "raw", 0)
        for n in range(100):
            writer.add_message(channel, n, b"\0\1\0\0" + n.to_bytes(8, "little"), n)
            writer.add_message(other, n, b"{}", n)
            writer.add_message(bare, n, b"?", n)
        writer.add_metadata("theirs", {"a": "b"})
        writer.add_attachment(1, 2, "notes.txt", "text/plain", b"hello")
        writer.finish()
    with open_log(path) as log:
        assert log.closed
        assert log.library == "someone else's"
        assert log.message_count == 300
        assert [log.decode(m).data for m in log.messages(["/x"])] == list(range(100))
        for topic in ("/json", "/bare"):
            with pytest.raises(LogError, match="not decoded here"):
                log.decode(next(log.messages([topic])))
        assert log.metadata == {"theirs": {"a": "b"}}
        assert log.attachment("notes.txt") == b"hello"
        summary = summarise(log)
        assert summary.spaces == {}
        assert {c.topic: c.count for c in summary.channels} == {"/x": 100, "/json": 100, "/bare": 100}


def test_a_folder_with_one_log_and_one_with_several(written: tuple[Path, Told], tmp_path: Path) -> None:
    with pytest.raises(LogError, match=r"no \.mcap file"):
        open_log(tmp_path)
    shutil.copy(written[0], tmp_path / "a.mcap")
    with open_log(tmp_path) as log:
        assert log.path == tmp_path / "a.mcap"
    shutil.copy(written[0], tmp_path / "b.mcap")
    with pytest.raises(LogError, match="holds 2 logs"):
        open_log(tmp_path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "not what rosbag2 writes"),
        ("a: [", "not what rosbag2 writes"),
        ("rosbag2_bagfile_information: 3", "not what rosbag2 writes"),
        ("rosbag2_bagfile_information: {relative_file_paths: []}", "none at all"),
        ("rosbag2_bagfile_information: {relative_file_paths: [gone.mcap]}", "gone.mcap"),
    ],
)
def test_a_metadata_yaml_that_is_none(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "metadata.yaml").write_text(text)
    with pytest.raises(LogError, match=said) as caught:
        open_log(tmp_path)
    assert "metadata.yaml" in caught.value.where


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\x89MC", "cut after 3 bytes"),
        (b"hello, this is a text file", "no MCAP file"),
        (b"#ROSBAG V2.0\n", "ROS 1 bag"),
        (b"PK\x03\x04zip", "zip archive"),
        (b"\x1f\x8b\x08gzip", "gzip"),
        (b"\x28\xb5\x2f\xfdzstd", "zstd"),
        (bytes(1000), "no MCAP file"),
    ],
)
def test_files_that_are_no_log(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "some.mcap"
    path.write_bytes(content)
    with pytest.raises(LogError, match=said) as caught:
        open_log(path)
    assert caught.value.hint
    assert caught.value.where == str(path)


def test_an_sqlite_bag_is_named(tmp_path: Path) -> None:
    path = tmp_path / "bag.db3"
    database = sqlite3.connect(path)
    database.execute("create table messages (id integer)")
    database.commit()
    database.close()
    with pytest.raises(LogError, match="SQLite bag of rosbag2") as caught:
        open_log(path)
    assert "convert" in caught.value.hint


def test_a_log_that_is_not_there_names_the_newest(written: tuple[Path, Told]) -> None:
    with pytest.raises(LogError, match="no such log") as caught:
        open_log(written[0].with_name("gone.mcap"))
    assert written[0].name in caught.value.hint
    with pytest.raises(LogError):
        open_log("/dev/null")
    with pytest.raises(LogError):
        open_log("nul\0byte")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=300))
def test_any_bytes_behind_the_magic(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "any.mcap"
    path.write_bytes(b"\x89MCAP0\r\n" + content)
    with open_log(path) as log:
        list(log.messages())
        summarise(log)


@given(content=st.binary(max_size=200))
def test_a_walk_over_any_bytes_stays_inside(content: bytes) -> None:
    from recorder.blocks import DamagedError

    try:
        found = walk(content)
    except DamagedError:
        return
    assert found.end <= len(content)


def test_progress_reaches_the_end(written: tuple[Path, Told], tmp_path: Path) -> None:
    path = tmp_path / "cut.mcap"
    path.write_bytes(written[0].read_bytes()[:-50])
    said: list[tuple[int, int]] = []
    open_log(path, lambda done, total: said.append((done, total))).close()
    assert said[-1][0] == said[-1][1] == path.stat().st_size
    assert [done for done, _ in said] == sorted(done for done, _ in said)


def test_a_window_reads_only_what_it_needs(tmp_path: Path) -> None:
    rig = Rig(tmp_path, McapOptions(chunk_kib=16, sync=False))
    port = rig.port("twin")
    joint_states(port, MONOTONIC, 2_000)
    path = rig.close()
    with open_log(path) as log:
        whole = log.time_range
        assert whole is not None
        first = next(iter(log.messages(["/twin/arm/joint_states"]))).log_time
        damaged = log._layout.blocks[-2]
        reads = []
        original = type(damaged).read

        def counted(block: object, file: object) -> bytes:
            reads.append(block)
            return original(block, file)  # type: ignore[arg-type]

        type(damaged).read = counted  # type: ignore[method-assign,assignment]
        try:
            found = list(log.messages(["/twin/arm/joint_states"], first, first + 50 * MS))
        finally:
            type(damaged).read = original  # type: ignore[method-assign]
    assert len(found) == 6
    assert len(reads) <= 3 < len(log._layout.blocks)
