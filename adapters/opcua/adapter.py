"""The OPC UA adapter: one session after another, each from nothing, until it is asked to stop."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, ClassVar, cast

from adapters.backoff import Backoff
from adapters.event_loop import run_until_stopping
from adapters.library_log import library_log
from adapters.opcua.config import OpcUaOptions, OpcUaSignal, faults
from adapters.reach import reason
from bridge.adapter import Adapter, Options, Port, Requirement, SignalConfig, require
from bridge.errors import NotConnectedError, SiteError
from bridge.schema import Space

if TYPE_CHECKING:
    from adapters.opcua.items import NamespaceMemory

STEADY_S = 10.0


class OpcUaAdapter(Adapter):
    """Variables of an OPC UA server, by subscription. Reads only: nothing here can write to a PLC."""

    options_type: ClassVar[type[Options]] = OpcUaOptions
    signal_type: ClassVar[type[SignalConfig] | None] = OpcUaSignal
    requirements: ClassVar[tuple[Requirement, ...]] = (Requirement("asyncua", "field"),)
    summary: ClassVar[str] = "variables of an OPC UA server, by subscription"
    usual_space: ClassVar[Space | None] = Space.FIELD
    # A subscription hides up to one sampling interval, and a server's cycle, in the smallest delay.
    prior_delay_ns: ClassVar[int] = 100_000_000

    def check(self) -> list[str]:
        """Faults of endpoint, nodes, login and certificate files; touches no network."""
        return faults(self._options, self._signals, self.source.directory)

    @property
    def _options(self) -> OpcUaOptions:
        return cast(OpcUaOptions, self.options)

    @property
    def _signals(self) -> dict[str, OpcUaSignal]:
        return cast("dict[str, OpcUaSignal]", self.signals)

    def run(self, port: Port) -> None:
        """Follow the server until `port.stopping`; a lost, silent or absent one is said and tried again.

        Raises:
            SiteError: the options contradict themselves (what `check` reports).
            MissingPackageError: asyncua is not installed.
        """
        if problems := self.check():
            raise SiteError("; ".join(problems), where=self.source.name, hint="run `dari check` on the site file")
        require(self.requirements, "the opcua adapter")
        with library_log(port, "asyncua", "asyncuagds"):
            run_until_stopping(self._supervise(port), port.stopping)

    async def _supervise(self, port: Port) -> None:
        from adapters.opcua.items import NamespaceMemory
        from adapters.opcua.security import RefusedError

        memory = NamespaceMemory()
        quick, slow = Backoff(0.5, 5.0), Backoff(10.0, 60.0)
        while True:
            started = time.monotonic()
            wait = quick
            try:
                await self._session(memory, port)
            except RefusedError as error:
                port.disconnected(reason(error))
                wait = slow
            except NotConnectedError as error:
                port.disconnected(reason(error))
            if time.monotonic() - started > STEADY_S:
                quick.reset()
            if wait is quick:
                slow.reset()
            await asyncio.sleep(wait.next())

    async def _session(self, memory: NamespaceMemory, port: Port) -> None:
        from adapters.opcua.session import run_session

        await run_session(self._options, self._signals, memory, port, self.source.directory)
