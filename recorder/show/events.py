"""`dari events`: the task events of a log, one a line."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from uuid import UUID

from bridge.errors import UsageError
from bridge.names import nearest
from bridge.schema import (
    Annotation,
    Correction,
    Decision,
    Failure,
    Health,
    Measure,
    State,
    Task,
    TaskEvent,
    codec,
)
from recorder.reader import open_log
from recorder.story import Events
from recorder.terminal import Column, ProgressLine, table
from recorder.wording import ShortIds, change, clock, number, span


@dataclass(frozen=True)
class Filter:
    """Which events: empty fields let everything through; several fields must all agree."""

    spaces: tuple[str, ...] = ()
    verbs: tuple[str, ...] = ()
    states: tuple[str, ...] = ()
    failed: bool = False
    task: str = ""
    kinds: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()

    def check(self, events: Events) -> None:
        """Raise `UsageError` for a word that this log can not have, with the one that was probably meant."""
        states = [state.value for state in State]
        for state in self.states:
            if state not in states:
                raise UsageError(f"there is no state {state!r}", hint=_meant(state, states))
        for what, wanted, there in (
            ("source", self.sources, {e.source for e in events.all}),
            ("verb", self.verbs, {v for e in events.all if isinstance(e.body, Task) for v in _verbs(e.body)}),
        ):
            for word in wanted:
                if word not in there:
                    raise UsageError(f"this log has no {what} {word!r}", hint=_meant(word, sorted(there)))

    def choose(self, events: Events) -> list[TaskEvent]:
        """The events that pass, in order of time."""
        chosen = events.all
        if self.spaces:
            chosen = [e for e in chosen if e.space.value in self.spaces]
        if self.sources:
            chosen = [e for e in chosen if e.source in self.sources]
        if self.kinds:
            chosen = [e for e in chosen if e.kind in self.kinds]
        if self.states:
            chosen = [e for e in chosen if isinstance(e.body, Task) and e.body.state.value in self.states]
        if self.failed:
            chosen = [e for e in chosen if isinstance(e.body, Failure) or _failed(e)]
        if self.verbs:
            tasks = {
                e.task_id
                for e in events.all
                if isinstance(e.body, Task) and not set(_verbs(e.body)).isdisjoint(self.verbs)
            }
            chosen = [e for e in chosen if e.task_id is not None and e.task_id in tasks]
        if self.task:
            tasks = _tasks(events, self.task)
            chosen = [e for e in chosen if e.task_id in tasks or e.parent_id in tasks]
        return chosen


def _failed(event: TaskEvent) -> bool:
    return isinstance(event.body, Task) and event.body.state is State.FAILED


def _verbs(body: Task) -> tuple[str, ...]:
    return (body.verb,) if body.base_verb is None else (body.verb, body.base_verb.value)


def _tasks(events: Events, prefix: str) -> set[UUID | None]:
    wanted = prefix.replace("-", "").lower()
    known = {i for e in events.all for i in (e.task_id, e.parent_id) if i is not None}
    found = {i for i in known if i.hex.startswith(wanted)}
    if not found:
        shorts = sorted(events.short(i) for i in known)
        raise UsageError(f"this log has no task whose id begins with {prefix!r}", hint=_meant(wanted[:8], shorts))
    if len(found) > 1:
        raise UsageError(
            f"{prefix!r} is the beginning of {len(found)} tasks: {', '.join(sorted(events.short(i) for i in found)[:6])}",
            hint="give more of the id",
        )
    return set(found)


def _meant(word: str, known: list[str]) -> str:
    near = nearest(word, known)
    if near is not None:
        return f"did you mean {near!r}?"
    return f"there are {', '.join(known[:12])}" if known else "there are none"


def show(path: str, chosen: Filter, form: str) -> int:
    """Print the events of the log at `path` that pass the filter."""
    progress = ProgressLine("reading a log that was not closed")
    try:
        with open_log(path, progress) as log:
            events = Events(log)
            problems = list(log.problems) + ([] if log.closed else [log.state])
    finally:
        progress.done()
    chosen.check(events)
    found = chosen.choose(events)
    if form == "jsonl":
        for event in found:
            print(codec.to_json(event))
    else:
        print("\n".join(lines(found, events.short)))
        if len(found) != len(events.all):
            print(f"{len(found)} of {len(events.all)} events")
    for problem in problems:
        print(f"note: {problem}", file=sys.stderr)
    return 0


def lines(found: list[TaskEvent], short: ShortIds) -> list[str]:
    """A table of events, one a line."""
    columns = [
        Column("time (UTC)"),
        Column("+/-", right=True, spare=2),
        Column("space"),
        Column("source", least=8, spare=1),
        Column("kind"),
        Column("what", least=20),
        Column("try", right=True),
        Column("task"),
        Column("id"),
    ]
    rows = []
    for event in found:
        uncertainty = event.time.uncertainty_ns
        rows.append(
            [
                clock(event.time.aligned_ns),
                "?" if uncertainty is None else span(uncertainty),
                event.space.value,
                event.source,
                event.kind,
                what(event, short),
                str(event.attempt) if event.task_id is not None else "-",
                short(event.task_id),
                short(event.id),
            ]
        )
    return table(columns, rows, sys.stdout, [_style(event) for event in found])


def what(event: TaskEvent, short: ShortIds) -> str:
    """An event's body in one line."""
    text = _what(event, short)
    marks = [*(["inferred"] if event.origin.value != "observed" else []), *event.flags]
    return f"{text} [{', '.join(marks)}]" if marks else text


def _what(event: TaskEvent, short: ShortIds) -> str:
    body = event.body
    if isinstance(body, Task):
        thing = body.parameters.object_id or body.parameters.object_class
        parts = [body.verb, thing or "", body.state.value, f"({body.message})" if body.message else ""]
        return " ".join(part for part in parts if part)
    if isinstance(body, Decision):
        return f"{body.question}: {body.chosen if body.chosen is not None else 'none'} ({body.reason.code})"
    if isinstance(body, Failure):
        return f"{body.code.value}, found by {body.detected_by}"
    if isinstance(body, Correction):
        if body.completes is not None:
            return f"{body.strategy.value} of {short(body.corrects)}: {body.result or 'no result'}"
        changes = ", ".join(change(c.path, c.before, c.after) for c in body.changes)
        return f"{body.strategy.value} of {short(body.corrects)}{', ' + changes if changes else ''}"
    if isinstance(body, Measure):
        passed = {True: ", passed", False: ", not passed", None: ""}[body.passed]
        return f"{body.name} = {number(body.value, body.unit)}{passed}"
    if isinstance(body, Health):
        parts = [body.code.value, body.channel, f"({body.count})" if body.count is not None else "", body.text]
        return " ".join(part for part in parts if part)
    if isinstance(body, Annotation):
        return f"{body.author}: {body.text}"
    return " ".join(part for part in (str(body.boundary), body.reason) if part)


def _style(event: TaskEvent) -> str:
    body = event.body
    if event.flags:
        return "yellow"
    if isinstance(body, Failure) or _failed(event):
        return "red"
    if isinstance(body, Correction):
        return "cyan"
    if isinstance(body, Task) and body.state is State.SUCCEEDED:
        return "green"
    return "dim" if isinstance(body, (Health, Measure)) else ""
