"""`dari info`: what is in a log."""

from __future__ import annotations

import json
import sys
from typing import Any, TextIO

import msgspec

from recorder.reader import Log, open_log
from recorder.show import summary as tables
from recorder.summary import Summary, summarise
from recorder.terminal import Column, Paint, ProgressLine, table
from recorder.wording import size


def show(path: str, form: str, every: bool = False) -> int:
    """Print what is in the log at `path`; `every` topic by itself, dari's own clock records too."""
    progress = ProgressLine("reading a log that was not closed")
    try:
        with open_log(path, progress) as log:
            found = summarise(log)
            progress.done()
            if form == "jsonl":
                _lines(log, found)
            else:
                print("\n".join(_page(log, found, sys.stdout, every)))
    finally:
        progress.done()
    return 0


def _page(log: Log, found: Summary, out: TextIO, every: bool) -> list[str]:
    paint = Paint(out)
    page = tables.head(found, out)
    software = log.metadata.get("dari.software", {})
    if software:
        page.append("  written by " + ", ".join(f"{name} {version}" for name, version in software.items()))
    elif log.library:
        page.append(f"  written by {log.library}, profile {log.profile or 'none'}")
    if log.attachments:
        page.append("  attached: " + ", ".join(f"{a.name} ({size(a.size)})" for a in log.attachments))
    page += ["", *_sources(log, out), *tables.channels(found, out, every=every), ""]
    kinds = ", ".join(f"{kind} {count}" for kind, count in sorted(found.kinds.items(), key=lambda item: -item[1]))
    page += [paint("events: ", "bold") + (kinds or "none"), *tables.health(found, out), "", *tables.clocks(found, out)]
    if any(space.tells for space in found.spaces.values()):
        page += ["", *tables.spaces(found, out)]
    page += ["", paint(_next(found), "dim")]
    return page


def _sources(log: Log, out: TextIO) -> list[str]:
    starts = log.metadata.get("dari.starts", {})
    rows = [
        [
            *(record.get(key, "") for key in ("source", "space", "asset_name", "asset", "embodiment")),
            starts.get(record.get("source", ""), "?"),
        ]
        for name, record in log.metadata.items()
        if name.startswith("dari.source.")
    ]
    if not rows:
        return []
    columns = [
        Column("source"),
        Column("space"),
        Column("asset"),
        Column("path", least=8, spare=1),
        Column("embodiment", least=8, spare=2),
        Column("starts"),
    ]
    return [*table(columns, rows, out), ""]


def _next(found: Summary) -> str:
    if any(space.failures for space in found.spaces.values()):
        return f"next: dari why {found.path}"
    if set(found.kinds) - {"run"}:
        return f"next: dari events {found.path}"
    return f"next: dari cat {found.path} --limit 10"


def _lines(log: Log, found: Summary) -> None:
    """One JSON object a line: the log itself, then each source, channel, clock and space, named by `record`."""
    whole: dict[str, Any] = msgspec.to_builtins(found)
    parts = {key: whole.pop(key) for key in ("channels", "clocks", "spaces")}
    attachments = [{"name": a.name, "media_type": a.media_type, "size": a.size} for a in log.attachments]
    _line("log", whole | {"library": log.library, "profile": log.profile, "attachments": attachments})
    for name, record in log.metadata.items():
        if name.startswith("dari.source."):
            _line("source", record)
    for channel in parts["channels"]:
        _line("channel", channel)
    for clock in parts["clocks"]:
        _line("clock", clock)
    for name, space in parts["spaces"].items():
        _line("space", {"space": name} | space)


def _line(record: str, content: dict[str, Any]) -> None:
    print(json.dumps({"record": record} | content, ensure_ascii=False))
