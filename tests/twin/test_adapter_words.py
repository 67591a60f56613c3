"""The twin's log lines: one for each episode, in words."""

from __future__ import annotations

from twin.adapter import told
from twin.episode import Outcome


def outcome(reason: str, injected: str | None, *observed: str) -> Outcome:
    return Outcome(reason, injected, observed, 0, None, 100)


def test_an_episode_without_a_fault_says_so_in_words():
    assert told(4, outcome("placed", None)) == "episode 4: placed; nothing injected, no failure observed"


def test_an_episode_with_a_fault_names_it_and_what_was_seen_of_it():
    line = told(7, outcome("given_up", "low_friction", "grasp.slip", "grasp.slip"))
    assert line == "episode 7: given up; low_friction injected, observed grasp.slip, grasp.slip"
