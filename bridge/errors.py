"""Errors that a person can act on: what happened, where, and what to do next.

Every error that dari raises on purpose inherits `DariError`, and the builtin that a caller would expect to catch. The
command line prints them without a traceback and exits with their `exit_code`.
"""

from __future__ import annotations


class DariError(Exception):
    """What happened, where it happened, what to do next.

    Args:
        what: one sentence, in plain words, without a final full stop.
        where: file and line, key, address or log position; empty where there is none.
        hint: what the reader can do next; empty where nothing sensible can be said.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", hint: str = "") -> None:
        self.what = what
        self.where = where
        self.hint = hint
        super().__init__(what)

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return f"{head}\n  next: {self.hint}" if self.hint else head


class UsageError(DariError, ValueError):
    """The command was called with something that can not be meant. Exit code 2."""

    exit_code = 2


class SiteError(DariError, ValueError):
    """One or more faults in a site file; `problems` holds every one of them. Exit code 3."""

    exit_code = 3

    def __init__(self, what: str, *, where: str = "", hint: str = "", problems: tuple[DariError, ...] = ()) -> None:
        super().__init__(what, where=where, hint=hint)
        self.problems = problems


class NotConnectedError(DariError, ConnectionError):
    """A source, a hub or a broker could not be reached. Exit code 4."""

    exit_code = 4


class MissingPackageError(DariError, ImportError):
    """A package that this part needs is not installed; the hint names the extra to install. Exit code 5."""

    exit_code = 5


class LogError(DariError, OSError):
    """A log can not be read or written. Exit code 6."""

    exit_code = 6


class SchemaError(DariError, ValueError):
    """A record does not fit the schema; `where` names the field. Exit code 7."""

    exit_code = 7


class FrameError(DariError, ValueError):
    """A frame on the bus is malformed, too large or of another version. Exit code 8."""

    exit_code = 8
