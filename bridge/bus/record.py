"""One record on its way from an adapter to the hub."""

from __future__ import annotations

from typing import NamedTuple


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
