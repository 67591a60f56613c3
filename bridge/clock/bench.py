"""Runs the clocks over a bench's input as it would have come, and writes where each sample was put.

The input is an `.npz` with rows in the order of arrival: `source`, `device_stamp_ns` (-2^63: none), `arrival_ns`, `request_ns`
(-1: none), two-way reads `p_source, p_tx_ns, p_dev_ns, p_rx_ns`, and `meta`, JSON, that declares each source. The output
has `aligned_ns`, `unc_ns` and `event_row`, the rows at which an epoch was opened.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from bridge.clock.config import ClockConfig
from bridge.clock.realign import realign
from bridge.clock.source import SourceClock

NO_STAMP = -(2**63)
Arrays = Mapping[str, npt.NDArray[Any]]


def config_of(meta: Mapping[str, Any]) -> ClockConfig:
    """What a source's `meta` declares."""
    low, high = meta["min_delay_prior_ns"]
    return ClockConfig(
        quantum_ns=meta["quantum_ns"],
        wrap_ns=meta["wrap_ns"],
        in_order=meta["in_order"],
        pausable=meta["pausable"],
        nominal_period_ns=meta["nominal_period_ns"],
        min_delay_ns=low,
        max_delay_ns=high,
    )


def run_online(
    public: Arrays, only: set[str] | None = None, cost: dict[str, float] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Where each row was put, ns, the half-width, ns, and the rows that opened an epoch; nothing looks ahead.

    Args:
        public: the bench's input.
        only: names of the sources to run; all where None.
        cost: filled with each source's cost, us a sample.
    """
    placed = public["arrival_ns"].copy()
    width = np.full(placed.size, 1e9)
    events: list[int] = []
    for meta in json.loads(str(public["meta"])):
        if only is not None and meta["name"] not in only:
            continue
        rows = np.flatnonzero(public["source"] == meta["id"])
        stamps = public["device_stamp_ns"][rows].tolist()
        arrivals = public["arrival_ns"][rows].tolist()
        requests = public["request_ns"][rows].tolist()
        mine = np.flatnonzero(public["p_source"] == meta["id"])
        probes = [public[name][mine].tolist() for name in ("p_tx_ns", "p_dev_ns", "p_rx_ns")]
        found: list[int] = []

        def opened(_epoch: int, arrival: int, found: list[int] = found) -> None:
            found.append(arrival)

        clock = SourceClock(config_of(meta), on_epoch=opened)
        out_a, out_w = np.empty(rows.size, np.int64), np.empty(rows.size)
        begun = time.perf_counter()
        p, last = 0, len(mine)
        seen = 0
        for i, (stamp, arrival, request) in enumerate(zip(stamps, arrivals, requests, strict=True)):
            while p < last and probes[2][p] <= arrival:
                clock.probe(probes[0][p], probes[1][p], probes[2][p])
                p += 1
            out = clock.update(None if stamp == NO_STAMP else stamp, arrival, request=None if request < 0 else request)
            out_a[i], out_w[i] = out.aligned, out.uncertainty
            if len(found) > seen:
                seen = len(found)
                events.append(int(rows[i]))
        if cost is not None:
            cost[meta["name"]] = (time.perf_counter() - begun) / max(1, rows.size) * 1e6
        placed[rows], width[rows] = out_a, out_w
    return placed, width, np.array(sorted(events), np.int64)


def run_offline(
    public: Arrays, only: set[str] | None = None, cost: dict[str, float] | None = None
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """As `run_online`, with hindsight: the same epochs, each sample where all minima and reads put it."""
    placed, width, events = run_online(public, only, cost)
    for meta in json.loads(str(public["meta"])):
        config = config_of(meta)
        rows = np.flatnonzero(public["source"] == meta["id"])
        if (only is not None and meta["name"] not in only) or config.pausable or not rows.size:
            continue
        if public["device_stamp_ns"][rows[0]] == NO_STAMP:
            continue
        mine = np.flatnonzero(public["p_source"] == meta["id"])
        probes = [public[name][mine] for name in ("p_tx_ns", "p_dev_ns", "p_rx_ns")]
        begun = time.perf_counter()
        again = realign(
            config, public["device_stamp_ns"][rows], public["arrival_ns"][rows], probes[0], probes[1], probes[2]
        )
        if cost is not None:
            cost[meta["name"]] = (time.perf_counter() - begun) / max(1, rows.size) * 1e6
        placed[rows], width[rows] = again.aligned, again.uncertainty
    return placed, width, events


def main(arguments: list[str] | None = None) -> int:
    """`python -m bridge.clock.bench --public public.npz --out submission.npz [--offline]`."""
    parser = argparse.ArgumentParser(description="Align a clock bench's input and write a submission for its scorer.")
    parser.add_argument("--public", type=Path, required=True, help="the bench's input, .npz")
    parser.add_argument("--out", type=Path, required=True, help="where the submission goes, .npz")
    parser.add_argument("--offline", action="store_true", help="with hindsight, as `dari realign` does")
    options = parser.parse_args(arguments)
    public = dict(np.load(options.public))
    cost: dict[str, float] = {}
    run = run_offline if options.offline else run_online
    placed, width, events = run(public, cost=cost)
    np.savez_compressed(options.out, aligned_ns=placed, unc_ns=width, event_row=events)
    print("us a sample: " + ", ".join(f"{name} {value:.2f}" for name, value in cost.items()))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
