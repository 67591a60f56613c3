"""Where everything is in a log: from its index when it was closed, from a walk over its records when it was not."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import (
    AttachmentIndex,
    Channel,
    ChunkIndex,
    Header,
    Metadata,
    MetadataIndex,
    Schema,
    Statistics,
)

from recorder.blocks import (
    OP_MESSAGE,
    RECORD_HEAD,
    Block,
    Contents,
    DamagedError,
    inflate,
    inflate_cut,
    parse_channel,
    parse_chunk_head,
    parse_schema,
    records,
    walk,
)

MAGIC = b"\x89MCAP0\r\n"
_FOOTER = struct.Struct("<BQQQI")
TAIL = _FOOTER.size + len(MAGIC)
_LOOSE = 4 * 2**20
"""Bytes of messages outside of chunks that are kept together as one block."""

Progress = Callable[[int, int], None]
"""Called with bytes done and bytes in all."""


class AttachmentRef(NamedTuple):
    """An attachment: where its bytes lie in the file, and what it is called."""

    name: str
    media_type: str
    log_time: int
    offset: int
    size: int


@dataclass
class Layout:
    """Everything about a log but its messages.

    `closed` says that the file ends as a finished MCAP file does; `problems` are sentences about what was found damaged;
    `kept_bytes` is where the last usable byte lies; `counts` is messages by channel id, None where blocks must be asked.
    """

    size: int
    profile: str = ""
    library: str = ""
    closed: bool = False
    kept_bytes: int = 0
    schemas: dict[int, Schema] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)
    blocks: list[Block] = field(default_factory=list)
    metadata: list[Metadata] = field(default_factory=list)
    attachments: list[AttachmentRef] = field(default_factory=list)
    counts: dict[int, int] | None = None
    problems: list[str] = field(default_factory=list)

    def count(self, file: BinaryIO) -> dict[int, int]:
        """Messages by channel id."""
        if self.counts is None:
            counts: dict[int, int] = {}
            for block in self.blocks:
                for channel, rows in block.read_index(file).items():
                    counts[channel] = counts.get(channel, 0) + len(rows)
            self.counts = counts
        return self.counts


def read_layout(file: BinaryIO, size: int, progress: Progress | None = None) -> Layout:
    """The layout of an MCAP file whose first magic was already checked."""
    layout = _from_index(file, size)
    return layout if layout is not None else _from_walk(file, size, progress)


def _record(kind: type, content: bytes):  # type: ignore[no-untyped-def]  # mcap's records share no typed reader
    return kind.read(ReadDataStream(io.BytesIO(content)))  # type: ignore[attr-defined]


def ends_closed(file: BinaryIO, size: int) -> tuple[int, int] | None:
    """(summary start, summary CRC) from the footer, or None where the file does not end with one."""
    if size < len(MAGIC) + TAIL:
        return None
    file.seek(size - TAIL)
    tail = file.read(TAIL)
    if len(tail) != TAIL or tail[-len(MAGIC) :] != MAGIC:
        return None
    opcode, length, start, _, crc = _FOOTER.unpack_from(tail)
    if opcode != Opcode.FOOTER or length != 20:
        return None
    return start, crc


def _from_index(file: BinaryIO, size: int) -> Layout | None:
    """The layout by the file's own index; None where it has none, or where the index can not be believed."""
    footer = ends_closed(file, size)
    if footer is None:
        return None
    start, crc = footer
    if not len(MAGIC) < start <= size - TAIL:
        return None
    file.seek(start)
    section = file.read(size - len(MAGIC) - start)
    if crc and zlib.crc32(section[:-4]) != crc:
        return None
    layout = Layout(size=size, closed=True, kept_bytes=size)
    statistics: Statistics | None = None
    try:
        for opcode, content, stop in records(section):
            data = section[content:stop]
            if opcode == Opcode.SCHEMA:
                schema = parse_schema(data)
                layout.schemas[schema.id] = schema
            elif opcode == Opcode.CHANNEL:
                channel = parse_channel(data)
                layout.channels[channel.id] = channel
            elif opcode == Opcode.STATISTICS:
                statistics = _record(Statistics, data)
            elif opcode == Opcode.CHUNK_INDEX:
                layout.blocks.append(_indexed_block(_record(ChunkIndex, data), size))
            elif opcode == Opcode.ATTACHMENT_INDEX:
                index = _record(AttachmentIndex, data)
                # The bytes lie before the attachment's own CRC, at the end of its record.
                at = index.offset + index.length - 4 - index.data_size
                layout.attachments.append(
                    AttachmentRef(index.name, index.media_type, index.log_time, at, index.data_size)
                )
            elif opcode == Opcode.METADATA_INDEX:
                layout.metadata.append(_metadata_at(file, _record(MetadataIndex, data)))
        _read_header(file, layout)
    except (DamagedError, McapError, struct.error, ValueError):
        return None
    if statistics is None:
        return None
    held = {c for block in layout.blocks for c in (block.channel_ids or ())}
    if (statistics.message_count and not layout.blocks) or not held <= layout.channels.keys():
        return None
    found = (len(layout.metadata), len(layout.attachments))
    if found != (statistics.metadata_count, statistics.attachment_count):
        return None
    layout.counts = dict(statistics.channel_message_counts)
    return layout


