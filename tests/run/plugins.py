"""A source and a sink for tests of the processes: real ones, small enough to be counted by hand."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import ClassVar

import msgspec

from bridge.adapter import Adapter, Channel, ChannelKind, Options, Port, Requirement, SignalConfig, Source
from bridge.schema import Signal, codec
from bridge.sink import Batch, RunInfo, Sink


class TickOptions(Options, frozen=True, kw_only=True):
    """`count` ticks at `rate_hz`, 0 for no end; `tally` is written with how many were handed over."""

    rate_hz: float = 200.0
    count: int = 0
    tally: str = ""
    crash_at: int = -1


class TickSignal(SignalConfig, frozen=True, kw_only=True):
    """A signal with no address."""


class TickAdapter(Adapter):
    """Hands over a counter as a signal, and at its end writes down how far it got."""

    options_type = TickOptions
    signal_type = TickSignal
    summary = "counts"

    def run(self, port: Port) -> None:
        """Count until stopped."""
        options = self.options
        assert isinstance(options, TickOptions)
        port.connected("a counter")
        done = 0
        period = 1.0 / options.rate_hz
        due = time.monotonic()
        while not port.stopping.is_set() and (options.count == 0 or done < options.count):
            if done == options.crash_at:
                raise RuntimeError("as the test wished")
            port.signal(Signal("tick", done, source_ns=time.time_ns() + 5_000_000_000))
            done += 1
            due += period
            time.sleep(max(0.0, due - time.monotonic()))
        if options.tally:
            Path(f"{options.tally}.{self.source.epoch}").write_text(str(done))


class NeedyAdapter(Adapter):
    """Needs what no machine has."""

    requirements = (Requirement("a_module_that_is_not_there", "field"),)

    def run(self, port: Port) -> None:
        """Never reached."""
        raise AssertionError("a required module is missing, so this must not run")


class JsonlOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where the lines go: `DIR/PID.jsonl`."""

    directory: str


class JsonlSink(Sink):
    """One JSON line for each record; on disk after `flush`."""

    options_type: ClassVar[type[JsonlOptions]] = JsonlOptions

    def open(self, run: RunInfo) -> None:
        """Make the file."""
        self.channels: dict[tuple[str, int], list[Channel]] = {}
        self.path = Path(self.options.directory) / f"{os.getpid()}.jsonl"
        self.file = self.path.open("w")

    def declare(self, source: Source, channels: list[Channel]) -> None:
        """Remember them."""
        self.channels.setdefault((source.name, source.epoch), []).extend(channels)

    def write(self, batch: Batch) -> None:
        """Write them."""
        channels = self.channels[(batch.source, batch.epoch)]
        for i in range(len(batch)):
            channel = channels[int(batch.channel[i])]
            begin = int(batch.start[i])
            payload = bytes(batch.payload[begin : begin + int(batch.length[i])])
            row = {
                "source": batch.source,
                "epoch": batch.epoch,
                "sequence": int(batch.sequence[i]),
                "topic": channel.topic,
                "kind": channel.kind.value,
                "stamp": int(batch.stamp[i]),
                "aligned": int(batch.aligned[i]),
                "arrival": int(batch.arrival[i]),
            }
            if channel.kind is ChannelKind.SIGNALS:
                row["values"] = [s.value for s in codec.decode_signals(payload)]
            elif channel.kind is ChannelKind.EVENT:
                row["event"] = json.loads(codec.to_json(codec.decode(payload)))
            elif channel.kind is ChannelKind.LOG:
                row["log"] = msgspec.msgpack.decode(payload)
            self.file.write(json.dumps(row) + "\n")

    def flush(self) -> None:
        """To the disk."""
        self.file.flush()
        os.fsync(self.file.fileno())

    def close(self, reason: str) -> str:
        """Done."""
        self.file.write(json.dumps({"closed": reason}) + "\n")
        self.file.close()
        return str(self.path)
