"""The bench of `rules_bench`, as a fixture that holds what it makes to the ledger."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from rules_bench import Bench, rule_set


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Makes benches; none of them may have said anything that the ledger calls a violation."""
    made: list[Bench] = []

    def make(rules: list[dict[str, Any]], **changes: Any) -> Bench:
        directory = changes.pop("directory", ".")
        made.append(Bench(rule_set(rules=rules, **changes), directory))
        return made[-1]

    yield make
    for one in made:
        assert one.violations == []
