"""The file under a log: whole records only, out of the process at once, synced on demand, locked while it is written."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from types import ModuleType

from bridge.errors import LogError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # not on Windows
    fcntl = None

LOW_SPACE = 2**30
"""Bytes of free disk under which a recording warns when it starts."""


class LogFile:
    """A file that the `mcap` writer writes to.

    Every `write` goes to the operating system at once, so what was written survives a killed process; `sync` makes it
    survive a loss of power. A lock is held while the file is open: it vanishes with the process, so a reader can tell a
    log that is being written from one whose writer was killed. Every `write` holds whole records (the `mcap` writer
    builds each in memory first): when the disk refuses one, the file is cut back to the last whole record.

    Raises `LogError` where the disk does not do what it should.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.size = 0
        self.failed: LogError | None = None
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise _explain(error, path, "the log can not be created") from error
        if fcntl is not None:
            # File systems without locks (some network mounts) record all the same.
            with contextlib.suppress(OSError):
                fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def write(self, data: bytes) -> int:
        """Write all of `data`, or raise `LogError` with the file cut back to what it was."""
        if self.failed is not None:
            raise self.failed
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(self._fd, rest) :]
        except OSError as error:
            self.failed = _explain(error, self.path, f"the log can not be written after {self.size} bytes")
            # Where even this fails, the tail stays cut in the middle of a record, which readers know how to take.
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise self.failed from error
        self.size += len(data)
        return len(data)

    def tell(self) -> int:
        """Bytes written so far."""
        return self.size

    def flush(self) -> None:
        """Nothing is held back here; the `mcap` writer calls it."""

    def sync(self) -> None:
        """Return when everything written is on the disk."""
        try:
            if hasattr(os, "fdatasync"):
                os.fdatasync(self._fd)
            else:
                os.fsync(self._fd)
        except OSError as error:
            self.failed = _explain(error, self.path, "the disk did not confirm what was written")
            raise self.failed from error

    def close(self) -> None:
        """Let go of the file and its lock."""
        os.close(self._fd)


def is_being_written(path: Path) -> bool | None:
    """Whether a process holds the writer's lock on a log now; None where that can not be told."""
    if fcntl is None:
        return None
    try:
        with path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
            return False
    except OSError:
        return None


def free_bytes(directory: Path) -> int | None:
    """Free bytes for this user on the disk that holds `directory` (or its nearest parent that exists)."""
    for candidate in (directory, *directory.absolute().parents):
        if candidate.exists():
            try:
                stat = os.statvfs(candidate)
            except (OSError, AttributeError):
                return None
            return stat.f_bavail * stat.f_frsize
    return None


def _explain(error: OSError, path: Path, what: str) -> LogError:
    hints = {
        errno.ENOSPC: "free some disk space, or set the mcap sink's option 'directory' to a disk that has some",
        errno.EDQUOT: "your disk quota is used up: free some of it, or set the mcap sink's option 'directory' elsewhere",
        errno.EACCES: "choose a directory that you may write to (the mcap sink's option 'directory')",
        errno.EPERM: "choose a directory that you may write to (the mcap sink's option 'directory')",
        errno.EROFS: "the file system is read-only: choose another directory (the mcap sink's option 'directory')",
        errno.EEXIST: "a log of that name is there already: move it away, or wait a second",
        errno.ENOTDIR: "a part of that path is a file: choose another directory (the mcap sink's option 'directory')",
        errno.EIO: "the disk reports an error: look at `dmesg`, and record to another disk",
        errno.EFBIG: "the file would be too large for this file system or for this user's limit (`ulimit -f`)",
    }
    reason = error.strerror or str(error)
    hint = hints.get(error.errno or 0, "check the disk, then start again; what was written until now stays readable")
    return LogError(f"{what}: {reason}", where=str(path), hint=hint)
