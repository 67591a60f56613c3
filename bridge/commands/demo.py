"""`dari demo`: one cell seen from three spaces, through the very path that a user would take."""

from __future__ import annotations

import argparse

from bridge.commands.base import Command

SECONDS = 30.0
SEED = 1


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--seconds",
        type=float,
        default=SECONDS,
        metavar="S",
        help=f"record for about S seconds (default {SECONDS:.0f})",
    )
    parser.add_argument("--seed", type=int, default=SEED, metavar="N", help=f"what the twin draws (default {SEED})")
    parser.add_argument("--out", default="demo", metavar="DIR", help="where the log goes (default: demo)")
    parser.add_argument(
        "--no-ros", action="store_true", help="the testbed robot's leg without DDS, as where ROS 2 is not to be had"
    )


def _run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from bridge.demo import Demo
    from bridge.errors import UsageError

    if args.seconds < 5:
        raise UsageError(f"--seconds {args.seconds:g} is too short to show anything", hint="dari demo --seconds 30")
    if not 0 <= args.seed < 2**31:
        raise UsageError(f"--seed {args.seed} is not between 0 and 2147483647")
    return Demo(seconds=args.seconds, seed=args.seed, out=Path(args.out), ros=not args.no_ros).run()


demo = Command(
    name="demo",
    help="run a twin, a testbed robot and a shop floor, and record them",
    configure=_configure,
    run=_run,
    description="Runs a simulated cell (space twin), an emulated testbed robot that speaks ROS 2 only (space testbed) and its\n"
    "cell's PLC and sensors as real OPC UA, Modbus and MQTT servers on loopback (space field), records all of them into\n"
    "one log by `dari run` and a site file, and says what happened. Everything it starts is stopped.",
)
