"""One session with an OPC UA server: from connecting until it fails. Whatever ends it, the next one starts from nothing.

The library's own reconnection reports connected without data after changed node ids, a late address space, a shifted
namespace or a frozen server (decision 0060), so none of it is used: a session that is not seen to work is thrown away.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from asyncua import ua
from asyncua.client.client import Client
from asyncua.client.ua_client import UaClientState
from asyncua.common.subscription import Subscription
from asyncua.observer import Observer
from asyncua.ua.uaerrors import UaError, UaStatusCodeError

from adapters.opcua.config import OpcUaOptions, OpcUaSignal, parse_endpoint
from adapters.opcua.items import Items, NamespaceMemory
from adapters.opcua.security import REFUSALS, RefusedError, secure
from adapters.opcua.values import GONE, OVERFLOW, overflowed, to_signal
from adapters.reach import unreachable
from bridge.adapter import Port
from bridge.errors import DariError, NotConnectedError
from bridge.schema import Signal

GLANCE_S = 0.1
GOODBYE_S = 0.8
SILENT_INTERVALS = 3
LOST_EVERY_S = 1.0
TABLE = "signals"

__all__ = ["OVERFLOW", "SessionLostError", "run_session"]


class SessionLostError(NotConnectedError):
    """A session that worked has ended: the connection broke, or the server fell silent."""


class PublishClock(Observer):
    """Notes when the answer to a publish request arrived: before its thousands of values are decoded."""

    def __init__(self) -> None:
        self.answered_ns = 0

    def observe_request(self, request: Any) -> AbstractContextManager[None]:
        """Called by the library around every request."""
        return self._noted() if isinstance(request, ua.PublishRequest) else contextlib.nullcontext()

    @contextmanager
    def _noted(self) -> Iterator[None]:
        yield
        self.answered_ns = time.monotonic_ns()


class WholeNotifications(Subscription):
    """A subscription that takes each notification whole, with one call for all its values (half the cost of a handler)."""

    def __init__(self, session: Any, parameters: ua.CreateSubscriptionParameters, follower: Follower) -> None:
        super().__init__(session, parameters)
        self._follower = follower

    async def publish_callback(self, publish_result: ua.PublishResult) -> None:
        """Called by the library for every publish response, keep-alives too."""
        self._follower.take(publish_result)


class Follower:
    """Takes the notifications of one subscription, and knows whether it still lives."""

    def __init__(self, items: Items, port: Port, clock: PublishClock) -> None:
        self._items = items
        self._port = port
        self._clock = clock
        self._table = f"{port.source.name}/{TABLE}"
        self._sequence: int | None = None
        self._lost: dict[str, int] = {}
        self._known: set[int] = set()  # handles that have told a value in this subscription
        self.heard = time.monotonic()
        self.failure: Exception | None = None
        self.gone: set[int] = set()

    def take(self, result: ua.PublishResult) -> None:
        """One publish response. Never raises, since the library would only write a traceback: a failure ends the session."""
        self.heard = time.monotonic()
        try:
            self._take(result)
        except Exception as error:
            self.failure = error

    def _take(self, result: ua.PublishResult) -> None:
        message = result.NotificationMessage
        if not message.NotificationData:
            return
        arrival = self._clock.answered_ns or time.monotonic_ns()
        self._count(int(message.SequenceNumber))
        signals: list[Signal] = []
        held_before: list[Signal] = []
        tags = self._items.tags
        for block in message.NotificationData:
            if isinstance(block, ua.DataChangeNotification):
                for item in block.MonitoredItems:
                    tag = tags[item.ClientHandle]
                    data = item.Value
                    signal = to_signal(tag.name, data, tag.scale, tag.offset)
                    if item.ClientHandle in self._known:
                        signals.append(signal)
                    else:
                        # The first value of an item is the one that it has had since it was last written.
                        self._known.add(item.ClientHandle)
                        held_before.append(signal)
                    status = data.StatusCode
                    if status is not None and status.value:
                        self._special(tag.handle, status.value)
            elif isinstance(block, ua.StatusChangeNotification) and not block.Status.is_good():
                self.failure = SessionLostError(f"the server ended the subscription: {block.Status.name}")
        if held_before:
            self._port.signals(held_before, group=TABLE, arrival=arrival, held_before=True)
        if signals:
            self._port.signals(signals, group=TABLE, arrival=arrival)

    def _special(self, handle: int, code: int) -> None:
        if overflowed(code):
            name = self._items.tags[handle].name
            self._lost[name] = self._lost.get(name, 0) + 1
        if code & 0xFFFF0000 in GONE:
            self.gone.add(handle)

    def _count(self, sequence: int) -> None:
        """Notifications are numbered from 1 without holes: a hole is one that never came, or could not be decoded."""
        last, self._sequence = self._sequence, sequence
        if last is None:
            return
        missing = (sequence - last - 1) % 0xFFFFFFFF if sequence > last else 0
        if missing:
            self._port.lost(self._table, missing, text=f"{missing} notifications of the subscription are missing")

    def say_lost(self) -> None:
        """Say which tags overflowed since the last call: at least one value each time."""
        if not self._lost:
            return
        lost, self._lost = self._lost, {}
        own = {tag.name for tag in self._items.tags if tag.own}
        for name in [name for name in lost if name in own]:
            self._port.lost(name, lost[name], text=f"at least: the server's queue of {name} overflowed")
        shared = {name: count for name, count in lost.items() if name not in own}
        if shared:
            named = ", ".join(sorted(shared)[:20])
            text = f"at least: the server's queues of {len(shared)} signals overflowed ({named}); raise options.queue"
            self._port.lost(self._table, sum(shared.values()), text=text)


async def run_session(
    options: OpcUaOptions, signals: dict[str, OpcUaSignal], memory: NamespaceMemory, port: Port, directory: str
) -> None:
    """Connect, subscribe, and hand over what comes until something fails.

    Raises:
        RefusedError: the server was reached and said no.
        NotConnectedError: it was not reached, was lost, or fell silent.
    """
    client = Client(options.endpoint, timeout=options.timeout_s, watchdog_intervall=max(options.timeout_s, 1.0))
    client.name = client.description = f"dari {port.source.name}"
    client.session_timeout = 60_000
    clock = PublishClock()
    client.uaclient.observer = clock
    try:
        try:
            await secure(client, options, directory, port.source.name)
            await client.connect()
        except DariError:
            # Said already; a secret that is not there is a fault of the site file, not of the server.
            raise
        except Exception as error:
            raise explain(error, options, port.source.name) from error
        await _follow(client, options, Items(client.uaclient.session, options, signals, memory, port), clock, port)
    finally:
        await _close(client)


async def _follow(client: Client, options: OpcUaOptions, items: Items, clock: PublishClock, port: Port) -> None:
    keep_alive = max(10, math.ceil(1000 / options.publish_ms))
    parameters = ua.CreateSubscriptionParameters(
        RequestedPublishingInterval=options.publish_ms,
        RequestedLifetimeCount=keep_alive * 30,
        RequestedMaxKeepAliveCount=keep_alive,
        MaxNotificationsPerPublish=10_000,
        PublishingEnabled=True,
    )
    follower = Follower(items, port, clock)
    subscription = WholeNotifications(client.uaclient.session, parameters, follower)
    try:
        granted = await subscription.init()
        items.subscription = granted.SubscriptionId
        await items.subscribe_missing(await client.get_namespace_array())
    except Exception as error:
        raise explain(error, options, port.source.name) from error
    keep_alive_s = granted.RevisedPublishingInterval * granted.RevisedMaxKeepAliveCount / 1000
    limit = max(SILENT_INTERVALS * keep_alive_s, 1.0)
    retry = said = last = time.monotonic()
    up = False
    while True:
        if items.alive or not items.tags:
            if not up:
                up = True
                port.connected(options.endpoint)
        else:
            up = False
            port.disconnected(f"connected to {options.endpoint}, but {items.summary()}")
        await asyncio.sleep(GLANCE_S)
        now = time.monotonic()
        if now - last > 1.0:
            # This process itself stood still: what the server said meanwhile has yet to be read.
            follower.heard += now - last
        last = now
        if follower.failure is not None:
            raise explain(follower.failure, options, port.source.name)
        if client.uaclient.state is not UaClientState.CONNECTED:
            raise SessionLostError(f"the connection to {options.endpoint} broke", where=port.source.name)
        if now - follower.heard > limit:
            raise SessionLostError(
                f"{options.endpoint} is connected but silent: not even a keep-alive for {limit:g} s",
                where=port.source.name,
            )
        if now - said >= LOST_EVERY_S:
            said = now
            follower.say_lost()
        if now - retry >= options.retry_s and (follower.gone or items.alive < len(items.tags)):
            retry = now
            try:
                gone, follower.gone = follower.gone, set()
                await items.forget(gone)
                await items.subscribe_missing(await client.get_namespace_array())
            except Exception as error:
                raise explain(error, options, port.source.name) from error


async def _close(client: Client) -> None:
    """Say goodbye if the server still listens, for at most `GOODBYE_S`; then drop the connection."""
    protocol = client.uaclient.protocol
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.disconnect(), GOODBYE_S)
    with contextlib.suppress(Exception):
        client.disconnect_socket()
    transport = protocol.transport if protocol is not None else None
    if transport is not None:
        # What is still to be written would otherwise keep the socket open towards a peer that is gone.
        transport.abort()
    await asyncio.sleep(0)


def explain(error: Exception, options: OpcUaOptions, where: str) -> NotConnectedError:
    """The library's error as one that says what to do; the same cause always gives the same text."""
    if isinstance(error, NotConnectedError):
        return error
    host, port = parse_endpoint(options.endpoint)
    code = getattr(error, "code", None)
    if code in REFUSALS:
        return RefusedError(
            f"{options.endpoint} refuses this client: {REFUSALS[code]} ({type(error).__name__})",
            where=where,
            hint="correct username, password or the certificates in the site file, or trust this client on the server",
        )
    if isinstance(error, UaError) and "No matching endpoints" in str(error):
        return RefusedError(
            f"{options.endpoint} does not offer security {options.security}"
            + (f" with mode {options.mode}" if options.security != "none" else ""),
            where=where,
            hint="correct options.security and options.mode, or enable this security on the server",
        )
    if isinstance(error, UaError) and "certificate mismatch" in str(error).lower():
        return RefusedError(
            f"{options.endpoint} shows another certificate than options.server_certificate",
            where=where,
            hint="if the server's certificate was renewed, put the new one in its place; if not, some other server answers",
        )
    if isinstance(error, UaStatusCodeError):
        return NotConnectedError(
            f"{options.endpoint} answered {type(error).__name__}", where=where, hint="look at the server's own log"
        )
    return unreachable(error, host=host, port=port, what="OPC UA server", key="options.endpoint", where=where)
