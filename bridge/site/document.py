"""Reads a YAML file into a tree that knows where everything stands, and says what YAML itself got wrong or got sly about.

PyYAML parses; this turns its nodes into a small immutable tree with merges (`<<`) and anchors resolved, duplicate keys
refused, and the keys that YAML 1.1 takes for something else (`on`, `yes`, `12`) told apart from names.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from bridge.errors import SiteError
from bridge.site.problem import Mark, Problems, lines_of

LARGEST_FILE: Final = 16 * 2**20
"""Bytes. A site file is written by people; a larger one is something else."""
DEEPEST: Final = 60
"""Levels. PyYAML composes recursively in C, and a hundred thousand opening brackets end the process without a word."""
LARGEST_TREE: Final = 1_000_000
"""Nodes with anchors expanded: a few lines of nested anchors could otherwise fill the memory."""

_TAG: Final = "tag:yaml.org,2002:"
_SCALARS: Final = {"str", "int", "float", "bool", "null", "timestamp", "value"}
_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Scalar:
    """A single value: its text as written, the type that YAML 1.1 gives it, and whether it stands in quotes."""

    mark: Mark
    text: str
    tag: str
    quoted: bool
    size: int = 1
    depth: int = 1


@dataclass(frozen=True)
class Sequence:
    """A list."""

    mark: Mark
    items: tuple[Node, ...]
    size: int
    depth: int


@dataclass(frozen=True)
class Entry:
    """One key of a mapping and what stands there."""

    key: Mark
    value: Node


@dataclass(frozen=True)
class Mapping:
    """Keys and values in the order of the file."""

    mark: Mark
    entries: dict[str, Entry]
    size: int
    depth: int


Node = Scalar | Sequence | Mapping


def read_text(path: Path) -> str:
    """The text of a site file.

    Raises:
        SiteError: it is missing, a directory, not to be read, too large, or not UTF-8.
    """
    where = str(path)
    try:
        if path.is_dir():
            found = sorted([*path.glob("*.yaml"), *path.glob("*.yml")])
            hint = f"name a file in it: {found[0]}" if found else "name a file"
            raise SiteError("this is a directory, not a site file", where=where, hint=hint)
        if path.stat().st_size > LARGEST_FILE:
            raise SiteError(
                f"this file has {path.stat().st_size} bytes; a site file has at most {LARGEST_FILE}",
                where=where,
                hint="name the site file (YAML); a log is read with: dari info",
            )
        raw = path.read_bytes()
    except FileNotFoundError:
        near = sorted([*path.parent.glob("*.yaml"), *path.parent.glob("*.yml")]) if path.parent.is_dir() else []
        hint = f"there is {', '.join(str(p) for p in near[:3])}" if near else "write one with: dari init"
        raise SiteError("there is no such file", where=where, hint=hint) from None
    except OSError as error:
        raise SiteError(f"the file can not be read: {error.strerror}", where=where, hint="look at its rights") from None
    return decode(raw, where)


def decode(raw: bytes, where: str) -> str:
    """Bytes as UTF-8 text, with or without a byte order mark. Raises `SiteError` with the line of the first bad byte."""
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
            hint = "it looks like UTF-16: save it as UTF-8"
        elif b"\0" in raw[:4096]:
            hint = "it holds zero bytes, so it is no text: name the site file (YAML)"
        else:
            hint = "save it as UTF-8 (an editor for Korean text may have used CP949)"
        raise SiteError(
            f"the file is not UTF-8: byte 0x{raw[error.start]:02x}", where=f"{where}:{line}:{column}", hint=hint
        ) from None


def parse(text: str, problems: Problems) -> Node | None:
    """The tree of a YAML text, or None where it can not be parsed at all; every fault goes to `problems`."""
    try:
        if not _shallow(text, problems):
            return None
        loader = _LOADER(text)
        try:
            root = loader.get_single_node()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        _syntax(error, text, problems)
        return None
    if root is None:
        problems.add("the file is empty", Mark(1, 1), hint="write one with: dari init")
        return None
    tree = _Builder(problems).build(root, ())
    if tree.size > LARGEST_TREE or tree.depth > DEEPEST:
        problems.add(
            f"its anchors unfold to {tree.size} values, {tree.depth} levels deep;"
            f" at most {LARGEST_TREE} and {DEEPEST} are read",
            Mark(1, 1),
            hint="use fewer anchors inside anchors",
        )
        return None
    return tree


def _shallow(text: str, problems: Problems) -> bool:
    """Whether the nesting is what a site file can have; else says where it goes too deep."""
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > DEEPEST:
                problems.add(f"this is nested more than {DEEPEST} levels deep", _mark(event), hint="no key here is")
                return False
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
    return True


def _syntax(error: yaml.YAMLError, text: str, problems: Problems) -> None:
    """A text that is no YAML: say where, and guess at the usual reasons."""
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    what = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    if mark is None:  # a ReaderError: a character that YAML does not allow
        position = getattr(error, "position", 0)
        before = text[:position]
        place = Mark(before.count("\n") + 1, position - (before.rfind("\n") + 1) + 1)
        problems.add(f"there is a character that YAML does not allow: {what}", place, hint="remove it")
        return
    context = getattr(error, "context", None) or ""
    opened = getattr(error, "context_mark", None)
    unclosed = any(word in context for word in ("quoted scalar", "flow", "simple key"))
    if opened is not None and unclosed and mark.line > opened.line:
        mark = opened  # what was never closed is found at the end of the file, and begins far above it
    place = Mark(mark.line + 1, mark.column + 1)
    lines = lines_of(text)
    line = lines[mark.line] if mark.line < len(lines) else ""
    lead = line[: len(line) - len(line.lstrip())]
    if "\t" in lead or line[mark.column : mark.column + 1] == "\t":
        what, hint = "there is a tab in the indentation; YAML allows spaces only", "replace the tab by spaces"
    elif "expected a single document" in context or "single document" in what:
        what, hint = "a second document begins here (---)", "keep one site to a file"
    elif "mapping values are not allowed" in what:
        what = "a colon stands where none can be"
        hint = "put the text in quotes if the colon belongs to it; else look at the indentation and at the line before"
    elif "undefined alias" in what:
        what, hint = f"{what}: an alias (*name) needs its anchor (&name) before it", "define it further up"
    elif "could not find expected ':'" in what:
        what, hint = "a colon is missing after the key", "write `key: value`, with a space after the colon"
    elif "cannot start any token" in what:
        letter = line[mark.column : mark.column + 1]
        what, hint = f"a plain text can not begin with {letter!r}", "put the text in quotes"
    elif "${" in line:
        what = "this is not YAML: a brace stands where none can be"
        hint = "nothing is filled in here, so write out what is meant with ${...}; a secret is {env: NAME}"
    else:
        hint = "look at the indentation, and for a quote or bracket that is not closed"
        what = f"this is not YAML: {what}" + (f" ({context})" if context else "")
    problems.add(what, place, hint=hint)


class _Builder:
    """Turns PyYAML's nodes into our tree. Shared nodes (anchors) are built once, so that the work stays linear."""

    def __init__(self, problems: Problems) -> None:
        self._problems = problems
        self._done: dict[int, Node] = {}
        self._open: set[int] = set()

    def build(self, node: Any, path: tuple[str, ...]) -> Node:
        """Our node for PyYAML's."""
        known = self._done.get(id(node))
        if known is not None:
            return known
        mark = _mark(node)
        if id(node) in self._open:
            self._problems.add("an anchor holds an alias to itself", mark, path, hint="take the alias out")
            return Scalar(mark, "", "null", False)
        self._open.add(id(node))
        try:
            made = self._make(node, mark, path)
        finally:
            self._open.discard(id(node))
        self._done[id(node)] = made
        return made

    def _make(self, node: Any, mark: Mark, path: tuple[str, ...]) -> Node:
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, mark, path)
        known = node.tag.removeprefix(_TAG)
        if known not in ("map", "seq"):
            self._tag(node.tag, mark, path)
        if isinstance(node, yaml.SequenceNode):
            items = tuple(self.build(item, (*path, f"[{i}]")) for i, item in enumerate(node.value))
            return Sequence(mark, items, *_extent(items))
        entries = self._entries(node, path)
        return Mapping(mark, entries, *_extent([entry.value for entry in entries.values()]))

    def _scalar(self, node: yaml.ScalarNode, mark: Mark, path: tuple[str, ...]) -> Scalar:
        tag = node.tag.removeprefix(_TAG)
        if tag not in _SCALARS:
            self._tag(node.tag, mark, path)
            tag = "str"
        return Scalar(mark, str(node.value), tag, node.style in ("'", '"', "|", ">"))

    def _tag(self, tag: str, mark: Mark, path: tuple[str, ...]) -> None:
        name = tag.replace(_TAG, "!!")
        self._problems.add(f"the YAML tag {name} means nothing here", mark, path, hint="take it out")

    def _entries(self, node: Any, path: tuple[str, ...]) -> dict[str, Entry]:
        """Keys of a mapping. What stands in the mapping itself goes before what it merges (`<<`), whatever the order."""
        own: dict[str, Entry] = {}
        merged: dict[str, Entry] = {}
        for key, value in node.value:
            mark = _mark(key)
            if not isinstance(key, yaml.ScalarNode):
                self._problems.add("a key must be a name, not a list or a mapping", mark, path, hint="write `name:`")
                continue
            if key.tag == _TAG + "merge":
                self._merge(value, mark, path, merged)
                continue
            name = self._key(key, mark, path)
            if name in own:
                first = own[name].key.line
                self._problems.add(
                    f"the key {name!r} stands here twice (the first is on line {first})",
                    mark,
                    (*path, name),
                    hint="keep one of them",
                )
                continue
            own[name] = Entry(mark, self.build(value, (*path, name)))
        return {**{k: v for k, v in merged.items() if k not in own}, **own} if merged else own

    def _merge(self, value: Any, mark: Mark, path: tuple[str, ...], merged: dict[str, Entry]) -> None:
        """`<<: *name` or a list of such; the first one named wins, as YAML's merge type says."""
        parts = value.value if isinstance(value, yaml.SequenceNode) else [value]
        for part in parts:
            made = self.build(part, path)
            if not isinstance(made, Mapping):
                self._problems.add(
                    "`<<` merges mappings only", mark, path, hint="write `<<: *name` of an anchored mapping"
                )
                continue
            for name, entry in made.entries.items():
                merged.setdefault(name, entry)

    def _key(self, key: yaml.ScalarNode, mark: Mark, path: tuple[str, ...]) -> str:
        """The name that a key stands for; a key that YAML reads as something else is a fault of its own kind."""
        text = str(key.value)
        tag = key.tag.removeprefix(_TAG)
        here = (*path, text or "(empty)")
        if tag == "bool":
            truth = "true" if text.lower() in ("yes", "on", "true") else "false"
            self._problems.add(
                f"YAML reads the key {text} as the truth value {truth}, not as a name",
                mark,
                here,
                hint=f"never name a key {text}: choose another name, or put it in quotes: '{text}':",
            )
        elif tag in ("int", "float"):
            self._problems.add(
                f"YAML reads the key {text} as a number, not as a name", mark, here, hint=f"put it in quotes: '{text}':"
            )
        elif tag == "null":
            self._problems.add("a key has no name", mark, here, hint="write a name before the colon")
        elif tag not in _SCALARS:
            self._tag(key.tag, mark, here)
        return text


def _extent(children: Collection[Node]) -> tuple[int, int]:
    """Size and depth of a node with these children, with every alias counted as if it were written out."""
    return 1 + sum(child.size for child in children), 1 + max((child.depth for child in children), default=0)


def _mark(node: Any) -> Mark:
    """Where a node begins; the width is that of its first line."""
    start, end = node.start_mark, node.end_mark
    width = end.column - start.column if end.line == start.line else 1
    return Mark(start.line + 1, start.column + 1, max(1, width))
