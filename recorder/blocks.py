"""A block: a stretch of a log that holds messages, a chunk as a rule, and an index of what is in it."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

import lz4.frame  # type: ignore[import-untyped]  # it publishes none
import numpy as np
import zstandard
from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.records import Channel, Schema
from numpy.typing import NDArray

OP_SCHEMA, OP_CHANNEL, OP_MESSAGE, OP_CHUNK, OP_MESSAGE_INDEX = 0x03, 0x04, 0x05, 0x06, 0x07
RECORD_HEAD = struct.Struct("<BQ")
MESSAGE_HEAD = struct.Struct("<HIQQ")
_CHUNK_HEAD = struct.Struct("<QQQI")
MESSAGE_START = RECORD_HEAD.size + MESSAGE_HEAD.size
"""Bytes before a message's data: the record's opcode and length, then channel, sequence and both times."""

MOST = 4 * 2**30
"""Bytes that a block may claim to hold: more is a damaged length, not a chunk."""

Index = dict[int, NDArray[np.uint64]]
"""For each channel id, (n, 2): log time in ns and the offset of the message's record in the block's bytes."""


class DamagedError(Exception):
    """A block that can not be read; the text says why."""


class ChunkHead(NamedTuple):
    """The fields of a chunk record before its compressed bytes; `data_offset` counts from the record's content."""

    start_time: int
    end_time: int
    uncompressed_size: int
    uncompressed_crc: int
    compression: str
    compressed_size: int
    data_offset: int


def parse_chunk_head(content: bytes) -> ChunkHead:
    """Parse the start of a chunk record's content. Raises `DamagedError` where it is too short or makes no sense."""
    try:
        start, end, size, crc = _CHUNK_HEAD.unpack_from(content)
        (length,) = struct.unpack_from("<I", content, _CHUNK_HEAD.size)
        at = _CHUNK_HEAD.size + 4
        if length > 64:
            raise DamagedError("a chunk names no compression that is known")
        compression = content[at : at + length].decode("ascii", "replace")
        (compressed,) = struct.unpack_from("<Q", content, at + length)
    except struct.error as error:
        raise DamagedError("a chunk is cut in its head") from error
    return ChunkHead(start, end, size, crc, compression, compressed, at + length + 8)


def inflate(head: ChunkHead, data: bytes) -> bytes:
    """The uncompressed bytes of a whole chunk, its CRC checked. Raises `DamagedError`."""
    if head.uncompressed_size > MOST:
        raise DamagedError(f"a chunk claims to hold {head.uncompressed_size} bytes")
    try:
        if head.compression == "zstd":
            # A damaged size must not become an allocation: the frame's own size has to say the same, or nothing.
            declared = zstandard.get_frame_parameters(data).content_size
            if declared not in (head.uncompressed_size, zstandard.CONTENTSIZE_UNKNOWN):
                raise DamagedError(f"a chunk holds {declared} bytes instead of {head.uncompressed_size}")
            raw = zstandard.ZstdDecompressor().decompressobj().decompress(data)
        elif head.compression == "lz4":
            raw = lz4.frame.decompress(data)
        elif head.compression == "":
            raw = bytes(data)
        else:
            raise DamagedError(f"a chunk is compressed with {head.compression!r}, which is not known here")
    except (zstandard.ZstdError, RuntimeError, MemoryError) as error:
        raise DamagedError(f"a chunk can not be decompressed ({error})") from error
    if len(raw) != head.uncompressed_size:
        raise DamagedError(f"a chunk holds {len(raw)} bytes instead of {head.uncompressed_size}")
    if head.uncompressed_crc and zlib.crc32(raw) != head.uncompressed_crc:
        raise DamagedError("a chunk's CRC does not match its bytes")
    return raw


def inflate_cut(head: ChunkHead, data: bytes) -> bytes:
    """What can be had from the front of a chunk whose end is missing; empty where nothing can."""
    try:
        if head.compression == "zstd":
            return zstandard.ZstdDecompressor().decompressobj().decompress(data)
        if head.compression == "lz4":
            return bytes(lz4.frame.LZ4FrameDecompressor().decompress(data))
        return data if head.compression == "" else b""
    except (zstandard.ZstdError, RuntimeError, MemoryError):
        return b""


