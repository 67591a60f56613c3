"""The recorder as a sink: everything that the hub lets through, in one MCAP file that every robotics tool opens."""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import ClassVar, Final

import numpy as np
from mcap.writer import CompressionType, Writer

import bridge
from bridge.adapter import Channel, ChannelKind, Source
from bridge.errors import DariError, LogError
from bridge.names import escape_part
from bridge.sink import Batch, RunInfo, Sink
from recorder.channels import Bound, ChannelTable
from recorder.clock_columns import CLOCK_TYPE, ClockColumns, ClockRecord, host_record
from recorder.disk import LOW_SPACE, LogFile, free_bytes
from recorder.encode import LOG_TYPE, event, health_line, log_message
from recorder.options import McapOptions
from recorder.reader import RUN_RECORD
from recorder.rosbag import RECORD, serialized_metadata
from recorder.wording import size

_COMPRESSION: Final = {"zstd": CompressionType.ZSTD, "lz4": CompressionType.LZ4, "none": CompressionType.NONE}
_LATEST: Final = 2**63 - 1
_SECOND_NS: Final = 1_000_000_000
SAID_PER_CHANNEL: Final = 3
"""How many records of one channel that can not be written are told one by one; the rest is counted."""

CLOCK_SEMANTICS: Final[dict[str, str]] = {
    "timeline": "ns since the UNIX epoch on the recorder's host: monotonic clock plus a base that is fixed for the run",
    "log_time": "aligned time: when it happened, from the source's own clock, mapped to the timeline",
    "publish_time": "arrival: when the adapter first saw it, on the timeline",
    "sequence": "lowest 32 bits of the record's number within (source, start of its adapter)",
    "raw_stamps": "/dari/clock/<source>, dari_msgs/msg/ClockModel, joined by source_epoch and sequence",
    "host_clocks": "/dari/clock/host: pairs of the host's monotonic and realtime clocks",
}


@dataclass
class _Places:
    """Where the records of one start of a source go, by channel index: all in `bound`, those that are CDR in `plain` too."""

    bound: dict[int, Bound] = field(default_factory=dict)
    plain: dict[int, int] = field(default_factory=dict)


