"""Reads `action_msgs/msg/GoalStatusArray` from CDR without its Python type, so that a tap need not know any action."""

from __future__ import annotations

import struct
from typing import NamedTuple
from uuid import UUID

_HEAD = 4
"""Bytes of encapsulation before the CDR, whose alignment counts from behind them."""


class GoalStatus(NamedTuple):
    """One entry of a status array: the goal's id, when the server accepted it (its own clock, ns), the status number."""

    id: UUID
    accepted_ns: int
    status: int


def decode_status(payload: bytes) -> list[GoalStatus]:
    """The entries of a status array: a sequence of (16-byte goal id, int32 s, uint32 ns, int8 status).

    Bytes lie anywhere, the numbers at multiples of four: an entry's length depends on where it begins.

    Raises:
        ValueError: the bytes end before the sequence does.
    """
    if len(payload) < _HEAD + 4:
        raise ValueError("no GoalStatusArray: too short")
    order = "<" if payload[1] & 1 else ">"
    count_at, rest = struct.Struct(f"{order}I"), struct.Struct(f"{order}iIb")
    (count,) = count_at.unpack_from(payload, _HEAD)
    found: list[GoalStatus] = []
    at = _HEAD + 4
    try:
        for _ in range(count):
            goal = payload[at : at + 16]
            at = _HEAD + (at + 16 - _HEAD + 3) // 4 * 4
            seconds, nanoseconds, status = rest.unpack_from(payload, at)
            at += rest.size
            found.append(GoalStatus(UUID(bytes=goal), seconds * 1_000_000_000 + nanoseconds, status))
    except struct.error as error:
        raise ValueError(f"no GoalStatusArray: {error}") from error
    return found
