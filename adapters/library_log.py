"""What a protocol's library says of itself goes to dari's log as debug lines: no tracebacks on the terminal."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from bridge.adapter import Port


class _ToPort(logging.Handler):
    """Hands warnings and errors of a library to a port, one line each, the same line at most once in a row."""

    def __init__(self, port: Port) -> None:
        super().__init__(logging.WARNING)
        self._port = port
        self._last = ""

    def emit(self, record: logging.LogRecord) -> None:
        text = f"{record.name}: {record.getMessage()}"
        if record.exc_info and record.exc_info[1] is not None:
            text += f" ({type(record.exc_info[1]).__name__}: {record.exc_info[1]})"
        if text != self._last:
            self._last = text
            self._port.log("debug", text)


@contextmanager
def library_log(port: Port, *names: str) -> Iterator[None]:
    """While inside, warnings of the named loggers become debug lines of `port` and go nowhere else."""
    handler = _ToPort(port)
    kept: list[tuple[logging.Logger, bool, int]] = []
    for name in names:
        logger = logging.getLogger(name)
        kept.append((logger, logger.propagate, logger.level))
        logger.addHandler(handler)
        logger.propagate = False
        logger.setLevel(logging.WARNING)
    try:
        yield
    finally:
        for logger, propagate, level in kept:
            logger.removeHandler(handler)
            logger.propagate = propagate
            logger.setLevel(level)
