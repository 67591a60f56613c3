"""Reading a log: ours or foreign, closed, being written, cut or damaged. What can be had is had, and the rest is said."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from bridge.errors import LogError, SchemaError
from bridge.schema import TaskEvent
from recorder.blocks import MESSAGE_HEAD, MESSAGE_START, OP_MESSAGE, RECORD_HEAD, Block, DamagedError
from recorder.decode import Decoder
from recorder.disk import is_being_written
from recorder.find import find_log
from recorder.layout import AttachmentRef, Layout, Progress, read_layout

EVENTS_TOPIC = "/dari/events"
RUN_RECORD = "dari.run"
EVENT_TYPE = "dari_msgs/msg/TaskEvent"


class LogChannel(NamedTuple):
    """A channel of a log: its id, topic, type and the type's definition, and the metadata that its writer gave it."""

    id: int
    topic: str
    type_name: str
    encoding: str
    schema_id: int
    schema_encoding: str
    definition: str
    metadata: dict[str, str]


class LogMessage(NamedTuple):
    """A message of a log. `log_time` is the aligned time, `publish_time` the arrival, both ns since the UNIX epoch."""

    channel: LogChannel
    sequence: int
    log_time: int
    publish_time: int
    data: bytes


class _Cursor:
    """The chosen messages of one block, in log-time order."""

    def __init__(self, data: bytes, rows: NDArray[np.uint64]) -> None:
        order = np.lexsort((rows[:, 1], rows[:, 0]))
        self.data = data
        self.times: list[int] = rows[order, 0].tolist()
        self.offsets: list[int] = rows[order, 1].tolist()
        self.at = 0


