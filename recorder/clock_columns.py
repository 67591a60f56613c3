"""The raw stamps of every record, in columns beside the messages: what is needed to align a log again."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bridge import messages
from bridge.adapter import NO_STAMP, Channel
from bridge.schema.interfaces import NULL_I64, ClockMessage, Header, Time
from bridge.sink import Batch

CLOCK_TYPE = ClockMessage.type_name
HOST = "host"

Columns = tuple[NDArray[np.int64], ...]
"""channel, sequence, stamp, alt_stamp, arrival, aligned, uncertainty, clock_epoch, flags; each of shape (n,)."""


@dataclass
class _Kept:
    """Columns of one clock of one source that are not yet written, and how many stamps it has had."""

    source: str
    epoch: int
    clock: str
    columns: list[Columns] = field(default_factory=list)
    samples: int = 0


@dataclass(frozen=True)
class ClockRecord:
    """One message for `/dari/clock/<source>`: CDR bytes, and when it was written, in ns on the timeline."""

    source: str
    at_ns: int
    data: bytes


class ClockColumns:
    """Collects the columns of batches by source and clock, and makes one message of each when asked."""

    def __init__(self) -> None:
        self._channels: dict[tuple[str, int], dict[int, Channel]] = {}
        self._kept: dict[tuple[str, int, str], _Kept] = {}
        self._written: dict[str, int] = {}

    def declare(self, source: str, epoch: int, channels: list[Channel]) -> None:
        """Make channels known, whose records will come."""
        self._channels.setdefault((source, epoch), {}).update({channel.index: channel for channel in channels})

    def take(self, batch: Batch) -> None:
        """Keep a batch's columns until `drain`."""
        if not len(batch):
            return
        columns: Columns = (
            batch.channel,
            batch.sequence,
            batch.stamp,
            batch.alt_stamp,
            batch.arrival,
            batch.aligned,
            batch.uncertainty,
            batch.clock_epoch,
            batch.flags,
        )
        known = self._channels.get((batch.source, batch.epoch), {})
        clocks = {index: known[index].clock if index in known else "" for index in set(batch.channel.tolist())}
        names = set(clocks.values())
        for name in names:
            part = columns
            if len(names) > 1:
                mask = np.isin(batch.channel, [index for index, clock in clocks.items() if clock == name])
                part = tuple(column[mask] for column in columns)
            key = (batch.source, batch.epoch, name)
            kept = self._kept.get(key)
            if kept is None:
                kept = self._kept[key] = _Kept(*key)
            kept.columns.append(part)

    def drain(self) -> list[ClockRecord]:
        """One message for each clock that had records since the last call."""
        records = [self._record(kept) for kept in self._kept.values() if kept.columns]
        for kept in self._kept.values():
            kept.columns = []
        return records

    def _record(self, kept: _Kept) -> ClockRecord:
        channel, sequence, stamp, alt_stamp, arrival, aligned, uncertainty, epoch, flags = (
            np.concatenate(column) for column in zip(*kept.columns, strict=True)
        )
        stamped = np.flatnonzero(stamp != NO_STAMP)
        kept.samples += len(stamped)
        known = self._channels.get((kept.source, kept.epoch), {})
        indices, channel_index = np.unique(channel, return_inverse=True)
        # When it was written, near enough, and never back: readers are slow where times regress from chunk to chunk.
        at = self._written[kept.source] = max(self._written.get(kept.source, 0), int(arrival.max()))
        message = ClockMessage(
            header=Header(stamp=Time.of(at)),
            source=kept.source,
            clock=kept.clock,
            source_epoch=kept.epoch,
            clock_epoch=int(epoch[-1]),
            samples=kept.samples,
            topics=[known[index].topic if index in known else "" for index in indices.tolist()],
            channel_index=channel_index.astype(np.uint32),
            sequence=sequence,
            stamp=stamp,
            alt_stamp=alt_stamp,
            arrival=arrival,
            aligned=aligned,
            uncertainty=uncertainty,
            stamp_epoch=epoch.astype(np.uint32),
            flags=flags.astype(np.uint32),
        )
        if len(stamped):
            # The model as it held for the last stamp: a batch carries what the model gave, not the model itself.
            last = int(stamped[-1])
            message.offset_ns = int(aligned[last]) - int(stamp[last])
            message.reference_ns = int(stamp[last])
            message.uncertainty_ns = int(uncertainty[last])
            message.method = "as held for the last stamp"
        return ClockRecord(kept.source, at, messages.serialize(CLOCK_TYPE, message))


def host_record(monotonic_ns: int, realtime_ns: int, base_ns: int) -> ClockRecord:
    """A pair of the recorder's own clocks, read together: how far the realtime clock was moved shows between two of them."""
    now = monotonic_ns + base_ns
    message = ClockMessage(
        header=Header(stamp=Time.of(now)),
        source=HOST,
        clock="realtime",
        offset_ns=NULL_I64,
        monotonic_ns=monotonic_ns,
        realtime_ns=realtime_ns,
    )
    return ClockRecord(HOST, now, messages.serialize(CLOCK_TYPE, message))
