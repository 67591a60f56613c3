"""Secrets of a site file: named there, kept elsewhere. The file says which variable or which file holds one.

An adapter types such an option as `Secret` (or `Secret | None`) and calls `value` when it connects.
"""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from bridge.errors import SiteError

Variable = Annotated[
    str, Meta(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", description="the name of an environment variable, without a $")
]
HOW = "write {env: NAME} for an environment variable or {file: PATH} for a file that only you can read"

URL_PASSWORD = re.compile(r"(?<=://)([^/\s:@]*):([^/\s@]+)@")
"""The part of a URL that gives a password away: `mqtt://user:password@host`."""


class Secret(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, repr_omit_defaults=True):
    """Where a secret is kept: the environment variable `env`, or the file `file`, one of the two.

    A relative path is meant from the site file's folder. What is printed of it is where it is kept, never what it is.
    """

    env: Variable | None = None
    file: str | None = None

    def __post_init__(self) -> None:
        if (self.env is None) == (self.file is None):
            raise ValueError(f"a secret is kept in one place: {HOW}")

    def value(self, directory: str | Path = ".") -> str:
        """The secret itself, read now; a file's last line end is not part of it.

        Raises:
            SiteError: the variable is not set or empty, or the file is missing, empty or not to be read.
        """
        if self.env is not None:
            text = os.environ.get(self.env, "")
            if not text:
                state = "empty" if self.env in os.environ else "not set"
                raise SiteError(
                    f"the environment variable {self.env}, which holds a secret, is {state}",
                    hint=f"set it before dari starts: export {self.env}=...",
                )
            return text
        path = self._path(directory)
        try:
            text = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise SiteError(
                f"the file that holds a secret can not be read: {why}",
                where=str(path),
                hint="write the secret into it, then: chmod 600",
            ) from None
        if not text:
            raise SiteError("the file that holds a secret is empty", where=str(path), hint="write the secret into it")
        return text

    def warnings(self, directory: str | Path = ".") -> list[str]:
        """What is amiss here and now, one sentence each, without reading the secret out: for `dari check`."""
        if self.env is not None:
            return [] if os.environ.get(self.env) else [f"the environment variable {self.env} is not set here"]
        path = self._path(directory)
        try:
            mode = path.stat().st_mode
        except OSError as error:
            return [f"the secret's file {path} can not be read here: {error.strerror}"]
        if not stat.S_ISREG(mode):
            return [f"the secret's file {path} is not a regular file"]
        if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
            return [f"others can read the secret's file {path}: chmod 600 {path}"]
        return []

    def _path(self, directory: str | Path) -> Path:
        """The file, from the site file's folder."""
        return Path(directory) / Path(self.file or "").expanduser()


def mask(text: str) -> str:
    """`text` with the password of every URL in it replaced by asterisks, as many as it had letters."""
    return URL_PASSWORD.sub(lambda m: f"{m[1]}:{'*' * len(m[2])}@", text)