class Log:
    """An open log. Made by `open_log`; use it in a `with` statement, or `close` it.

    Attributes:
        path: the file.
        closed: whether the file ends as a finished log does.
        being_written: whether a recorder holds it open now; None where that can not be told.
        problems: sentences about what is damaged; more may come while messages are read.
        channels: by id.
    """

    def __init__(self, path: Path, file: BinaryIO, layout: Layout) -> None:
        self.path = path
        self._file = file
        self._layout = layout
        self.closed = layout.closed
        self.being_written = False if layout.closed else is_being_written(path)
        self.problems = layout.problems
        self.size = layout.size
        self.kept_bytes = layout.kept_bytes
        self.profile = layout.profile
        self.library = layout.library
        self.channels = {i: _channel(layout, i) for i in sorted(layout.channels)}
        self._decoder = Decoder(layout.schemas, str(path))

    def __enter__(self) -> Log:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    # -- what is in it -------------------------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """In a few words: closed, being written, or not closed and how much was kept."""
        if self.closed:
            return "closed"
        kept = f"{self.message_count} messages can be read, {self.kept_bytes} of {self.size} bytes"
        if self.being_written:
            return f"being written now ({kept})"
        return f"NOT closed: its writer was stopped, or the file was cut ({kept})"

    @property
    def advice(self) -> str:
        """What to do about a log that is not closed; empty for one that is."""
        if self.closed:
            return ""
        if self.being_written:
            return "ask again for what came since; the log is closed when its run ends (Ctrl-C)"
        return (
            "every dari command reads it as far as it goes; for other tools, `mcap recover LOG -o NEW` writes a closed one;"
            " if it was copied, copy it again"
        )

    @property
    def counts(self) -> dict[int, int]:
        """Messages by channel id."""
        return self._layout.count(self._file)

    @property
    def message_count(self) -> int:
        """Messages in all."""
        return sum(self.counts.values())

    @property
    def time_range(self) -> tuple[int, int] | None:
        """First and last log time, ns since the UNIX epoch; None when there is no message."""
        blocks = [b for b in self._layout.blocks if b.channel_ids or b.end_time]
        if not blocks:
            return None
        return min(b.start_time for b in blocks), max(b.end_time for b in blocks)

    @property
    def metadata(self) -> dict[str, dict[str, str]]:
        """The metadata records by name; of several with one name the last."""
        return {record.name: dict(record.metadata) for record in self._layout.metadata}

    @property
    def attachments(self) -> list[AttachmentRef]:
        """The attachments, without their bytes."""
        return list(self._layout.attachments)

    def attachment(self, name: str) -> bytes | None:
        """The bytes of the first attachment of that name; None where there is none."""
        for ref in self._layout.attachments:
            if ref.name == name:
                self._file.seek(ref.offset)
                return self._file.read(ref.size)
        return None

    def of_topic(self, topic: str) -> list[LogChannel]:
        """The channels of one topic: more than one where a source came back with another type or metadata."""
        return [c for c in self.channels.values() if c.topic == topic]

    def times(self, channel_ids: Collection[int]) -> NDArray[np.int64]:
        """The sorted log times of the messages of some channels, without reading the messages."""
        found: list[NDArray[np.uint64]] = []
        for block in self._layout.blocks:
            if block.channel_ids is not None and block.channel_ids.isdisjoint(channel_ids):
                continue
            try:
                index = block.read_index(self._file)
            except DamagedError as error:
                self._damaged(block, error)
                continue
            found.extend(rows[:, 0] for channel, rows in index.items() if channel in channel_ids)
        times = np.concatenate(found) if found else np.empty(0, np.uint64)
        return np.sort(times).astype(np.int64)

    # -- messages ------------------------------------------------------------------------------------------------

    def messages(
        self,
        topics: Collection[str] | Callable[[LogChannel], bool] | None = None,
        start_ns: int | None = None,
        end_ns: int | None = None,
    ) -> Iterator[LogMessage]:
        """Messages in log-time order, from `start_ns` to `end_ns`, both included.

        Args:
            topics: their names, or a function that chooses channels; all when None.
            start_ns: first log time.
            end_ns: last log time.
        """
        if topics is None:
            chosen = set(self.channels)
        elif callable(topics):
            chosen = {c.id for c in self.channels.values() if topics(c)}
        else:
            chosen = {c.id for c in self.channels.values() if c.topic in topics}
        low = 0 if start_ns is None else max(0, start_ns)
        high = 2**64 - 1 if end_ns is None else end_ns
        if not chosen or high < low:
            return
        blocks = [
            b
            for b in self._layout.blocks
            if (b.channel_ids is None or not b.channel_ids.isdisjoint(chosen))
            and b.end_time >= low
            and b.start_time <= high
        ]
        blocks.sort(key=lambda b: (b.start_time, b.offset))
        yield from self._merged(blocks, chosen, low, high)

    def _merged(self, blocks: list[Block], chosen: set[int], low: int, high: int) -> Iterator[LogMessage]:
        heap: list[tuple[int, int, _Cursor]] = []
        following = 0
        while heap or following < len(blocks):
            # A block is opened when its first message could be the next: as many are open as overlap in time.
            if following < len(blocks) and (not heap or blocks[following].start_time <= heap[0][0]):
                cursor = self._cursor(blocks[following], chosen, low, high)
                if cursor is not None:
                    heapq.heappush(heap, (cursor.times[0], following, cursor))
                following += 1
                continue
            _, ordinal, cursor = heap[0]
            message = self._message(cursor.data, cursor.offsets[cursor.at])
            cursor.at += 1
            if cursor.at < len(cursor.times):
                heapq.heapreplace(heap, (cursor.times[cursor.at], ordinal, cursor))
            else:
                heapq.heappop(heap)
            if message is not None:
                yield message

    def _cursor(self, block: Block, chosen: set[int], low: int, high: int) -> _Cursor | None:
        try:
            index = block.read_index(self._file)
            picked = [rows for channel, rows in index.items() if channel in chosen]
            if not picked:
                return None
            rows = np.concatenate(picked)
            rows = rows[(rows[:, 0] >= low) & (rows[:, 0] <= high)]
            if not len(rows):
                return None
            return _Cursor(block.read(self._file), rows)
        except DamagedError as error:
            self._damaged(block, error)
            return None

    def _damaged(self, block: Block, error: DamagedError) -> None:
        text = f"{error}, at byte {block.offset}: its messages are lost"
        if text not in self.problems:
            self.problems.append(text)

    def _message(self, data: bytes, offset: int) -> LogMessage | None:
        if offset + MESSAGE_START > len(data):
            self._misplaced(offset)
            return None
        opcode, length = RECORD_HEAD.unpack_from(data, offset)
        end = offset + RECORD_HEAD.size + length
        if opcode != OP_MESSAGE or end > len(data) or length < MESSAGE_HEAD.size:
            self._misplaced(offset)
            return None
        channel_id, sequence, log_time, publish_time = MESSAGE_HEAD.unpack_from(data, offset + RECORD_HEAD.size)
        channel = self.channels.get(channel_id)
        if channel is None:
            self._misplaced(offset)
            return None
        return LogMessage(channel, sequence, log_time, publish_time, data[offset + MESSAGE_START : end])

    def _misplaced(self, offset: int) -> None:
        self.problems.append(f"a message index points to no message (offset {offset} in its chunk)")

    # -- decoded -------------------------------------------------------------------------------------------------

    def decode(self, message: LogMessage) -> Any:
        """A message as an object with the fields of its type. Raises `LogError` where it can not be decoded."""
        channel = message.channel
        return self._decoder.decode(channel.schema_id, channel.encoding, message.data)

    def events(self, start_ns: int | None = None, end_ns: int | None = None) -> Iterator[TaskEvent]:
        """The task events in order of aligned time, validated; one that does not validate is told in `problems`."""
        from bridge.schema import codec

        for message in self.messages(lambda c: c.type_name == EVENT_TYPE, start_ns, end_ns):
            try:
                yield codec.from_json(self.decode(message).body_json)
            except (LogError, SchemaError, AttributeError) as error:
                self.problems.append(f"event {message.sequence} at {message.log_time} can not be read: {error}")


def _channel(layout: Layout, channel_id: int) -> LogChannel:
    channel = layout.channels[channel_id]
    schema = layout.schemas.get(channel.schema_id)
    return LogChannel(
        id=channel_id,
        topic=channel.topic,
        type_name=schema.name if schema else "",
        encoding=channel.message_encoding,
        schema_id=channel.schema_id,
        schema_encoding=schema.encoding if schema else "",
        definition=schema.data.decode("utf-8", "replace") if schema else "",
        metadata=dict(channel.metadata),
    )


def open_log(path: str | Path, progress: Progress | None = None) -> Log:
    """Open a log: an MCAP file, or a folder that holds one.

    A file that was not closed is walked from the front (`progress` is called on the way), and what is whole is kept.

    Raises:
        LogError: there is nothing there, it can not be opened, or it is no MCAP file.
    """
    file_path = find_log(Path(path))
    try:
        file = file_path.open("rb")
    except OSError as error:
        raise LogError(
            f"the log can not be opened: {error.strerror or error}",
            where=str(file_path),
            hint="check that you may read it",
        ) from error
    try:
        size = file.seek(0, 2)
        return Log(file_path, file, read_layout(file, size, progress))
    except OSError as error:
        file.close()
        raise LogError(
            f"the log can not be read: {error.strerror or error}", where=str(file_path), hint="check the disk"
        ) from error
    except BaseException:
        file.close()
        raise
