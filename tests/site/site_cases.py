"""Site files for tests: a sound one, every way to break it, and one with many faults at once."""

from __future__ import annotations

from collections.abc import Callable

from bridge.site import Examination, SiteProblem

Look = Callable[[str], Examination]


def one(found: Examination) -> SiteProblem:
    """The only problem."""
    assert len(found.problems) == 1, [str(p) for p in found.problems]
    return found.problems[0]


def line(problem: SiteProblem) -> int:
    assert problem.mark is not None
    return problem.mark.line


SOUND = """\
dari: 1
site: {name: line-1, enterprise: acme, area: north}
assets:
  press: {cell: cell-3, unit: press-1}
sources:
  plc:
    adapter: probe
    space: field
    asset: press
    options: {host: plc-1}
    signals:
      start: {address: 1}
      done: {address: 2}
      alarm: {address: 3}
rules:
  pressing:
    task: press
    verb: move
    space: field
    asset: press
    inputs:
      begun: {source: plc, tag: start}
      done: {source: plc, tag: done}
      code: {source: plc, tag: alarm}
    rules:
      - {emit: started, trigger: rise, when: begun, from: [idle]}
      - {emit: failed, trigger: rise, when: code != 0, code: unknown, from: [active]}
      - {emit: succeeded, trigger: rise, when: done and code == 0, from: [active]}
sinks:
  log: {sink: heap}
"""

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
    ("alarm: {address: 3}", "alarm: {address: 3}\n      Signals: {address: 4}\n      signals: {address: 5}", 16,
     "sources.plc.signals.signals", "the name of the table", "rename"),
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
