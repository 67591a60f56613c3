"""One connection to a Modbus device: polls its groups on time until it no longer answers."""

from __future__ import annotations

import asyncio
import struct
import time
from typing import Any, NamedTuple

from pymodbus.client import AsyncModbusTcpClient
from pymodbus.constants import ExcCodes
from pymodbus.exceptions import ConnectionException, ModbusException, ModbusIOException

from adapters.modbus.config import BIT_TABLES, DEFAULT_GROUP, ModbusOptions, ModbusSignal
from adapters.modbus.decode import views
from adapters.modbus.plan import Block, plan, rejoin, split
from adapters.reach import unreachable
from bridge.adapter import Port
from bridge.errors import NotConnectedError
from bridge.schema import Quality, Signal

NAMED = 20
TELL_SLOW_S = 60.0
TIMEOUT = "Timeout"
# Refusals that may be of one address among many; busy, gateway and function errors are of the device or the whole table.
_MAY_BE_ONE_ADDRESS = (ExcCodes.ILLEGAL_ADDRESS, ExcCodes.ILLEGAL_VALUE, ExcCodes.DEVICE_FAILURE)
_PASSES_BY_ITSELF = (ExcCodes.DEVICE_BUSY, ExcCodes.ACKNOWLEDGE)


class Exchange(NamedTuple):
    """When the request of a poll was sent and its answer came, ns of `time.monotonic_ns()`: what a clock probe needs."""

    request_ns: int
    answer_ns: int


class DeviceLostError(NotConnectedError):
    """A device that was connected does not answer any more."""


class Group:
    """The signals that are read together, every `period` seconds."""

    def __init__(self, name: str, period: float, blocks: list[Block]) -> None:
        self.name = name
        self.period = period
        self.blocks = blocks
        self.due = time.monotonic()
        self.skipped = 0
        self.told = -TELL_SLOW_S


