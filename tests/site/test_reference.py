"""The reference of the site file: up to date, and true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from site_plugins import ProbeOptions

from bridge import registry, site
from bridge.rules import plan
from bridge.schema import Verb
from bridge.site import model, reference
from bridge.site.fields import described, fields
from bridge.site.words import type_words


@pytest.fixture(autouse=True)
def as_installed(plugins: None) -> None:
    """The page is about what comes with dari, so the adapters of these tests are taken away again."""
    for group, name in (
        (registry.ADAPTERS, "probe"),
        (registry.ADAPTERS, "quiet"),
        (registry.SINKS, "heap"),
        (registry.SINKS, "mcap"),
    ):
        registry.unregister(group, name)


def test_the_page_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bridge.site.reference", "--check"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert reference.PAGE.read_text(encoding="utf-8") == reference.page()


def test_a_page_that_is_out_of_date_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "site-file.md"
    monkeypatch.setattr(reference, "PAGE", page)
    monkeypatch.setattr(sys, "argv", ["reference", "--check"])
    assert reference.main() == 1
    assert "out of date" in capsys.readouterr().err
    monkeypatch.setattr(sys, "argv", ["reference"])
    assert reference.main() == 0
    monkeypatch.setattr(sys, "argv", ["reference", "--check"])
    assert reference.main() == 0


def test_the_example_of_the_page_has_no_faults(tmp_path: Path) -> None:
    found = site.examine(reference.EXAMPLE, tmp_path / "site.yaml")
    assert found.problems == ()


def test_every_key_of_every_type_of_the_file_is_on_the_page() -> None:
    text = reference.page()
    for title, kind in reference.SECTIONS:
        section = re.split(r"^## ", text.partition(f"## {title}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
        for field in fields(kind):
            assert f"| `{field.name}` |" in section, (title, field.name)
        _, meanings = described(kind)
        assert set(meanings) <= {field.name for field in fields(kind)}, "a meaning for a key that is not there"


def test_the_words_of_the_model_are_those_that_the_rules_know() -> None:
    def words(kind: object) -> tuple[str, ...]:
        return tuple(type_words(kind).removeprefix("one of ").split(", "))

    assert words(model.Emit) == plan.EMITS
    assert words(model.Trigger) == plan.TRIGGERS
    assert words(model.Phase) == (*plan.PHASES, "any")
    assert words(model.AfterGap) == (plan.BASELINE, plan.INFER)
    assert words(model.CoreVerb) == tuple(verb.value for verb in Verb)
    assert ", ".join(verb.value for verb in Verb) in type_words(model.Verb)


def test_fields_tell_required_ones_first_with_defaults_as_one_would_write_them() -> None:
    told = {field.name: field for field in fields(ProbeOptions)}
    assert next(iter(told)) == "host"
    assert told["host"].default is None
    assert told["verbose"].default == "false"
    assert told["period_ms"].default == "100"
    assert told["password"].default == "not given"
    assert told["password"].takes == "a secret kept elsewhere: {env: NAME} or {file: PATH}"
    assert told["tags"].takes == "a list, each item text"
    assert told["groups"].takes == "names, each with a whole number"
    assert told["free"].takes == "any value"
