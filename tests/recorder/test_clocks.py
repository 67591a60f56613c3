"""The drift that a log tells of a clock: what its stamps can show, and not more."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from bridge.adapter import NO_STAMP
from recorder.clocks import _drift_ppm

MS, SECOND = 10**6, 10**9
ALIGNED = 1_760_000_000 * SECOND + np.arange(0, 60 * SECOND, 200 * MS, dtype=np.int64)


def ahead(ppm: float) -> NDArray[np.int64]:
    """The stamps of a clock that gains so much."""
    return ALIGNED + ((ALIGNED - ALIGNED[0]) * ppm / 1e6).astype(np.int64)


def sure(first_ns: int, last_ns: int) -> NDArray[np.int64]:
    return np.linspace(first_ns, last_ns, len(ALIGNED)).astype(np.int64)


def test_a_drift_that_stands_out_is_told() -> None:
    assert _drift_ppm(ahead(50.0), ALIGNED, sure(MS, MS)) == pytest.approx(50.0, abs=0.01)


def test_a_drift_within_what_its_two_ends_are_sure_is_not() -> None:
    # 50 ppm over a minute are 3 ms: less than 2 ms at its beginning and 1.5 ms at its end together.
    assert _drift_ppm(ahead(50.0), ALIGNED, sure(2 * MS, 1_500_000)) is None
    assert _drift_ppm(ahead(50.0), ALIGNED, sure(1_500_000, MS)) is not None


def test_stamps_of_unknown_certainty_tell_nothing() -> None:
    unknown = sure(MS, MS)
    unknown[: len(unknown) // 2] = NO_STAMP
    assert _drift_ppm(ahead(90.0), ALIGNED, unknown) == pytest.approx(90.0, abs=0.01)
    unknown[:] = NO_STAMP
    assert _drift_ppm(ahead(90.0), ALIGNED, unknown) is None
