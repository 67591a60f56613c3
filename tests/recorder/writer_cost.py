"""What writing costs: CPU time a message through `McapSink` and through the `mcap` writer alone, in one run.

`python tests/recorder/writer_cost.py [MESSAGES]`: 268-byte messages in batches of 64, zstd, flushed twice a second.
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from mcap.writer import CompressionType, Writer
from recorder_rig import BASE, MONOTONIC, MS, Rig

from bridge import messages
from bridge.sink import Batch
from recorder.options import McapOptions

SIZE, PER_BATCH = 268, 64


def payloads(count: int) -> list[bytes]:
    """Joint states whose low bits are noise, as real ones are; every one has `SIZE` bytes."""
    rng = random.Random(1)
    found = []
    for n in range(min(count, 4096)):
        numbers = b"".join(np.float64(0.1 * i + 0.001 * n + rng.gauss(0, 1e-4)).tobytes() for i in range(21))
        found.append((b"\0\1\0\0" + bytes(96) + numbers)[:SIZE])
    return found


def through_sink(count: int, bodies: list[bytes], directory: Path) -> tuple[float, float, int]:
    """(CPU seconds, elapsed seconds, bytes on disk) for `count` messages through `McapSink`."""
    rig = Rig(directory, McapOptions(sync=True))
    port = rig.port("twin")
    channel = port.channel("joint_states", "sensor_msgs/msg/JointState")
    rig.sink.declare(port.source, port.fresh)
    zeros = np.zeros(PER_BATCH, np.int64)
    lengths = np.full(PER_BATCH, SIZE, np.int64)
    cpu, wall = time.process_time(), time.perf_counter()
    for first in range(0, count, PER_BATCH):
        times = MONOTONIC + BASE + np.arange(first, first + PER_BATCH, dtype=np.int64) * MS
        rig.sink.write(
            Batch(
                source="twin",
                epoch=0,
                channel=zeros + channel.index,
                sequence=np.arange(first, first + PER_BATCH, dtype=np.int64),
                stamp=times,
                alt_stamp=zeros,
                arrival=times,
                aligned=times,
                uncertainty=zeros + 1000,
                clock_epoch=zeros,
                flags=zeros,
                start=np.arange(PER_BATCH, dtype=np.int64) * SIZE,
                length=lengths,
                payload=b"".join(bodies[(first + i) % len(bodies)] for i in range(PER_BATCH)),
            )
        )
    path = Path(rig.sink.close("done"))
    return time.process_time() - cpu, time.perf_counter() - wall, path.stat().st_size


def through_mcap(count: int, bodies: list[bytes], directory: Path) -> tuple[float, float, int]:
    """The same by the `mcap` writer alone: no stamps beside the messages, no flush, no sync."""
    path = directory / "plain.mcap"
    with path.open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start("ros2")
        definition = messages.definition("sensor_msgs/msg/JointState").encode()
        schema = writer.register_schema("sensor_msgs/msg/JointState", "ros2msg", definition)
        channel = writer.register_channel("/joint_states", "cdr", schema)
        cpu, wall = time.process_time(), time.perf_counter()
        for n in range(count):
            at = MONOTONIC + BASE + n * MS
            writer.add_message(channel, at, bodies[n % len(bodies)], at, n)
        writer.finish()
    return time.process_time() - cpu, time.perf_counter() - wall, path.stat().st_size


def main() -> None:
    """Print both, and the ratio."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    count -= count % PER_BATCH
    bodies = payloads(count)
    with tempfile.TemporaryDirectory() as directory:
        rows = {
            "mcap writer alone": through_mcap(count, bodies, Path(directory)),
            "McapSink": through_sink(count, bodies, Path(directory)),
        }
    for name, (cpu, wall, size) in rows.items():
        print(
            f"{name:18} {cpu / count * 1e6:6.2f} us CPU, {wall / count * 1e6:6.2f} us elapsed, {size / count:6.1f} bytes"
        )
    alone, ours = rows["mcap writer alone"][0], rows["McapSink"][0]
    print(f"ratio of CPU {ours / alone:.2f} over {count} messages of {SIZE} bytes")


if __name__ == "__main__":
    main()
