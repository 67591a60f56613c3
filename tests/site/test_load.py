"""Loading: a sound file gives typed things; each way to break it is told with line, key and words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from conftest import HeapSink, Limits, ProbeAdapter, ProbeOptions, ProbeSignal
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bridge import registry, site
from bridge.errors import SiteError, UsageError
from bridge.names import nearest
from bridge.schema import Asset, Space
from bridge.site import Examination, SiteProblem

Look = Callable[[str], Examination]


def one(found: Examination) -> SiteProblem:
    """The only problem."""
    assert len(found.problems) == 1, [str(p) for p in found.problems]
    return found.problems[0]


def line(problem: SiteProblem) -> int:
    assert problem.mark is not None
    return problem.mark.line


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

BREAKS: list[tuple[str, str, int, str, str, str]] = [
    # what is replaced, by what, line, key, words of the fault, words of the hint
    ("dari: 1", "dari: 2", 1, "dari", "expected the number 1, found the number 2", ""),
    ("dari: 1", "dari: '1'", 1, "dari", "expected the number 1, found the text '1'", "take the quotes away"),
    ("dari: 1\n", "", 1, "", "the key 'dari' is missing", "write dari:"),
    ("site: {name: line-1", "site: {nam: line-1", 2, "site.nam", "not known here", "did you mean 'name'"),
    ("name: line-1", "name: 2nd", 2, "site.name", "expected a name: a letter, then", ""),
    ("name: line-1", "name: ~", 2, "site.name", "found nothing", "write a value"),
    ("enterprise: acme", "enterprise: 12", 2, "site.enterprise", "expected text, found the number 12", "in quotes: '12'"),
    ("area: north", "area: no", 2, "site.area", "found no, which YAML reads as false", "in quotes: 'no'"),
    ("cell: cell-3", "cell: 017", 4, "assets.press.cell", "the number 017", "octal, as the number 15"),
    ("cell: cell-3", "cell: 12:30", 4, "assets.press.cell", "the number 12:30", "base 60, as the number 750"),
    ("cell: cell-3", "cell: [a]", 4, "assets.press.cell", "expected text, found a list of 1", ""),
    ("  press: {cell", "  3press: {cell", 4, "assets.3press", "'3press' is not a name", "rename"),
    ("  plc:\n", "  plc plc:\n", 6, "sources.plc plc", "'plc plc' is not a name", "rename"),
    ("adapter: probe", "adapter: prob", 7, "sources.plc.adapter", "no adapter is named 'prob'", "did you mean 'probe'"),
    ("adapter: probe", "adaptor: probe", 7, "sources.plc.adaptor", "not known here", "did you mean 'adapter'"),
    ("adapter: probe", "adapter: 5", 7, "sources.plc.adapter", "expected text, found the number 5", "in quotes"),
    ("space: field\n    asset: press\n    opt", "space: feild\n    asset: press\n    opt", 8, "sources.plc.space",
     "expected one of twin, testbed, field, found the text 'feild'", "did you mean 'field'"),
    ("asset: press\n    opt", "asset: pres\n    opt", 9, "sources.plc.asset", "no asset is named 'pres'", "'press'"),
    ("    options: {", "    on: 1\n    options: {", 10, "sources.plc.on", "truth value true", "never name a key on"),
    ("    options: {", "    space: field\n    options: {", 10, "sources.plc.space", "twice (the first is on line 8)", "keep"),
    ("    options: {", "    restart: nope\n    options: {", 10, "sources.plc.restart", "expected true or false", ""),
    ("    options: {", "    enabled: 'true'\n    options: {", 10, "sources.plc.enabled", "true or false", "quotes away"),
    ("    options: {", "    delay_prior_ms: -1\n    options: {", 10, "sources.plc.delay_prior_ms",
     "expected a number from 0 to 86400000, found the number -1", ""),
    ("    options: {", "    delay_prior_ms: 1:30\n    options: {", 10, "sources.plc.delay_prior_ms",
     "YAML reads 1:30 in base 60, as the number 90", "in decimal"),
    ("    options: {", "    delay_prior_ms: .inf\n    options: {", 10, "sources.plc.delay_prior_ms", "number .inf", "finite"),
    ("{host: plc-1}", "{hots: plc-1}", 10, "sources.plc.options.hots", "not known here", "did you mean 'host'"),
    ("{host: plc-1}", "{}", 10, "sources.plc.options", "the key 'host' is missing", "write host: (text)"),
    ("    options: {host: plc-1}\n", "", 6, "sources.plc.options", "the key 'host' is missing", "write host"),
    ("{host: plc-1}", "[host]", 10, "sources.plc.options", "expected a mapping", ""),
    ("host: plc-1", "host: plc-1, port: 70000", 10, "sources.plc.options.port", "from 1 to 65535, found the number 70000", ""),
    ("host: plc-1", "host: plc-1, port: 010", 10, "sources.plc.options.port", "in octal, as the number 8", "decimal"),
    ("host: plc-1", "host: plc-1, port: 0o10", 10, "sources.plc.options.port", "the text '0o10'", "write 8"),
    ("host: plc-1", "host: plc-1, port: 502.0", 10, "sources.plc.options.port", "a whole number", "write 502"),
    ("host: plc-1", "host: plc-1, port: '502'", 10, "sources.plc.options.port", "the text '502'", "quotes away"),
    ("host: plc-1", "host: plc-1, period_ms: 0", 10, "sources.plc.options.period_ms", "a number above 0", ""),
    ("host: plc-1", "host: plc-1, mode: fst", 10, "sources.plc.options.mode", "one of fast, slow", "did you mean 'fast'"),
    ("host: plc-1", "host: plc-1, limits: {low: 11}", 10, "sources.plc.options.limits", "low 11 is above high 10", ""),
    ("host: plc-1", "host: plc-1, limits: {lo: 1}", 10, "sources.plc.options.limits.lo", "not known", "'low'"),
    ("host: plc-1", "host: plc-1, tags: one", 10, "sources.plc.options.tags", "expected a list", "[one]"),
    ("host: plc-1", "host: plc-1, tags: [a, 7]", 10, "sources.plc.options.tags[1]", "found the number 7", "'7'"),
    ("host: plc-1", "host: plc-1, pair: [1]", 10, "sources.plc.options.pair", "a list of 2", ""),
    ("host: plc-1", "host: plc-1, groups: {a: b}", 10, "sources.plc.options.groups.a", "a whole number", ""),
    ("host: plc-1", "host: plc-1, either: 1.5", 10, "sources.plc.options.either", "a whole number or text", ""),
    ("host: plc-1", "host: plc-1, either: [1]", 10, "sources.plc.options.either", "found a list of 1", ""),
    ("host: plc-1", "host: explode", 10, "sources.plc.options", "RuntimeError: boom", "report this"),
    ("host: plc-1", "host: plc 1", 10, "sources.plc.options.host", "'plc 1' is no host", ""),
    ("host: plc-1", "host: h, mode: slow, verbose: yes", 10, "sources.plc.options", "slow and verbose", ""),
    ("start: {address: 1}", "start: {address: -1}", 12, "sources.plc.signals.start.address", "0 to 65535", ""),
    ("start: {address: 1}", "start: {adress: 1}", 12, "sources.plc.signals.start.adress", "not known", "'address'"),
    ("start: {address: 1}", "start: {address: 13}", 12, "sources.plc.signals.start.address", "unlucky", ""),
    ("start: {address: 1}", "start: 1", 12, "sources.plc.signals.start", "a mapping with keys of", ""),
    ("alarm: {address: 3}", "alarm: {address: 3}\n      start: {address: 4}", 15, "sources.plc.signals.start", "twice", "keep"),
    ("alarm: {address: 3}", "alarm: {address: 3}\n      1st: {address: 4}\n      n1st: {address: 5}", 16,
     "sources.plc.signals.n1st", "written as /field/press/n1st, which is taken by '1st'", "rename"),
    ("task: press", "task: press it", 17, "rules.pressing.task", "expected a name", ""),
    ("verb: move", "verb: mvoe", 18, "rules.pressing.verb", "no core verb 'mvoe'", "did you mean 'move'"),
    ("verb: move", "verb: com.acme.press", 18, "rules.pressing.verb", "a core verb is needed", "base_verb"),
    ("asset: press\n    inputs", "asset: prss\n    inputs", 20, "rules.pressing.asset", "no asset", "'press'"),
    ("begun: {source: plc", "begun: {source: plcc", 22, "rules.pressing.inputs.begun.source", "no source", "'plc'"),
    ("tag: start", "tag: strat", 22, "rules.pressing.inputs.begun.tag", "no signal 'strat'", "did you mean 'start'"),
    ("tag: start}", "tag: start, topic: x}", 22, "rules.pressing.inputs.begun", "either a tag or a field", ""),
    ("tag: start}", "topic: x}", 22, "rules.pressing.inputs.begun", "the field of the topic is missing", ""),
    ("tag: start}", "tag: start, debounce_ms: -1}", 22, "rules.pressing.inputs.begun.debounce_ms", "from 0", ""),
    ("emit: started", "emit: startd", 26, "rules.pressing.rules[0].emit", "'startd'", "did you mean 'started'"),
    ("trigger: rise, when: begun", "trigger: rose, when: begun", 26, "rules.pressing.rules[0].trigger", "'rose'", "'rise'"),
    ("when: begun", "wehn: begun", 26, "rules.pressing.rules[0].wehn", "not known here", "did you mean 'when'"),
    (", when: begun", "", 26, "rules.pressing.rules[0]", "needs when", "add when"),
    ("from: [idle]", "from: idle", 26, "rules.pressing.rules[0].from", "expected a list", "[idle]"),
    ("from: [idle]", "from: [idel]", 26, "rules.pressing.rules[0].from", "'idel'", "did you mean 'idle'"),
    ("when: code != 0", "when: cod != 0", 27, "rules.pressing.rules[1].when", "no input is named 'cod'", "'code'"),
    ("when: code != 0", "when: code.x != 0", 27, "rules.pressing.rules[1].when", "a dotted name", ""),
    ("when: code != 0", "when: code !=", 27, "rules.pressing.rules[1].when", "can not be read", ""),
    ("code: unknown", "code: grasp.slipp", 27, "rules.pressing.rules[1].code", "neither a failure code", "'grasp.slip'"),
    ("    inputs:", "    alarms: gone.csv\n    inputs:", 21, "rules.pressing.alarms", "can not be read", "relative"),
    ("    inputs:", "    after_gap: guess\n    inputs:", 21, "rules.pressing.after_gap", "'guess'", "baseline, infer"),
    ("sink: heap", "sink: haep", 30, "sinks.log.sink", "no sink is named 'haep'", "did you mean 'heap'"),
    ("sink: heap", "sink: heap, options: {dir: x}", 30, "sinks.log.options.dir", "not known here", "directory"),
    ("sinks:", "snks:", 29, "snks", "the key 'snks' is not known here", "did you mean 'sinks'"),
]  # fmt: skip


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


ALL_AT_ONCE = """\
dari: 2
site: {nam: line-1, area: no}
assets:
  press: {cell: 017}
sources:
  plc:
    adapter: probe
    space: feild
    asset: pres
    on: 1
    options: {hots: plc-1, port: 70000, password: hunter2}
    signals:
      start: {address: -1}
      start: {address: 1}
  robot:
    adapter: prob
    space: testbed
    asset: press
rules:
  pressing:
    task: press
    verb: move
    space: field
    asset: press
    inputs:
      begun: {source: plc, tag: strat}
    rules:
      - {emit: started, trigger: rise, wehn: begun, from: [idle]}
      - {emit: succeeded, trigger: rise, when: began}
sinks:
  log: {sink: haep}
"""


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


# -- secrets -----------------------------------------------------------------------------------------------------------


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
