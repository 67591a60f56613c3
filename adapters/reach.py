"""Why a peer over TCP could not be reached, in words that a person at the machine can act on."""

from __future__ import annotations

import asyncio
import errno
import socket

from bridge.errors import NotConnectedError

_REFUSED = (errno.ECONNREFUSED,)
_NO_ROUTE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN)
_CLOSED = (errno.ECONNRESET, errno.EPIPE, errno.ECONNABORTED)


def reason(error: NotConnectedError) -> str:
    """An error as one line for `Port.disconnected`: what happened and what to do; the port knows where."""
    return f"{error.what}. Next: {error.hint}" if error.hint else error.what


def _article(noun: str) -> str:
    """`a` or `an`, by how it is spoken: `MQTT` begins with a vowel too."""
    return "an" if noun[:1] in "AEIOUaeiou" or noun.startswith("MQTT") else "a"


def unreachable(
    error: BaseException, *, host: str, port: int, what: str, key: str, where: str = ""
) -> NotConnectedError:
    """An error that names the peer and what to check.

    Args:
        error: what the library or the socket raised.
        host: host name or address of the peer.
        port: its TCP port.
        what: the kind of peer (`OPC UA server`, `Modbus device`, `MQTT broker`).
        key: the option of the site file that holds the address (`options.host`).
        where: the source's name.

    Two calls for the same cause give the same text, so that it is said once.
    """
    peer = f"{host}:{port}"
    number = error.errno if isinstance(error, OSError) else None
    if isinstance(error, socket.gaierror):
        return NotConnectedError(
            f"the name {host!r} of the {what} is not known to this machine",
            where=where,
            hint=f"correct {key} in the site file, or use the {what}'s IP address",
        )
    if isinstance(error, ConnectionRefusedError) or number in _REFUSED or f"[Errno {errno.ECONNREFUSED}]" in str(error):
        return NotConnectedError(
            f"nothing listens at {peer}: the connection was refused",
            where=where,
            hint=f"start the {what}, or correct {key} in the site file; dari keeps trying",
        )
    if isinstance(error, (TimeoutError, asyncio.TimeoutError)) or number == errno.ETIMEDOUT:
        return NotConnectedError(
            f"the {what} at {peer} does not answer",
            where=where,
            hint=f"check that it runs, {key} in the site file, the network and its firewalls; dari keeps trying",
        )
    if number in _NO_ROUTE:
        return NotConnectedError(
            f"there is no route to {peer}",
            where=where,
            hint=f"check the network and {key} in the site file; dari keeps trying",
        )
    if isinstance(error, ConnectionError) or number in _CLOSED:
        return NotConnectedError(
            f"the connection to the {what} at {peer} was closed",
            where=where,
            hint=f"check that {_article(what)} {what} runs there and still has a connection to spare; dari keeps trying",
        )
    return NotConnectedError(
        f"the {what} at {peer} can not be used: {type(error).__name__}: {error}",
        where=where,
        hint="look at its own log; dari keeps trying",
    )
