"""Whether something keeps this machine's clock right: what the kernel says (adjtimex), and who tells it (NTP, PTP)."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bridge.commands.machine.finding import Finding

STA_UNSYNC: Final = 0x0040
"""linux/timex.h: the clock is not synchronised."""
STA_NANO: Final = 0x2000
DAEMONS: Final = ("chronyd", "ntpd", "systemd-timesyn", "openntpd", "ptp4l", "phc2sys")
"""Names as /proc/PID/comm has them: 15 letters at most."""
TOOLS: Final = ("chronyc", "timedatectl", "ntpq", "ptp4l")
COARSE_US: Final = 10_000
"""An estimated error above this is worth a word: 10 ms is a frame of a camera, or a scan of a PLC."""


class _Timex(ctypes.Structure):
    """`struct timex` of linux/timex.h; reading with `modes` 0 needs no rights and changes nothing."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("constant", ctypes.c_long),
        ("precision", ctypes.c_long),
        ("tolerance", ctypes.c_long),
        ("tv_sec", ctypes.c_long),
        ("tv_usec", ctypes.c_long),
        ("tick", ctypes.c_long),
        ("ppsfreq", ctypes.c_long),
        ("jitter", ctypes.c_long),
        ("shift", ctypes.c_int),
        ("stabil", ctypes.c_long),
        ("jitcnt", ctypes.c_long),
        ("calcnt", ctypes.c_long),
        ("errcnt", ctypes.c_long),
        ("stbcnt", ctypes.c_long),
        ("tai", ctypes.c_int),
        ("reserved", ctypes.c_int * 11),
    )


@dataclass(frozen=True)
class Discipline:
    """What the kernel says of its clock: errors in microseconds, the frequency correction in parts per million."""

    synchronised: bool
    estimated_error_us: int
    maximum_error_us: int
    frequency_ppm: float


def discipline() -> Discipline | None:
    """The kernel's word, or None where it can not be asked (not Linux, or forbidden by a sandbox)."""
    if sys.platform != "linux":
        return None
    try:
        adjtimex = ctypes.CDLL(None, use_errno=True).adjtimex
    except (OSError, AttributeError):
        return None
    timex = _Timex()
    if adjtimex(ctypes.byref(timex)) < 0:
        return None
    return Discipline(
        synchronised=not timex.status & STA_UNSYNC,
        estimated_error_us=int(timex.esterror),
        maximum_error_us=int(timex.maxerror),
        frequency_ppm=timex.freq / 65536,
    )


def daemons(proc: Path = Path("/proc")) -> list[str]:
    """Programs that run here and keep a clock right."""
    found = set()
    for comm in proc.glob("[0-9]*/comm"):
        try:
            name = comm.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            continue  # it ended meanwhile
        if name in DAEMONS:
            found.add("systemd-timesyncd" if name == "systemd-timesyn" else name)
    return sorted(found)


def look() -> Iterator[Finding]:
    """Findings on this machine's clock."""
    yield _disciplined(discipline(), daemons())
    tools = [tool for tool in TOOLS if shutil.which(tool)]
    yield Finding("clock", "tools", "ok", f"{', '.join(tools)} installed" if tools else "none of " + ", ".join(TOOLS))
    hardware = sorted(str(path) for path in Path("/dev").glob("ptp[0-9]*")) if Path("/dev").is_dir() else []
    text = f"{', '.join(hardware)} (hardware time stamps are possible)" if hardware else "no /dev/ptp*"
    yield Finding("clock", "PTP hardware", "ok", text)


def _disciplined(kernel: Discipline | None, running: list[str]) -> Finding:
    """Whether the clock is kept right, from the kernel's word and the programs that run."""
    who = f" by {', '.join(running)}" if running else ""
    if kernel is None:
        if running:
            return Finding("clock", "discipline", "ok", f"{', '.join(running)} runs; the kernel can not be asked")
        where = "" if sys.platform == "linux" else f" on {platform.system()}"
        return Finding(
            "clock",
            "discipline",
            "warn",
            f"not known{where}",
            "make sure that NTP or PTP sets this machine's clock, if logs of several machines are to be compared",
        )
    drift = f"frequency corrected by {kernel.frequency_ppm:+.1f} ppm"
    if not kernel.synchronised:
        if running:
            text, advice = f"{', '.join(running)} runs, but has not set the clock yet ({drift})", "wait a few minutes"
        else:
            text, advice = (
                f"free running: nothing sets this clock ({drift})",
                "install and start one: sudo apt install chrony",
            )
        return Finding("clock", "discipline", "warn", text, advice)
    worst = f"at most {kernel.maximum_error_us / 1000:.3g} ms"
    estimate = f"estimated error {kernel.estimated_error_us} us, {worst}"
    outside = (
        "" if running else " (by something that is not seen from here: the host of a container or virtual machine?)"
    )
    text = f"kept right{who}: {estimate}; {drift}{outside}"
    if kernel.estimated_error_us > COARSE_US:
        return Finding("clock", "discipline", "warn", text, "use a nearer time server, or PTP")
    return Finding("clock", "discipline", "ok", text)
