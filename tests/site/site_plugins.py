"""A small adapter and a small sink of our own, so that the tests of the site file depend on no other part of dari."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from bridge.adapter import Adapter, Channel, Options, Port, Requirement, SignalConfig, Source
from bridge.schema import Space
from bridge.sink import Batch, RunInfo, Sink
from bridge.site import Secret


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """A pair of limits.

    Attributes:
        low: the lower one.
        high: the upper one.
    """

    low: float
    high: float = 10.0

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError(f"low {self.low:g} is above high {self.high:g}")


class ProbeOptions(Options, frozen=True, kw_only=True):
    """Options with one of each kind of type."""

    host: str
    port: Annotated[int, Meta(ge=1, le=65535)] = 4840
    period_ms: Annotated[float, Meta(gt=0)] = 100.0
    mode: Literal["fast", "slow"] = "fast"
    verbose: bool = False
    password: Secret | None = None
    limits: Limits | None = None
    tags: tuple[str, ...] = ()
    pair: tuple[int, str] | None = None
    groups: dict[str, int] = {}
    either: int | str = 0
    free: Any = None


class ProbeSignal(SignalConfig, frozen=True, kw_only=True):
    """A signal with an address."""

    address: Annotated[int, Meta(ge=0, le=65535)]


class ProbeAdapter(Adapter):
    """A source that connects to nothing."""

    options_type = ProbeOptions
    signal_type = ProbeSignal
    summary = "nothing, for tests"
    usual_space = Space.FIELD

    def check(self) -> list[str]:
        """Faults by the host's name, as an adapter says them."""
        assert isinstance(self.options, ProbeOptions)
        found = []
        if " " in self.options.host:
            found.append(f"options.host: {self.options.host!r} is no host")
        if self.options.host == "explode":
            raise RuntimeError("boom")
        found += [f"signals.{n}.address: 13 is unlucky" for n, s in self.signals.items() if s.address == 13]
        if self.options.mode == "slow" and self.options.verbose:
            found.append("slow and verbose do not go together")
        return found

    def run(self, port: Port) -> None:
        """Nothing comes."""


class QuietAdapter(Adapter):
    """A source without options or signals, that needs a package which no machine has."""

    requirements = (Requirement("a_module_that_is_not_there", "field"),)
    summary = "finds by itself what there is"

    def run(self, port: Port) -> None:
        """Nothing comes."""


class HeapOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where the heap lies.

    Attributes:
        directory: its folder.
    """

    directory: str = "heap"


class HeapSink(Sink):
    """Keeps nothing."""

    options_type: ClassVar[type[Any]] = HeapOptions

    def open(self, run: RunInfo) -> None:
        """Begin."""

    def declare(self, source: Source, channels: list[Channel]) -> None:
        """New channels."""

    def write(self, batch: Batch) -> None:
        """A batch."""

    def flush(self) -> None:
        """Nothing is held."""

    def close(self, reason: str) -> str:
        """End."""
        return ""
