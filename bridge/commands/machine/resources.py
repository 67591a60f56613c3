"""Room and sockets: disk space, local sockets for the bus, buffers and shared memory for DDS, open files."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bridge.commands.machine.finding import Finding

SCARCE = 5 * 10**9
"""Bytes. At 1 MB/s, which three busy sources make, this is an hour and a half."""
NO_ROOM = 10**8
LONGEST_SOCKET_PATH = 107
"""Bytes of a UNIX socket's path on Linux; 103 on macOS."""
DDS_BUFFER = 2 * 2**20
"""Bytes. ROS 2's own advice for large messages over UDP."""
DDS_SHARED = 64 * 2**20
OPEN_FILES = 1024


def look(directory: Path, asked: bool) -> Iterator[Finding]:
    """Findings on where logs would go (`directory`), and on sockets. `asked` says that the caller named the directory."""
    yield disk(directory, asked)
    yield _local_socket()
    yield _loopback()
    if sys.platform == "linux":
        yield from _dds()
    yield from _files()


def disk(directory: Path, asked: bool) -> Finding:
    """Free space where logs would go. A directory that is not there yet is made by `dari run`: its parent counts."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        return Finding("disk", str(directory), "missing", f"{place} is no directory", "name another", asked, 6)
    if not os.access(place, os.W_OK | os.X_OK):
        return Finding("disk", str(directory), "missing", f"{place} can not be written to", "name another", asked, 6)
    free = shutil.disk_usage(place).free
    text = f"{free / 1e9:.1f} GB free"
    if free < NO_ROOM:
        return Finding("disk", str(directory), "missing", text, "make room, or name another directory", asked, 6)
    if free < SCARCE:
        return Finding("disk", str(directory), "warn", text, "make room before a long run", asked)
    return Finding("disk", str(directory), "ok", text, asked=asked)


def _local_socket() -> Finding:
    """Whether the bus can bind a local socket where `dari run` puts it: a folder of the temporary directory."""
    try:
        with tempfile.TemporaryDirectory(prefix="dari-") as folder:
            path = str(Path(folder) / "hub")
            if len(os.fsencode(path)) > LONGEST_SOCKET_PATH:
                text = f"{path} is too long for a socket ({LONGEST_SOCKET_PATH} bytes at most)"
                return Finding("sockets", "bus", "missing", text, "set TMPDIR to a shorter path", asked=True, code=4)
            import zmq

            context = zmq.Context()
            try:
                with context.socket(zmq.ROUTER) as router:
                    router.bind(f"ipc://{path}")
            finally:
                context.term()
            return Finding(
                "sockets", "bus", "ok", f"local sockets in {tempfile.gettempdir()} (ZeroMQ {zmq.zmq_version()})"
            )
    except OSError as error:  # zmq.ZMQError is one
        advice = "set TMPDIR to a directory of a local disk"
        return Finding(
            "sockets", "bus", "missing", f"no local socket can be bound: {error}", advice, asked=True, code=4
        )


def _loopback() -> Finding:
    """TCP and UDP on 127.0.0.1, which the tests, the demo and DDS on one machine use."""
    for kind, name in ((socket.SOCK_STREAM, "TCP"), (socket.SOCK_DGRAM, "UDP")):
        try:
            with socket.socket(socket.AF_INET, kind) as probe:
                probe.bind(("127.0.0.1", 0))
        except OSError as error:
            text = f"{name} on 127.0.0.1 can not be bound: {error}"
            return Finding("sockets", "loopback", "warn", text, "ip link set lo up")
    return Finding("sockets", "loopback", "ok", "TCP and UDP on 127.0.0.1")


def _dds() -> Iterator[Finding]:
    """What DDS takes from the kernel."""
    limit = Path("/proc/sys/net/core/rmem_max")
    try:
        largest = int(limit.read_text(encoding="ascii"))
    except (OSError, ValueError):
        yield Finding("sockets", "UDP buffer", "ok", "not known")
    else:
        text = f"up to {largest / 2**20:.1f} MiB"
        if largest < DDS_BUFFER:
            advice = f"for images and point clouds over the network: sudo sysctl -w net.core.rmem_max={4 * DDS_BUFFER}"
            yield Finding("sockets", "UDP buffer", "warn", text, advice)
        else:
            yield Finding("sockets", "UDP buffer", "ok", text)
    shared = Path("/dev/shm")
    if shared.is_dir():
        free = shutil.disk_usage(shared).free
        text = f"{free / 2**20:.0f} MiB free"
        if free < DDS_SHARED:
            advice = "DDS on one machine uses it; in a container: --shm-size=256m"
            yield Finding("sockets", "/dev/shm", "warn", text, advice)
        else:
            yield Finding("sockets", "/dev/shm", "ok", text)


def _files() -> Iterator[Finding]:
    """How many files a process may open."""
    try:
        import resource
    except ImportError:  # Windows
        return
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    endless = soft == resource.RLIM_INFINITY
    text = "no limit" if endless else f"{soft} at a time"
    if not endless and soft < OPEN_FILES:
        yield Finding("sockets", "open files", "warn", text, f"ulimit -n {OPEN_FILES}")
    else:
        yield Finding("sockets", "open files", "ok", text)
