"""What a site file says of an MQTT source, and what can be found wrong with it without a network."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta

from adapters.mqtt.path import parse_path
from bridge.adapter import Options, SignalConfig
from bridge.site.secret import Secret

MAX_CLIENT_ID = 65535


class MqttOptions(Options, frozen=True, kw_only=True):
    """Options of an MQTT source.

    The broker keeps what it has for `client_id` while dari is away, so it must stay the same and be used by no one else; left
    out, it is `dari-<asset>-<source>`. A broker that has said nothing for `keepalive_s` is asked, and given up when it has not
    answered within the same time again. `timeout_s` bounds the attempt to connect.

    What is recorded is acknowledged, up to half a second later; a broker may hold further messages back at its limit of
    unacknowledged ones (Mosquitto's `max_inflight_messages` is 20), and drop what it can not queue. With `protocol: "5"`
    the client sets that limit, here to 10,000, and the broker keeps the session for `session_s`; with 3.1.1 both are the
    broker's to say.

    `tls` is on when `ca_certificate` is given, or by itself with the system's authorities; `certificate` and `private_key` are
    this client's own where the broker asks for them. Paths are PEM files, meant from the site file's folder. A `username`
    without TLS crosses the network readable, and is refused beyond this machine unless `allow_insecure_login` says that this is
    known.
    """

    host: str
    protocol: Literal["3.1.1", "5"] = "3.1.1"
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None
    client_id: Annotated[str, Meta(max_length=MAX_CLIENT_ID)] = ""
    keepalive_s: Annotated[int, Meta(ge=1, le=3600)] = 10
    timeout_s: Annotated[float, Meta(gt=0, le=60)] = 2.0
    session_s: Annotated[int, Meta(ge=0, le=0xFFFFFFFE)] = 7 * 86_400
    username: str = ""
    password: Secret | None = None
    allow_insecure_login: bool = False
    tls: bool = False
    ca_certificate: str = ""
    certificate: str = ""
    private_key: str = ""

    @property
    def encrypted(self) -> bool:
        """Whether the connection is by TLS."""
        return self.tls or bool(self.ca_certificate)

    @property
    def broker_port(self) -> int:
        """The port: as given, or 8883 with TLS and 1883 without."""
        return self.port if self.port is not None else 8883 if self.encrypted else 1883


class MqttSignal(SignalConfig, frozen=True, kw_only=True):
    """One value in the messages of a topic. Several signals may read the same topic.

    `path` leads to the value in a JSON payload (`rms`, `data.value[0]`, `data["odd.key"]`); left out, the whole payload is the
    value: a number, true or false, or text. `type` says what it must be; a payload that does not fit, or is not JSON where
    a path is given, becomes a sample of bad quality with the reason. `stamp` leads to the device's time stamp in the payload,
    in `stamp_unit` since the UNIX epoch, or an ISO 8601 text (`iso`). `qos` 0 or 1 is what is asked of the broker.

    Wildcards are not allowed: what two devices send would become one signal that no one could tell apart.
    """

    topic: Annotated[str, Meta(min_length=1, max_length=65535)]
    path: str = ""
    type: Literal["auto", "number", "bool", "text"] = "auto"
    stamp: str = ""
    stamp_unit: Literal["s", "ms", "us", "ns", "iso"] = "ms"
    qos: Literal[0, 1] = 1


def faults(options: MqttOptions, signals: dict[str, MqttSignal], directory: str) -> list[str]:
    """Everything that is wrong with a source's options and signals, one sentence each. Looks at files, never at a network."""
    found: list[str] = []
    if not options.host.strip():
        found.append("options.host: it is empty")
    elif "://" in options.host or "/" in options.host:
        found.append(f"options.host: {options.host!r} is no host name or address; the port goes to options.port")
    if options.password is not None and not options.username:
        found.append("options.password: there is no username that it could belong to")
    local = options.host in ("localhost", "::1") or options.host.startswith("127.")
    if options.username and not options.encrypted and not local and not options.allow_insecure_login:
        found.append(
            "options.username: without TLS the password can be read on the network; set tls: true or ca_certificate, or say "
            "allow_insecure_login: true"
        )
    if bool(options.certificate) != bool(options.private_key):
        found.append("options.certificate: certificate and private_key belong together; one of them is missing")
    if options.certificate and not options.encrypted:
        found.append("options.certificate: it is of use with TLS only; set tls: true or ca_certificate")
    for key in ("ca_certificate", "certificate", "private_key"):
        path = getattr(options, key)
        if path and not (Path(directory) / path).is_file():
            found.append(f"options.{key}: there is no file {Path(directory) / path}")
    if not signals:
        found.append("signals: there are none, so this source would record nothing; name at least one topic")
    for name, signal in signals.items():
        found.extend(f"signals.{name}.{fault}" for fault in _signal_faults(signal))
    return found


def _signal_faults(signal: MqttSignal) -> list[str]:
    found: list[str] = []
    if "+" in signal.topic or "#" in signal.topic:
        found.append(f"topic: {signal.topic!r} has a wildcard; name one signal for each topic")
    if "\0" in signal.topic:
        found.append("topic: it holds a null character")
    for key in ("path", "stamp"):
        text = getattr(signal, key)
        if text:
            try:
                parse_path(text)
            except ValueError as error:
                found.append(f"{key}: {text!r}: {error}")
    return found
