"""One record on its way from an adapter to the hub, and the row that it becomes in a frame."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

_ROW = struct.Struct("<9q")
_SMALLEST, _LARGEST = -(2**63) + 1, 2**63 - 1  # the smallest int64 is NO_STAMP


class Record(NamedTuple):
    """Times in ns; `arrival` and `aligned` on the recorder's timeline; `bridge.adapter.NO_STAMP` means none.

    The order of the fields is the order of a frame's columns (`bridge.bus.frame.COLUMNS`), with the payload in place of
    its length.
    """

    channel: int
    stamp: int
    alt_stamp: int
    arrival: int
    aligned: int
    uncertainty: int
    clock_epoch: int
    flags: int
    payload: bytes


def row(record: Record, length: int) -> bytes:
    """The record's row: `len(frame.COLUMNS)` int64, little-endian, with the payload's length last.

    A number that does not fit is brought to the nearest that does: a device whose clock says nonsense must not end its source.
    """
    channel, stamp, alt_stamp, arrival, aligned, uncertainty, clock_epoch, flags, _ = record
    try:
        return _ROW.pack(channel, stamp, alt_stamp, arrival, aligned, uncertainty, clock_epoch, flags, length)
    except struct.error:
        times = [_fit(value) for value in (stamp, alt_stamp, arrival, aligned, uncertainty, clock_epoch)]
        return _ROW.pack(channel, *times, flags, length)


def _fit(value: Any) -> int:
    number = int(value)
    return number if number == _SMALLEST - 1 else max(_SMALLEST, min(_LARGEST, number))
