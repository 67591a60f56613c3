"""The line that a clock's minima lie on: offset and drift, in a Kalman filter of two states.

The minimum of a bin of one-way differences is the offset plus the smallest delay, a little late (Moon, Skelly, Towsley:
Estimation and removal of clock skew from network delay measurements, INFOCOM 1999; Zhang, Liu, Xia: Clock synchronization
algorithms for network measurements, INFOCOM 2002). How late varies by about the gap between the smallest and the next.
"""

from __future__ import annotations

from math import sqrt

DRIFT_WALK = 1500.0
"""Random walk of the drift, (ns/s)^2 per second: 0.3 ppm in a minute, a crystal that warms."""
OFFSET_WALK = 400.0
"""Random walk of the offset, ns^2 per second."""
DRIFT_PRIOR = 1e5
"""Standard deviation of an unknown drift, ns/s: 100 ppm."""
STEEPEST = 1e6
"""No manoeuvre is taken to be steeper than this, ns/s: 1000 ppm."""
LATE = 4.0
"""So many standard deviations late is not the minimum's scatter."""
HUBER = 1.5
"""Beyond so many standard deviations late, a minimum weighs less (Huber 1964)."""


class Line:
    """`offset + drift * (s - at)`: ns above the base for the stamp `s`, ns above the base's stamp.

    `drift` is a ratio. `variance` is the offset's, ns^2, at `at`; `noise` the variance of a bin's minimum, ns^2.
    """

    __slots__ = ("at", "bins", "covariance", "drift", "drift_variance", "noise", "offset", "surprise", "variance")

    def __init__(self, at: int, offset: float, drift: float = 0.0, drift_sigma: float = DRIFT_PRIOR) -> None:
        self.at = at
        self.offset = offset
        self.drift = drift
        self.variance = 1e18
        self.covariance = 0.0
        self.drift_variance = drift_sigma * drift_sigma
        self.noise = 0.0
        self.surprise = 1.0
        self.bins = 0

    def predict(self, s: int) -> None:
        """Move to the stamp `s`; the variances grow by what a clock may do in the time between."""
        step = s - self.at
        self.offset += self.drift * step
        self.at = s
        dt = step * 1e-9
        span = abs(dt)
        self.variance += (
            2.0 * dt * self.covariance
            + dt * dt * self.drift_variance
            + OFFSET_WALK * span
            + DRIFT_WALK * span * span * span / 3.0
        )
        self.variance = max(self.variance, 1.0)
        self.covariance += dt * self.drift_variance + 0.5 * DRIFT_WALK * dt * span
        self.drift_variance += DRIFT_WALK * span

    def learn_noise(self, gap: float, grain: float) -> None:
        """Take the gap between the two smallest of a bin, ns, and what stamps are rounded to, ns."""
        square = gap * gap
        if self.bins == 0:
            self.noise = square
        else:
            weight = max(0.05, 1.0 / (self.bins + 1))
            # One odd bin must not open the filter: it counts for at most nine times what was usual.
            self.noise += weight * (min(square, 9.0 * self.noise + 1e6) - self.noise)
        self.noise = max(self.noise, 100.0, 0.02 * grain * grain)

    def sigma(self, measured: float | None = None) -> float:
        """Standard deviation expected of a bin's minimum, ns."""
        return sqrt(self.variance + (self.r() if measured is None else measured))

    def r(self) -> float:
        """Variance of a measurement, ns^2, as the minima seen so far suggest."""
        return self.noise * self.surprise

    def open(self, error: float, dt: float) -> None:
        """Let the filter follow a manoeuvre that has brought the offset off by `error` ns within `dt` s."""
        self.variance += error * error
        slope = max(-STEEPEST, min(STEEPEST, error / max(dt, 0.1)))
        self.drift_variance += slope * slope
        self.covariance += 0.5 * error * slope

    def restart(self, offset: float, slope: float, slope_sigma: float) -> None:
        """Follow a slew from here on: `offset` ns above the line as it was, and `slope` ns/s steeper."""
        self.offset += offset
        self.drift += slope * 1e-9
        self.variance = self.r() + 1.0
        self.drift_variance += slope_sigma * slope_sigma
        self.covariance = sqrt(self.variance * self.drift_variance) * 0.5

    def update(self, residual: float) -> None:
        """Take a bin's minimum, `residual` ns above the line at `at`."""
        noise = self.r()
        total = self.variance + noise
        score = residual / sqrt(total)
        if score > HUBER and self.bins >= 3:
            # Huber's weight: the pull of what is late grows no more.
            noise = total * score / HUBER - self.variance
            total = self.variance + noise
        gain = self.variance / total
        drift_gain = self.covariance / total
        self.offset += gain * residual
        self.drift += drift_gain * residual * 1e-9
        self.drift_variance = max(self.drift_variance - drift_gain * self.covariance, 1.0)
        self.covariance *= 1.0 - gain
        self.variance = max(self.variance * (1.0 - gain), 1.0)
        if self.bins >= 5:
            self.surprise += 0.05 * (min(score * score, 9.0) - self.surprise)
            self.surprise = min(max(self.surprise, 0.5), 9.0)
        self.bins += 1
