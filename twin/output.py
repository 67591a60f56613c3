"""Where a twin's samples and events go: the core knows this protocol and neither the bus nor a file.

`MemoryOutput` keeps them, with identifiers that depend on nothing but the order: the twin without a run, for tests and tables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol
from uuid import UUID

from bridge.names import channel_topic
from bridge.schema import Asset, Body, Link, Space, Stamp, TaskEvent
from bridge.schema.align import align_body
from bridge.schema.ids import derived_id
from twin.samples import Sample


class Draft(NamedTuple):
    """An event as the twin says it; whoever takes it adds the envelope. `source_ns` is on the twin's clock."""

    body: Body
    source_ns: int
    task_id: UUID | None = None
    attempt: int = 1
    parent_id: UUID | None = None
    episode_id: UUID | None = None
    links: tuple[Link, ...] = ()
    ext: dict[str, object] = {}


class Output(Protocol):
    """Takes what the twin says, and can ask it to stop."""

    def sample(self, channel: str, stamp_ns: int, sample: Sample) -> None:
        """One message of a channel."""

    def event(self, draft: Draft) -> UUID:
        """One event; returns its id, to which later events link."""

    def key(self, *parts: object) -> UUID:
        """The id of a task or an episode that is known by these parts."""

    def topic(self, channel: str) -> str:
        """The log's topic of a channel, which evidence names."""

    def tick(self, now_ns: int) -> None:
        """Twin time has come to `now_ns`: the place to keep pace with the world's clocks."""

    def stopping(self) -> bool:
        """Whether to stop soon."""


class Kept(NamedTuple):
    """One sample with its channel and stamp (ns on the twin's clock)."""

    channel: str
    stamp_ns: int
    sample: Sample


class MemoryOutput:
    """Keeps all samples and events in lists. `stop_at_ns` asks the twin to stop when its clock comes there."""

    def __init__(self, data_set: str = "memory", *, asset: str = "arm", stop_at_ns: int | None = None) -> None:
        self.samples: list[Kept] = []
        self.events: list[TaskEvent] = []
        self._data_set = data_set
        self._asset = asset
        self._stop_at = stop_at_ns
        self._now = 0
        self._same: Callable[[int], int] = lambda source_ns: source_ns

    def sample(self, channel: str, stamp_ns: int, sample: Sample) -> None:
        """Keep one sample."""
        self.samples.append(Kept(channel, stamp_ns, sample))

    def event(self, draft: Draft) -> UUID:
        """Keep one event; its aligned time is the twin's."""
        sequence = len(self.events)
        identity = derived_id("event", self._data_set, sequence)
        self.events.append(
            TaskEvent(
                id=identity,
                source="twin",
                sequence=sequence,
                space=Space.TWIN,
                time=Stamp(source_ns=draft.source_ns, received_ns=draft.source_ns, aligned_ns=draft.source_ns),
                body=align_body(draft.body, self._same, detected_ns=draft.source_ns),
                episode_id=draft.episode_id,
                task_id=draft.task_id,
                parent_id=draft.parent_id,
                attempt=draft.attempt,
                asset=Asset(unit=self._asset),
                links=draft.links,
                ext=draft.ext,
            )
        )
        return identity

    def key(self, *parts: object) -> UUID:
        """An id from the data set and the parts."""
        return derived_id("task", self._data_set, *parts)

    def topic(self, channel: str) -> str:
        """The topic that the channel would have."""
        return channel_topic(Space.TWIN.value, self._asset, channel)

    def tick(self, now_ns: int) -> None:
        """Note the time; nothing waits."""
        self._now = now_ns

    def stopping(self) -> bool:
        """Whether the time to stop has come."""
        return self._stop_at is not None and self._now >= self._stop_at
