"""Loading: a sound file gives typed things; each way to break it is told with line, key and words."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from site_cases import ALL_AT_ONCE, BREAKS, Look, line, one
from site_plugins import HeapSink, Limits, ProbeAdapter, ProbeOptions, ProbeSignal

from bridge import registry, site
from bridge.errors import SiteError, UsageError
from bridge.names import nearest
from bridge.schema import Asset, Space

# -- a sound file ------------------------------------------------------------------------------------------------------


def test_a_sound_file_gives_typed_sources_and_sinks(sound: str, tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    path.write_text(sound, encoding="utf-8")
    loaded = site.load(path)
    assert loaded.text == sound
    assert loaded.path == path
    assert loaded.warnings == ()
    assert loaded.site.site.name == "line-1"
    (plc,) = loaded.sources
    assert plc.name == "plc"
    assert plc.adapter_class is ProbeAdapter
    assert plc.options == ProbeOptions(host="plc-1")
    assert plc.signals["alarm"] == ProbeSignal(address=3)
    assert plc.asset == Asset(enterprise="acme", area="north", cell="cell-3", unit="press-1")
    assert plc.directory == str(tmp_path)
    run = UUID(int=7)
    source = plc.make_source(run, 2)
    assert (source.name, source.space, source.asset_name, source.run_id, source.epoch) == (
        "plc",
        Space.FIELD,
        "press",
        run,
        2,
    )
    assert isinstance(plc.make_adapter(run), ProbeAdapter)
    (sink,) = loaded.make_sinks()
    assert isinstance(sink, HeapSink)
    assert sink.options.directory == "heap"


def test_text_that_was_read_before_gives_the_same(sound: str, tmp_path: Path) -> None:
    path = tmp_path / "line.yaml"
    path.write_text(sound, encoding="utf-8")
    assert site.load_text(sound, path) == site.load(path)


def test_the_function_and_the_module_are_both_reached_by_their_name(sound: str, tmp_path: Path) -> None:
    from bridge.site import load as by_package
    from bridge.site.load import LoadedSite
    from bridge.site.load import load as by_module

    (tmp_path / "a.yaml").write_text(sound, encoding="utf-8")
    assert by_package is by_module is site.load
    assert isinstance(site.load(tmp_path / "a.yaml"), LoadedSite)


def test_a_source_is_found_by_name_also_when_disabled(sound: str, look: Look) -> None:
    text = sound.replace("    options: {host: plc-1}", "    options: {host: plc-1}\n    enabled: false")
    loaded = look(text).site
    assert loaded is not None
    assert loaded.sources == ()
    assert loaded.source("plc").config.enabled is False
    with pytest.raises(UsageError) as caught:
        loaded.source("plx")
    assert "did you mean 'plc'" in caught.value.hint


def test_every_kind_of_option_is_read_as_its_type(sound: str, look: Look) -> None:
    options = (
        "{host: h, port: 0x10, period_ms: 1e3, mode: slow, limits: {low: 1}, tags: [a, 'on'], pair: [3, x],"
        " groups: {a: 1_000}, either: five, free: {deep: [1, yes, null, 2024-01-01]}}"
    )
    loaded = look(sound.replace("{host: plc-1}", options)).site
    assert loaded is not None
    assert loaded.source("plc").options == ProbeOptions(
        host="h",
        port=16,
        period_ms=1000.0,
        mode="slow",
        limits=Limits(low=1.0),
        tags=("a", "on"),
        pair=(3, "x"),
        groups={"a": 1000},
        either="five",
        free={"deep": [1, True, None, "2024-01-01"]},
    )


def test_an_empty_mapping_may_be_what_is_left_of_a_commented_one(sound: str, look: Look) -> None:
    text = sound.replace("sinks:\n  log: {sink: heap}", "run:\n  # note: x\n")
    loaded = look(text).site
    assert loaded is not None
    assert loaded.site.run.note == ""


def test_a_file_without_sinks_is_recorded_with_the_defaults(sound: str, look: Look) -> None:
    loaded = look(sound.replace("sinks:\n  log: {sink: heap}\n", "")).site
    assert loaded is not None
    assert [(s.name, s.sink_class) for s in loaded.sinks] == [("log", HeapSink)]
    found = look(sound.replace("sinks:\n  log: {sink: heap}\n", "sinks: {}\n"))
    assert found.site is not None
    assert found.site.sinks == ()
    assert "nothing is kept" in one(found).what


def test_anchors_and_merges_work_and_a_fault_in_them_is_told_once(sound: str, look: Look) -> None:
    text = sound.replace("options: {host: plc-1}", "options: &o {host: plc-1, prot: 1}").replace(
        "rules:",
        "  other: {adapter: probe, space: testbed, asset: press, options: {<<: *o}, signals: {a: {address: 1}}}\nrules:",
        1,
    )
    found = look(text)
    assert [(p.key, line(p)) for p in found.problems] == [
        ("sources.plc.options.prot", 10),
    ]


# -- one fault at a time -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "number", "key", "words", "hint"), BREAKS, ids=[f"{b[3]}: {b[1][:40]!r}" for b in BREAKS]
)
def test_each_break_is_told_once_with_its_line_its_key_and_what_to_do(
    sound: str, look: Look, old: str, new: str, number: int, key: str, words: str, hint: str
) -> None:
    assert sound.count(old) >= 1
    found = look(sound.replace(old, new, 1))
    assert found.site is None
    faults = [problem for problem in found.problems if problem.key == key and words in problem.what]
    assert len(faults) == 1, [str(p) for p in found.problems]
    assert line(faults[0]) == number
    assert hint in faults[0].hint
    # The fault itself, and at most what follows from it by necessity (a name that names nothing any more).
    for other in found.problems:
        if other is not faults[0]:
            assert other.warning or "3press" in new or "plc plc" in new or "startd" in new or "adaptor" in new, str(
                other
            )


def test_all_faults_of_a_file_are_told_together_in_its_order(look: Look) -> None:
    assert [(line(p), p.key) for p in look(ALL_AT_ONCE).problems] == [
        (1, "dari"),
        (2, "site.nam"),
        (2, "site.area"),
        (4, "assets.press.cell"),
        (8, "sources.plc.space"),
        (9, "sources.plc.asset"),
        (10, "sources.plc.on"),
        (11, "sources.plc.options.hots"),
        (11, "sources.plc.options.port"),
        (11, "sources.plc.options.password"),
        (13, "sources.plc.signals.start.address"),
        (14, "sources.plc.signals.start"),
        (16, "sources.robot.adapter"),
        (26, "rules.pressing.inputs.begun.tag"),
        (28, "rules.pressing.rules[0].wehn"),
        (29, "rules.pressing.rules[1].when"),
        (31, "sinks.log.sink"),
    ]


def test_an_expression_points_at_the_word_that_is_wrong(sound: str, look: Look) -> None:
    for written in ("done and cod == 0", "'done and cod == 0'", '"done and cod == 0"'):
        found = look(sound.replace("done and code == 0", written))
        problem = one(found)
        assert problem.mark is not None
        text = found.text.splitlines()[problem.mark.line - 1]
        assert text[problem.mark.column - 1 :].startswith("cod ")


def test_expressions_are_checked_though_the_rule_set_has_other_faults(sound: str, look: Look) -> None:
    text = sound.replace("emit: started", "emitt: started").replace("done and code", "don and code")
    assert {(p.key, line(p)) for p in look(text).problems} == {
        ("rules.pressing.rules[0].emitt", 26),
        ("rules.pressing.rules[2].when", 28),
    }


def test_a_table_of_alarms_is_told_with_its_own_lines(sound: str, tmp_path: Path, look: Look) -> None:
    (tmp_path / "alarms.csv").write_text("code,failure_code\n1,grasp.slip\n2,grasp.slipp\n", encoding="utf-8")
    problem = one(look(sound.replace("    inputs:", "    alarms: alarms.csv\n    inputs:")))
    assert (problem.key, line(problem)) == ("rules.pressing.alarms", 21)
    assert "alarms.csv:3" in problem.what
    (tmp_path / "alarms.csv").write_text("code,failure_code\n1,grasp.slip\n", encoding="utf-8")
    assert look(sound.replace("    inputs:", "    alarms: alarms.csv\n    inputs:")).site is not None


def test_two_sources_that_would_write_one_topic_are_told(sound: str, look: Look) -> None:
    other = "  other: {adapter: probe, space: SPACE, asset: press, options: {host: h}, signals: {START: {address: 1}}}\nrules:"
    clash = other.replace("SPACE", "field").replace("START", "start")
    problem = one(look(sound.replace("rules:", clash, 1)))
    assert (line(problem), problem.key) == (15, "sources.other.signals.start")
    assert "'start' of the source 'plc' (line 12)" in problem.what
    assert (
        look(sound.replace("rules:", other.replace("SPACE", "testbed").replace("START", "start"), 1)).site is not None
    )
    disabled = clash.replace("asset: press", "asset: press, enabled: false")
    assert look(sound.replace("rules:", disabled, 1)).site is not None


def test_signals_for_an_adapter_that_takes_none(look: Look, sound: str) -> None:
    text = sound.replace("adapter: probe", "adapter: quiet").replace("options: {host: plc-1}", "options: {}")
    told = {(p.key, line(p)) for p in look(text).problems}
    assert ("sources.plc.signals", 11) in told
    assert ("rules.pressing.inputs.begun.tag", 22) in told


def test_warnings_do_not_keep_a_file_from_being_used(sound: str, look: Look) -> None:
    text = sound.replace("  press: {cell", "  spare: {}\n  press: {cell").replace("host: plc-1", "host: '${PLC}'")
    found = look(text)
    assert found.site is not None
    assert [(p.key, p.warning) for p in found.problems] == [("assets.spare", True), ("sources.plc.options.host", True)]
    assert found.site.warnings == found.problems
    assert "nothing is filled in" in one(look(sound.replace("host: plc-1", "host: ${PLC}"))).hint
    text = sound.replace("options: {host: plc-1}", "options: {host: plc-1}\n    enabled: false")
    found = look(text)
    assert found.site is not None
    assert [p.key for p in found.problems] == [
        f"rules.pressing.inputs.{name}.source" for name in ("begun", "done", "code")
    ]


@pytest.mark.parametrize("text", ["[]", "- a", "just text", "12", "null", "dari"])
def test_a_file_that_is_no_mapping_is_told(text: str, look: Look) -> None:
    found = look(text)
    assert found.site is None
    assert found.problems
    assert line(found.problems[0]) == 1


def test_load_raises_one_error_that_lists_all(sound: str, tmp_path: Path) -> None:
    path = tmp_path / "bad.yaml"
    path.write_text(sound.replace("probe", "prob").replace("heap", "haep"), encoding="utf-8")
    with pytest.raises(SiteError) as caught:
        site.load(path)
    assert caught.value.exit_code == 3
    assert len(caught.value.problems) == 2
    text = str(caught.value)
    assert "has 2 faults" in text
    assert f"{path}:7:14: sources.plc.adapter" in text
    assert f"{path}:30:15: sinks.log.sink" in text
    assert "Traceback" not in text


def test_an_adapter_that_can_not_be_imported_says_whose_it_is(
    sound: str, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(group: str, name: str) -> Any:
        if name == "probe":
            raise registry.PluginError(
                "the adapter 'probe' (x:Y, of acme-dari 1.2) can not be imported", hint="reinstall"
            )
        return real(group, name)

    real = registry.load
    monkeypatch.setattr(registry, "load", fail)
    problem = next(p for p in look(sound).problems if p.key == "sources.plc.adapter")
    assert "acme-dari 1.2" in problem.what
    assert line(problem) == 7


# -- properties --------------------------------------------------------------------------------------------------------


def _keys(text: str) -> list[tuple[int, str]]:
    """Line numbers and names of the keys that stand at the beginning of a line."""
    return [(n, r.strip().split(":")[0]) for n, r in enumerate(text.splitlines(), 1) if ":" in r and "- {" not in r]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_misspelt_key_is_found_on_its_line(sound: str, look: Look, data: st.DataObject) -> None:
    number, key = data.draw(st.sampled_from([k for k in _keys(sound) if len(k[1]) > 3]))
    spot = data.draw(st.integers(1, len(key) - 1))
    wrong = key[:spot] + data.draw(st.sampled_from("qxz")) + key[spot:]
    lines = sound.splitlines()
    lines[number - 1] = lines[number - 1].replace(key, wrong, 1)
    found = look("\n".join(lines) + "\n")
    # Renaming an asset, a source, a signal or an input breaks what names it; any other key is unknown where it stands.
    free = key in ("press", "plc", "start", "done", "alarm", "pressing", "begun", "code", "log")
    if free and key in ("pressing", "log"):
        assert found.site is not None
    elif free:
        assert any(nearest(key, [wrong]) and f"'{wrong}'" in p.hint + p.what for p in found.problems)
    else:
        unknown = [p for p in found.problems if "is not known here" in p.what]
        assert [line(p) for p in unknown] == [number]
        assert f"did you mean {key!r}" in unknown[0].hint


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_mutilated_file_is_used_or_told_with_places_and_never_raises(
    sound: str, look: Look, data: st.DataObject
) -> None:
    start = data.draw(st.integers(0, len(sound)))
    length = data.draw(st.integers(0, 30))
    new = data.draw(st.text(alphabet="abc:-[]{}\n \t'\"&*<on1.", max_size=8))
    found = look(sound[:start] + new + sound[start + length :])
    assert (found.site is None) == any(not p.warning for p in found.problems)
    for problem in found.problems:
        assert problem.mark is not None
        assert problem.what
        problem.excerpt(found.text)
