"""Checks what the types of a site file can not show: that names name something, and that each adapter and sink agrees.

Works on the tree, not on the typed site, so that one fault in a source does not hide the others in it.
"""

from __future__ import annotations

import re
from typing import Any
from uuid import UUID

from bridge import registry
from bridge.adapter import Adapter, SignalConfig, Source
from bridge.errors import DariError
from bridge.names import channel_topic, nearest
from bridge.schema import Asset
from bridge.sink import Sink
from bridge.site.document import Entry, Mapping, Node, Scalar, Sequence
from bridge.site.model import AssetConfig, Site, SiteIdentity, SourceConfig
from bridge.site.problem import Mark, Problems, dotted
from bridge.site.secret import HOW, URL_PASSWORD
from bridge.site.walk import FAULTY, Path, Walker, type_info
from bridge.site.words import truth

TABLE = "signals"
"""Name of the columnar channel of the signals that have no channel of their own."""
_SAID_AT = re.compile(r"^([^\s:]+): ")


def entry(node: Node | None, *keys: str) -> Entry | None:
    """What stands at a key below a node, or None."""
    found: Entry | None = None
    for key in keys:
        if not isinstance(node, Mapping) or key not in node.entries:
            return None
        found = node.entries[key]
        node = found.value
    return found


def text(node: Node | None, *keys: str) -> str | None:
    """The text at a key below a node, or None where there is none or it is something else."""
    found = entry(node, *keys)
    value = found.value if found is not None else None
    return value.text if isinstance(value, Scalar) and value.tag in ("str", "timestamp") else None


def entries(node: Node | None, *keys: str) -> dict[str, Entry]:
    """The keys of the mapping below a node; empty where there is none."""
    found = entry(node, *keys)
    return found.value.entries if found is not None and isinstance(found.value, Mapping) else {}


def unknown_name(problems: Problems, at: Entry, path: Path, word: str, known: list[str], what: str) -> None:
    """Note that a name names nothing."""
    close = nearest(word, known)
    if close is not None:
        hint = f"did you mean {close!r}?"
    else:
        hint = f"known: {', '.join(known[:12])}" if known else f"there are none yet: add it under {what}s:"
    problems.add(f"no {what} is named {word!r}", at.value.mark, path, hint=hint)


