"""`dari cat`: the messages of a log as JSON lines, decoded by the definitions in the log."""

from __future__ import annotations

import fnmatch
import json
import sys

from bridge.errors import LogError, UsageError
from bridge.names import nearest
from recorder.decode import plain
from recorder.reader import Log, LogMessage, open_log
from recorder.terminal import ProgressLine


def show(
    path: str, topics: tuple[str, ...], start_s: float, duration_s: float | None, limit: int | None, raw: bool
) -> int:
    """Print the messages of the log at `path`, in order of log time, one JSON object a line."""
    progress = ProgressLine("reading a log that was not closed")
    try:
        with open_log(path, progress) as log:
            progress.done()
            _check(log, topics)
            whole = log.time_range
            if whole is not None:
                start = whole[0] + round(start_s * 1e9)
                end = None if duration_s is None else start + round(duration_s * 1e9)
                _print(log, topics, start, end, limit, raw)
            for problem in log.problems:
                print(f"note: {problem}", file=sys.stderr)
    finally:
        progress.done()
    return 0


def _print(log: Log, topics: tuple[str, ...], start: int, end: int | None, limit: int | None, raw: bool) -> None:
    chosen = {t for t in (c.topic for c in log.channels.values()) if _wanted(t, topics)}
    for number, message in enumerate(log.messages(chosen, start, end)):
        if limit is not None and number >= limit:
            return
        print(json.dumps(_line(log, message, raw), ensure_ascii=False))


def _line(log: Log, message: LogMessage, raw: bool) -> dict[str, object]:
    line: dict[str, object] = {
        "topic": message.channel.topic,
        "type": message.channel.type_name,
        "sequence": message.sequence,
        "log_time": message.log_time,
        "publish_time": message.publish_time,
    }
    if raw:
        return line | {"data": message.data.hex()}
    try:
        return line | {"message": plain(log.decode(message), message.channel.type_name)}
    except LogError as error:
        return line | {"error": error.what}


def _wanted(topic: str, patterns: tuple[str, ...]) -> bool:
    return not patterns or any(fnmatch.fnmatchcase(topic, pattern) for pattern in patterns)


def _check(log: Log, patterns: tuple[str, ...]) -> None:
    there = sorted({c.topic for c in log.channels.values()})
    for pattern in patterns:
        if not any(fnmatch.fnmatchcase(topic, pattern) for topic in there):
            near = nearest(pattern, there)
            hint = f"did you mean {near}?" if near else f"there are {', '.join(there[:8])}" if there else "it has none"
            raise UsageError(f"this log has no topic {pattern!r}", hint=hint)
