"""Random streams that depend on nothing but their name: the same data set, episode and stream give the same numbers.

Scene, fault and noise draw from streams of their own, so that another fault leaves the scene as it was.
"""

from __future__ import annotations

import hashlib

import numpy as np


def stream(data_set: str, episode: int, name: str) -> np.random.Generator:
    """The generator of one stream: Philox, keyed by 128 bits of SHA-256 of (data set, episode, stream)."""
    digest = hashlib.sha256(f"{data_set}\0{episode}\0{name}".encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def between(generator: np.random.Generator, low: float, high: float) -> float:
    """One uniform draw in [low, high)."""
    return low + (high - low) * float(generator.random())
