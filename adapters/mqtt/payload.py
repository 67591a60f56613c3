"""From a message's payload to signals. What does not fit becomes a signal of bad quality that says why; nothing is dropped."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from typing import Any, Final

import msgspec

from adapters.mqtt.config import MqttSignal
from adapters.mqtt.path import follow, parse_path
from bridge.schema import Quality, Signal, Value

RETAINED = "retained: the broker's last known value, of unknown age"
_PER: Final = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
_LIMIT: Final = 2**63
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode


class Reader:
    """Reads one signal out of a payload."""

    def __init__(self, tag: str, signal: MqttSignal) -> None:
        self.tag = tag
        self.own = signal.own
        self.needs_json = bool(signal.path or signal.stamp)
        self._path = parse_path(signal.path) if signal.path else ()
        self._stamp = parse_path(signal.stamp) if signal.stamp else ()
        self._unit = signal.stamp_unit
        self._type = signal.type
        self._scale, self._offset = signal.scale, signal.offset

    def read(self, payload: bytes, document: Any, fault: str, retained: bool) -> Signal:
        """The signal in one message.

        Args:
            payload: as it came.
            document: the payload as JSON, where some reader of the topic needs that.
            fault: why the payload is no JSON; empty when it is.
            retained: the broker kept this message from before.
        """
        quality, status = (Quality.UNCERTAIN, RETAINED) if retained else (Quality.GOOD, "")
        source_ns: int | None = None
        try:
            if self.needs_json and fault:
                raise ValueError(fault)
            if self._stamp:
                source_ns = to_ns(_at(document, self._stamp, "stamp"), self._unit)
            raw = _at(document, self._path, "value") if self.needs_json else raw_value(payload)
            value = self._fit(raw)
        except ValueError as error:
            return Signal(self.tag, None, Quality.BAD, str(error), source_ns)
        return Signal(self.tag, value, quality, status, source_ns)

    def _fit(self, raw: Any) -> Value:
        kind = type(raw)
        wanted = self._type
        if wanted == "auto":
            if kind is float or kind is int:
                return self._scaled(raw)
            if kind is bool or kind is str:
                return raw  # type: ignore[no-any-return]
            if raw is None:
                raise ValueError("the value is null")
            return _encode(raw).decode()
        if wanted == "text":
            return raw if kind is str else _encode(raw).decode()
        if wanted == "bool":
            if kind is bool:
                return raw  # type: ignore[no-any-return]
            truth = _TRUTH.get(str(raw).strip().lower())
            if truth is None:
                raise ValueError(f"{_short(raw)} is neither true nor false")
            return truth
        if kind is bool or kind not in (int, float, str):
            raise ValueError(f"{_short(raw)} is no number")
        if kind is str:
            raw = _number(raw)
            if raw is None:
                raise ValueError("the text is no number")
        return self._scaled(raw)

    def _scaled(self, raw: float) -> float:
        if isinstance(raw, int) and not -_LIMIT <= raw < 2 * _LIMIT:
            raw = float(raw)  # no log can hold it as an integer
        if self._scale != 1.0 or self._offset != 0.0:
            return raw * self._scale + self._offset
        return raw


_TRUTH: Final = {
    "true": True,
    "on": True,
    "yes": True,
    "1": True,
    "false": False,
    "off": False,
    "no": False,
    "0": False,
}


def read_all(readers: Sequence[Reader], payload: bytes, retained: bool) -> list[Signal]:
    """All signals in one message of a topic; the payload is decoded once."""
    document: Any = None
    fault = ""
    if any(reader.needs_json for reader in readers):
        try:
            document = _decode(payload)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            fault = f"the payload is no JSON: {error}" if payload else "the payload is empty"
    return [reader.read(payload, document, fault, retained) for reader in readers]


def raw_value(payload: bytes) -> Value:
    """A payload that is itself the value: a number, true or false, or else text; `ValueError` for what is no UTF-8."""
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise ValueError(f"the payload is no UTF-8 text ({len(payload)} bytes)") from None
    number = _number(text)
    if number is not None:
        return number
    if text in ("true", "false"):
        return text == "true"
    return text


def to_ns(raw: Any, unit: str) -> int:
    """A device's time stamp in ns since the UNIX epoch; `ValueError` where it is none."""
    if unit == "iso":
        return _iso(raw)
    if isinstance(raw, str):
        raw = _number(raw)
    if isinstance(raw, bool) or not isinstance(raw, (int, float)):
        raise ValueError("the stamp is no number")
    # An integer is exact; a float of seconds keeps about a quarter of a microsecond.
    if isinstance(raw, float) and not math.isfinite(raw):
        raise ValueError("the stamp is not finite")
    nanoseconds = raw * _PER[unit] if isinstance(raw, int) else round(raw * _PER[unit])
    if not -_LIMIT < nanoseconds < _LIMIT:
        raise ValueError(f"the stamp {_short(raw)} is no time in {unit} since 1970: check stamp_unit")
    return nanoseconds


def _iso(raw: Any) -> int:
    try:
        if not isinstance(raw, str):
            raise ValueError
        # msgspec reads RFC 3339 whole, which datetime.fromisoformat does from Python 3.11 on only.
        moment = msgspec.convert(raw.strip().replace(" ", "T", 1), datetime)
    except (ValueError, msgspec.ValidationError):
        raise ValueError(f"the stamp {_short(raw)} is no ISO 8601 time") from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=timezone.utc)
    delta = moment - _EPOCH
    return (delta.days * 86_400_000_000 + delta.seconds * 1_000_000 + delta.microseconds) * 1000


def _at(document: Any, path: tuple[str | int, ...], what: str) -> Any:
    try:
        return follow(document, path)
    except LookupError as error:
        raise ValueError(f"no {what} in the payload: {error.args[0]}") from None


def _number(text: str) -> int | float | None:
    """The number that a text is; Python's underscores are not part of one, and an integer keeps its digits."""
    if "_" in text:
        return None
    for kind in _KINDS:
        try:
            return kind(text)
        except ValueError:
            continue
    return None


_KINDS: Final[tuple[Callable[[str], int | float], ...]] = (int, float)


def _short(raw: Any) -> str:
    text = repr(raw)
    return text if len(text) <= 40 else text[:37] + "..."
