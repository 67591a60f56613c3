"""The sink protocol: where the hub puts what came in. The recorder is one; live views and other systems are others."""

from __future__ import annotations

import abc
from pathlib import Path
from typing import Any, ClassVar
from uuid import UUID

import msgspec
import numpy as np
from numpy.typing import NDArray

from bridge.adapter import Channel, Source


class RunInfo(msgspec.Struct, frozen=True, kw_only=True):
    """What a sink is told of the run when it opens.

    `realtime_ns` and `monotonic_ns` are one pair, read together at the start: the recorder's timeline is
    `monotonic + (realtime_ns - monotonic_ns)`. `site_text` is the site file as it was read, byte for byte. `part` counts the hubs
    of the run from 0: when one falls, the next goes on with a new log. `live` is False where the run is a log played again: this
    machine's clocks then have nothing to do with the timeline.
    """

    run_id: UUID
    site_name: str
    site_text: str
    site_path: str
    realtime_ns: int
    monotonic_ns: int
    software: dict[str, str]
    directory: str = "."
    part: int = 0
    live: bool = True


class Batch(msgspec.Struct, frozen=True, kw_only=True):
    """Records of one source, in the order in which they were received. All columns have shape (n,) and dtype int64.

    `channel` is the channel's index; `sequence` counts from 0 within (source, epoch); `stamp` and `alt_stamp` are raw device
    stamps; `arrival` and `aligned` are on the recorder's timeline (ns since the UNIX epoch); `uncertainty` is a half-width in
    ns; `clock_epoch` counts the steps of the source's clock; `flags` is a set of `Flag` bits; `NO_STAMP` means none.
    Payload i is `payload[start[i]:start[i] + length[i]]`.
    """

    source: str
    epoch: int
    channel: NDArray[np.int64]
    sequence: NDArray[np.int64]
    stamp: NDArray[np.int64]
    alt_stamp: NDArray[np.int64]
    arrival: NDArray[np.int64]
    aligned: NDArray[np.int64]
    uncertainty: NDArray[np.int64]
    clock_epoch: NDArray[np.int64]
    flags: NDArray[np.int64]
    start: NDArray[np.int64]
    length: NDArray[np.int64]
    payload: bytes | memoryview

    def __len__(self) -> int:
        return int(self.channel.shape[0])


class Sink(abc.ABC):
    """Takes everything that the hub lets through. Called from one thread; a call that raises stops the hub, loudly.

    `options_type` types the sink's `options:` in the site file.
    """

    options_type: ClassVar[type[Any]]
    path: Path = Path()
    """The file or folder that `open` made; stays `Path()` for a sink that makes none."""

    def __init__(self, options: Any) -> None:
        self.options = options

    @abc.abstractmethod
    def open(self, run: RunInfo) -> None:
        """Begin. Raises `LogError` when it can not (no space, no permission)."""

    @abc.abstractmethod
    def declare(self, source: Source, channels: list[Channel]) -> None:
        """New channels of a source; a source that was restarted declares them again, with another epoch."""

    @abc.abstractmethod
    def write(self, batch: Batch) -> None:
        """Take a batch."""

    @abc.abstractmethod
    def flush(self) -> None:
        """Called at least twice a second: put what is held where a killed process does not lose it."""

    @abc.abstractmethod
    def close(self, reason: str) -> str:
        """End; returns where the result lies (a path, an address), for the closing line."""