def _indexed_block(index: ChunkIndex, size: int) -> Block:
    if index.chunk_start_offset + index.chunk_length > size:
        raise DamagedError("a chunk index points beyond the file's end")
    offsets = index.message_index_offsets
    first = min(offsets.values(), default=0)
    return Block(
        offset=index.chunk_start_offset,
        length=index.chunk_length,
        start_time=index.message_start_time,
        end_time=index.message_end_time,
        channel_ids=frozenset(offsets) if offsets else None,
        index_offset=first,
        index_length=index.message_index_length if offsets else 0,
    )


def _metadata_at(file: BinaryIO, index: MetadataIndex) -> Metadata:
    file.seek(index.offset)
    data = file.read(index.length)
    for opcode, content, stop in records(data):
        if opcode == Opcode.METADATA:
            found: Metadata = _record(Metadata, data[content:stop])
            return found
        break
    raise DamagedError("a metadata index points to no metadata")


def _read_header(file: BinaryIO, layout: Layout) -> None:
    file.seek(len(MAGIC))
    head = file.read(RECORD_HEAD.size)
    if len(head) < RECORD_HEAD.size:
        return
    opcode, length = RECORD_HEAD.unpack(head)
    if opcode != Opcode.HEADER or length > 2**20:
        raise DamagedError("the file does not begin with a header record")
    header = _record(Header, file.read(length))
    layout.profile, layout.library = header.profile, header.library