class Connection:
    """Polls all groups over one TCP connection. A Modbus device answers one request after the other, so they take turns."""

    def __init__(
        self, options: ModbusOptions, signals: dict[str, ModbusSignal], exchanges: dict[str, Exchange], port: Port
    ) -> None:
        self._options = options
        self._port = port
        self._exchanges = exchanges
        self._where = port.source.name
        self._peer = f"{options.host}:{options.port}"
        self._sent = self._answered = 0
        self._broken = False
        self._up = False
        self._unanswered = 0
        self._silent: dict[int, int] = {}
        self._faults: dict[str, str] = {}
        self._told: dict[str, str] = {}
        periods = {DEFAULT_GROUP: options.poll_ms, **options.groups}
        self._groups: list[Group] = []
        for name, period in periods.items():
            members = {tag: signal for tag, signal in signals.items() if signal.group == name}
            if members:
                self._groups.append(Group(name, period / 1000, plan(members, options)))

    async def run(self) -> None:
        """Connect and poll until it fails.

        Raises:
            NotConnectedError: the device was not reached, or has stopped answering.
        """
        options = self._options
        client = AsyncModbusTcpClient(
            options.host,
            port=options.port,
            timeout=options.timeout_s,
            retries=options.retries,
            reconnect_delay=0,
            trace_packet=self._packet,
            trace_connect=self._connection,
        )
        try:
            if not await client.connect():
                raise await self._why_not()
            while True:
                group = min(self._groups, key=lambda group: group.due)
                wait = group.due - time.monotonic()
                if wait > 0:
                    await asyncio.sleep(wait)
                await self._poll(client, group)
                self._next(group)
        finally:
            client.close()
            await asyncio.sleep(0)

    async def _why_not(self) -> NotConnectedError:
        """Why the port could not be opened: the library says only that it failed, so ask the network once more."""
        options = self._options
        try:
            _, writer = await asyncio.wait_for(asyncio.open_connection(options.host, options.port), options.timeout_s)
        except (OSError, asyncio.TimeoutError) as error:
            return self._unreachable(error)
        writer.close()
        return self._unreachable(ConnectionAbortedError())

    def _unreachable(self, error: BaseException) -> NotConnectedError:
        options = self._options
        return unreachable(
            error,
            host=options.host,
            port=options.port,
            what="Modbus device",
            key="options.host or options.port",
            where=self._where,
        )

    def _packet(self, sending: bool, data: bytes) -> bytes:
        """Called by the library with every packet, at the moment it is sent or has come."""
        if sending:
            self._sent = time.monotonic_ns()
        else:
            self._answered = time.monotonic_ns()
        return data

    def _connection(self, made: bool) -> None:
        self._broken = not made

    def _next(self, group: Group) -> None:
        """When the group is due again: on its own beat; beats that were missed are skipped and said."""
        now = time.monotonic()
        group.due += group.period
        if group.due < now - group.period:
            missed = int((now - group.due) / group.period)
            group.due += missed * group.period
            group.skipped += missed
            if now - group.told >= TELL_SLOW_S:
                group.told = now
                self._port.log(
                    "warning",
                    f"{self._peer} is too slow to read group {group.name!r} every {group.period * 1000:g} ms: "
                    f"{group.skipped} polls were skipped so far",
                )

    async def _poll(self, client: AsyncModbusTcpClient, group: Group) -> None:
        """Read all blocks of a group, and hand over one row whose arrival is that of the last answer."""
        signals: list[Signal] = []
        self._answered = 0
        begun = 0
        silent: set[int] = set()
        try:
            for block in list(group.blocks):
                if block.resting > time.monotonic():
                    continue
                if block.unit_id in silent:
                    self._bad(block, TIMEOUT, signals)
                    continue
                parts = await self._read(client, block, signals, silent)
                begun = begun or self._sent
                if parts != [block]:
                    place = group.blocks.index(block)
                    group.blocks[place : place + 1] = parts
        finally:
            # Also when this poll is cut short: what was received is said.
            if signals:
                answered = self._answered or time.monotonic_ns()
                self._exchanges[group.name] = Exchange(begun or self._sent, answered)
                self._port.signals(signals, group=group.name, arrival=answered)
        self._say(group, signals)

    async def _read(
        self, client: AsyncModbusTcpClient, block: Block, signals: list[Signal], silent: set[int]
    ) -> list[Block]:
        """Read one block into `signals`; returns what to read in its place from now on."""
        try:
            response = await self._request(client, block)
        except (ModbusIOException, ConnectionException, asyncio.TimeoutError) as error:
            self._no_answer(block, signals, silent, error)
            return [block]
        except ModbusException as error:
            self._bad(block, str(error), signals)
            return [block]
        self._unanswered = 0
        self._silent.pop(block.unit_id, None)
        if not response.isError():
            self._good(block, response, signals)
            return [block]
        code = getattr(response, "exception_code", 0)
        if code in _MAY_BE_ONE_ADDRESS and len(block.readings) > 1:
            parts: list[Block] = []
            for part in split(block):
                parts.extend(await self._read(client, part, signals, silent))
            return rejoin(parts)
        if code not in _PASSES_BY_ITSELF:
            block.resting = time.monotonic() + self._options.retry_s
        self._bad(block, exception_name(code), signals)
        return [block]

    async def _request(self, client: AsyncModbusTcpClient, block: Block) -> Any:
        if self._broken or not client.connected:
            raise DeviceLostError(f"the connection to {self._peer} broke", where=self._where)
        if block.table == "holding":
            return await client.read_holding_registers(block.start, count=block.count, device_id=block.unit_id)
        if block.table == "input":
            return await client.read_input_registers(block.start, count=block.count, device_id=block.unit_id)
        if block.table == "coil":
            return await client.read_coils(block.start, count=block.count, device_id=block.unit_id)
        return await client.read_discrete_inputs(block.start, count=block.count, device_id=block.unit_id)

    def _good(self, block: Block, response: Any, signals: list[Signal]) -> None:
        block.resting = 0.0
        if block.table in BIT_TABLES:
            bits = response.bits
            for reading in block.readings:
                place = reading.start - block.start
                if place < len(bits):
                    signals.append(Signal(reading.tag, bool(bits[place])))
                    self._faults.pop(reading.tag, None)
                else:
                    self._fault(reading.tag, "ShortAnswer", signals)
            return
        plain, swapped = views(response.registers)
        for reading in block.readings:
            assert reading.decode is not None
            try:
                value = reading.decode(plain, swapped, 2 * (reading.start - block.start))
            except struct.error:
                self._fault(reading.tag, "ShortAnswer", signals)
                continue
            signals.append(Signal(reading.tag, value))
            self._faults.pop(reading.tag, None)

    def _bad(self, block: Block, status: str, signals: list[Signal]) -> None:
        for reading in block.readings:
            self._fault(reading.tag, status, signals)

    def _fault(self, tag: str, status: str, signals: list[Signal]) -> None:
        signals.append(Signal(tag, None, Quality.BAD, status))
        self._faults[tag] = status

    def _no_answer(self, block: Block, signals: list[Signal], silent: set[int], error: Exception) -> None:
        """A request went unanswered: its unit rests if others still answer, or the connection is given up."""
        self._bad(block, TIMEOUT, signals)
        silent.add(block.unit_id)
        self._unanswered += 1
        count = self._silent[block.unit_id] = self._silent.get(block.unit_id, 0) + 1
        if self._broken:
            raise DeviceLostError(f"the connection to {self._peer} broke", where=self._where) from error
        if self._unanswered >= self._options.give_up_after:
            raise DeviceLostError(
                f"{self._peer} is connected but does not answer Modbus requests",
                where=self._where,
                hint="check options.unit_id, and whether the device serves another client only; dari keeps trying",
            ) from error
        if count >= self._options.give_up_after:
            block.resting = time.monotonic() + self._options.retry_s

    def _say(self, group: Group, signals: list[Signal]) -> None:
        """Say when data flows, when nothing of it can be read, and which signals are newly bad or good again."""
        if not self._up:
            if any(signal.quality is Quality.GOOD for signal in signals):
                self._up = True
                self._port.connected(self._peer)
            elif signals:
                self._port.disconnected(f"{self._peer} answers, but no signal of group {group.name!r}: {self._named()}")
        if self._faults != self._told:
            if set(self._told) - set(self._faults):
                back = sorted(set(self._told) - set(self._faults))
                self._port.log("info", f"can be read again: {', '.join(back[:NAMED])}")
            if any(self._told.get(tag) != fault for tag, fault in self._faults.items()):
                self._port.log("warning", f"{len(self._faults)} signals can not be read: {self._named()}")
            self._told = dict(self._faults)

    def _named(self) -> str:
        named = "; ".join(f"{tag}: {fault}" for tag, fault in list(self._faults.items())[:NAMED])
        return named + (f"; and {len(self._faults) - NAMED} more" if len(self._faults) > NAMED else "")


def exception_name(code: int) -> str:
    """A Modbus exception in its own words: `0x02 IllegalAddress`.

    >>> exception_name(2), exception_name(0x55)
    ('0x02 IllegalAddress', '0x55')
    """
    try:
        return f"0x{code:02X} " + "".join(word.capitalize() for word in ExcCodes(code).name.split("_"))
    except ValueError:
        return f"0x{code:02X}"
