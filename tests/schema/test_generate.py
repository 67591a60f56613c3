"""What is generated from the types is what lies in the source tree, and it describes what is written."""

from __future__ import annotations

import json
import re
import typing
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from schema_cases import cases
from schema_strategies import events

from bridge.schema import Body, TaskEvent, to_json
from bridge.schema import generate as generator
from bridge.schema.interfaces import MESSAGES
from bridge.schema.msg_text import msg_text

SCHEMA = generator.json_schema()


def test_the_committed_files_are_what_the_types_give() -> None:
    assert generator.drifted() == [], "run python -m bridge.schema.generate"
    assert generator.main(["--check"]) == 0


def test_drift_is_found_and_mended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for path in generator.outputs():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text((generator.ROOT / path).read_text(encoding="utf-8"), encoding="utf-8")
    assert generator.drifted(tmp_path) == []
    message = tmp_path / generator.PACKAGE / "msg" / "Signal.msg"
    page = tmp_path / generator.REFERENCE
    message.write_text(message.read_text().replace("float64 value", "float32 value"))
    page.write_text(page.read_text(encoding="utf-8").replace("grasp.slip", "grasp.slop"), encoding="utf-8")
    (tmp_path / generator.JSON_SCHEMA).unlink()
    assert len(generator.drifted(tmp_path)) == 3
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(generator.outputs, "__defaults__", (tmp_path,))
    monkeypatch.setattr(generator.drifted, "__defaults__", (tmp_path,))
    assert generator.main(["--check"]) == 1
    assert "out of date" in capsys.readouterr().out
    assert generator.main([]) == 0
    assert generator.drifted(tmp_path) == []
    assert "float64 value" in message.read_text()


def test_the_page_keeps_its_own_words_and_names_every_field() -> None:
    page = (generator.ROOT / generator.REFERENCE).read_text(encoding="utf-8")
    assert "a `SchemaError` names the field by its path" in page
    for struct in (TaskEvent, *typing.get_args(Body)):
        for field in struct.__struct_fields__:
            assert f"| `{field}` |" in page


@settings(deadline=None, max_examples=60)
@given(events())
def test_the_json_schema_describes_what_is_written(event: TaskEvent) -> None:
    assert _faults(json.loads(to_json(event)), SCHEMA) == []


def test_the_json_schema_refuses_what_the_codec_refuses() -> None:
    good = json.loads(to_json(cases()["failure-full"]))
    assert _faults(good, SCHEMA) == []
    for alter in (
        lambda e: e.pop("source"),
        lambda e: e.update(sequence=-1),
        lambda e: e["body"].update(code="grasp.slop"),
        lambda e: e["body"].update(kind="surprise"),
        lambda e: e["body"].pop("kind"),
        lambda e: e["body"]["evidence"][0].pop("window"),
        lambda e: e["time"].update(uncertainty_ns=0),
        lambda e: e["links"][0].update(rel="x"),
    ):
        bad = json.loads(json.dumps(good))
        alter(bad)
        assert _faults(bad, SCHEMA) != []


@pytest.mark.parametrize("message", MESSAGES)
def test_msg_text_is_legal_for_rosidl(message: Any) -> None:
    """Field names and lines as https://docs.ros.org/en/jazzy/Concepts/Basic/About-Interfaces.html wants them."""
    names = []
    for line in msg_text(message).splitlines():
        if not line or line.startswith("#"):
            assert len(line) <= 120
            continue
        assert re.fullmatch(
            r"(([a-z][a-z0-9_]*/)?[A-Za-z][A-Za-z0-9]*(\[\])? [a-z](_?[a-z0-9])*)|(uint8 [A-Z](_?[A-Z0-9])*=[0-9]+)",
            line,
        ), line
        if "=" not in line:
            names.append(line.split()[1])
    assert names == list(message.__struct_fields__)
    assert names[0] == "header"
    assert not set(names) & {"class", "namespace", "new", "delete", "default", "register", "union", "operator"}


def _faults(value: Any, schema: dict[str, Any], where: str = "$") -> list[str]:
    """The part of JSON Schema 2020-12 that is generated here, read plainly; an unknown keyword is an error of this test."""
    known = {"$schema", "$id", "$defs", "title", "description", "default", "format", "$ref", "anyOf", "enum", "type"}
    known |= {
        "properties",
        "required",
        "items",
        "prefixItems",
        "minItems",
        "maxItems",
        "additionalProperties",
        "discriminator",
    }
    known |= {"minimum", "maximum", "minLength", "pattern"}
    assert set(schema) <= known, set(schema) - known
    faults: list[str] = []
    if "$ref" in schema:
        faults += _faults(value, SCHEMA["$defs"][schema["$ref"].rpartition("/")[2]], where)
    if "anyOf" in schema and all(_faults(value, option, where) for option in schema["anyOf"]):
        faults.append(f"{where}: fits none")
    if "enum" in schema and value not in schema["enum"]:
        faults.append(f"{where}: {value!r} is none of {schema['enum']}")
    kinds = {
        "object": dict,
        "array": list,
        "string": str,
        "boolean": bool,
        "null": type(None),
        "integer": int,
        "number": (int, float),
    }
    if "type" in schema:
        kind = kinds[schema["type"]]
        if not isinstance(value, kind) or (isinstance(value, bool) and schema["type"] in {"integer", "number"}):
            return [*faults, f"{where}: not {schema['type']}"]
    if isinstance(value, dict):
        faults += [f"{where}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, item in value.items():
            inner = schema.get("properties", {}).get(name, schema.get("additionalProperties", {}))
            faults += _faults(item, inner if isinstance(inner, dict) else {}, f"{where}.{name}")
    elif isinstance(value, list):
        before = schema.get("prefixItems", [])
        after = schema.get("items", {})
        for index, item in enumerate(value):
            inner = before[index] if index < len(before) else after
            faults += _faults(item, inner if isinstance(inner, dict) else {}, f"{where}[{index}]")
        if not schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", math_inf):
            faults.append(f"{where}: wrong length")
    elif isinstance(value, str):
        if len(value) < schema.get("minLength", 0) or not re.search(schema.get("pattern", ""), value):
            faults.append(f"{where}: {value!r} has not the form")
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        inside = schema.get("minimum", value) <= value <= schema.get("maximum", value)
        faults += [] if inside else [f"{where}: {value} out of range"]
    return faults


math_inf = float("inf")