class _Walk:
    """A walk over a file's records from the front, taking whatever is whole."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self.file = file
        self.layout = Layout(size=size, counts={})
        self.ended = False
        self._loose_start: int | None = None
        self._loose_end = 0
        self._skipped_chunks = 0

    def record(self, at: int, opcode: int, length: int) -> None:
        """Take the whole record whose content of `length` bytes begins at `at`."""
        layout = self.layout
        if opcode == OP_MESSAGE:
            self._loose(at - RECORD_HEAD.size, at + length)
            return
        self.close_loose()
        if opcode == Opcode.CHUNK:
            self._chunk(at, length)
        elif opcode == Opcode.HEADER:
            header = _record(Header, self._content(at, length))
            layout.profile, layout.library = header.profile, header.library
        elif opcode == Opcode.SCHEMA:
            schema = parse_schema(self._content(at, length))
            layout.schemas.setdefault(schema.id, schema)
        elif opcode == Opcode.CHANNEL:
            channel = parse_channel(self._content(at, length))
            layout.channels.setdefault(channel.id, channel)
        elif opcode == Opcode.METADATA:
            layout.metadata.append(_record(Metadata, self._content(at, length)))
        elif opcode == Opcode.ATTACHMENT:
            self._attachment(at, length)
        elif opcode == Opcode.DATA_END:
            self.ended = True

    def _content(self, at: int, length: int) -> bytes:
        self.file.seek(at)
        return self.file.read(length)

    def _attachment(self, at: int, length: int) -> None:
        head = self._content(at, min(length, 4096))
        log_time, _, name_length = struct.unpack_from("<QQI", head)
        name = head[20 : 20 + name_length].decode("utf-8", "replace")
        (media_length,) = struct.unpack_from("<I", head, 20 + name_length)
        start = 24 + name_length
        media = head[start : start + media_length].decode("utf-8", "replace")
        (size,) = struct.unpack_from("<Q", head, start + media_length)
        offset = at + start + media_length + 8
        if offset + size > at + length:
            raise DamagedError("an attachment claims more bytes than its record has")
        self.layout.attachments.append(AttachmentRef(name, media, log_time, offset, size))

    def _chunk(self, at: int, length: int) -> None:
        content = self._content(at, length)
        try:
            head = parse_chunk_head(content)
            data = inflate(head, content[head.data_offset : head.data_offset + head.compressed_size])
            found = walk(data)
        except DamagedError as error:
            self._skipped_chunks += 1
            self.layout.problems.append(f"{error}, at byte {at - RECORD_HEAD.size}: its messages are lost")
            return
        self._take(found, Block(at - RECORD_HEAD.size, length + RECORD_HEAD.size, 0, 0))

    def cut_chunk(self, at: int, available: int) -> None:
        """Take what can be had from a chunk at the file's end whose last bytes are missing."""
        content = self._content(at, available)
        try:
            head = parse_chunk_head(content)
            data = inflate_cut(head, content[head.data_offset :])
            found = walk(data)
        except DamagedError:
            return
        self._take(found, Block(at - RECORD_HEAD.size, available + RECORD_HEAD.size, 0, 0, cut=True))

    def _loose(self, start: int, end: int) -> None:
        if self._loose_start is not None and end - self._loose_start > _LOOSE:
            self.close_loose()
        if self._loose_start is None:
            self._loose_start = start
        self._loose_end = end

    def close_loose(self) -> None:
        """Make a block of the messages outside of chunks that were passed."""
        if self._loose_start is None:
            return
        start, length = self._loose_start, self._loose_end - self._loose_start
        self._loose_start = None
        self._take(walk(self._content(start, length)), Block(start, length, 0, 0, loose=True))

    def _take(self, found: Contents, block: Block) -> None:
        layout = self.layout
        for schema in found.schemas:
            layout.schemas.setdefault(schema.id, schema)
        for channel in found.channels:
            layout.channels.setdefault(channel.id, channel)
        orphans = [c for c in found.rows if c not in layout.channels]
        for channel_id in orphans:
            lost = len(found.rows.pop(channel_id))
            layout.problems.append(f"{lost} messages of channel {channel_id} are lost, which no record declares")
        if not found.rows:
            return
        block.index = found.rows
        block.channel_ids = frozenset(found.rows)
        block.start_time = min(int(rows[:, 0].min()) for rows in found.rows.values())
        block.end_time = max(int(rows[:, 0].max()) for rows in found.rows.values())
        layout.blocks.append(block)
        counts = layout.counts if layout.counts is not None else {}
        for channel_id, rows in found.rows.items():
            counts[channel_id] = counts.get(channel_id, 0) + len(rows)
        layout.counts = counts


def _from_walk(file: BinaryIO, size: int, progress: Progress | None) -> Layout:
    """The layout by a walk from the front; stops where the file is cut, and says so."""
    walker = _Walk(file, size)
    layout = walker.layout
    layout.closed = ends_closed(file, size) is not None
    at = len(MAGIC)
    while not walker.ended:
        if progress is not None:
            progress(at, size)
        file.seek(at)
        head = file.read(RECORD_HEAD.size)
        content = at + RECORD_HEAD.size
        # A log that is being written may have grown since its size was taken.
        if len(head) < RECORD_HEAD.size or content > size:
            break
        opcode, length = RECORD_HEAD.unpack(head)
        if opcode == 0:
            layout.problems.append(f"nothing but padding from byte {at} on")
            break
        if content + length > size:
            walker.close_loose()
            if opcode == Opcode.CHUNK:
                walker.cut_chunk(content, size - content)
            break
        try:
            walker.record(content, opcode, length)
        except (DamagedError, McapError, struct.error, ValueError) as error:
            layout.problems.append(f"a record at byte {at} can not be read ({error})")
        at = content + length
    walker.close_loose()
    layout.kept_bytes = size if layout.closed else at
    if progress is not None:
        progress(size, size)
    return layout