class Resolver:
    """Resolves the sources and sinks of one tree; faults and warnings go to the walker's problems."""

    def __init__(self, root: Node, walker: Walker, directory: str) -> None:
        self.root = root
        self.walker = walker
        self.problems = walker.problems
        self.directory = directory
        self.adapters: dict[str, type[Adapter]] = {}
        self.options: dict[str, Any] = {}
        self.signals: dict[str, dict[str, SignalConfig]] = {}
        self.sinks: dict[str, tuple[type[Sink], Any]] = {}

    def run(self) -> None:
        """Check all of it."""
        passwords(self.root, self.problems)
        known = entries(self.root, "assets")
        sources = entries(self.root, "sources")
        stands = entry(self.root, "sources")
        if stands is not None and isinstance(stands.value, Mapping) and not sources:
            self.problems.add(
                "there is no source", stands.key, "sources", hint="add one; dari adapters lists the kinds"
            )
        for name in sources:
            self._asset(("sources", name, "asset"), known)
            self._source(name)
        for name in entries(self.root, "rules"):
            self._asset(("rules", name, "asset"), known)
        self._unused(known)
        self._topics()
        self._sinks()
        for path, mark, secret in self.walker.secrets:
            for sentence in secret.warnings(self.directory):
                self.problems.add(sentence, mark, path, warning=True)

    def _asset(self, path: Path, known: dict[str, Entry]) -> None:
        at, name = entry(self.root, *path), text(self.root, *path)
        if at is not None and name is not None and name not in known:
            unknown_name(self.problems, at, path, name, list(known), "asset")

    def _unused(self, known: dict[str, Entry]) -> None:
        used = {text(e.value, "asset") for part in ("sources", "rules") for e in entries(self.root, part).values()}
        for name, at in known.items():
            if name not in used:
                self.problems.add(f"nothing is connected to the asset {name!r}", at.key, ("assets", name), warning=True)

    def _load(self, group: str, path: Path) -> Any:
        """The adapter or sink named at `path`, or None."""
        at, name = entry(self.root, *path), text(self.root, *path)
        if at is None or name is None:
            return None
        try:
            return registry.load(group, name)
        except DariError as error:
            self.problems.add(error.what, at.value.mark, path, hint=error.hint)
            return None

    def _source(self, name: str) -> None:
        """The adapter of a source, its options and its signals."""
        path = ("sources", name)
        adapter = self._load(registry.ADAPTERS, (*path, "adapter"))
        if adapter is None:
            return
        self.adapters[name] = adapter
        key = entries(self.root, "sources")[name].key
        options = self._typed(adapter.options_type, (*path, "options"), key)
        if options is not FAULTY:
            self.options[name] = options
        signals: dict[str, SignalConfig] = {}
        given = entries(self.root, *path, "signals")
        if given and adapter.signal_type is None:
            what = (
                f"the adapter {text(self.root, *path, 'adapter')!r} takes no signals: it finds by itself what there is"
            )
            first = entry(self.root, *path, "signals")
            assert first is not None
            self.problems.add(what, first.key, (*path, "signals"), hint="take them out")
            return
        faulty = False
        for tag, at in given.items():
            made = self.walker.make(at.value, type_info(adapter.signal_type), (*path, "signals", tag), at.key)
            if made is FAULTY:
                faulty = True
            else:
                signals[tag] = made
        if not faulty:
            self.signals[name] = signals

    def _typed(self, kind: Any, path: Path, above: Mark) -> Any:
        """The options at `path` as `kind`; where there are none, as if an empty mapping stood there."""
        at = entry(self.root, *path)
        if at is None:
            return self.walker.make(Mapping(above, {}, 1, 1), type_info(kind), path, above)
        if not isinstance(at.value, Mapping) and not (isinstance(at.value, Scalar) and at.value.tag == "null"):
            return FAULTY  # the file's own types have told that already
        return self.walker.make(at.value, type_info(kind), path, at.key)

    def _topics(self) -> None:
        """Two signals that would be written under one name: of two sources of one asset, or by the escaping of names."""
        taken: dict[str, tuple[str, str, int]] = {}
        for name, at in entries(self.root, "sources").items():
            space, asset = text(at.value, "space"), text(at.value, "asset")
            enabled = entry(at.value, "enabled")
            off = enabled is not None and isinstance(enabled.value, Scalar) and not truth(enabled.value.text)
            if space is None or asset is None or off:
                continue
            for tag, signal in entries(at.value, "signals").items():
                topic = channel_topic(space, asset, tag)
                if topic == channel_topic(space, asset, TABLE):
                    self.problems.add(
                        f"this signal would be written as {topic}, the name of the table of signals",
                        signal.key,
                        ("sources", name, "signals", tag),
                        hint="rename it",
                    )
                    continue
                first = taken.setdefault(topic, (name, tag, signal.key.line))
                if first[:2] != (name, tag):
                    self.problems.add(
                        f"this signal would be written as {topic}, which is taken by {first[1]!r} of the source"
                        f" {first[0]!r} (line {first[2]})",
                        signal.key,
                        ("sources", name, "signals", tag),
                        hint="rename one of the two signals, or give them different assets",
                    )

    def _sinks(self) -> None:
        """The sinks; a site that names none is recorded with the defaults."""
        stands = entry(self.root, "sinks")
        if stands is None:
            if isinstance(self.root, Mapping):
                try:
                    sink = registry.load(registry.SINKS, "mcap")
                    self.sinks["log"] = (sink, sink.options_type())
                except DariError as error:
                    self.problems.add(error.what, self.root.mark, "sinks", hint=error.hint)
            return
        if not entries(self.root, "sinks"):
            self.problems.add(
                "there is no sink, so nothing is kept",
                stands.key,
                "sinks",
                hint="take the key out to record",
                warning=True,
            )
        for name, at in entries(self.root, "sinks").items():
            sink = self._load(registry.SINKS, ("sinks", name, "sink"))
            if sink is not None:
                options = self._typed(sink.options_type, ("sinks", name, "options"), at.key)
                if options is not FAULTY:
                    self.sinks[name] = (sink, options)

    def ask(self, name: str, config: SourceConfig, site: Site) -> None:
        """Let an adapter whose options fit its types say what is wrong with them (`Adapter.check`)."""
        if name not in self.options or name not in self.signals or config.asset not in site.assets:
            return
        source = make_source(name, config, site, UUID(int=0), 0, self.directory)
        at = entry(self.root, "sources", name, "options") or entries(self.root, "sources")[name]
        path = ("sources", name, "options")
        try:
            sentences = self.adapters[name](source, self.options[name], self.signals[name]).check()
        except DariError as error:
            self.problems.add(error.what, at.key, path, hint=error.hint)
            return
        except Exception as error:  # a fault of the adapter, which must not hide the other faults of the file
            what = f"the adapter {config.adapter!r} failed while it checked this: {type(error).__name__}: {error}"
            self.problems.add(what, at.key, path, hint="report this to those who make the adapter")
            return
        for sentence in sentences:
            place, here, rest = self._said_at(sentence, name)
            self.problems.add(rest, place or at.key, here or path)

    def _said_at(self, sentence: str, name: str) -> tuple[Mark | None, Path, str]:
        """Where a sentence like `signals.force.node: ...` points to: its mark, its key, and the rest of the sentence."""
        match = _SAID_AT.match(sentence)
        first, _, rest = match[1].partition(".") if match is not None else ("", "", "")
        if first in ("options", "signals"):
            path: Path = ("sources", name, first)
        else:
            path, rest = ("sources", name, "options"), match[1] if match is not None else ""
        at = entry(self.root, *path)
        if match is None or at is None or (first not in ("options", "signals", *entries(self.root, *path))):
            return None, (), sentence
        while at is not None and rest and isinstance(at.value, Mapping):
            # A tag may hold dots itself: the longest key that fits is meant.
            key = max((k for k in at.value.entries if rest == k or rest.startswith(k + ".")), key=len, default=None)
            if key is None:
                break
            at, path, rest = at.value.entries[key], (*path, key), rest[len(key) + 1 :]
        said = sentence[match.end() :] if not rest else sentence
        return (at.key if rest or not isinstance(at.value, Scalar) else at.value.mark), path, said


