"""A signal: one value of one tag, with its quality and both of its times. This is how the shop floor speaks."""

from __future__ import annotations

from enum import IntEnum

import msgspec

Value = bool | int | float | str | None


class Quality(IntEnum):
    """How far a value can be trusted; the native status code stays beside it."""

    GOOD = 0
    UNCERTAIN = 1
    BAD = 2


class Signal(msgspec.Struct, frozen=True, array_like=True):
    """One value of one tag.

    `tag` is the signal's name in the site file; `status` the source's own status code in its own words (`0x80310000`);
    `source_ns` and `server_ns` the device's and the server's time, nanoseconds since the UNIX epoch on THEIR clocks, or
    null where there is none. `value` is null when there is none (bad quality).
    """

    tag: str
    value: Value
    quality: Quality = Quality.GOOD
    status: str = ""
    source_ns: int | None = None
    server_ns: int | None = None
