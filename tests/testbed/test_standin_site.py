"""The demo's site file: without faults, and its rules against what truly happened in the stand-in."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import pytest
import yaml
from standin_run import StandinRun, wait_for

from bridge.rules.draft import EventDraft, Reading
from bridge.rules.engine import RuleEngine
from bridge.rules.plan import plan_rules
from bridge.schema import Correction, Failure, State, Task
from bridge.site import load
from bridge.site.model import Site

LAUNCH = Path(__file__).parents[2] / "launch"
CODES = {"grip lost": "grasp.slip", "nothing gripped": "part.missing", "following error": "motion.timeout"}
REST: dict[str | None, Any] = {"alarm_code": 0, "serial": 0, "weight": 0.0}


def test_the_site_file_has_no_fault() -> None:
    loaded = load(LAUNCH / "demo.yaml")
    assert {source.config.space.value for source in loaded.sources} == {"twin", "testbed", "field"}
    assert loaded.warnings == ()


def test_every_address_stands_once_so_that_the_demo_can_replace_it() -> None:
    text = (LAUNCH / "demo.yaml").read_text()
    for address in ("opc.tcp://127.0.0.1:14840/cell1", "port: 15020", "port: 11883", "domain: 77"):
        assert text.count(address) == 1, address


def test_the_rules_find_what_truly_happened(standin: StandinRun) -> None:
    wait_for(lambda: [j for j in standin.truth("job") if j["state"] == "done"][2:], "three jobs are done")
    # A moment more, so that the PLC has told the end of the third job as well.
    third = [j for j in standin.truth("job") if j["state"] == "done"][2]
    wait_for(
        lambda: [t for t in standin.truth("tag") if t["true_ns"] > third["true_ns"] + 250_000_000], "the PLC goes on"
    )
    site = msgspec.convert(yaml.safe_load((LAUNCH / "demo.yaml").read_text()), Site)
    plan = plan_rules("pick_place", site.rules["pick_place"], LAUNCH)
    tags = {str(signal["node"]).rpartition("s=")[2]: name for name, signal in site.sources["plc"].signals.items()}
    engine = RuleEngine(plan, lambda n: UUID(int=n), lambda n: UUID(int=10_000 + n))
    drafts: list[EventDraft] = []
    changes: dict[int, list[dict[str, Any]]] = {}
    for line in standin.truth("tag"):
        changes.setdefault(line["source_ns"], []).append(line)
    before = min(changes) - 1
    drafts += engine.feed(
        before,
        [
            Reading(i, REST.get(item.tag, False), before, None, "/t", str(item.tag))
            for i, item in enumerate(plan.inputs)
        ],
    )
    for at in sorted(changes):
        drafts += engine.feed(
            at,
            [
                Reading(i, line["value"], at, None, f"/field/cell1/{item.tag}", str(item.tag))
                for line in changes[at]
                for i, item in enumerate(plan.inputs)
                if item.source == "plc" and item.tag == tags.get(line["tag"])
            ],
        )
    jobs = [job for job in standin.truth("job") if job["state"] == "done"]
    failed = [task for task in standin.truth("task") if not task["succeeded"] and task["job"] <= jobs[2]["job"]]
    failures = [draft for draft in drafts if isinstance(draft.body, Failure)]
    assert len(failed) >= 1
    assert [draft.body.code.value for draft in failures][: len(failed)] == [CODES[task["reason"]] for task in failed]  # type: ignore[union-attr]
    assert all(draft.body.evidence for draft in failures)  # type: ignore[union-attr]
    begun = [draft for draft in drafts if isinstance(draft.body, Task) and draft.body.state is State.SUCCEEDED]
    assert len(begun) >= 3 and engine.counts["unknown_alarms"] == 0
    corrections = [draft.body for draft in drafts if isinstance(draft.body, Correction)]
    assert {correction.corrects for correction in corrections} <= {draft.id for draft in failures}
    # A slip is seen from the gripper's switch, before the robot has given up and its alarm is set.
    for draft, task in zip(failures, failed, strict=False):
        if task["reason"] == "grip lost":
            assert draft.t_ns < standin.clock("plc")(task["t1_true_ns"]) - 100_000_000


@pytest.mark.parametrize("code", ["11", "12", "13", "21", "31", "32", "40", "90"])
def test_every_alarm_of_the_plc_is_in_the_table(code: str) -> None:
    from bridge.rules.alarms import read_alarms
    from twin.testbed import plc

    table = read_alarms(LAUNCH / "demo-alarms.csv")
    assert table[code].text
    known = {*plc.ALARMS.values(), plc.ALARM_NO_PART, plc.ALARM_OTHER, plc.ALARM_ABANDONED}
    assert {int(key) for key in table} == known
