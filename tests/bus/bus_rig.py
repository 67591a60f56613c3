"""A hub in a thread with a sink that keeps everything, and a bare ROUTER for tests that want to be the hub themselves."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np
import zmq

from bridge.adapter import NO_STAMP, Channel, ChannelKind, Source
from bridge.bus import frame
from bridge.bus.client import HubClient
from bridge.bus.record import Record
from bridge.bus_port import BusPort
from bridge.hub import Hub
from bridge.pipeline import Pipeline
from bridge.rules.stage import RuleStage
from bridge.schema import Space, TaskEvent, codec
from bridge.sink import Batch, RunInfo, Sink
from bridge.testing import make_source

RUN = UUID(int=7)
CHANNEL = Channel(index=0, name="x", topic="/field/cell1/x", kind=ChannelKind.CDR, type_name="a/msg/B")


def record(payload: bytes = b"x", stamp: int = NO_STAMP, aligned: int = 0) -> Record:
    return Record(0, stamp, NO_STAMP, aligned, aligned, 1, 0, 0, payload)


def eventually(condition: Callable[[], Any], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


class ListSink(Sink):
    """Keeps the records of every source, and the events."""

    def __init__(self) -> None:
        super().__init__(None)
        self.channels: dict[tuple[str, int], list[Channel]] = {}
        self.sequences: dict[tuple[str, int], list[int]] = {}
        self.payloads: dict[tuple[str, int], list[bytes]] = {}
        self.stamps: dict[tuple[str, int], list[int]] = {}
        self.events: list[TaskEvent] = []
        self.signals: list[int] = []
        self.flushed = 0
        self.fail: Exception | None = None

    def open(self, run: RunInfo) -> None:
        self.run = run

    def declare(self, source: Source, channels: list[Channel]) -> None:
        self.channels.setdefault((source.name, source.epoch), []).extend(channels)

    def write(self, batch: Batch) -> None:
        key = (batch.source, batch.epoch)
        for i in range(len(batch)):
            start = int(batch.start[i])
            payload = bytes(batch.payload[start : start + int(batch.length[i])])
            kind = self.channels[key][int(batch.channel[i])].kind
            if kind is ChannelKind.EVENT:
                self.events.append(codec.decode(payload))
            elif kind is ChannelKind.SIGNAL:
                self.signals.append(codec.decode_signal(payload).value)
            self.sequences.setdefault(key, []).append(int(batch.sequence[i]))
            self.payloads.setdefault(key, []).append(payload)
            self.stamps.setdefault(key, []).append(int(batch.stamp[i]))

    def flush(self) -> None:
        if self.fail is not None:
            raise self.fail
        self.flushed += 1

    def close(self, reason: str) -> str:
        return "a list"

    def health(self, code: str) -> list[Any]:
        return [e.body for e in self.events if e.kind == "health" and e.body.code.value == code]


class NoSite:
    """As much of a site as a rule stage without rules asks for."""

    assets: dict[str, Any] = {}


def make_pipeline(sink: Sink, part: int = 0, rules: RuleStage | None = None) -> Pipeline:
    run = RunInfo(
        run_id=RUN,
        site_name="test",
        site_text="",
        site_path="test.yaml",
        realtime_ns=time.time_ns(),
        monotonic_ns=time.monotonic_ns(),
        software={},
        part=part,
    )
    stage = RuleStage({}, NoSite(), RUN, {}) if rules is None else rules
    return Pipeline(run, stage, [sink], spaces=[Space.FIELD], now_ns=time.time_ns())


class RunningHub:
    """A real hub in a thread of this process."""

    def __init__(self, folder: Path, sink: ListSink | None = None, part: int = 0, **options: Any) -> None:
        self.address = f"ipc://{folder}/hub"
        self.sink = sink or ListSink()
        self.pipeline = make_pipeline(self.sink, part)
        self.hub = Hub(self.address, self.pipeline, time.time_ns() - time.monotonic_ns(), **options)
        self.stopping = threading.Event()
        self.error: Exception | None = None
        self.thread = threading.Thread(target=self._run)
        self.thread.start()

    def _run(self) -> None:
        try:
            self.hub.serve(self.stopping)
        except Exception as error:
            self.error = error
            self.hub._socket.close(0)
            self.hub._context.term()
        else:
            self.hub.close("stopped")

    def stop(self) -> ListSink:
        self.stopping.set()
        self.thread.join(30)
        assert not self.thread.is_alive()
        return self.sink


class BareHub:
    """A ROUTER that does nothing by itself."""

    def __init__(self, address: str) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.ROUTER)
        self.socket.setsockopt(zmq.LINGER, 0)
        self.socket.bind(address)
        self.route = b""

    def next(self, seconds: float = 20.0) -> Any:
        """The next frame that is no Ping, decoded."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.socket.poll(100):
                self.route, data = self.socket.recv_multipart()
                found = frame.decode(data)
                if not isinstance(found.header, frame.Ping):
                    return found
        raise AssertionError("nothing came")

    def ping(self, seconds: float = 20.0) -> None:
        """Wait for a Ping."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.socket.poll(100):
                self.route, data = self.socket.recv_multipart()
                if isinstance(frame.decode(data).header, frame.Ping):
                    return
        raise AssertionError("no ping came")

    def quiet(self, seconds: float) -> bool:
        """Whether nothing but Pings comes for so long."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.socket.poll(50):
                self.route, data = self.socket.recv_multipart()
                if not isinstance(frame.decode(data).header, frame.Ping):
                    return False
        return True

    def ack(self, number: int, sequence: int, name: str = "source", epoch: int = 0) -> None:
        self.send(frame.Ack(source=name, epoch=epoch, number=number, sequence=sequence))

    def send(self, header: frame.Header) -> None:
        self.socket.send_multipart([self.route, frame.encode(header)])

    def close(self) -> None:
        self.socket.close(0)
        self.context.term()


