"""`dari completion SHELL`: prints what makes the shell complete `dari`."""

from __future__ import annotations

import argparse

from bridge.commands.base import Command

SHELLS = ("bash", "zsh", "fish", "tcsh", "powershell")


def _configure(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="the shell to complete in")


def _run(args: argparse.Namespace) -> int:
    from argcomplete.shell_integration import shellcode

    # The shell asks `dari` itself for candidates (through argcomplete), so plug-ins complete too.
    print(shellcode(["dari"], shell=args.shell))
    return 0


completion = Command(
    name="completion",
    help="print shell completion",
    configure=_configure,
    run=_run,
    epilog='bash: eval "$(dari completion bash)" in ~/.bashrc\nzsh:  eval "$(dari completion zsh)" in ~/.zshrc\n'
    "fish: dari completion fish > ~/.config/fish/completions/dari.fish",
)
