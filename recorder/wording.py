"""Times, sizes and ids in the words in which the log commands print them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from uuid import UUID

_EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)


def moment(ns: int) -> str:
    """A time of the timeline, date and UTC clock to the millisecond; a number where it is no date."""
    try:
        when = _EPOCH + timedelta(microseconds=ns // 1000)
    except OverflowError:
        return f"{ns} ns"
    return f"{when:%Y-%m-%d %H:%M:%S}.{when.microsecond // 1000:03d} UTC"


def clock(ns: int) -> str:
    """A time of the timeline, UTC clock to the millisecond."""
    text = moment(ns)
    return text[11:23] if text.endswith("UTC") else text


def span(ns: float | None) -> str:
    """A length of time with three figures and a unit that fits: 12.3 ms, 4 m 05 s."""
    if ns is None:
        return "unknown"
    sign, ns = ("-" if ns < 0 else ""), abs(ns)
    for limit, unit, name in ((1e3, 1.0, "ns"), (1e6, 1e3, "us"), (1e9, 1e6, "ms"), (60e9, 1e9, "s")):
        if ns < limit:
            return f"{sign}{ns / unit:.3g} {name}"
    seconds = round(ns / 1e9)
    days, rest = divmod(seconds, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, rest = divmod(rest, 60)
    if days:
        return f"{sign}{days} d {hours:02d} h"
    if hours:
        return f"{sign}{hours} h {minutes:02d} m"
    return f"{sign}{minutes} m {rest:02d} s"


def offset(ns: int) -> str:
    """The offset of a clock, with its sign; a clock that does not count from 1970 is said to have its own epoch."""
    if abs(ns) > 20 * 365 * 86_400 * 10**9:
        return "own epoch"
    if abs(ns) < 10**6:
        return f"{ns / 1e3:+.1f} us"
    if abs(ns) < 10**9:
        return f"{ns / 1e6:+.3f} ms"
    return f"{ns / 1e9:+.6f} s"


def size(count: int) -> str:
    """A number of bytes with a unit that fits."""
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"


def number(value: float | None, unit: str = "") -> str:
    """A measured number with up to six figures and its unit; a dash for none."""
    if value is None:
        return "-"
    return f"{value:.6g} {unit}".rstrip() if unit != "1" else f"{value:.6g}"


def later(ns: int) -> str:
    """How long after something: `130 ms later`, `at once`, `2 ms earlier`."""
    if ns == 0:
        return "at once"
    return f"{span(ns)} later" if ns > 0 else f"{span(-ns)} earlier"


def setting(value: object, absent: str) -> str:
    """A value of a parameter as people write it; `absent` where there is none."""
    if value is None:
        return absent
    if isinstance(value, bool):
        return "yes" if value else "no"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def change(path: str, before: object, after: object) -> str:
    """What a correction changes: `grasp.force_n: 5.0 -> 20.0`; a value that it only takes back leaves any other."""
    return f"{path}: {setting(before, 'none')} -> {setting(after, 'any other')}"


def folded(topics: Iterable[str], most: int = 3, parts: int = 6) -> str:
    """Topics in one line: more than `most` of one folder become `10 of /dari/clock/*`, what comes after `parts` of them a
    number."""
    folders: dict[str, list[str]] = {}
    for topic in sorted(set(topics)):
        folders.setdefault(topic.rpartition("/")[0], []).append(topic)
    told: list[tuple[str, int]] = []
    for folder, inside in folders.items():
        told += [(t, 1) for t in inside] if len(inside) <= most else [(f"{len(inside)} of {folder}/*", len(inside))]
    more = sum(count for _, count in told[parts:])
    return ", ".join(text for text, _ in told[:parts]) + (f" and {more} more" if more else "")


class ShortIds:
    """Prefixes of ids, as short as they are unique in a log, eight digits at least."""

    def __init__(self, ids: Iterable[UUID]) -> None:
        self.known = sorted({i.hex for i in ids})
        self.length = 8
        for before, after in zip(self.known, self.known[1:], strict=False):
            shared = next((n for n in range(32) if before[n] != after[n]), 32)
            self.length = max(self.length, shared + 1)

    def __call__(self, identity: UUID | None) -> str:
        """The short form of an id; a dash for none."""
        return identity.hex[: self.length] if identity is not None else "-"