class McapSink(Sink):
    """Writes one log: profile `ros2`, CDR with `ros2msg` definitions on every channel, CRCs on chunks and data.

    A killed process costs at most the open chunk (`flush_ms`). A disk that refuses raises `LogError`; what was written
    until then stays readable. A record that can not be encoded is told in `/dari/log`, and counted.
    """

    options_type: ClassVar[type[McapOptions]] = McapOptions

    def __init__(self, options: McapOptions) -> None:
        super().__init__(options)
        self.options: McapOptions = options
        self.path = Path()
        self.unwritten = 0
        self._clocks = ClockColumns()
        self._places: dict[tuple[str, int], _Places] = {}
        self._starts: dict[str, int] = {}
        self._times: tuple[int, int] | None = None
        self._own_sequence = 0
        self._last_flush = time.monotonic()
        self._next_pair = 0

    # -- beginning and end ---------------------------------------------------------------------------------------

    def open(self, run: RunInfo) -> None:
        """Create the file and write what is known of the run."""
        self._run = run
        self._base = run.realtime_ns - run.monotonic_ns
        directory = Path(run.directory) / Path(self.options.directory).expanduser()
        begun = datetime.fromtimestamp(run.realtime_ns // _SECOND_NS, tz=timezone.utc)
        part = f"_{run.part + 1}" if run.part else ""  # a hub that takes over in a run goes on in a log of its own
        self.path = (directory / f"{run.site_name}_{begun:%Y%m%dT%H%M%SZ}_{run.run_id.hex[-8:]}{part}.mcap").resolve()
        attached = self._attachments()
        self._file = LogFile(self.path)
        self._writer = Writer(
            self._file,  # type: ignore[arg-type]  # it writes, tells and flushes, which is all that the writer asks
            chunk_size=self.options.chunk_kib * 1024,
            compression=_COMPRESSION[self.options.compression],
            enable_crcs=True,
            enable_data_crcs=True,
        )
        self._writer.start(profile="ros2", library=f"dari {bridge.__version__}")
        self._channels = ChannelTable(self._writer, self.options.rosbag2)
        self._rosbag2()
        self._writer.add_metadata(RUN_RECORD, self._run_record(begun))
        self._writer.add_metadata("dari.software", dict(run.software))
        self._writer.add_metadata("dari.clocks", CLOCK_SEMANTICS)
        for name, media_type, data in attached:
            self._writer.add_attachment(run.realtime_ns, run.realtime_ns, name, media_type, data)
        self._log_id = self._channels.own("/dari/log", LOG_TYPE)
        self._check_space()
        self.flush()

    def _run_record(self, begun: datetime) -> dict[str, str]:
        run = self._run
        return {
            "run_id": str(run.run_id),
            "site": run.site_name,
            "site_path": run.site_path,
            "site_attachment": self._site_name(),
            "begun": begun.isoformat(),
            "realtime_ns": str(run.realtime_ns),
            "monotonic_ns": str(run.monotonic_ns),
            "part": str(run.part),
        }

    def _site_name(self) -> str:
        return Path(self._run.site_path).name or "site.yaml"

    def _attachments(self) -> list[tuple[str, str, bytes]]:
        from bridge.schema.generate import json_schema

        schema = json.dumps(json_schema(), ensure_ascii=False).encode()
        found = [
            (self._site_name(), "application/yaml", self._run.site_text.encode()),
            ("task-event.schema.json", "application/schema+json", schema),
        ]
        for name in self.options.attach:
            path = Path(self._run.directory) / Path(name).expanduser()
            try:
                found.append((path.name, _media_type(path), path.read_bytes()))
            except OSError as error:
                raise LogError(
                    f"a file to attach can not be read: {error.strerror or error}",
                    where=str(path),
                    hint="correct the mcap sink's option 'attach' in the site file",
                ) from error
        return found

    def _check_space(self) -> None:
        free = free_bytes(self.path.parent)
        if free is not None and free < LOW_SPACE:
            text = f"only {size(free)} are free where the log goes, {self.path.parent}: free some, or record elsewhere"
            print(f"warning: {text}", file=sys.stderr)
            self._say("warning", text)

    def close(self, reason: str) -> str:
        """Finish the file; returns its path, and why it is not closed where it could not be."""
        if self._file.failed is not None:
            self._file.close()
            return f"{self.path} (NOT closed: {self._file.failed.what})"
        try:
            self._finish(reason)
        finally:
            self._file.close()
        return str(self.path)

    def _finish(self, reason: str) -> None:
        for place in self._places.values():
            for one in place.bound.values():
                if one.unwritten > SAID_PER_CHANNEL:
                    self._say("error", f"{one.channel.topic}: {one.unwritten} records in all could not be written")
        if self._run.live:
            self._pair()
        self.flush()
        self._writer.add_metadata("dari.starts", {name: str(starts) for name, starts in self._starts.items()})
        self._writer.add_metadata("dari.end", {"reason": reason, "unwritten": str(self.unwritten)})
        self._rosbag2()
        self._writer.finish()  # type: ignore[no-untyped-call]
        self._file.sync()

    def _rosbag2(self) -> None:
        topics = [(w.topic, w.type_name, w.qos, w.type_hash, w.count) for w in self._channels.written.values()]
        text = serialized_metadata(self.path.name, topics, self._times, self.options.rosbag2)
        self._writer.add_metadata(RECORD, {"serialized_metadata": text})

    # -- what comes in -------------------------------------------------------------------------------------------

    def declare(self, source: Source, channels: list[Channel]) -> None:
        """Take new channels of a source; those that it declared before its restart are used again."""
        place = self._places.setdefault((source.name, source.epoch), _Places())
        for channel in channels:
            place.bound[channel.index] = one = self._channels.bind(source, channel)
            if one.refusal:
                self._say("error", f"{source.name}: records of {channel.topic} can not be written: {one.refusal}")
            elif channel.kind is ChannelKind.CDR:
                place.plain[channel.index] = one.id
        for warning in self._channels.warnings:
            self._say("warning", warning)
        self._channels.warnings.clear()
        self._clocks.declare(source.name, source.epoch, channels)
        if source.name not in self._starts:
            # Written at once, for those who read a log that was never closed.
            self._writer.add_metadata(f"dari.source.{source.name}", _source_record(source))
        self._starts[source.name] = source.epoch + 1

    def write(self, batch: Batch) -> None:
        """Write a batch, and its stamps beside it."""
        if not len(batch):
            return
        place = self._places.get((batch.source, batch.epoch)) or _Places()
        if batch.aligned.min() < 0 or batch.arrival.min() < 0:
            self._say("warning", f"{batch.source}: records of before 1970 are logged at 0; /dari/clock has their times")
        channel = batch.channel.tolist()
        aligned = np.clip(batch.aligned, 0, _LATEST).tolist()
        arrival = np.clip(batch.arrival, 0, _LATEST).tolist()
        sequence = (batch.sequence & 0xFFFFFFFF).tolist()
        view = memoryview(batch.payload)
        add, plain = self._writer.add_message, place.plain
        rows = zip(channel, sequence, aligned, arrival, batch.start.tolist(), batch.length.tolist(), strict=True)
        for index, number, log_time, publish_time, start, length in rows:
            identity = plain.get(index)
            if identity is not None:
                add(identity, log_time, view[start : start + length], publish_time, number)  # type: ignore[arg-type]
            else:
                self._encoded(
                    batch.source, place.bound.get(index), number, log_time, publish_time, view[start:][:length]
                )
        for index, count in Counter(channel).items():
            if index in plain:
                self._channels.written[plain[index]].count += count
        self._span(min(aligned), max(aligned))
        self._clocks.take(batch)
        if time.monotonic() - self._last_flush >= self.options.flush_ms / 1000:
            self.flush()

    def _encoded(
        self, source: str, one: Bound | None, number: int, log_time: int, publish_time: int, payload: memoryview
    ) -> None:
        """Write a record that is no CDR yet, or say why it can not be written."""
        if one is None or one.refusal:
            self._not_written(source, one, number, log_time, payload, "its channel has no place in the log")
            return
        try:
            data = self._event(payload, log_time) if one.encode is None else one.encode(payload, log_time)
        except (DariError, ValueError, TypeError, OverflowError) as error:
            reason = error.what if isinstance(error, DariError) else f"{type(error).__name__}: {error}"
            self._not_written(source, one, number, log_time, payload, reason)
            return
        self._writer.add_message(one.id, log_time, data, publish_time, number)
        self._channels.written[one.id].count += 1

    def flush(self) -> None:
        """Close the open chunk and put it, with the stamps of its records, where a killed process does not lose it."""
        for record in self._clocks.drain():
            self._clock(record)
        if self._run.live and time.monotonic_ns() >= self._next_pair:
            self._pair()
        self._writer.flush()  # type: ignore[no-untyped-call]
        if self.options.sync:
            self._file.sync()
        self._last_flush = time.monotonic()

    # -- the recorder's own messages -----------------------------------------------------------------------------

    def _event(self, payload: memoryview, log_time: int) -> bytes:
        found, data = event(payload)
        line = health_line(found)
        if line is not None:
            # Viewers have a panel for logs; what the pipeline says of itself is read there.
            self._own(self._log_id, log_time, found.time.received_ns, log_message(*line, log_time))
        return data

    def _not_written(
        self, source: str, one: Bound | None, number: int, log_time: int, data: memoryview, reason: str
    ) -> None:
        """Say that a record could not be written, with the beginning of its bytes; only count it after a few."""
        self.unwritten += 1
        topic = one.channel.topic if one is not None else "an undeclared channel"
        if one is not None:
            one.unwritten += 1
            if one.unwritten > SAID_PER_CHANNEL:
                return
            reason = one.refusal or reason
        start = bytes(data[:48]).hex()
        text = f"{source}: record {number} of {topic} could not be written ({len(data)} bytes, {start}): {reason}"
        self._own(self._log_id, log_time, log_time, log_message("error", "recorder", text, log_time))

    def _say(self, level: str, text: str) -> None:
        now = self._now()
        self._own(self._log_id, now, now, log_message(level, "recorder", text, now))

    def _now(self) -> int:
        """Now on the timeline; of a log that is played again, the last moment that it has come to."""
        if self._run.live:
            return time.monotonic_ns() + self._base
        return self._times[1] if self._times is not None else self._run.realtime_ns

    def _pair(self) -> None:
        monotonic, realtime = time.monotonic_ns(), time.time_ns()
        self._next_pair = monotonic + _SECOND_NS
        self._clock(host_record(monotonic, realtime, self._base))

    def _clock(self, record: ClockRecord) -> None:
        identity = self._channels.own(f"/dari/clock/{escape_part(record.source)}", CLOCK_TYPE)
        self._own(identity, record.at_ns, record.at_ns, record.data)

    def _own(self, identity: int, log_time: int, publish_time: int, data: bytes) -> None:
        log_time, publish_time = max(0, log_time), max(0, publish_time)
        self._writer.add_message(identity, log_time, data, publish_time, self._own_sequence & 0xFFFFFFFF)
        self._own_sequence += 1
        self._channels.written[identity].count += 1
        self._span(log_time, log_time)

    def _span(self, first: int, last: int) -> None:
        before = self._times or (first, last)
        self._times = (min(first, before[0]), max(last, before[1]))


def _source_record(source: Source) -> dict[str, str]:
    body = source.embodiment
    return {
        "source": source.name,
        "space": source.space.value,
        "asset": source.asset.path() or source.asset_name,
        "asset_name": source.asset_name,
        "embodiment": " ".join(part for part in (body.model, body.effector) if part) if body is not None else "",
        "urdf_sha256": body.urdf_sha256 if body is not None else "",
    }


def _media_type(path: Path) -> str:
    import mimetypes

    if path.suffix == ".urdf":
        return "application/xml"
    return mimetypes.guess_type(path.name)[0] or "application/octet-stream"
