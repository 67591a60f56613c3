"""The seam of a command: what `dari NAME` needs to know, light enough to be imported for `dari --help`.

A module that holds a command imports nothing heavy at its top: what it needs, it imports inside `run`. Another package
adds a command by an entry point in `dari.commands` that names a `Command`.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command of the front door.

    `help` is one line without a full stop; `configure` adds the arguments to its parser; `run` does the work and
    returns the exit code: 0 for success. Errors are raised as `DariError`; the front door prints them and exits with
    their code. `description` and `epilog` are shown by `dari NAME --help`.
    """

    name: str
    help: str
    configure: Callable[[argparse.ArgumentParser], None]
    run: Callable[[argparse.Namespace], int]
    description: str = ""
    epilog: str = ""
