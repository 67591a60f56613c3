"""The reference says what is so: its example runs, and it leaves nothing out."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bridge.rules.alarms import COLUMNS, read_alarms
from bridge.rules.expression import LONGEST
from bridge.rules.order import LATENESS_NS
from bridge.rules.plan import EMITS, GUARDS, PHASES, TRIGGERS, plan_rules
from bridge.rules.stage import LATE
from bridge.site.model import Rule, RuleInput, RuleSet

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "rules.md"
TEXT = REFERENCE.read_text(encoding="utf-8")


def block(language: str) -> str:
    found = re.search(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)
    assert found is not None
    return found.group(1)


def test_its_example_has_no_faults(tmp_path: Path) -> None:
    (tmp_path / "alarms.csv").write_text(block("csv"), encoding="utf-8")
    assert list(read_alarms(tmp_path / "alarms.csv")) == ["1001", "1002"]
    example = msgspec.yaml.decode(block("yaml"), type=dict[str, dict[str, RuleSet]])
    plan = plan_rules("press", example["rules"]["press"], tmp_path)
    assert [rule.emit for rule in plan.rules] == ["started", "failed", "failed", "failed", "corrected", "succeeded"]


@pytest.mark.parametrize(
    "word",
    [
        *EMITS,
        *TRIGGERS,
        *PHASES,
        *COLUMNS,
        *(field.encode_name for field in msgspec.structs.fields(Rule)),
        *(field.encode_name for field in msgspec.structs.fields(RuleInput)),
        "after_gap: infer",
        LATE,
        f"{LONGEST} characters",
        f"{LATENESS_NS // 1_000_000} ms",
    ],
)
def test_it_leaves_nothing_out(word: str) -> None:
    assert re.search(rf"(?<![a-z_]){re.escape(word)}(?![a-z_])", TEXT), word


def test_the_phases_without_from_are_those_it_tells() -> None:
    assert "`started` from `idle`, `failed` and `unknown`; `corrected` from `failed`; all others from `active`" in TEXT
    assert GUARDS["started"] == ("idle", "failed", "unknown")
    assert GUARDS["corrected"] == ("failed",)
    assert {GUARDS[emit] for emit in EMITS if emit not in ("started", "corrected")} == {("active",)}


def test_the_demo_s_rules_have_no_faults() -> None:
    launch = REFERENCE.parents[2] / "launch"
    for path in launch.glob("*.yaml"):
        site = msgspec.yaml.decode(path.read_bytes())
        for name, given in site.get("rules", {}).items():
            plan_rules(name, msgspec.convert(given, RuleSet), launch)
