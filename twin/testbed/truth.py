"""What truly happened, as JSON lines: for tests alone. dari never reads it."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path

import msgspec

from bridge.errors import UsageError
from twin.testbed.clock import SkewedClock


class Truth:
    """The truth file. Every line has `kind`, `monotonic_ns` (the host's) and `true_ns` (ns since the UNIX epoch, from the
    wall clock at the start and the monotonic clock since). May be called from any thread; without a path it writes nothing."""

    def __init__(self, path: Path | None) -> None:
        self.clock = SkewedClock.start("true", skew_ms=0.0, drift_ppm=0.0)
        self._lock = threading.Lock()
        try:
            self._file = None if path is None else path.open("w", encoding="utf-8")
        except OSError as error:
            raise UsageError(
                f"can not be written: {error.strerror}", where=str(path), hint="give another --truth"
            ) from error

    def write(self, kind: str, fields: Mapping[str, object], monotonic_ns: int | None = None) -> None:
        """Write a line; `monotonic_ns` is now when it is not given."""
        if self._file is None:
            return
        at = time.monotonic_ns() if monotonic_ns is None else monotonic_ns
        line = msgspec.json.encode({"kind": kind, "monotonic_ns": at, "true_ns": self.clock.at(at), **fields})
        with self._lock:
            if not self._file.closed:
                self._file.write(line.decode() + "\n")
                self._file.flush()

    def close(self) -> None:
        """No more lines."""
        if self._file is not None:
            with self._lock:
                self._file.close()
