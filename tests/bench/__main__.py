"""Messages a second through adapter runtime, hub and recorder, beside the `mcap` writer alone fed from one thread."""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import threading
import time
from pathlib import Path

from mcap.reader import make_reader
from mcap.writer import CompressionType, Writer

from bridge import messages
from bridge.site import load
from bridge.supervisor import Supervisor
from tests.bench.flood import joint_state

PRODUCERS = 3
SIZE = 268
TYPE = "sensor_msgs/msg/JointState"


def through_dari(folder: Path, count: int) -> float:
    """Messages a second from the first handed over to the last on disk; every one of them is counted in the log."""
    text = "dari: 1\nsite: {name: bench}\nassets:\n  arm: {cell: bench}\nsources:\n"
    for i in range(PRODUCERS):
        options = json.dumps({"count": count, "size": SIZE, "tally": str(folder / f"{i}.json")})
        text += (
            f"  p{i}: {{adapter: 'tests.bench.flood:FloodAdapter', space: testbed, asset: arm, options: {options}}}\n"
        )
    text += f"sinks:\n  log: {{sink: mcap, options: {{directory: {json.dumps(str(folder))}}}}}\n"
    site = folder / "site.yaml"
    site.write_text(text)
    outcome = Supervisor(load(site), directory=folder, say=lambda line: None).run(threading.Event())
    spans = [json.loads((folder / f"{i}.json").read_text()) for i in range(PRODUCERS)]
    (log,) = folder.glob("*.mcap")
    with log.open("rb") as file:
        summary = make_reader(file).get_summary()
    assert summary is not None and summary.statistics is not None
    topics = {c.id: c.topic for c in summary.channels.values()}
    found = sum(n for i, n in summary.statistics.channel_message_counts.items() if topics[i].endswith("joint_states"))
    if found != PRODUCERS * count or outcome.totals.gaps or outcome.totals.lost:
        raise SystemExit(f"not lossless: {found} of {PRODUCERS * count} messages, {outcome.totals.gaps} gaps")
    return PRODUCERS * count / ((max(s[1] for s in spans) - min(s[0] for s in spans)) / 1e9)


def writer_alone(folder: Path, count: int) -> float:
    """Messages a second of the `mcap` package's writer, fed from one thread with ready-made bytes."""
    data = joint_state(SIZE)
    begun = time.perf_counter()
    with (folder / "alone.mcap").open("wb") as file:
        writer = Writer(file, compression=CompressionType.ZSTD)
        writer.start(profile="ros2", library="bench")
        schema = writer.register_schema(TYPE, "ros2msg", messages.definition(TYPE).encode())
        channel = writer.register_channel("/joint_states", "cdr", schema)
        for i in range(PRODUCERS * count):
            writer.add_message(channel, log_time=i, data=data, publish_time=i, sequence=i)
        writer.finish()
    return PRODUCERS * count / (time.perf_counter() - begun)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="messages of each producer")
    parser.add_argument("--runs", type=int, default=5, help="runs of each, taken in turn")
    args = parser.parse_args()
    figures: dict[str, list[float]] = {"dari": [], "mcap": []}
    for run in range(args.runs):
        for name, measure in (("dari", through_dari), ("mcap", writer_alone)):
            with tempfile.TemporaryDirectory() as folder:
                figures[name].append(measure(Path(folder), args.count))
            print(f"run {run + 1}: {name:<5} {figures[name][-1]:>10,.0f} messages/s", flush=True)
    whole, alone = (statistics.median(figures[name]) for name in ("dari", "mcap"))
    print(f"\n{SIZE}-byte messages, {PRODUCERS} producers, medians of {args.runs} runs in turn, none lost:")
    print(f"  adapter runtime, hub and recorder  {whole:>10,.0f} messages/s")
    print(f"  mcap writer alone, one thread      {alone:>10,.0f} messages/s")
    print(f"  ratio                              {whole / alone:>10.2f}")


if __name__ == "__main__":
    main()
