"""Frames on the bus: one ZeroMQ message each, so that sixty-four records cost the receiver one wake-up.

Layout, little-endian::

    0   4  magic b"dari"
    4   1  version (1)
    5   1  zero
    6   2  reserved, zero
    8   4  length of the header in bytes, padding included
    12  4  zero
    16  -  header: msgpack map, tagged by "t", padded with zero bytes to a multiple of 8
    -   -  columns: int64, COLUMNS rows of n (data frames only)
    -   -  payload: the records' payloads, joined (data frames only)

An adapter sends `Hello` (who it is, its channels), `Data`, `Ping` and `Bye`; the supervisor sends `Note`; the hub answers with
`Ack` and, when it does not know a sender, `Who`.
"""

from __future__ import annotations

import struct

import msgspec
import numpy as np
from numpy.typing import NDArray

from bridge.errors import FrameError

MAGIC = b"dari"
VERSION = 1
MAX_FRAME = 64 * 1024 * 1024
"""Larger frames are refused: a single image is smaller, and a batch is flushed long before."""

COLUMNS = ("channel", "stamp", "alt_stamp", "arrival", "aligned", "uncertainty", "clock_epoch", "flags", "length")
_PREFIX = struct.Struct("<4sBBHII")


class Header(msgspec.Struct, frozen=True, kw_only=True, tag_field="t", tag=str.lower, omit_defaults=True):
    """Base of every frame's header; `t` on the wire says which."""


class Hello(Header, frozen=True, kw_only=True):
    """An adapter begins, or declares more channels.

    `source` and `channels` are msgpack-ready forms of `bridge.adapter.Source` and `Channel`; `next_sequence` is the number of
    the first record that will follow, so that a hub which was restarted does not count what its predecessor received.
    """

    source: str
    epoch: int
    next_sequence: int
    source_info: msgspec.Raw
    channels: msgspec.Raw
    pid: int = 0


class Data(Header, frozen=True, kw_only=True):
    """Records `first` to `first + n - 1` of a source; `number` counts the frames for acknowledgement."""

    source: str
    epoch: int
    number: int
    first: int
    n: int


class Bye(Header, frozen=True, kw_only=True):
    """An adapter ends: every record below `next_sequence` was sent. Acknowledged when all of them are on disk."""

    source: str
    epoch: int
    number: int
    next_sequence: int
    reason: str = ""


class Ping(Header, frozen=True, kw_only=True):
    """A sender that has nothing to say is alive; a hub that does not know it answers `Who`."""

    source: str
    epoch: int


class Note(Header, frozen=True, kw_only=True):
    """The supervisor tells the hub what happened to a source: it was restarted, it has ended, it will not be restarted."""

    source: str
    code: str
    text: str
    at_ns: int


class Ack(Header, frozen=True, kw_only=True):
    """Everything up to frame `number`, and record `sequence`, of (source, epoch) is on disk."""

    source: str
    epoch: int
    number: int
    sequence: int


class Who(Header, frozen=True, kw_only=True):
    """The hub does not know this sender (it was restarted): say `Hello` again, and send again what is not acknowledged."""

    source: str


_Header = Hello | Data | Bye | Ping | Note | Ack | Who
_encoder = msgspec.msgpack.Encoder()
_decoder: msgspec.msgpack.Decoder[Hello | Data | Bye | Ping | Note | Ack | Who] = msgspec.msgpack.Decoder(_Header)


def encode(header: Header, columns: NDArray[np.int64] | None = None, payload: bytes = b"") -> bytes:
    """A frame. `columns` has shape (len(COLUMNS), n) and dtype int64, and is given for `Data` only."""
    head = _encoder.encode(header)
    padding = -len(head) % 8
    prefix = _PREFIX.pack(MAGIC, VERSION, 0, 0, len(head) + padding, padding)
    body = b"" if columns is None else columns.tobytes()
    return b"".join((prefix, head, b"\0" * padding, body, payload))


class Frame(msgspec.Struct, frozen=True):
    """A decoded frame; `columns` has shape (len(COLUMNS), n), `payload` is a view into the frame's bytes."""

    header: Hello | Data | Bye | Ping | Note | Ack | Who
    columns: NDArray[np.int64]
    payload: memoryview


_NO_COLUMNS: NDArray[np.int64] = np.empty((len(COLUMNS), 0), dtype=np.int64)


def decode(data: bytes) -> Frame:
    """Read a frame; raises `FrameError` that says what is wrong with it, whatever the bytes are."""
    if len(data) > MAX_FRAME:
        raise FrameError(f"frame of {len(data)} bytes is larger than {MAX_FRAME}", hint="send smaller batches")
    if len(data) < _PREFIX.size:
        raise FrameError(f"frame of {len(data)} bytes is shorter than its prefix of {_PREFIX.size}")
    magic, version, _, _, head_length, padding = _PREFIX.unpack_from(data)
    if magic != MAGIC:
        raise FrameError(f"not a dari frame: it begins with {bytes(magic)!r}")
    if version != VERSION:
        raise FrameError(f"frame version {version} is not {VERSION}", hint="use the same dari on both ends")
    start = _PREFIX.size + head_length
    if start > len(data) or padding > min(7, head_length):
        raise FrameError(f"header of {head_length} bytes does not fit a frame of {len(data)}")
    view = memoryview(data)
    try:
        header = _decoder.decode(view[_PREFIX.size : start - padding])
    except (msgspec.MsgspecError, ValueError) as error:  # text that is no UTF-8 is a ValueError
        raise FrameError(f"header: {error}") from error
    if not isinstance(header, Data):
        return Frame(header, _NO_COLUMNS, view[start:])
    n = header.n
    size = len(COLUMNS) * n * 8
    if n < 1 or header.first < 0 or start + size > len(data):
        raise FrameError(f"{n} records do not fit a frame of {len(data)} bytes", where=header.source)
    columns = np.frombuffer(data, dtype="<i8", count=len(COLUMNS) * n, offset=start).reshape(len(COLUMNS), n)
    payload = view[start + size :]
    lengths = columns[-1]
    # Lengths come from another process: their sum must not overflow into a match.
    if int(lengths.min()) < 0 or int(lengths.max()) > len(payload) or int(lengths.sum()) != len(payload):
        raise FrameError("the records' lengths do not add up to the payload", where=header.source)
    return Frame(header, columns, payload)
