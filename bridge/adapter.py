"""The adapter protocol: what a source of data has to say. Everything else is the runtime's, written once.

An adapter connects to one source and hands samples to its `Port`: CDR messages as they came, signals, task events. The
port stamps arrival, numbers, aligns to the recorder's timeline, batches, sends, and counts what was lost. An adapter runs
in a process of its own; when it raises, the supervisor restarts it with backoff, and the gap becomes an event.
"""

from __future__ import annotations

import abc
import importlib.util
import threading
from collections.abc import Sequence
from enum import Enum, IntFlag
from typing import ClassVar
from uuid import UUID

import msgspec

from bridge.errors import MissingPackageError
from bridge.schema import Asset, Body, Embodiment, Interval, Link, Native, Origin, Signal, Space

NO_STAMP = -(2**63)
"""In columns of int64: no stamp, no uncertainty. Never zero, since zero is a time and a certainty."""


class ChannelKind(str, Enum):
    """How the payload of a channel is written on the wire."""

    CDR = "cdr"
    """A ROS 2 message, CDR bytes with the 4-byte encapsulation header, untouched from source to disk."""
    SIGNAL = "signal"
    """msgpack of one `Signal`: a tag that has a channel of its own."""
    SIGNALS = "signals"
    """msgpack of a list of `Signal`: the tags of one poll group or notification, one columnar channel."""
    EVENT = "event"
    """msgpack of one `TaskEvent`."""
    LOG = "log"
    """msgpack of one `LogLine`: what a part of dari says of itself, `/dari/log` in the file."""


class LogLine(msgspec.Struct, frozen=True, array_like=True):
    """One line for the person at the machine; `level` is `debug`, `info`, `warning` or `error`, `name` who says it."""

    level: str
    name: str
    text: str


class Flag(IntFlag):
    """Bits of a record's `flags` column."""

    DUPLICATE = 1
    """The protocol itself says that this was delivered before."""
    POSSIBLE_DUPLICATE = 2
    """It may have been delivered before a restart."""
    LATE = 4
    """It came after the watermark of the rules had passed its time."""


class Rate(str, Enum):
    """Rate class of a channel: what a reader would want to skip together."""

    EVENT = "event"
    TELEMETRY = "telemetry"
    BLOB = "blob"


class Channel(msgspec.Struct, frozen=True, kw_only=True):
    """One declared channel of a source.

    `index` counts from 0 within the source; `topic` is the log's name; `type_name` and `definition` are the ROS 2 type
    (`sensor_msgs/msg/JointState`) and its `ros2msg` text; `metadata` goes to the log as it is (original topic, QoS, type hash).
    `clock` names the clock of the source that stamps this channel: a source may have several, each aligned on its own.
    """

    index: int
    name: str
    topic: str
    kind: ChannelKind
    type_name: str
    definition: str = ""
    metadata: dict[str, str] = {}
    rate: Rate = Rate.TELEMETRY
    clock: str = "device"


