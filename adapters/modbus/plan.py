"""Which requests read all signals of a poll group: few, since each costs a round trip, and split where a device refuses one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from adapters.modbus.config import BIT_TABLES, REGISTERS, ModbusOptions, ModbusSignal
from adapters.modbus.decode import Decoder, decoder

MAX_REGISTERS = 125
MAX_BITS = 2000


@dataclass(frozen=True)
class Reading:
    """One signal in a table: `start` and `count` in registers, or in bits for coils and discrete inputs."""

    tag: str
    start: int
    count: int
    decode: Decoder | None


@dataclass
class Block:
    """One request: `count` registers or bits from `start`, and the signals in it, by address. `resting` is when to ask next, on
    the monotonic clock in seconds, after the device refused it."""

    unit_id: int
    table: str
    readings: list[Reading]
    resting: float = 0.0
    start: int = field(init=False)
    count: int = field(init=False)

    def __post_init__(self) -> None:
        self.start = self.readings[0].start
        self.count = max(reading.start + reading.count for reading in self.readings) - self.start


def plan(signals: dict[str, ModbusSignal], options: ModbusOptions) -> list[Block]:
    """The fewest blocks for these signals that no request limit and no wide gap stands against."""
    tables: dict[tuple[int, str], list[Reading]] = {}
    for tag, signal in signals.items():
        unit_id = options.unit_id if signal.unit_id is None else signal.unit_id
        bits = signal.table in BIT_TABLES
        reading = Reading(tag, signal.address, 1 if bits else REGISTERS[signal.kind], None if bits else decoder(signal))
        tables.setdefault((unit_id, signal.table), []).append(reading)
    blocks: list[Block] = []
    for (unit_id, table), readings in tables.items():
        bits = table in BIT_TABLES
        gap = options.join_gap * (16 if bits else 1)
        blocks.extend(_join(unit_id, table, readings, gap, MAX_BITS if bits else MAX_REGISTERS))
    return blocks


def split(block: Block) -> list[Block]:
    """Smaller blocks in place of one that the device refused: without its gaps if it has any, else in halves."""
    limit = MAX_BITS if block.table in BIT_TABLES else MAX_REGISTERS
    parts = _join(block.unit_id, block.table, block.readings, 0, limit)
    if len(parts) > 1:
        return parts
    middle = len(block.readings) // 2
    return [
        Block(block.unit_id, block.table, block.readings[:middle]),
        Block(block.unit_id, block.table, block.readings[middle:]),
    ]


def rejoin(parts: list[Block]) -> list[Block]:
    """The parts of a split block, those joined again that lie side by side and were not refused: fewer requests from now on."""
    joined: list[Block] = []
    for part in parts:
        last = joined[-1] if joined else None
        limit = MAX_BITS if part.table in BIT_TABLES else MAX_REGISTERS
        if (
            last is not None
            and not last.resting
            and not part.resting
            and last.start + last.count >= part.start
            and part.start + part.count - last.start <= limit
        ):
            joined[-1] = Block(part.unit_id, part.table, [*last.readings, *part.readings])
        else:
            joined.append(part)
    return joined


def _join(unit_id: int, table: str, readings: Iterable[Reading], gap: int, limit: int) -> list[Block]:
    blocks: list[Block] = []
    run: list[Reading] = []
    start = end = 0
    for reading in sorted(readings, key=lambda reading: (reading.start, reading.count)):
        if run and (reading.start - end > gap or max(end, reading.start + reading.count) - start > limit):
            blocks.append(Block(unit_id, table, run))
            run = []
        if not run:
            start = end = reading.start
        run.append(reading)
        end = max(end, reading.start + reading.count)
    if run:
        blocks.append(Block(unit_id, table, run))
    return blocks
