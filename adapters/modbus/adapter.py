"""The Modbus TCP adapter: one connection after another until it is asked to stop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, ClassVar, cast

from adapters.backoff import Backoff
from adapters.event_loop import run_until_stopping
from adapters.library_log import library_log
from adapters.modbus.config import ModbusOptions, ModbusSignal, faults
from adapters.reach import reason
from bridge.adapter import Adapter, Options, Port, Requirement, SignalConfig, Source, require
from bridge.errors import NotConnectedError, SiteError
from bridge.schema import Space

if TYPE_CHECKING:
    from adapters.modbus.poll import Exchange

STEADY_S = 10.0


class ModbusAdapter(Adapter):
    """Registers and bits of Modbus TCP devices, polled in blocks. Reads only: nothing here can write to a device.

    Modbus has no time stamps: a sample's time is when its poll's last answer came. `exchanges` holds the times of each
    group's latest poll.
    """

    options_type: ClassVar[type[Options]] = ModbusOptions
    signal_type: ClassVar[type[SignalConfig] | None] = ModbusSignal
    requirements: ClassVar[tuple[Requirement, ...]] = (Requirement("pymodbus", "field"),)
    summary: ClassVar[str] = "registers and bits of Modbus TCP devices, polled in blocks"
    usual_space: ClassVar[Space | None] = Space.FIELD

    def __init__(self, source: Source, options: Options, signals: dict[str, SignalConfig]) -> None:
        super().__init__(source, options, signals)
        self.exchanges: dict[str, Exchange] = {}

    def check(self) -> list[str]:
        """Faults of host, addresses, types and groups; touches no network."""
        return faults(self._options, self._signals)

    @property
    def _options(self) -> ModbusOptions:
        return cast(ModbusOptions, self.options)

    @property
    def _signals(self) -> dict[str, ModbusSignal]:
        return cast("dict[str, ModbusSignal]", self.signals)

    def run(self, port: Port) -> None:
        """Poll until `port.stopping`; an absent, silent or broken device is said and tried again.

        Raises:
            SiteError: the options contradict themselves (what `check` reports).
            MissingPackageError: pymodbus is not installed.
        """
        if problems := self.check():
            raise SiteError("; ".join(problems), where=self.source.name, hint="run `dari check` on the site file")
        require(self.requirements, "the modbus adapter")
        with library_log(port, "pymodbus_internal", "pymodbus"):
            run_until_stopping(self._supervise(port), port.stopping)

    async def _supervise(self, port: Port) -> None:
        from adapters.modbus.poll import Connection

        backoff = Backoff(0.5, 5.0)
        while True:
            started = time.monotonic()
            try:
                await Connection(self._options, self._signals, self.exchanges, port).run()
            except NotConnectedError as error:
                port.disconnected(reason(error))
            if time.monotonic() - started > STEADY_S:
                backoff.reset()
            await asyncio.sleep(backoff.next())
