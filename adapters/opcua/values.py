"""From OPC UA data values to signals: value, quality, status and both times."""

from __future__ import annotations

import datetime
import json
import math
from enum import Enum
from typing import Any

from asyncua import ua
from asyncua.ua import status_codes
from asyncua.ua.status_codes import StatusCodes

from bridge.schema import Quality, Signal, Value

_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
# OPC UA writes 1601 for 'no time' and 9999 for 'for ever'; what int64 nanoseconds can not hold (1677 to 2262) is no time either.
_FIRST_YEAR, _LAST_YEAR = 1678, 2261
OVERFLOW = 0x480
"""Both bits set in a status: InfoType DataValue and Overflow. The server's queue for this item lost at least one value."""
_INFO_TYPE_AND_OVERFLOW = 0xC80
_DATA_BITS = 0xFFFF0000
GONE = frozenset(
    {
        StatusCodes.BadNodeIdUnknown,
        StatusCodes.BadNodeIdInvalid,
        StatusCodes.BadAttributeIdInvalid,
        StatusCodes.BadMonitoredItemIdInvalid,
    }
)
"""Statuses after which a monitored item does not come back by itself: it has to be made again."""

_status_texts: dict[int, tuple[Quality, str]] = {0: (Quality.GOOD, "")}


def quality_of(code: int) -> tuple[Quality, str]:
    """Quality and text of a status code: `(BAD, "0x80340000 BadNodeIdUnknown")`; plain Good has no text."""
    known = _status_texts.get(code)
    if known is None:
        severity = code >> 30
        quality = Quality.GOOD if severity == 0 else Quality.UNCERTAIN if severity == 1 else Quality.BAD
        name = status_codes.get_name_and_doc(code & _DATA_BITS)[0]
        known = quality, f"0x{code:08X} {name}"
        if len(_status_texts) < 10_000:
            _status_texts[code] = known
    return known


def overflowed(code: int) -> bool:
    """Whether the status says that the server dropped values of this item before this one."""
    return code & _INFO_TYPE_AND_OVERFLOW == OVERFLOW


def to_ns(stamp: datetime.datetime | None) -> int | None:
    """Nanoseconds since the UNIX epoch; None for no time, for 1601 ('none') and for 9999 ('for ever').

    The library keeps whole microseconds of the 100 ns that the protocol carries.
    """
    if stamp is None or not _FIRST_YEAR <= stamp.year <= _LAST_YEAR:
        return None
    if stamp.tzinfo is None:
        stamp = stamp.replace(tzinfo=datetime.timezone.utc)
    delta = stamp - _EPOCH
    return (delta.days * 86_400_000_000 + delta.seconds * 1_000_000 + delta.microseconds) * 1000


def to_value(raw: Any, scale: float = 1.0, offset: float = 0.0) -> Value:
    """A value as a signal carries it: numbers scaled, text and truth as they are, everything else as text, lists as JSON."""
    kind = type(raw)
    if kind is float or kind is int:
        return raw * scale + offset if scale != 1.0 or offset != 0.0 else raw  # type: ignore[no-any-return]
    if kind is bool or kind is str or raw is None:
        return raw  # type: ignore[no-any-return]
    if isinstance(raw, (list, tuple)):
        return json.dumps([_plain(item) for item in raw], ensure_ascii=False)
    plain = _plain(raw)
    if isinstance(plain, (dict, list)):
        return json.dumps(plain, ensure_ascii=False)
    if isinstance(plain, (int, float)) and not isinstance(plain, bool):
        return to_value(plain, scale, offset)
    return plain  # type: ignore[no-any-return]


def _plain(raw: Any) -> Any:
    """What JSON can say of a value; the field's own text form for what it can not."""
    if isinstance(raw, Enum):
        return _plain(raw.value)
    if isinstance(raw, float) and not math.isfinite(raw):
        return str(raw)
    if isinstance(raw, (bool, int, float, str)) or raw is None:
        return raw
    if isinstance(raw, (list, tuple)):
        return [_plain(item) for item in raw]
    if isinstance(raw, bytes):
        return raw.hex()
    if isinstance(raw, datetime.datetime):
        return raw.isoformat()
    if isinstance(raw, ua.LocalizedText):
        return raw.Text or ""
    if isinstance(raw, ua.QualifiedName):
        return raw.to_string()
    if isinstance(raw, ua.NodeId):
        return raw.to_string()
    if isinstance(raw, ua.Variant):
        return _plain(raw.Value)
    fields = getattr(type(raw), "__dataclass_fields__", None)
    if fields:
        return {name: _plain(getattr(raw, name)) for name in fields if name != "Encoding"}
    return str(raw)


def to_signal(tag: str, data: ua.DataValue, scale: float, offset: float) -> Signal:
    """One data value of the variable named `tag`. A bad one has no value: what a server sends beside it is not a reading."""
    status = data.StatusCode
    quality, text = _status_texts[0] if status is None or status.value == 0 else quality_of(status.value)
    value: Value = None
    if quality is not Quality.BAD and data.Value is not None:
        value = to_value(data.Value.Value, scale, offset)
    return Signal(tag, value, quality, text, to_ns(data.SourceTimestamp), to_ns(data.ServerTimestamp))
