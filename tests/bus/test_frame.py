"""Frames: what is encoded decodes to the same, and no bytes whatever make the decoder raise anything but a FrameError."""

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.bus import frame
from bridge.errors import FrameError

int64 = st.integers(-(2**63), 2**63 - 1)
rows = st.tuples(*[int64] * (len(frame.COLUMNS) - 1), st.binary(max_size=40))


@given(records=st.lists(rows, min_size=1, max_size=20), first=st.integers(0, 2**60), number=st.integers(0, 2**60))
def test_data_comes_back_as_it_went(records, first, number):
    columns = np.array([(*row[:-1], len(row[-1])) for row in records], dtype=np.int64).T.copy()
    payload = b"".join(row[-1] for row in records)
    header = frame.Data(source="plc", epoch=3, number=number, first=first, n=len(records))
    decoded = frame.decode(frame.encode(header, columns, payload))
    assert decoded.header == header
    assert np.array_equal(decoded.columns, columns)
    assert bytes(decoded.payload) == payload


@given(
    header=st.one_of(
        st.builds(frame.Bye, source=st.text(), epoch=int64, number=int64, next_sequence=int64, reason=st.text()),
        st.builds(frame.Ack, source=st.text(), epoch=int64, number=int64, sequence=int64),
        st.builds(frame.Ping, source=st.text(), epoch=int64),
        st.builds(frame.Note, source=st.text(), code=st.text(), text=st.text(), at_ns=int64),
        st.builds(frame.Who, source=st.text()),
    )
)
def test_every_header_comes_back(header):
    assert frame.decode(frame.encode(header)).header == header


def a_frame() -> bytes:
    columns = np.zeros((len(frame.COLUMNS), 2), dtype=np.int64)
    columns[-1] = [3, 2]
    header = frame.Data(source="plc", epoch=0, number=0, first=0, n=2)
    return frame.encode(header, columns, b"abcde")


@given(data=st.binary(max_size=200))
def test_garbage_is_refused_in_words(data):
    with pytest.raises(FrameError):
        frame.decode(data)


@given(cut=st.integers(0, 500))
def test_a_cut_frame_is_refused(cut):
    whole = a_frame()
    if cut < len(whole):
        with pytest.raises(FrameError):
            frame.decode(whole[:cut])


@given(position=st.integers(0, 10_000), value=st.integers(0, 255))
def test_a_changed_byte_never_raises_anything_else(position, value):
    data = bytearray(a_frame())
    data[position % len(data)] = value
    try:
        decoded = frame.decode(bytes(data))
    except FrameError:
        return
    assert int(decoded.columns[-1].sum()) == len(decoded.payload) or not isinstance(decoded.header, frame.Data)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda f: b"DARI" + f[4:], "not a dari frame"),
        (lambda f: f[:4] + b"\x09" + f[5:], "version 9"),
        (lambda f: f + b"x", "add up"),
        (lambda f: f[:-100], "do not fit"),
    ],
)
def test_what_is_wrong_is_said(change, says):
    with pytest.raises(FrameError, match=says):
        frame.decode(change(a_frame()))


def test_lengths_that_overflow_to_the_right_sum_are_refused():
    columns = np.zeros((len(frame.COLUMNS), 3), dtype=np.int64)
    columns[-1] = [2**62, 2**62, -(2**63)]
    header = frame.Data(source="plc", epoch=0, number=0, first=0, n=3)
    with pytest.raises(FrameError, match="add up"):
        frame.decode(frame.encode(header, columns, b""))


def test_a_frame_that_is_too_large_is_refused(monkeypatch):
    monkeypatch.setattr(frame, "MAX_FRAME", 10)
    with pytest.raises(FrameError, match="larger"):
        frame.decode(a_frame())


def test_the_header_is_plain_msgpack_that_any_language_reads():
    import msgpack

    data = a_frame()
    length = int.from_bytes(data[8:12], "little")
    padding = int.from_bytes(data[12:16], "little")
    header = msgpack.unpackb(data[16 : 16 + length - padding])
    assert header == {"t": "data", "source": "plc", "epoch": 0, "number": 0, "first": 0, "n": 2}
    assert msgspec.msgpack.decode(data[16 : 16 + length - padding]) == header
