"""A source and a sink for tests of the processes: real ones, small enough to be counted by hand."""

from __future__ import annotations

import ctypes
import json
import os
import sys
import time
from pathlib import Path
from typing import ClassVar

import msgspec

from bridge.adapter import Adapter, Channel, ChannelKind, Options, Port, Requirement, SignalConfig, Source
from bridge.errors import LogError
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


class StuckOptions(TickOptions, frozen=True, kw_only=True):
    """`how`: `sleep` lets other threads run, `hold` does not, `construct` never gets as far as that."""

    how: str = "sleep"


class StuckAdapter(TickAdapter):
    """Counts to `count`, and then never returns."""

    options_type = StuckOptions

    def __init__(self, source: Source, options: StuckOptions, signals: dict[str, SignalConfig]) -> None:
        super().__init__(source, options, signals)
        # The site file's check makes one too, of a run that is none.
        if options.how == "construct" and source.run_id.int:
            Path(f"{options.tally}.begun").touch()
            time.sleep(3600)

    def run(self, port: Port) -> None:
        """Count, and hang in a call that no signal's handler can interrupt."""
        options = self.options
        assert isinstance(options, StuckOptions)
        super().run(port)
        # A call into C takes no notice of a Python handler; PyDLL keeps the interpreter's lock, CDLL lets go of it.
        library = ctypes.PyDLL(None) if options.how == "hold" else ctypes.CDLL(None)
        while True:
            library.sleep(3600)


class SlowReturnAdapter(TickAdapter):
    """Takes its time to stop, and receives something while it does."""

    def run(self, port: Port) -> None:
        """Count, then say goodbye at length."""
        super().run(port)
        time.sleep(2.0)
        port.signal(Signal("tick", -1))


class ChattyAdapter(TickAdapter):
    """Prints to standard output, as libraries do."""

    def run(self, port: Port) -> None:
        """Print from Python and from below it, then count."""
        print("from Python", flush=True)
        os.write(1, b"from below\n")
        super().run(port)


class AbruptAdapter(TickAdapter):
    """Calls `sys.exit` in the middle, as some libraries do."""

    def run(self, port: Port) -> None:
        """Count, then exit."""
        super().run(port)
        sys.exit("no license")


class NeedyAdapter(Adapter):
    """Needs what no machine has."""

    requirements = (Requirement("a_module_that_is_not_there", "field"),)

    def run(self, port: Port) -> None:
        """Never reached."""
        raise AssertionError("a required module is missing, so this must not run")


class AwayAdapter(TickAdapter):
    """A source whose peer is there on its first start only."""

    def run(self, port: Port) -> None:
        """Count, or wait for a peer that does not come."""
        if self.source.epoch == 0:
            super().run(port)
            return
        port.disconnected("no answer")
        Path(f"{self.options.tally}.waiting").touch()
        port.stopping.wait()


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


class FailingSink(JsonlSink):
    """A disk that is full as long as there is a file `full` in the folder."""

    def _check(self) -> None:
        if (Path(self.options.directory) / "full").exists():
            raise LogError("the disk is full", where=str(self.path), hint="make room")

    def open(self, run: RunInfo) -> None:
        """Make the file, if there is room."""
        self.path = Path(self.options.directory) / f"{run.part}.jsonl"
        self._check()
        super().open(run)

    def flush(self) -> None:
        """To the disk, if there is room."""
        self._check()
        super().flush()


class SlowCloseSink(JsonlSink):
    """Takes its time to close."""

    def close(self, reason: str) -> str:
        """Say that it has begun, and wait."""
        self.flush()
        (Path(self.options.directory) / "closing").touch()
        time.sleep(20)
        return super().close(reason)


class ChattySink(JsonlSink):
    """Prints to standard output, as libraries do, without ending the line."""

    def open(self, run: RunInfo) -> None:
        """Print, then do what the other does."""
        print("a library says hello", end="", flush=True)
        super().open(run)
