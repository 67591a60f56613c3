"""What a site file says of an OPC UA source, and what can be found wrong with it without a network."""

from __future__ import annotations

import base64
import binascii
import re
from pathlib import Path
from typing import Annotated, Literal, NamedTuple
from urllib.parse import unquote, urlsplit
from uuid import UUID

from msgspec import Meta

from bridge.adapter import Options, SignalConfig
from bridge.site.secret import Secret

DEFAULT_PORT = 4840
_INDEX = re.compile(r"^ns=(\d{1,5});(.*)$", re.DOTALL)
_URI = re.compile(r"^nsu=([^;]+);(.*)$", re.DOTALL)


class OpcUaOptions(Options, frozen=True, kw_only=True):
    """Options of an OPC UA source.

    `endpoint` is `opc.tcp://host:4840/path`. The server samples every `sampling_ms` (as `publish_ms` when left out), keeps up
    to `queue` values of a tag between two notifications, and sends one at most every `publish_ms`. `timeout_s` bounds every
    single request. Without values the server still speaks once a second or every ten publishing intervals, whichever is longer;
    when it has not for three times that, the session is given up and made again.

    `security` other than `none` needs `certificate` and `private_key` (this client's, PEM or DER files) and
    `server_certificate`, the only one that is accepted; paths are meant from the site file's folder. A `username` over
    `security: none` crosses the network readable, and is refused unless `allow_insecure_login` says that this is known.
    """

    endpoint: str
    publish_ms: Annotated[float, Meta(gt=0, le=3_600_000)] = 100.0
    sampling_ms: Annotated[float, Meta(ge=0, le=3_600_000)] | None = None
    queue: Annotated[int, Meta(ge=2, le=10_000)] = 10
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 4.0
    retry_s: Annotated[float, Meta(gt=0, le=3600)] = 5.0
    security: Literal["none", "Basic256Sha256", "Aes128_Sha256_RsaOaep", "Aes256_Sha256_RsaPss"] = "none"
    mode: Literal["Sign", "SignAndEncrypt"] = "SignAndEncrypt"
    certificate: str = ""
    private_key: str = ""
    server_certificate: str = ""
    username: str = ""
    password: Secret | None = None
    allow_insecure_login: bool = False


class OpcUaSignal(SignalConfig, frozen=True, kw_only=True):
    """One variable of the server.

    `node` is its node id: `ns=2;s=Press.Force` (namespace by index), `nsu=http://acme.com/line;s=Press.Force` (by URI, which
    outlives a server's restart with another order of namespaces), or `i=2258` in namespace 0. `s=`, `i=`, `g=` and `b=` are text,
    number, GUID and base64. Lists are recorded as JSON text. `scale` and `offset` apply to numbers only.
    """

    node: str


class NodeAddress(NamedTuple):
    """A parsed node id: `uri` where the namespace is given by URI, else `namespace`; `kind` is one of `isgb`."""

    uri: str
    namespace: int
    kind: str
    identifier: str | int | UUID | bytes


def parse_node(text: str) -> NodeAddress:
    """Parse a node id as OPC 10000-6, 5.3.1.10 writes it; `ValueError` says what is wrong with it."""
    uri, index, rest = "", 0, text.strip()
    if match := _INDEX.match(rest):
        index, rest = int(match[1]), match[2]
        if index > 65535:
            raise ValueError(f"namespace index {index} is above 65535")
    elif match := _URI.match(rest):
        uri, rest = unquote(match[1]), match[2]
    kind, equals, value = rest.partition("=")
    if not equals or kind not in ("i", "s", "g", "b"):
        raise ValueError("a node id is written like 'ns=2;s=Press.Force', 'nsu=<uri>;s=Press.Force' or 'i=2258'")
    if kind == "s":
        if not value:
            raise ValueError("nothing follows 's='")
        return NodeAddress(uri, index, kind, value)
    if kind == "i":
        if not value.isascii() or not value.isdigit() or int(value) > 0xFFFFFFFF:
            raise ValueError(f"'i=' needs a number from 0 to 4294967295, not {value!r}")
        return NodeAddress(uri, index, kind, int(value))
    if kind == "g":
        try:
            return NodeAddress(uri, index, kind, UUID(value))
        except ValueError:
            raise ValueError(f"'g=' needs a GUID, not {value!r}") from None
    try:
        return NodeAddress(uri, index, kind, base64.b64decode(value, validate=True))
    except (binascii.Error, ValueError):
        raise ValueError(f"'b=' needs base64, not {value!r}") from None


def parse_endpoint(endpoint: str) -> tuple[str, int]:
    """Host and port of an endpoint; `ValueError` says what is wrong with it."""
    parts = urlsplit(endpoint)
    if parts.scheme != "opc.tcp":
        raise ValueError(f"{endpoint!r} does not begin with 'opc.tcp://'")
    if parts.username or parts.password:
        raise ValueError("a user name does not belong in the endpoint: use username and password")
    if not parts.hostname:
        raise ValueError(f"{endpoint!r} names no host")
    try:
        port = parts.port
    except ValueError:
        raise ValueError(f"{endpoint!r} has a port that is no number from 1 to 65535") from None
    return parts.hostname, port if port is not None else DEFAULT_PORT


def faults(options: OpcUaOptions, signals: dict[str, OpcUaSignal], directory: str) -> list[str]:
    """Everything that is wrong with a source's options and signals, one sentence each. Looks at files, never at a network."""
    found: list[str] = []
    try:
        parse_endpoint(options.endpoint)
    except ValueError as error:
        found.append(f"options.endpoint: {error}")
    if not signals:
        found.append("signals: there are none, so this source would record nothing; name at least one node")
    for name, signal in signals.items():
        try:
            parse_node(signal.node)
        except ValueError as error:
            found.append(f"signals.{name}.node: {signal.node!r}: {error}")
    found.extend(_security_faults(options, directory))
    return found


def _security_faults(options: OpcUaOptions, directory: str) -> list[str]:
    found: list[str] = []
    if options.password is not None and not options.username:
        found.append("options.password: there is no username that it could belong to")
    if options.security == "none":
        if options.username and not options.allow_insecure_login:
            found.append(
                "options.username: over security none the password can be read on the network; use security Basic256Sha256, "
                "or say allow_insecure_login: true"
            )
        return found
    for key, why in (
        ("certificate", "this client's own"),
        ("private_key", "the key of this client's certificate"),
        ("server_certificate", "the only one to accept: without it, any server could pose as this one"),
    ):
        path = getattr(options, key)
        if not path:
            found.append(f"options.{key}: security {options.security} needs it ({why})")
        elif not (Path(directory) / path).is_file():
            found.append(f"options.{key}: there is no file {Path(directory) / path}")
    return found
