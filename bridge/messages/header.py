"""The stamp in front of most sensor messages, read without decoding the message."""

from __future__ import annotations

import struct

_LITTLE = struct.Struct("<iI")
_BIG = struct.Struct(">iI")


def header_stamp_ns(data: bytes | bytearray | memoryview) -> int | None:
    """`header.stamp` of a CDR message whose type begins with a `std_msgs/msg/Header`, in ns; None where it is not set.

    It lies at byte 4: int32 seconds, uint32 nanoseconds, in the endianness that byte 1 tells. A stamp of zero, one with a
    billion nanoseconds or more, and data that is too short give None. Which types begin with a header,
    `begins_with_header` tells.
    """
    if len(data) < 12:
        return None
    sec, nanosec = (_LITTLE if data[1] & 1 else _BIG).unpack_from(data, 4)
    if nanosec >= 1_000_000_000 or (sec == 0 and nanosec == 0):
        return None
    return int(sec) * 1_000_000_000 + int(nanosec)