class SignalConfig(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every signal of a site file has; an adapter's `signal_type` adds the address.

    `unit` is a UCUM code; the value recorded is `raw * scale + offset`; `own` gives the signal a channel of its own, so that
    a plot finds it by name, instead of a place in the source's columnar channel.
    """

    unit: str = ""
    scale: float = 1.0
    offset: float = 0.0
    own: bool = False
    description: str = ""


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of an adapter's `options` in the site file: typed, frozen, strict."""


class Requirement(msgspec.Struct, frozen=True):
    """A package that an adapter needs: the module to import and the extra that brings it; `hint` where that is not all."""

    module: str
    extra: str
    hint: str = ""

    def missing(self) -> bool:
        """Whether the module can not be found in this environment; nothing is imported."""
        return importlib.util.find_spec(self.module) is None


class Source(msgspec.Struct, frozen=True, kw_only=True):
    """A source as the site file names it, with its asset resolved, handed to its adapter.

    `epoch` counts the starts of this source's adapter within the run; `signals` maps names to the adapter's `signal_type`;
    `directory` is the site file's folder, against which relative paths in options are meant.
    """

    name: str
    space: Space
    asset_name: str
    asset: Asset
    run_id: UUID
    embodiment: Embodiment | None = None
    epoch: int = 0
    directory: str = "."


class Port(abc.ABC):
    """Where an adapter puts what it receives. All methods may be called from any thread; none raises for a slow hub.

    `stopping` is set when the adapter is asked to stop: return from `run` soon after, with nothing that was received left
    unsaid.
    """

    source: Source
    stopping: threading.Event

    @abc.abstractmethod
    def channel(
        self,
        name: str,
        type_name: str,
        *,
        definition: str = "",
        metadata: dict[str, str] | None = None,
        rate: Rate = Rate.TELEMETRY,
        clock: str = "device",
    ) -> Channel:
        """Declare a channel of CDR messages. `definition` may be empty for a type that `bridge.messages` knows.

        `clock` names which of the source's clocks stamps it (`header`, `transport`): stamps of different clocks are
        aligned apart. Declared again with the same name, the same channel is returned.
        """

    @abc.abstractmethod
    def emit(
        self,
        channel: Channel,
        payload: bytes,
        *,
        stamp: int | None = None,
        alt_stamp: int | None = None,
        arrival: int | None = None,
        duplicate: bool = False,
    ) -> int:
        """Hand over one CDR message; returns its sequence number.

        Args:
            channel: from `channel`.
            payload: CDR bytes with encapsulation header.
            stamp: the device's stamp that aligns, ns on the device's clock, any epoch.
            alt_stamp: a second stamp of the same message (the DDS source timestamp beside a header's), recorded, not used.
            arrival: `time.monotonic_ns()` when it was first seen; now when None.
            duplicate: the protocol itself says that this was delivered before (MQTT DUP).
        """

    @abc.abstractmethod
    def signal(self, signal: Signal, *, arrival: int | None = None, duplicate: bool = False) -> int:
        """Hand over one signal; it goes to its own channel if the site file says `own`, else to the source's table."""

    @abc.abstractmethod
    def signals(
        self,
        signals: Sequence[Signal],
        *,
        group: str = "signals",
        arrival: int | None = None,
        held_before: bool = False,
    ) -> int:
        """Hand over the signals of one poll or notification. Those with `own` go to their channels, the rest to the
        columnar channel `<source>/<group>` as one row batch. Returns the last sequence number used.

        `held_before` says that the device held these values already when it was first asked: their stamps may be hours
        older than their arrival, so they are kept but do not align.
        """

    @abc.abstractmethod
    def event(
        self,
        body: Body,
        *,
        source_ns: int | None = None,
        arrival: int | None = None,
        task_id: UUID | None = None,
        attempt: int = 1,
        parent_id: UUID | None = None,
        episode_id: UUID | None = None,
        links: tuple[Link, ...] = (),
        origin: Origin = Origin.OBSERVED,
        native: Native | None = None,
        ext: dict[str, object] | None = None,
        clock: str = "device",
    ) -> UUID:
        """Hand over a task event; returns its id, which later events may link to.

        The port fills in the envelope and aligns every `Interval` in the body: from its `source_` pair where the source
        gave one. `source_ns` is on the source's clock `clock`.
        """

    @abc.abstractmethod
    def task_key(self, *parts: object) -> UUID:
        """An id for a task, derived from the run, the source and `parts`: the same parts give the same id in one run."""

    @abc.abstractmethod
    def topic(self, name: str) -> str:
        """The log's topic for this source's channel or own signal `name`: what evidence and inputs name."""

    @abc.abstractmethod
    def connected(self, peer: str) -> None:
        """Say that data can flow now. After a time without connection this becomes a gap event with start and end."""

    @abc.abstractmethod
    def disconnected(self, reason: str) -> None:
        """Say that the peer is lost, or connected but silent. Called again with the same reason it says nothing new."""

    @abc.abstractmethod
    def lost(
        self, channel: str, count: int, window: Interval | None = None, text: str = "", *, clock: str = "device"
    ) -> None:
        """Say that `count` messages of a channel were lost before they reached dari (a publisher's numbers have a hole).

        A `source_` pair in `window` is on the source's clock `clock`.
        """

    @abc.abstractmethod
    def log(self, level: str, text: str) -> None:
        """Say something to the person at the machine; `level` is `debug`, `info`, `warning` or `error`. Goes to the log too."""


class Adapter(abc.ABC):
    """One kind of source. Subclass it, name it in the entry point group `dari.adapters`, and it can be used in a site file.

    `options_type` types the source's `options:`; `signal_type` types each entry of `signals:`, or is None where the source has
    none. Keep the module light: import the protocol's library inside `open`, so that `dari check` stays fast and works
    where the library is missing.
    """

    options_type: ClassVar[type[Options]] = Options
    signal_type: ClassVar[type[SignalConfig] | None] = None
    requirements: ClassVar[tuple[Requirement, ...]] = ()
    summary: ClassVar[str] = ""
    usual_space: ClassVar[Space | None] = None
    """The space that such a source is usually in, for `dari adapters`; what counts is what the site file says."""
    prior_delay_ns: ClassVar[int] = 5_000_000
    """Declared prior of the transport's smallest delay: the part of it that no one-way observation can tell from offset."""

    def __init__(self, source: Source, options: Options, signals: dict[str, SignalConfig]) -> None:
        self.source = source
        self.options = options
        self.signals = signals

    def check(self) -> list[str]:
        """Faults of the options that types can not show (an address that does not parse), for `dari check`. Touches nothing."""
        return []

    @abc.abstractmethod
    def run(self, port: Port) -> None:
        """Connect and hand samples to `port` until `port.stopping` is set.

        Reconnects by itself where the protocol's library makes that safe, and says so through `port.disconnected` and
        `port.connected`. Raises `NotConnectedError`, or anything else, to be restarted by the supervisor.
        """

    def acknowledge(self, sequence: int) -> None:  # noqa: B027 - optional: most protocols can not acknowledge
        """Everything up to `sequence` has reached the recorder: the place to acknowledge a message to a broker."""


def require(requirements: Sequence[Requirement], who: str) -> None:
    """Raise `MissingPackageError` that names what to install, if a required module is missing."""
    absent = [r for r in requirements if r.missing()]
    if absent:
        modules = ", ".join(r.module for r in absent)
        extras = ",".join(sorted({r.extra for r in absent}))
        raise MissingPackageError(
            f"{who} needs the package {modules}, which is not installed here",
            hint="; ".join(
                [f"pip install 'dari[{extras}]' (from a clone: make setup)", *(r.hint for r in absent if r.hint)]
            ),
        )
