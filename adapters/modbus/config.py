"""What a site file says of a Modbus TCP source, and what can be found wrong with it without a network."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from msgspec import Meta

from bridge.adapter import Options, SignalConfig
from bridge.names import nearest

Table = Literal["holding", "input", "coil", "discrete"]
Kind = Literal["bool", "int16", "uint16", "int32", "uint32", "float32", "int64", "uint64", "float64"]
Order = Literal["ABCD", "CDAB", "BADC", "DCBA"]
Address = Annotated[int, Meta(ge=0, le=65535)]
UnitId = Annotated[int, Meta(ge=0, le=255)]
Milliseconds = Annotated[float, Meta(ge=1, le=3_600_000)]

REGISTERS: Final[dict[str, int]] = {
    "bool": 1,
    "int16": 1,
    "uint16": 1,
    "int32": 2,
    "uint32": 2,
    "float32": 2,
    "int64": 4,
    "uint64": 4,
    "float64": 4,
}
"""How many registers a value of each type takes."""
BIT_TABLES: Final = ("coil", "discrete")
DEFAULT_GROUP: Final = "signals"


class ModbusOptions(Options, frozen=True, kw_only=True):
    """Options of a Modbus TCP source.

    `unit_id` is the Modbus unit (slave) that is asked where a signal names none. Every `poll_ms` all signals are read, except
    those of a group of their own: `groups` gives group names their period in ms. A group is one columnar channel of the log.
    Addresses that lie at most `join_gap` registers (or sixteen times as many bits) apart are read in one request, gaps too.
    A request is given up after `timeout_s`, and sent again `retries` times; after `give_up_after` requests in a row without an
    answer the connection is made anew. An address that the device refuses is asked for again every `retry_s`.
    """

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] = 502
    unit_id: UnitId = 1
    poll_ms: Milliseconds = 100.0
    groups: dict[str, Milliseconds] = {}
    join_gap: Annotated[int, Meta(ge=0, le=124)] = 8
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 1.0
    retries: Annotated[int, Meta(ge=0, le=10)] = 1
    give_up_after: Annotated[int, Meta(ge=1, le=100)] = 2
    retry_s: Annotated[float, Meta(gt=0, le=3600)] = 5.0


class ModbusSignal(SignalConfig, frozen=True, kw_only=True):
    """One value in a device's tables.

    `address` counts from 0, as on the wire: what a manual calls 40001 is `table: holding, address: 0`. `type` is `uint16` for
    registers and `bool` for bits when left out. `order` says how the bytes of a value lie in its registers: ABCD (big-endian,
    as the standard has it), CDAB (words swapped), BADC (bytes swapped), DCBA (both). `bit` 0 to 15 takes one bit of a register
    (0 the lowest) as a bool; a bool without `bit` is true when the register is not 0. `unit_id` asks another unit behind the same
    gateway; `unit` is, as everywhere, the UCUM unit of the value.
    """

    table: Table = "holding"
    address: Address
    type: Kind | None = None
    order: Order = "ABCD"
    bit: Annotated[int, Meta(ge=0, le=15)] | None = None
    group: str = DEFAULT_GROUP
    unit_id: UnitId | None = None

    @property
    def kind(self) -> Kind:
        """The type, with the table's default where none is given."""
        if self.type is not None:
            return self.type
        return "bool" if self.table in BIT_TABLES or self.bit is not None else "uint16"


def faults(options: ModbusOptions, signals: dict[str, ModbusSignal]) -> list[str]:
    """Everything that is wrong with a source's options and signals, one sentence each."""
    found: list[str] = []
    if not options.host.strip():
        found.append("options.host: it is empty")
    elif "://" in options.host or "/" in options.host:
        found.append(f"options.host: {options.host!r} is no host name or address; the port goes to options.port")
    if not signals:
        found.append("signals: there are none, so this source would record nothing; name at least one address")
    groups = (DEFAULT_GROUP, *options.groups)
    for name, signal in signals.items():
        where = f"signals.{name}"
        if signal.group not in groups:
            close = nearest(signal.group, groups)
            hint = f"; did you mean {close!r}?" if close else "; add it to options.groups with its period in ms"
            found.append(f"{where}.group: there is no group {signal.group!r}{hint}")
        if signal.table in BIT_TABLES:
            if signal.kind != "bool":
                found.append(f"{where}.type: a {signal.table} is a bool, not {signal.kind}")
            if signal.bit is not None:
                found.append(f"{where}.bit: a {signal.table} is one bit already; bit is for registers")
            continue
        if signal.bit is not None and signal.kind != "bool":
            found.append(f"{where}.type: one bit is a bool, not {signal.kind}")
        last = signal.address + REGISTERS[signal.kind] - 1
        if last > 65535:
            found.append(f"{where}.address: a {signal.kind} at {signal.address} would end at {last}, above 65535")
    return found
