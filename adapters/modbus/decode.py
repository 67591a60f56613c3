"""Values out of registers. All four byte orders come from two views of a block: as it came, and with its bytes swapped."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Final

from adapters.modbus.config import ModbusSignal
from bridge.schema import Value

_FORMATS: Final = {
    "int16": "h",
    "uint16": "H",
    "int32": "i",
    "uint32": "I",
    "float32": "f",
    "int64": "q",
    "uint64": "Q",
    "float64": "d",
}
# Order: take the bytes of each register swapped, and the end that a number begins with.
_VIEWS: Final = {"ABCD": (False, ">"), "DCBA": (False, "<"), "BADC": (True, ">"), "CDAB": (True, "<")}

Decoder = Callable[[bytes, bytes, int], Value]
"""From (block as it came, block with bytes swapped, offset in bytes) to the value."""


def decoder(signal: ModbusSignal) -> Decoder:
    """How to read a signal out of a block of registers; raises `struct.error` where the block is too short."""
    swapped, end = _VIEWS[signal.order]
    if signal.kind == "bool":
        register = struct.Struct(f"{end}H").unpack_from
        mask = 0xFFFF if signal.bit is None else 1 << signal.bit

        def truth(plain: bytes, swap: bytes, offset: int) -> Value:
            return bool(register(swap if swapped else plain, offset)[0] & mask)

        return truth
    number = struct.Struct(end + _FORMATS[signal.kind]).unpack_from
    scale, shift = signal.scale, signal.offset
    if scale == 1.0 and shift == 0.0:

        def raw(plain: bytes, swap: bytes, offset: int) -> Value:
            return number(swap if swapped else plain, offset)[0]  # type: ignore[no-any-return]

        return raw

    def scaled(plain: bytes, swap: bytes, offset: int) -> Value:
        return number(swap if swapped else plain, offset)[0] * scale + shift  # type: ignore[no-any-return]

    return scaled


def views(registers: list[int]) -> tuple[bytes, bytes]:
    """A block's bytes as they came (big-endian registers), and with the bytes of each register swapped."""
    count = len(registers)
    return struct.pack(f">{count}H", *registers), struct.pack(f"<{count}H", *registers)
