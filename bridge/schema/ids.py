"""Identifiers: UUIDv7 for what happens live, UUIDv8 derived from its parts for what must come out the same.

An identifier is never used as a clock. Layouts: RFC 9562, sections 5.7 and 5.8.
"""

from __future__ import annotations

import hashlib
import os
import threading
import time
from enum import Enum
from numbers import Integral
from uuid import UUID

import msgspec

from bridge.errors import SchemaError

_DOMAIN = b"dari.id/1"
_canonical = msgspec.msgpack.Encoder(uuid_format="bytes")
_lock = threading.Lock()
_last = 0


def uuid7() -> UUID:
    """A new UUIDv7: 48 bits of UNIX time in ms, 12 bits of the fraction of that ms, 62 random bits.

    Later calls in one process give larger values, even where the clock stands still or steps back (RFC 9562, 6.2,
    method 3).
    """
    global _last
    now = time.time_ns()
    ticks = (now // 1_000_000 << 12) | ((now % 1_000_000) * 4096 // 1_000_000)
    with _lock:
        ticks = max(ticks, _last + 1)
        _last = ticks
    return _layout(ticks >> 12, ticks & 0xFFF, int.from_bytes(os.urandom(8), "big"), version=7)


def derived_id(*parts: object) -> UUID:
    """The UUIDv8 of `parts`: the first 122 bits of a SHA-256, less those of version and variant.

    Hashed are the bytes `dari.id/1` and the parts as one msgpack array in its shortest form, UUIDs as 16 bytes, so that
    another language gives the same. Parts are None, bool, int, float, text, bytes, UUIDs, words (enumerations) and
    lists of these; 1, True and "1" give different ids. Raises `SchemaError` for anything else.
    """
    digest = hashlib.sha256(_DOMAIN + _canonical.encode([_part(part) for part in parts])).digest()
    value = int.from_bytes(digest[:16], "big")
    return _layout(value >> 80, (value >> 64) & 0xFFF, value, version=8)


def event_id(run_id: UUID, source: str, epoch: int, sequence: int) -> UUID:
    """The id of the event that `source` numbered `sequence` in its `epoch`: an event sent again has the same id."""
    return derived_id("event", run_id, source, epoch, sequence)


def task_key(run_id: UUID, source: str, *parts: object) -> UUID:
    """The id of the task that `source` knows by `parts`: the same parts give the same id in one run."""
    return derived_id("task", run_id, source, *parts)


def _layout(high48: int, middle12: int, low62: int, *, version: int) -> UUID:
    high, low = high48 & ((1 << 48) - 1), low62 & ((1 << 62) - 1)
    return UUID(int=high << 80 | version << 76 | (middle12 & 0xFFF) << 64 | 0b10 << 62 | low)


def _part(part: object) -> object:
    if part is None or isinstance(part, (bool, bytes, UUID)):
        return part
    if isinstance(part, str):
        return str(part.value) if isinstance(part, Enum) else str(part)
    if isinstance(part, float):
        return float(part)
    if isinstance(part, Integral):
        number = int(part)
        if -(2**63) <= number < 2**64:
            return number
    elif isinstance(part, (list, tuple)):
        return [_part(item) for item in part]
    raise SchemaError(
        f"an id can not be derived from {part!r} ({type(part).__name__})",
        hint="give text, bytes, whole numbers of 64 bits, numbers, UUIDs or lists of these",
    )
