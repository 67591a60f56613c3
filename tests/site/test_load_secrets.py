"""Secrets in a site file: refused in plain text, never shown again, read on demand."""

from __future__ import annotations

from pathlib import Path

import pytest
from site_cases import Look, one
from site_plugins import ProbeOptions


@pytest.mark.parametrize(
    "written", ["hunter2", "'hunter2'", "{value: hunter2}", "[hunter2]", "|\n      hunter2\n     "]
)
def test_a_secret_in_the_file_is_refused_and_never_shown_again(sound: str, look: Look, written: str) -> None:
    text = sound.replace("{host: plc-1}", "{host: plc-1, password: " + written + ", prot: 1}")
    if "|" in written:
        text = sound.replace(
            "options: {host: plc-1}", "options:\n     host: plc-1\n     password: |\n      hunter2\n     prot: 1"
        )
    found = look(text)
    assert found.site is None
    assert any("password" in p.key and "{env: NAME}" in p.hint + p.what for p in found.problems), [
        str(p) for p in found.problems
    ]
    said = "\n".join([str(p) + p.excerpt(text) + str(p.row()) for p in found.problems])
    assert "hunter2" not in said
    assert any(p.key.endswith("prot") for p in found.problems)


@pytest.mark.parametrize("url", ["mqtt://bob:hunter2@broker", "opc.tcp://:hunter2@h:4840/x"])
def test_a_password_in_a_url_is_refused_wherever_it_stands(sound: str, look: Look, url: str) -> None:
    for old, new in (
        ("host: plc-1", f"host: {url}"),
        ("host: plc-1", f"host: plc-1, free: [{{deep: '{url}'}}]"),
        ("name: line-1", f"name: '{url}'"),
    ):
        text = sound.replace(old, new)
        found = look(text)
        assert found.site is None
        assert any("password must not stand in a URL" in p.what for p in found.problems)
        assert "hunter2" not in "\n".join([str(p) + p.excerpt(text) + str(p.row()) for p in found.problems])


def test_a_secret_kept_elsewhere_is_read_only_on_demand(
    sound: str, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLC_PASSWORD", raising=False)
    text = sound.replace("{host: plc-1}", "{host: plc-1, password: {env: PLC_PASSWORD}}")
    found = look(text)
    assert found.site is not None
    assert "PLC_PASSWORD is not set" in one(found).what
    monkeypatch.setenv("PLC_PASSWORD", "hunter2")
    loaded = look(text).site
    assert loaded is not None
    assert loaded.warnings == ()
    options = loaded.source("plc").options
    assert isinstance(options, ProbeOptions)
    assert options.password is not None
    assert options.password.value(loaded.directory) == "hunter2"
    assert "hunter2" not in repr(loaded)
    (tmp_path / "key").write_text("hunter3\n")
    (tmp_path / "key").chmod(0o644)
    found = look(sound.replace("{host: plc-1}", "{host: plc-1, password: {file: key}}"))
    assert found.site is not None
    assert "others can read" in one(found).what
    options = found.site.source("plc").options
    assert isinstance(options, ProbeOptions)
    assert options.password is not None
    assert options.password.value(found.site.directory) == "hunter3"


def test_secrets_that_are_missing_are_told_where_they_are_named(
    sound: str, look: Look, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PLC_PASSWORD", raising=False)
    off = "  spare: {adapter: probe, enabled: false, space: field, asset: press, options: {host: h, password: {env: NOBODY}}}"
    named = sound.replace("{host: plc-1}", "{host: plc-1, password: {env: PLC_PASSWORD}}").replace(
        "\nrules:", f"\n{off}\nrules:", 1
    )
    site = look(named).site
    assert site is not None
    (missing,) = site.missing_secrets()
    assert missing.key == "sources.plc.options.password"
    assert missing.mark is not None and "{env: PLC_PASSWORD}" in named.splitlines()[missing.mark.line - 1]
    assert "PLC_PASSWORD" in missing.what and "export PLC_PASSWORD=" in missing.hint
    assert not missing.warning and missing.exit_code == 3
    monkeypatch.setenv("PLC_PASSWORD", "hunter2")
    assert site.missing_secrets() == [], "looked at anew, each time"

    site = look(sound.replace("{host: plc-1}", "{host: plc-1, password: {file: key}}")).site
    assert site is not None
    (missing,) = site.missing_secrets()
    assert "No such file" in missing.what and str(tmp_path / "key") in missing.what
    (tmp_path / "key").write_text("hunter3\n")
    (tmp_path / "key").chmod(0o644)
    assert site.missing_secrets() == [], "one that others can read is there all the same"
