"""With hindsight: the same epochs as online, each clock smoothed over all of its minima and all of its reads.

The online run keeps, for every bin, the minimum and what it was worth. Within an epoch these go forwards and backwards through
the two-state filter (Rauch, Tung, Striebel: Maximum likelihood estimates of linear dynamic systems, 1965), reweighted so
that late minima count less than early ones (iteratively, as Huber's estimate is found). `bridge.clock.realign` finds the
distance from the floor to the offset from the reads around each time: a floor that moves is followed piece by piece.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from bridge.clock.line import DRIFT_WALK, OFFSET_WALK

Floats = npt.NDArray[np.float64]


def smooth(times: Floats, values: Floats, variances: Floats, moved: Floats, passes: int = 3) -> tuple[Floats, Floats]:
    """The offset at each time and its standard deviation, from all values.

    Args:
        times: s, ascending.
        values: ns; late by what a minimum is late.
        variances: ns^2.
        moved: ns by which the line was moved there, 0 where it was not: there the filter is opened.
        passes: how often late values are weighed anew.
    """
    n = times.size
    weights = np.ones(n)
    state = np.zeros((n, 2))
    sigma = np.zeros(n)
    for _ in range(passes):
        state, sigma = _pass(times, values, variances / weights, moved)
        score = (values - state[:, 0]) / np.sqrt(variances + sigma**2)
        weights = np.where(score > 1.5, 1.5 / np.maximum(score, 1e-9), 1.0)
        weights = np.where(score > 6.0, 1e-3, weights)
    return state[:, 0], sigma


def _pass(times: Floats, values: Floats, variances: Floats, moved: Floats) -> tuple[Floats, Floats]:
    """Forwards and backwards once."""
    n = times.size
    ahead_x, ahead_p = np.zeros((n, 2)), np.zeros((n, 2, 2))
    kept_x, kept_p = np.zeros((n, 2)), np.zeros((n, 2, 2))
    x, p = np.array([values[0], 0.0]), np.diag([max(variances[0], 1.0) * 100.0, 1e10])
    for i in range(n):
        if i:
            dt = times[i] - times[i - 1]
            x = np.array([x[0] + dt * x[1], x[1]])
            f = np.array([[1.0, dt], [0.0, 1.0]])
            p = f @ p @ f.T + _walk(dt, moved[i])
        ahead_x[i], ahead_p[i] = x, p
        gain = p[:, 0] / (p[0, 0] + variances[i])
        x = x + gain * (values[i] - x[0])
        p = p - np.outer(gain, p[0])
        kept_x[i], kept_p[i] = x, p
    for i in range(n - 2, -1, -1):
        dt = times[i + 1] - times[i]
        f = np.array([[1.0, dt], [0.0, 1.0]])
        gain2 = kept_p[i] @ f.T @ np.linalg.inv(ahead_p[i + 1])
        kept_x[i] = kept_x[i] + gain2 @ (kept_x[i + 1] - ahead_x[i + 1])
        kept_p[i] = kept_p[i] + gain2 @ (kept_p[i + 1] - ahead_p[i + 1]) @ gain2.T
    return kept_x, np.sqrt(np.maximum(kept_p[:, 0, 0], 1.0))


def _walk(dt: float, moved: float) -> Floats:
    """What offset and drift may do within `dt` s."""
    cube = DRIFT_WALK * dt**3 / 3.0 + OFFSET_WALK * dt
    q = np.array([[cube, 0.5 * DRIFT_WALK * dt * dt], [0.5 * DRIFT_WALK * dt * dt, DRIFT_WALK * dt]])
    if moved:
        slope = min(abs(moved) / max(dt, 0.1), 1e6)
        q = q + np.diag([moved * moved, slope * slope])
    return q