def make_asset(config: AssetConfig, identity: SiteIdentity) -> Asset:
    """The ISA-95 path: the site's levels, then the asset's own."""
    return Asset(
        enterprise=identity.enterprise,
        site=identity.site,
        area=identity.area if config.area is None else config.area,
        cell=config.cell,
        unit=config.unit,
    )


def make_source(name: str, config: SourceConfig, site: Site, run_id: UUID, epoch: int, directory: str) -> Source:
    """A source as its adapter gets it."""
    asset = site.assets[config.asset]
    return Source(
        name=name,
        space=config.space,
        asset_name=config.asset,
        asset=make_asset(asset, site.site),
        run_id=run_id,
        embodiment=asset.embodiment,
        epoch=epoch,
        directory=directory,
    )


def passwords(root: Node, problems: Problems) -> None:
    """Refuse every URL with a password in it, wherever it stands; each anchored value once."""
    seen: set[int] = set()

    def look(node: Node, path: Path) -> None:
        if id(node) in seen:
            return
        seen.add(id(node))
        if isinstance(node, Mapping):
            for key, at in node.entries.items():
                look(at.value, (*path, key))
        elif isinstance(node, Sequence):
            for i, item in enumerate(node.items):
                look(item, (*path, f"[{i}]"))
        elif URL_PASSWORD.search(node.text):
            problems.add(
                "a password must not stand in a URL: site files are copied, shared and written into every log",
                node.mark,
                dotted(path),
                hint=f"take it out, and where the adapter has an option for it, {HOW}",
                secret=True,
            )

    look(root, ())