_encoder = msgspec.msgpack.Encoder(uuid_format="bytes")


def make_port(client: HubClient, epoch: int = 0, name: str = "source") -> BusPort:
    source = msgspec.structs.replace(make_source(name), epoch=epoch)
    return BusPort(
        source,
        {},
        client,
        prior_delay_ns=1_000_000,
        base_ns=time.time_ns() - time.monotonic_ns(),
        stopping=threading.Event(),
        say=lambda level, text: None,
    )


def connect(address: str, epoch: int = 0, name: str = "source", **options) -> tuple[HubClient, BusPort]:
    source = msgspec.structs.replace(make_source(name), epoch=epoch)
    client = HubClient(address, source, **options)
    return client, make_port(client, epoch, name)


class Speaker:
    """A sender that says just what a test wants, from a socket of its own."""

    def __init__(self, address: str, epoch: int = 0, name: str = "source", pid: int = 1) -> None:
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        self.socket.setsockopt(zmq.LINGER, 1000)
        self.socket.connect(address)
        self.source = msgspec.structs.replace(make_source(name), epoch=epoch)
        self.pid = pid
        self.number = 0

    def hello(self, next_sequence: int = 0, channels: tuple[Channel, ...] = (CHANNEL,)) -> None:
        self.socket.send(
            frame.encode(
                frame.Hello(
                    source=self.source.name,
                    epoch=self.source.epoch,
                    next_sequence=next_sequence,
                    source_info=msgspec.Raw(_encoder.encode(self.source)),
                    channels=msgspec.Raw(_encoder.encode(list(channels))),
                    pid=self.pid,
                )
            )
        )

    def data(self, first: int, payloads: list[bytes], aligned: int = 1000) -> None:
        rows = [(0, 0, 0, aligned + i, aligned + i, 1, 0, 0, len(p)) for i, p in enumerate(payloads)]
        header = frame.Data(
            source=self.source.name, epoch=self.source.epoch, number=self.number, first=first, n=len(payloads)
        )
        self.number += 1
        self.socket.send(frame.encode(header, np.array(rows, np.int64).T.copy(), b"".join(payloads)))

    def answer(self, seconds: float = 20.0):
        assert self.socket.poll(seconds * 1000), "no answer came"
        return frame.decode(self.socket.recv()).header

    def close(self) -> None:
        self.socket.close()
        self.context.term()


SOURCE = make_source()
