"""`dari why`: the story of one failure."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec

from bridge.schema import Annotation, Correction, Decision, Failure, TaskEvent
from recorder.reader import Log, open_log
from recorder.show.events import what
from recorder.story import CorrectionTold, Events, EvidenceRead, Story, tell
from recorder.terminal import Column, Paint, ProgressLine, table
from recorder.wording import ShortIds, change, clock, later, moment, number, span

_FOUND_BY = {
    "link": "which the failure names as its cause",
    "attempt": "the last one of this attempt",
    "task": "the last one of this task",
    "job": "the last one of the job that this task is part of",
    "source": "the last one of this source; no task joins the two",
}


def show(path: str, prefix: str | None, form: str) -> int:
    """Print the story of the failure whose id begins with `prefix`; list the failures where there is none."""
    progress = ProgressLine("reading a log that was not closed")
    try:
        with open_log(path, progress) as log:
            events = Events(log)
            progress.done()
            if prefix is None:
                _list(log, events, form)
                return 0
            story = tell(log, events, *events.failure(prefix))
            if form == "jsonl":
                print(json.dumps(as_json(story), ensure_ascii=False))
            else:
                print("\n".join(page(story, events.short)))
    finally:
        progress.done()
    return 0


def _list(log: Log, events: Events, form: str) -> None:
    if form == "jsonl":
        for event, body in events.failures:
            print(json.dumps(as_json(tell(log, events, event, body)), ensure_ascii=False))
        return
    if not events.failures:
        print("this log has no failures")
        return
    corrected = {e.body.corrects for e in events.all if isinstance(e.body, Correction)}
    rows = [
        [
            events.short(event.id),
            clock(event.time.aligned_ns),
            event.space.value,
            event.source,
            body.code.value,
            body.detected_by,
            "yes" if event.id in corrected else "no",
            body.explanation.text if body.explanation else "not told",
        ]
        for event, body in events.failures
    ]
    columns = [
        Column("id"),
        Column("time (UTC)"),
        Column("space"),
        Column("source", least=8, spare=1),
        Column("failure"),
        Column("found by", least=8, spare=2),
        Column("corrected"),
        Column("cause", least=12),
    ]
    print("\n".join(table(columns, rows, sys.stdout)))
    print(f"next: dari why {log.path} {rows[0][0]}")


def page(story: Story, short: ShortIds) -> list[str]:
    """The story for a person."""
    paint = Paint(sys.stdout)
    event, body = story.failure, story.body
    head = f"{body.code.value} ({body.severity.value}), {event.space.value}, {event.asset.path() or event.source}"
    lines = [f"{paint(head, 'bold', 'red')}  {short(event.id)}", *_times(event, body)]
    if event.task_id is not None:
        lines.append(f"  task      {short(event.task_id)}, attempt {event.attempt}")
    retriable = {True: ", retriable", False: ", not retriable", None: ""}[body.retriable]
    lines.append(f"  said by   {event.source}, {event.origin.value}; found by {body.detected_by}{retriable}")
    if event.native is not None:
        native = " ".join(part for part in (event.native.system, event.native.name, event.native.code) if part)
        lines.append(f"  in its own words  {native}")
    lines += ["", paint("cause", "bold"), *_cause(story, short)]
    lines += ["", paint("evidence", "bold"), *_evidence(story.evidence, paint)]
    lines += ["", paint("decision before it", "bold"), *_decision(story, short)]
    lines += ["", paint("correction after it", "bold"), *_corrections(story.corrections, event, short, paint)]
    if story.history:
        lines += ["", paint("the task's history", "bold")]
        lines += [f"  {clock(e.time.aligned_ns)}  attempt {e.attempt}  {what(e, short)}" for e in story.history]
    return lines


def _times(event: TaskEvent, body: Failure) -> list[str]:
    found = body.detected_ns if body.detected_ns is not None else event.time.aligned_ns
    sure = "unknown" if event.time.uncertainty_ns is None else span(event.time.uncertainty_ns)
    lines = [f"  detected  {moment(found)}, within {sure}"]
    if body.onset is None or body.onset.t0_ns is None:
        return ["  onset     not known", *lines]
    t0, t1 = body.onset.t0_ns, body.onset.t1_ns
    length = f", over {span(t1 - t0)}" if t1 is not None and t1 > t0 else ""
    delay = f"{span(found - t0)} after the onset" if found > t0 else "at its onset"
    return [f"  onset     {moment(t0)}{length}", f"{lines[0]}; {delay}"]


def _cause(story: Story, short: ShortIds) -> list[str]:
    lines = []
    told = story.body.explanation
    if told is not None:
        sure = f", confidence {told.confidence:.2f}" if told.confidence is not None else ""
        lines.append(f"  {told.text} (says {told.author or 'the source'}{sure})")
    lines += [f"  {clock(e.time.aligned_ns)}  {e.kind} {what(e, short)}" for e in story.causes]
    for note in story.notes:
        if isinstance(note.body, Annotation):
            lines.append(f"  {note.body.text} (noted by {note.body.author})")
    lines += [f"  seen too by {e.source}: {what(e, short)} ({short(e.id)})" for e in story.same]
    return lines or ["  not told: nobody who could know has said it"]


def _evidence(found: list[EvidenceRead], paint: Paint) -> list[str]:
    if not found:
        return ["  none: the source gave no reason that telemetry could show"]
    lines = []
    for item in found:
        evidence, reading = item.evidence, item.reading
        window = evidence.window
        lines.append(f"  {evidence.channel}  {evidence.predicate}")
        if window.t0_ns is not None and window.t1_ns is not None:
            length = span(window.t1_ns - window.t0_ns) if window.t1_ns > window.t0_ns else "one moment"
            lines.append(f"    window    {clock(window.t0_ns)} to {clock(window.t1_ns)}, {length}")
        threshold = f", threshold {number(evidence.threshold, evidence.unit)}" if evidence.threshold is not None else ""
        lines.append(f"    recorded  {number(evidence.value, evidence.unit)}{threshold}")
        lines.append(f"    read back {_read_back(item, paint)}")
        if reading is not None and reading.holds is False:
            lines.append(paint("    the predicate is NOT true of the telemetry", "yellow"))
    return lines


def _read_back(item: EvidenceRead, paint: Paint) -> str:
    reading, evidence = item.reading, item.evidence
    if reading is None:
        return "not possible: the predicate is not of the form agg(field) op number"
    if reading.value is None:
        return paint(f"not possible: {reading.note}", "yellow")
    counted = f"{reading.samples} sample{'' if reading.samples == 1 else 's'}"
    how = "the last value before the window" if reading.held else counted
    if reading.widened_ns:
        how += f", window widened by {span(reading.widened_ns)}, less than its time is sure"
    text = f"{number(reading.value, evidence.unit)} ({how})"
    agrees = reading.agrees(evidence.value)
    if agrees is None:
        return f"{text}, nothing recorded to compare with"
    return paint(f"{text}, agrees", "green") if agrees else paint(f"{text}, DIFFERS from what was recorded", "red")


def _decision(story: Story, short: ShortIds) -> list[str]:
    event = story.decision
    if event is None or not isinstance(event.body, Decision):
        return ["  none in the log"]
    body = event.body
    decider = " ".join(part for part in (body.decider.kind.value, body.decider.name, body.decider.version) if part)
    chosen = body.chosen if body.chosen is not None else "nothing"
    lines = [
        f"  {clock(event.time.aligned_ns)}  {body.question}: {chosen}  {short(event.id)}",
        f"    because   {body.reason.text or body.reason.code} ({body.reason.code}), by {decider}",
        f"    it is     {_FOUND_BY.get(story.decision_by, '')}",
    ]
    if body.confidence is not None:
        lines.append(f"    sure      {body.confidence:.2f}")
    if body.options is None:
        return [*lines, "    options   not exposed by the source"]
    for option in body.options:
        mark = "*" if option.id == body.chosen else " "
        score = f"  score {option.score:.4g}" if option.score is not None else ""
        rejected = f"  rejected: {option.rejected_because}" if option.rejected_because else ""
        lines.append(f"    {mark} {option.id}{' ' + option.label if option.label else ''}{score}{rejected}")
    return lines


def _corrections(found: list[CorrectionTold], failure: TaskEvent, short: ShortIds, paint: Paint) -> list[str]:
    if not found:
        return ["  none in the log"]
    lines = []
    for told in found:
        event, body = told.begun, told.begun.body
        if not isinstance(body, Correction):
            continue
        after = later(event.time.aligned_ns - failure.time.aligned_ns)
        actor = f"{body.actor.kind.value} {body.actor.name}"
        lines.append(f"  {clock(event.time.aligned_ns)}  {body.strategy.value}, by {actor}, {after}  {short(event.id)}")
        lines += [f"    {change(c.path, c.before, c.after)}" for c in body.changes]
        lines.append(f"    {_result(told, short, paint)}")
    return lines


def _result(told: CorrectionTold, short: ShortIds, paint: Paint) -> str:
    if told.completed is None or not isinstance(told.completed.body, Correction):
        return paint("result    not in the log", "yellow")
    body = told.completed.body
    result = body.result.value if body.result else "not told"
    took = told.completed.time.aligned_ns - told.begun.time.aligned_ns
    when = f"after {span(took)}" if took > 0 else "at once"
    verified = f", verified by task {short(body.verified_by)}" if body.verified_by else ""
    return paint(f"result    {result} {when}{verified}", "green" if result == "repaired" else "yellow")


def as_json(story: Story) -> dict[str, Any]:
    """The story as one JSON object: whole events, and each evidence with what was read back."""
    return {
        "failure": _event(story.failure),
        "evidence": [
            {
                "evidence": msgspec.to_builtins(item.evidence),
                "read_back": None
                if item.reading is None
                else {
                    "value": item.reading.value,
                    "holds": item.reading.holds,
                    "agrees": item.reading.agrees(item.evidence.value),
                    "samples": item.reading.samples,
                    "held": item.reading.held,
                    "widened_ns": item.reading.widened_ns,
                    "note": item.reading.note,
                },
            }
            for item in story.evidence
        ],
        "decision": None if story.decision is None else _event(story.decision),
        "decision_by": story.decision_by,
        "corrections": [
            {"begun": _event(c.begun), "completed": None if c.completed is None else _event(c.completed)}
            for c in story.corrections
        ],
        "causes": [_event(e) for e in story.causes],
        "observes_same": [_event(e) for e in story.same],
        "annotations": [_event(e) for e in story.notes],
        "history": [_event(e) for e in story.history],
    }


def _event(event: TaskEvent) -> Any:
    return msgspec.to_builtins(event)
