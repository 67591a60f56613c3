"""Writes docs/reference/site-file.md from the types: `python -m bridge.site.reference [--check]`.

The types are what the loader checks against, so the page can not say anything else; a test fails when it is out of date.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import msgspec

from bridge import registry
from bridge.adapter import Adapter, SignalConfig
from bridge.errors import DariError
from bridge.schema import Embodiment
from bridge.sink import Sink
from bridge.site import model
from bridge.site.fields import Field, described, fields, nested
from bridge.site.secret import Secret

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reference" / "site-file.md"
DISTRIBUTION = "dari"
"""The page is about what comes with dari; what others add, `dari adapters NAME` shows."""

HEAD = """\
<!-- Written by `python -m bridge.site.reference`; change the types, not this page. -->
# The site file

What is connected, in one YAML file: read strictly, so that an unknown key, a wrong type or a name that names nothing is an
error with its line, all of them at once (`dari check SITE`). `dari init` writes a first one.

```yaml
{example}```

Things to know
- Relative paths are meant from the site file's folder.
- A secret never stands in the file. Where an option is a secret, write `{{env: NAME}}` for an environment variable or
  `{{file: PATH}}` for a file that only you can read; a password in a URL is refused as well.
- Nothing is filled in: there are no templates and no `${{...}}`. YAML's own anchors (`&name`, `*name`) and merges (`<<: *name`)
  work, so that what is the same is written once.
- YAML reads `on`, `off`, `yes` and `no` as truth values, `017` in octal and `12:30` in base 60. Where such a word is meant as
  text, put it in quotes; never name a key `on`.
- A signal is written as `/<space>/<asset>/<signal>`. Two signals that would get the same name are an error.
- A file that names no `sinks` is recorded by one `mcap` sink with its defaults.
"""

EXAMPLE = """\
dari: 1
site: {name: line-1, enterprise: acme, area: assembly}
assets:
  press: {cell: cell-3, unit: press-1}
sources:
  plc:
    adapter: opcua
    space: field
    asset: press
    options: {endpoint: opc.tcp://192.168.0.10:4840}
    signals:
      cycle_start: {node: ns=2;s=Press.Start}
      cycle_done: {node: ns=2;s=Press.Done}
      force: {node: ns=2;s=Press.Force, unit: kN, own: true}
rules:
  pressing:
    task: press
    verb: com.acme.press
    base_verb: move
    space: field
    asset: press
    inputs:
      begun: {source: plc, tag: cycle_start}
      done: {source: plc, tag: cycle_done}
      force: {source: plc, tag: force}
    rules:
      - {emit: started, trigger: rise, when: begun, from: [idle]}
      - {emit: failed, trigger: hold, for_ms: 50, when: force > 80, code: process.out_of_spec, from: [active]}
      - {emit: succeeded, trigger: rise, when: done, from: [active]}
sinks:
  log: {sink: mcap, options: {directory: logs}}
"""

SECTIONS: tuple[tuple[str, type[msgspec.Struct]], ...] = (
    ("The file", model.Site),
    ("`site`", model.SiteIdentity),
    ("`run`", model.RunIdentity),
    ("`assets.NAME`", model.AssetConfig),
    ("`assets.NAME.embodiment`", Embodiment),
    ("`sources.NAME`", model.SourceConfig),
    ("`rules.NAME`", model.RuleSet),
    ("`rules.NAME.inputs.NAME`", model.RuleInput),
    ("`rules.NAME.rules[]`", model.Rule),
    ("`sinks.NAME`", model.SinkConfig),
)


def page() -> str:
    """The text of the page."""
    parts = [HEAD.format(example=EXAMPLE)]
    titles = {kind.__name__: title for title, kind in SECTIONS}
    for title, kind in SECTIONS:
        parts.append(_section(f"## {title}", kind, titles=titles))
    parts.append(_section("## A secret", Secret))
    parts.append(_section("## Every signal", SignalConfig))
    for name in _ours(registry.ADAPTERS):
        adapter: type[Adapter] = registry.load(registry.ADAPTERS, name)
        parts.append(f"## Adapter `{name}`\n\n{_sentence(adapter.summary)}\n")
        parts.append(_section(f"### `{name}`: `options`", adapter.options_type))
        if adapter.signal_type is not None:
            parts.append(_section(f"### `{name}`: each of `signals`", adapter.signal_type, SignalConfig))
        else:
            parts.append("It takes no `signals`: it finds by itself what there is.\n")
        parts += _inner([adapter.options_type, adapter.signal_type], f"### `{name}`: ")
    for name in _ours(registry.SINKS):
        sink: type[Sink] = registry.load(registry.SINKS, name)
        parts.append(_section(f"## Sink `{name}`: `options`", sink.options_type))
        parts += _inner([sink.options_type], "### ")
    return "\n".join(parts)


def _ours(group: str) -> list[str]:
    return [entry.name for entry in registry.entries(group) if entry.distribution == DISTRIBUTION]


def _inner(kinds: list[type[msgspec.Struct] | None], title: str) -> list[str]:
    """Sections for the types met inside options and signals, each once."""
    seen: list[type[msgspec.Struct]] = []
    for kind in kinds:
        if kind is not None:
            seen += [inner for inner in nested(kind) if inner is not Secret and inner not in seen]
    return [_section(f"{title}{inner.__name__}", inner) for inner in seen]


def _section(
    title: str,
    kind: type[msgspec.Struct],
    without: type[msgspec.Struct] | None = None,
    titles: dict[str, str] | None = None,
) -> str:
    """A heading, the type's own words, and its keys; a type that has a section in `titles` is named by its title."""
    prose, _ = described(kind)
    return f"{title}\n\n{prose}\n\n{_table(fields(kind, without=without), titles or {})}"


def _table(found: list[Field], titles: dict[str, str]) -> str:
    if not found:
        return "No keys.\n"
    with_meaning = any(field.meaning for field in found)
    lines = ["| key | takes | default |" + (" meaning |" if with_meaning else "")]
    lines.append("|---|---|---|" + ("---|" if with_meaning else ""))
    for field in found:
        default = "**required**" if field.default is None else f"`{field.default}`" if field.default else ""
        head, _, last = field.takes.rpartition(" ")
        takes = f"{head} {titles[last]}".strip() if last in titles else field.takes
        cells = [f"`{field.name}`", takes, default, *([field.meaning] if with_meaning else [])]
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:] + ("" if text.endswith(".") else ".")


def main() -> int:
    """Write the page; with `--check`, only say whether it is up to date (exit code 1 if not)."""
    parser = argparse.ArgumentParser(
        prog="python -m bridge.site.reference", description="Writes the site file's reference."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when the page is out of date")
    args = parser.parse_args()
    try:
        text = page()
    except DariError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    if args.check:
        if PAGE.is_file() and PAGE.read_text(encoding="utf-8") == text:
            return 0
        print(f"{PAGE.name} is out of date\n  next: python -m bridge.site.reference", file=sys.stderr)
        return 1
    PAGE.write_text(text, encoding="utf-8")
    print(f"written: {PAGE}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
