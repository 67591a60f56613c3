"""The front door: `dari`. Knows the commands by name, loads the one that is asked for, and says errors so that one can act.

Exit codes: 0 done; 1 failed; 2 called wrongly; 3 site file; 4 not connected; 5 something is not installed; 6 log; 7 schema;
8 bus; 9 and 10 see `bridge.runtime`; 130 interrupted.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

import bridge
from bridge.commands.base import Command
from bridge.errors import DariError, UsageError
from bridge.names import nearest

BUILT_IN = {
    "demo": "bridge.commands.demo:demo",
    "run": "bridge.commands.run:run",
    "check": "bridge.commands.check:check",
    "init": "bridge.commands.init:init",
    "adapters": "bridge.commands.adapters:adapters",
    "doctor": "bridge.commands.doctor:doctor",
    "completion": "bridge.commands.completion:completion",
}
"""The bridge's own commands; the others come by entry points in `dari.commands`."""

INTERRUPTED = 130


def _load(name: str) -> Command:
    target = BUILT_IN.get(name)
    if target is not None:
        import importlib

        module, _, attribute = target.partition(":")
        loaded = getattr(importlib.import_module(module), attribute)
    else:
        from bridge import registry

        loaded = registry.load(registry.COMMANDS, name)
    assert isinstance(loaded, Command)
    return loaded


def command_names() -> list[str]:
    """Every command that is installed here, ours first."""
    from bridge import registry

    return [*BUILT_IN, *(name for name in registry.names(registry.COMMANDS) if name not in BUILT_IN)]


def build_parser(names: Sequence[str]) -> argparse.ArgumentParser:
    """The parser with the commands `names`; each is imported, none of what it needs is."""
    parser = argparse.ArgumentParser(
        prog="dari",
        description="One pipeline for a simulated twin, a ROS 2 testbed robot and the shop floor.",
        epilog="dari COMMAND --help tells more. First steps: dari demo, then dari init.",
    )
    parser.add_argument("--version", action="version", version=f"dari {bridge.__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", title="commands")
    for name in names:
        command = _load(name)
        sub = commands.add_parser(
            name,
            help=command.help,
            description=command.description or f"{command.help}.",
            epilog=command.epilog or None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        command.configure(sub)
        sub.set_defaults(_run=command.run)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        if "_ARGCOMPLETE" in os.environ:
            import argcomplete

            argcomplete.autocomplete(build_parser(command_names()))
        wanted = arguments[0] if arguments and not arguments[0].startswith("-") else None
        names = command_names()
        if wanted is not None and wanted not in names:
            near = nearest(wanted, names)
            raise UsageError(
                f"there is no command {wanted!r}", hint=f"did you mean `dari {near}`?" if near else "dari --help"
            )
        parser = build_parser([wanted] if wanted is not None else names)
        parsed = parser.parse_args(arguments)
        if wanted is None:
            parser.print_help()
            return 0
        return int(parsed._run(parsed))
    except DariError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `dari events LOG | head`: the reader has had enough. Python would complain at exit while flushing.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


if __name__ == "__main__":
    sys.exit(main())
