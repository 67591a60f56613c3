"""Writes what is generated from the types: the `.msg` files, the JSON Schema and the tables of the reference page.

`python -m bridge.schema.generate` writes them into the source tree, `--check` only tells which are out of date.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import msgspec

from bridge.schema.event import SCHEMA, TaskEvent
from bridge.schema.interfaces import MESSAGES
from bridge.schema.msg_text import msg_text
from bridge.schema.reference import filled

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = Path("launch/dari_msgs")
JSON_SCHEMA = Path("docs/reference/task-event.schema.json")
REFERENCE = Path("docs/reference/task-event.md")


def json_schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of the event as `to_json` writes it and `body_json` holds it."""
    (reference,), definitions = msgspec.json.schema_components((TaskEvent,), ref_template="#/$defs/{name}")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": f"urn:{SCHEMA.replace('/', ':')}",
        "title": SCHEMA,
        **reference,
        "$defs": dict(sorted(definitions.items())),
    }


def outputs(root: Path = ROOT) -> dict[Path, str]:
    """Every generated file, relative to the source tree, with its text. The reference page keeps its own words."""
    files = {PACKAGE / "msg" / f"{m.type_name.rpartition('/')[2]}.msg": msg_text(m) for m in MESSAGES}
    files[JSON_SCHEMA] = json.dumps(json_schema(), indent=1, ensure_ascii=False) + "\n"
    files[REFERENCE] = filled((root / REFERENCE).read_text(encoding="utf-8"))
    return files


def drifted(root: Path = ROOT) -> list[Path]:
    """The generated files that are missing or differ from what the types give."""
    return [
        path
        for path, text in outputs(root).items()
        if not (root / path).is_file() or (root / path).read_text(encoding="utf-8") != text
    ]


def main(arguments: list[str] | None = None) -> int:
    """The command; returns 1 where `--check` finds a file out of date."""
    parser = argparse.ArgumentParser(prog="python -m bridge.schema.generate", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 where a file is out of date")
    options = parser.parse_args(arguments)
    stale = drifted()
    texts = outputs()
    for path in stale:
        if not options.check:
            (ROOT / path).parent.mkdir(parents=True, exist_ok=True)
            (ROOT / path).write_text(texts[path], encoding="utf-8")
        print(f"{path}: {'out of date; run python -m bridge.schema.generate' if options.check else 'written'}")
    return 1 if stale and options.check else 0


if __name__ == "__main__":
    sys.exit(main())
