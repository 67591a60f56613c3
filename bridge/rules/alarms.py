"""The table of a controller's alarm codes: what each means in the words of the task event.

A CSV file with the columns `code,failure_code,text,severity,retriable`; only the first two must be there. `code` is the
controller's number or text, `failure_code` one of ours (`motion.collision`), `severity` is `warning`, `fault` (the default) or
`critical`, `retriable` is `true`, `false` or empty for not known.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bridge.errors import DariError, SiteError
from bridge.names import nearest
from bridge.rules.tree import Scalar
from bridge.schema import FailureCode, Severity

COLUMNS = ("code", "failure_code", "text", "severity", "retriable")
_TRUTHS = {"": None, "true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}


class Alarm(NamedTuple):
    """What a controller's code means; `text` is the controller's own explanation."""

    code: FailureCode
    text: str = ""
    severity: Severity = Severity.FAULT
    retriable: bool | None = None


AlarmTable = Mapping[str, Alarm]


def alarm_key(value: Scalar) -> str:
    """A code as the table spells it: whole numbers without a point, whatever type the controller sends them in."""
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip()


def read_alarms(path: Path) -> AlarmTable:
    """Read a table. Raises `SiteError` with every fault in it, each with its line."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise SiteError(
            f"the table of alarms can not be read: {reason}",
            where=str(path),
            hint="the path is meant relative to the site file",
        ) from None
    problems: list[DariError] = []
    table: dict[str, Alarm] = {}
    rows = csv.reader(text.splitlines(), strict=True)
    header: list[str] = []
    try:
        header = [name.strip() for name in next(rows, [])]
        problems += _header_problems(header, path)
        if not problems:
            for cells in rows:
                if any(cell.strip() for cell in cells):
                    _row(dict(zip(header, (cell.strip() for cell in cells), strict=False)), cells, table, problems,
                         f"{path}:{rows.line_num}", len(header))  # fmt: skip
    except csv.Error as error:
        problems.append(SiteError(f"this is no CSV: {error}", where=f"{path}:{rows.line_num}", hint="check the quotes"))
    if problems:
        count = f"{len(problems)} faults" if len(problems) > 1 else problems[0].what
        raise SiteError(
            f"the table of alarms: {count}",
            where=problems[0].where,
            hint=problems[0].hint,
            problems=tuple(problems),
        )
    return table


def _header_problems(header: list[str], path: Path) -> list[DariError]:
    hint = f"the first line names the columns: {','.join(COLUMNS)}"
    problems: list[DariError] = []
    for name in header:
        if name not in COLUMNS:
            near = nearest(name, COLUMNS)
            meant = f"did you mean {near!r}? " if near else ""
            problems.append(SiteError(f"there is no column {name!r}", where=f"{path}:1", hint=meant + hint))
    for name in COLUMNS[:2]:
        if name not in header:
            problems.append(SiteError(f"the column {name!r} is missing", where=f"{path}:1", hint=hint))
    if len(set(header)) < len(header):
        problems.append(SiteError("a column is named twice", where=f"{path}:1", hint=hint))
    return problems


def _row(
    row: dict[str, str], cells: list[str], table: dict[str, Alarm], problems: list[DariError], where: str, width: int
) -> None:
    if len(cells) != width:
        hint = "put text with commas in quotes"
        problems.append(
            SiteError(f"{len(cells)} cells where the first line names {width} columns", where=where, hint=hint)
        )
        return
    found = len(problems)
    code, failure, severity = row["code"], row["failure_code"], row.get("severity", "") or Severity.FAULT.value
    retriable = row.get("retriable", "").lower()
    if not code:
        problems.append(SiteError("a code is missing", where=where, hint="give the controller's number or text"))
    elif code in table:
        problems.append(SiteError(f"the code {code} stands here twice", where=where, hint="keep one line for a code"))
    _known(failure, [item.value for item in FailureCode], "failure code", where, problems)
    _known(severity, [item.value for item in Severity], "severity", where, problems)
    _known(retriable, list(_TRUTHS), "value of retriable", where, problems)
    if len(problems) == found:
        table[code] = Alarm(FailureCode(failure), row.get("text", ""), Severity(severity), _TRUTHS[retriable])


def _known(word: str, words: list[str], what: str, where: str, problems: list[DariError]) -> None:
    if word not in words:
        near = nearest(word, words)
        hint = f"did you mean {near!r}?" if near else f"there are {', '.join(w for w in words if w)}"
        problems.append(SiteError(f"there is no {what} {word!r}", where=where, hint=hint))
