"""What the clock records of a log say: the offset of each source's clock, how sure it is, and which numbers are missing."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from bridge.adapter import NO_STAMP
from bridge.errors import LogError
from recorder.clock_columns import CLOCK_TYPE, HOST
from recorder.reader import Log

DRIFT_SPAN_NS = 5_000_000_000
"""Under this length of time no drift is told."""


class ClockSummary(msgspec.Struct, frozen=True, kw_only=True):
    """One clock of one source.

    `offset_ns` is how far it was AHEAD of the recorder's timeline at its last stamp (negative: behind), None where it gave
    no stamps; `uncertainty_ns` the half-width of a 99% interval around that; `drift_ppm` how fast it ran ahead over its
    last epoch, None where that is less than can be told; `steps` how often it was set.
    """

    source: str
    clock: str
    offset_ns: int | None
    uncertainty_ns: int | None
    drift_ppm: float | None
    steps: int
    stamps: int
    records: int


@dataclass
class _Found:
    """What was gathered of one clock: parallel columns."""

    stamps: list[NDArray[np.int64]] = field(default_factory=list)
    aligned: list[NDArray[np.int64]] = field(default_factory=list)
    uncertainty: list[NDArray[np.int64]] = field(default_factory=list)
    epochs: list[NDArray[np.int64]] = field(default_factory=list)
    steps: int = 0
    records: int = 0


class Clocks:
    """The clock records of a log: `clocks` sums up each clock, `missing` counts the sequence numbers by source."""

    def __init__(self, log: Log) -> None:
        self._found: dict[tuple[str, str], _Found] = {}
        self._last_epoch: dict[tuple[str, str], int] = {}
        self._sequences: dict[tuple[str, int], list[NDArray[np.int64]]] = {}
        for message in log.messages(lambda channel: channel.type_name == CLOCK_TYPE):
            try:
                self._take(log.decode(message))
            except (LogError, AttributeError) as error:
                log.problems.append(f"a clock record at {message.log_time} can not be read: {error}")
        self.clocks = [_summed(source, clock, found) for (source, clock), found in sorted(self._found.items())]
        self.missing: dict[str, int] = {}
        for (source, _), columns in self._sequences.items():
            numbers = np.unique(np.concatenate(columns))
            holes = int(numbers[-1]) + 1 - len(numbers)
            self.missing[source] = self.missing.get(source, 0) + holes

    def _take(self, message: Any) -> None:
        if message.source == HOST or not len(message.sequence):
            return
        key = (message.source, message.clock)
        found = self._found.setdefault(key, _Found())
        found.records += len(message.sequence)
        self._sequences.setdefault((message.source, message.source_epoch), []).append(message.sequence)
        mask = message.stamp != NO_STAMP
        if not mask.any():
            return
        # Clock epochs count from 0 again when the adapter was restarted: the two together tell a new clock.
        epochs = message.stamp_epoch[mask].astype(np.int64) + (int(message.source_epoch) << 32)
        before = self._last_epoch.get(key)
        known = epochs if before is None else np.concatenate([[before], epochs])
        changes = known[1:] != known[:-1]
        # A restart is no step of the clock.
        found.steps += int((changes & ((known[1:] >> 32) == (known[:-1] >> 32))).sum())
        self._last_epoch[key] = int(epochs[-1])
        found.stamps.append(message.stamp[mask])
        found.aligned.append(message.aligned[mask])
        found.uncertainty.append(message.uncertainty[mask])
        found.epochs.append(epochs)


def _summed(source: str, clock: str, found: _Found) -> ClockSummary:
    offset: int | None = None
    uncertainty: int | None = None
    drift: float | None = None
    stamps = sum(len(column) for column in found.stamps)
    if stamps:
        stamp, aligned, epochs = (np.concatenate(c) for c in (found.stamps, found.aligned, found.epochs))
        sures = np.concatenate(found.uncertainty)
        sure = int(sures[-1])
        offset = int(stamp[-1]) - int(aligned[-1])
        uncertainty = None if sure == NO_STAMP else sure
        last = epochs == epochs[-1]
        drift = _drift_ppm(stamp[last], aligned[last], sures[last])
    return ClockSummary(
        source=source,
        clock=clock,
        offset_ns=offset,
        uncertainty_ns=uncertainty,
        drift_ppm=drift,
        steps=found.steps,
        stamps=stamps,
        records=found.records,
    )


def _drift_ppm(stamp: NDArray[np.int64], aligned: NDArray[np.int64], uncertainty: NDArray[np.int64]) -> float | None:
    """The slope of (stamp - aligned) over aligned time; None where it moves less over the span than its two ends are sure."""
    known = uncertainty != NO_STAMP
    stamp, aligned, uncertainty = stamp[known], aligned[known], uncertainty[known]
    if len(stamp) < 10:
        return None
    span = int(aligned.max() - aligned.min())
    ends = (int(uncertainty[0]), int(uncertainty[-1]))
    if span < DRIFT_SPAN_NS:
        return None
    step = max(1, len(stamp) // 2000)
    # Rebased before they become floats: a time since 1970 in ns does not fit into a float's 53 bits.
    x = (aligned[::step] - aligned[0]).astype(np.float64)
    y = ((stamp[::step] - stamp[0]) - (aligned[::step] - aligned[0])).astype(np.float64)
    centred = x - x.mean()
    slope = float((centred * (y - y.mean())).sum() / (centred**2).sum())
    return slope * 1e6 if abs(slope) * span > sum(ends) else None
