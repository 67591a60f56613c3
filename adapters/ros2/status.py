"""Reads `action_msgs/msg/GoalStatusArray` from CDR without its Python type, so that the tap need not know any action."""

from __future__ import annotations

import struct
from uuid import UUID

from adapters.ros2.actions import GoalStatus

_HEAD = 4
"""Bytes of encapsulation before the CDR, whose alignment counts from behind them."""


def decode_status(payload: bytes) -> list[GoalStatus]:
    """The entries of a status array: a sequence of (16-byte goal id, int32 s, uint32 ns, int8 status), aligned to 4 bytes.

    Raises:
        ValueError: the bytes end before the sequence does.
    """
    order = "<" if payload[1] & 1 else ">"
    entry = struct.Struct(f"{order}16siIb")
    try:
        (count,) = struct.unpack_from(f"{order}I", payload, _HEAD)
        found: list[GoalStatus] = []
        at = _HEAD + 4
        for _ in range(count):
            at = _HEAD + (at - _HEAD + 3) // 4 * 4 if found else at
            goal, seconds, nanoseconds, status = entry.unpack_from(payload, at)
            found.append(GoalStatus(UUID(bytes=goal), seconds * 1_000_000_000 + nanoseconds, status))
            at += entry.size
    except struct.error as error:
        raise ValueError(f"no GoalStatusArray: {error}") from error
    return found
