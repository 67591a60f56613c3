"""From what a person named to the MCAP file that is meant: a file, or a folder that holds one, itself or in its `logs`; else
a clear error."""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from bridge.errors import LogError
from recorder.layout import MAGIC

LOGS = "logs"
"""The folder that a run's recorder makes where it is not told another: looked into where the folder above holds no log."""

_DEPTH, _MOST_FOLDERS = 3, 2_000
"""How far below a folder logs are looked for, for a hint: it must not take long in somebody's home."""

_OTHERS = (
    (
        b"SQLite format 3",
        "an SQLite bag of rosbag2 (.db3)",
        "convert it: `ros2 bag convert` to storage mcap, or rosbags-convert",
    ),
    (b"#ROSBAG V", "a ROS 1 bag", "convert it with rosbags-convert, or `mcap convert`"),
    (b"\x1f\x8b", "compressed with gzip", "unpack it with gunzip first"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd", "unpack it with `zstd -d` first"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
    (b"RRF2", "a Rerun recording (.rrd)", "open it with `rerun`"),
)


def find_log(path: Path) -> Path:
    """The MCAP file that `path` means. Raises `LogError` that says what is there instead."""
    try:
        if path.is_dir():
            path = _in_directory(path)
        size = path.stat().st_size
        if not path.is_file():
            raise LogError("this is no file", where=str(path), hint="name an .mcap file or a folder that holds one")
        with path.open("rb") as file:
            head = file.read(16)
    except FileNotFoundError:
        raise LogError("there is no such log", where=str(path), hint=_nearby(path)) from None
    except LogError:
        raise
    except (OSError, ValueError) as error:
        raise LogError(
            f"the log can not be opened: {getattr(error, 'strerror', None) or error}",
            where=str(path),
            hint="check the name, and that you may read it",
        ) from error
    _check_magic(path, head, size)
    return path


def _check_magic(path: Path, head: bytes, size: int) -> None:
    if head.startswith(MAGIC):
        return
    if size == 0:
        raise LogError(
            "the file is empty: its writer was stopped before it wrote a byte, so nothing is lost",
            where=str(path),
            hint="record again, or copy it again if it was copied",
        )
    if MAGIC.startswith(head):
        raise LogError(
            f"the file was cut after {size} bytes: nothing of the log is left",
            where=str(path),
            hint="copy it again from where it was recorded",
        )
    for magic, what, hint in _OTHERS:
        if head.startswith(magic):
            raise LogError(f"this is no MCAP file but {what}", where=str(path), hint=hint)
    raise LogError(
        f"this is no MCAP file: it begins with {head[:8]!r}",
        where=str(path),
        hint="name a log that `dari run` or `ros2 bag record -s mcap` wrote",
    )


def _in_directory(path: Path) -> Path:
    listed = path / "metadata.yaml"
    if listed.is_file():
        return _by_metadata(path, listed)
    found = sorted(path.glob("*.mcap"))
    if len(found) == 1:
        return found[0]
    if found:
        raise _several(path, found)
    if (path / LOGS).is_dir() and any((path / LOGS).glob("*.mcap")):
        return _in_directory(path / LOGS)
    raise LogError("there is no .mcap file in this folder", where=str(path), hint=_nearby(path / "x.mcap"))


def _by_metadata(path: Path, listed: Path) -> Path:
    try:
        text = yaml.safe_load(listed.read_text(encoding="utf-8"))
        names = [Path(str(name)).name for name in text["rosbag2_bagfile_information"]["relative_file_paths"]]
    except (yaml.YAMLError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise LogError(
            f"metadata.yaml is not what rosbag2 writes ({type(error).__name__}: {error})",
            where=str(listed),
            hint="name the .mcap file itself",
        ) from error
    missing = [name for name in names if not (path / name).is_file()]
    if missing or not names:
        raise LogError(
            f"metadata.yaml names files that are not there: {', '.join(missing) or 'none at all'}",
            where=str(listed),
            hint="copy the whole folder, or name the .mcap file itself",
        )
    if len(names) > 1:
        raise _several(path, [path / name for name in names])
    return path / names[0]


def _several(path: Path, found: list[Path]) -> LogError:
    newest = max(found, key=_written)
    names = ", ".join(p.name for p in found[:5]) + (" ..." if len(found) > 5 else "")
    return LogError(
        f"this folder holds {len(found)} logs: {names}", where=str(path), hint=f"name one; the newest is {newest}"
    )


def _nearby(path: Path) -> str:
    """What to name instead of `path`: the newest log beside it, or the folders below that hold some."""
    parent = path.parent
    try:
        logs = sorted(parent.glob("*.mcap"), key=_written) if parent.is_dir() else []
        below = _below(parent) if parent.is_dir() and not logs else []
    except OSError:
        logs, below = [], []
    if logs:
        return f"the newest log in {parent} is {logs[-1].name}"
    if below:
        shown = ", ".join(str(folder) for folder in below[:4]) + (" ..." if len(below) > 4 else "")
        return f"there are logs in {shown}" + (", the newest first" if len(below) > 1 else "")
    return "`dari run SITE` and `dari demo` write logs, and print where"


def _below(folder: Path) -> list[Path]:
    """The folders below that hold logs, the one with the newest log first."""
    found: dict[Path, float] = {}
    for number, (place, folders, files) in enumerate(os.walk(folder)):
        here = Path(place)
        logs = [here / name for name in files if name.endswith(".mcap")]
        if logs:
            found[here] = max(map(_written, logs))
        deep = len(here.relative_to(folder).parts) >= _DEPTH
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        if number >= _MOST_FOLDERS:
            break
    return sorted(found, key=lambda place: -found[place])


def _written(path: Path) -> float:
    """When a file was last written; one that is gone meanwhile is the oldest."""
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0
