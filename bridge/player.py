"""The player protocol: where a log can be replayed to (`dari replay LOG --to NAME`). Found by `dari.players`."""

from __future__ import annotations

import abc
from typing import ClassVar

import msgspec

from bridge.adapter import Requirement


class PlayedChannel(msgspec.Struct, frozen=True, kw_only=True):
    """A channel of the log that is to be played: its id in the log, topic, ROS 2 type, definition and metadata."""

    id: int
    topic: str
    type_name: str
    definition: str
    metadata: dict[str, str]


class PlayedMessage(msgspec.Struct, frozen=True, kw_only=True):
    """One message of the log: CDR bytes, times in ns since the UNIX epoch on the recorder's timeline."""

    channel: int
    sequence: int
    log_time: int
    publish_time: int
    data: bytes


class Player(abc.ABC):
    """Plays messages into something live, in the order and at the moments that `dari replay` decides."""

    requirements: ClassVar[tuple[Requirement, ...]] = ()
    site_text: str = ""
    """The site file that the log was recorded with, from its attachment; empty where it has none. Set before `open`."""
    site_path: str = ""
    taken: frozenset[int] | None = None
    """Ids of the channels that are really played, set by `open`; None means all of them. What is not taken is not counted."""

    @abc.abstractmethod
    def open(self, channels: list[PlayedChannel], options: dict[str, str]) -> list[str]:
        """Get ready; returns what can not be played, one sentence for each channel. `options` are `--set KEY=VALUE` pairs."""

    @abc.abstractmethod
    def play(self, message: PlayedMessage) -> None:
        """Send one message now."""

    @abc.abstractmethod
    def close(self) -> None:
        """Send what is held, and let go."""

    def closing(self) -> str:
        """One line for the end, after `close`: where the result lies. Empty where there is nothing to say."""
        return ""
