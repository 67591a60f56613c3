"""Checks the rules of a site file against its sources, and lets `bridge.rules` check the rest, each fault at its place."""

from __future__ import annotations

import re
from collections.abc import Iterator

from bridge.errors import DariError
from bridge.names import nearest
from bridge.site.document import Entry, Mapping, Node, Scalar, Sequence
from bridge.site.model import RuleSet
from bridge.site.problem import Mark, Problems
from bridge.site.resolve import Resolver, entries, entry, text, unknown_name
from bridge.site.walk import FAULTY, Path, Walker, type_info
from bridge.site.words import truth

_PART = re.compile(r"\[\d+\]|[^.\[\]]+")
_COLUMN = re.compile(r"^(?P<key>.*?),? ?(?:column (?P<column>\d+))?$", re.DOTALL)
_EXPRESSIONS = ("when", "measure")


def check_rule_sets(root: Node, resolver: Resolver) -> None:
    """Note every fault of the rules in `root`; the sources must have been resolved."""
    for name, at in entries(root, "rules").items():
        _inputs(name, at, root, resolver)
        quiet = Walker(Problems(resolver.problems.path))
        rule_set = quiet.make(at.value, type_info(RuleSet), ("rules", name), at.key)
        if rule_set is FAULTY:
            found = _expressions(name, at)
        else:
            from bridge.rules.plan import check_rules

            found = iter(check_rules(name, rule_set, resolver.directory))
        for error in found:
            _note(error, name, root, resolver.problems)


def _inputs(name: str, at: Entry, root: Node, resolver: Resolver) -> None:
    """That each input's source is there, is enabled, and has the signal."""
    sources = entries(root, "sources")
    for word, given in entries(at.value, "inputs").items():
        path = ("rules", name, "inputs", word)
        source, stands = text(given.value, "source"), entry(given.value, "source")
        if source is None or stands is None:
            continue
        if source not in sources:
            unknown_name(resolver.problems, stands, (*path, "source"), source, list(sources), "source")
            continue
        enabled = entry(sources[source].value, "enabled")
        if enabled is not None and isinstance(enabled.value, Scalar) and not truth(enabled.value.text):
            what = f"the source {source!r} is disabled, so this input never has a value"
            resolver.problems.add(what, stands.value.mark, (*path, "source"), warning=True)
        tag, wanted = text(given.value, "tag"), entry(given.value, "tag")
        adapter = resolver.adapters.get(source)
        if tag is None or wanted is None or adapter is None:
            continue
        if adapter.signal_type is None:
            resolver.problems.add(
                f"the source {source!r} has no tags, its adapter gives messages",
                wanted.key,
                (*path, "tag"),
                hint="give topic and field, as in {topic: joint_states, field: position[finger_joint1]}",
            )
            continue
        known = list(entries(root, "sources", source, "signals"))
        if tag not in known:
            close = nearest(tag, known)
            hint = f"did you mean {close!r}?" if close else f"its signals: {', '.join(known[:12]) or 'none'}"
            resolver.problems.add(
                f"the source {source!r} has no signal {tag!r}", wanted.value.mark, (*path, "tag"), hint=hint
            )


def _expressions(name: str, at: Entry) -> Iterator[DariError]:
    """The expressions alone, where the rule set has other faults that keep it from being read as a whole."""
    from bridge.rules.expression import compile_expression

    inputs = list(entries(at.value, "inputs"))
    rules = entry(at.value, "rules")
    if not inputs or rules is None or not isinstance(rules.value, Sequence):
        return
    for i, rule in enumerate(rules.value.items):
        for key in _EXPRESSIONS:
            written = text(rule, key)
            if written is not None:
                try:
                    compile_expression(written, inputs, where=f"rules.{name}.rules[{i}].{key}")
                except DariError as error:
                    yield error


def _note(error: DariError, name: str, root: Node, problems: Problems) -> None:
    """Put a fault of the rules at its place: its `where` is a key of this file, or a line of the table of alarms."""
    if not error.where.startswith("rules."):
        alarms = entry(root, "rules", name, "alarms")
        mark = alarms.value.mark if alarms is not None else None
        what = f"{error.where}: {error.what}" if error.where else error.what
        problems.add(what, mark, ("rules", name, "alarms"), hint=error.hint)
        return
    match = _COLUMN.match(error.where)
    key = match["key"] if match is not None else error.where
    column = int(match["column"]) if match is not None and match["column"] else None
    parts = tuple(_PART.findall(key))
    problems.add(error.what, locate(root, parts, column), parts, hint=error.hint)


def locate(root: Node, path: Path, column: int | None = None) -> Mark | None:
    """The place of a key, or of the deepest part of it that is there. `column` counts from 1 within a text on one line."""
    node, mark = root, None
    complete = True
    for part in path:
        if isinstance(node, Mapping) and part in node.entries:
            mark, node = node.entries[part].key, node.entries[part].value
        elif isinstance(node, Sequence) and part.startswith("[") and int(part[1:-1]) < len(node.items):
            node = node.items[int(part[1:-1])]
            mark = node.mark
        else:
            complete = False
            break
    if not complete or not isinstance(node, Scalar) or node.tag == "null":
        return mark
    if column is None or column > len(node.text) + 1:
        return node.mark
    quotes = node.mark.width - len(node.text)
    if quotes == (2 if node.quoted else 0):  # else it is folded or has escapes, and its columns are not the file's
        return Mark(node.mark.line, node.mark.column + quotes // 2 + column - 1)
    return node.mark