def records(data: bytes, start: int = 0) -> Iterator[tuple[int, int, int]]:
    """Whole records in `data`: opcode, offset of the content, end of the content; stops at the first that is cut."""
    at, size = start, len(data)
    while at + RECORD_HEAD.size <= size:
        opcode, length = RECORD_HEAD.unpack_from(data, at)
        content = at + RECORD_HEAD.size
        if opcode == 0 or content + length > size:
            return
        yield opcode, content, content + length
        at = content + length


def parse_schema(content: bytes) -> Schema:
    """A schema record's content. Raises `DamagedError`."""
    schema: Schema = _parse(Schema, content)
    return schema


def parse_channel(content: bytes) -> Channel:
    """A channel record's content. Raises `DamagedError`."""
    channel: Channel = _parse(Channel, content)
    return channel


def _parse(kind: type, content: bytes):  # type: ignore[no-untyped-def]  # mcap's records share no typed reader
    try:
        return kind.read(ReadDataStream(io.BytesIO(content)))  # type: ignore[attr-defined]
    except (McapError, struct.error, UnicodeDecodeError, ValueError) as error:
        raise DamagedError(f"a {kind.__name__.lower()} record can not be read ({error})") from error


class Contents(NamedTuple):
    """What a walk over a block's bytes found; `end` is where its last whole record ends."""

    rows: Index
    schemas: list[Schema]
    channels: list[Channel]
    end: int


def walk(data: bytes, start: int = 0) -> Contents:
    """Index every message in `data`, and collect the schemas and channels it declares."""
    found: dict[int, list[tuple[int, int]]] = {}
    schemas: list[Schema] = []
    channels: list[Channel] = []
    end = start
    for opcode, content, stop in records(data, start):
        if opcode == OP_MESSAGE and stop - content >= MESSAGE_HEAD.size:
            channel, _, log_time, _ = MESSAGE_HEAD.unpack_from(data, content)
            found.setdefault(channel, []).append((log_time, content - RECORD_HEAD.size))
        elif opcode == OP_SCHEMA:
            schemas.append(parse_schema(data[content:stop]))
        elif opcode == OP_CHANNEL:
            channels.append(parse_channel(data[content:stop]))
        end = stop
    index = {channel: np.array(rows, dtype=np.uint64).reshape(-1, 2) for channel, rows in found.items()}
    return Contents(index, schemas, channels, end)


@dataclass
class Block:
    """A chunk, or a run of messages outside of any chunk (`loose`), at `offset` in the file.

    `length` is the number of bytes of the file that it takes, head included, for a chunk; `index` is None until it was
    read. `cut` marks a chunk whose end is missing; `whole` is how many of its uncompressed bytes can be used then.
    """

    offset: int
    length: int
    start_time: int
    end_time: int
    channel_ids: frozenset[int] | None = None
    index_offset: int = 0
    index_length: int = 0
    index: Index | None = None
    loose: bool = False
    cut: bool = False

    def read(self, file: BinaryIO) -> bytes:
        """The block's uncompressed bytes. Raises `DamagedError`."""
        file.seek(self.offset)
        data = file.read(self.length)
        if self.loose:
            return data
        content = data[RECORD_HEAD.size :]
        head = parse_chunk_head(content)
        compressed = content[head.data_offset : head.data_offset + head.compressed_size]
        return inflate_cut(head, compressed) if self.cut else inflate(head, compressed)

    def read_index(self, file: BinaryIO) -> Index:
        """The index of its messages: from the file's message indexes where it has them, else from its bytes."""
        if self.index is not None:
            return self.index
        if self.index_length:
            self.index = self._stored_index(file)
        if self.index is None:
            self.index = walk(self.read(file)).rows
        return self.index

    def _stored_index(self, file: BinaryIO) -> Index | None:
        file.seek(self.index_offset)
        data = file.read(self.index_length)
        index: Index = {}
        for opcode, content, stop in records(data):
            if opcode != OP_MESSAGE_INDEX or stop - content < 6:
                return None
            channel, length = struct.unpack_from("<HI", data, content)
            if content + 6 + length > stop or length % 16:
                return None
            rows = np.frombuffer(data, dtype="<u8", count=length // 8, offset=content + 6).reshape(-1, 2)
            if len(rows):
                index[channel] = rows.astype(np.uint64)
        return index
