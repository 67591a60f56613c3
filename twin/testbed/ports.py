"""Ports on loopback: a free one, or a clear error when one that was asked for is taken."""

from __future__ import annotations

import errno
import socket

from bridge.errors import DariError

HOST = "127.0.0.1"


class PortTakenError(DariError, OSError):
    """A port that was asked for can not be had. Exit code 4."""

    exit_code = 4


def claim(port: int, option: str) -> int:
    """`port` if a server could listen on it now, or a free one when `port` is 0.

    Raises:
        PortTakenError: it is taken, or may not be used; `option` says which option to change.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As asyncio's servers do: a port in TIME_WAIT may be used again, one that is listened on may not.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
            probe.listen(1)
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"can not be used ({error.strerror})"
            raise PortTakenError(
                f"port {port} {why}",
                where=f"{HOST}:{port}",
                hint=f"end what listens there, or choose another with {option}; {option} 0 takes any free one",
            ) from error
        return int(probe.getsockname()[1])
