"""The monitored items of one session: made in batches, the bad ones named and tried again, none silences another."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from asyncua import ua
from asyncua.client.ua_session import UaSession
from asyncua.ua.attribute_ids import AttributeIds

from adapters.opcua.config import NodeAddress, OpcUaOptions, OpcUaSignal, parse_node
from adapters.opcua.values import quality_of
from bridge.adapter import Port
from bridge.schema import Quality, Signal

BATCH = 500
NAMED = 20


@dataclass
class Tag:
    """One signal of the site file in this session. `item` is the server's id of its monitored item, None while there is none."""

    name: str
    text: str
    address: NodeAddress
    scale: float
    offset: float
    own: bool
    handle: int
    item: int | None = None
    fault: str = "not asked yet"
    told: str = ""


class NamespaceMemory:
    """Remembers which URI stood behind each namespace index at first, since a restarted server may number them anew."""

    def __init__(self) -> None:
        self._uris: dict[int, str] = {}

    def index(self, address: NodeAddress, namespaces: list[str]) -> int:
        """The index that the address means now; `LookupError` says why there is none."""
        if address.uri:
            if address.uri in namespaces:
                return namespaces.index(address.uri)
            raise LookupError(f"the server has no namespace {address.uri}")
        if address.namespace == 0:
            return 0
        known = self._uris.get(address.namespace)
        if known is None:
            if address.namespace >= len(namespaces):
                raise LookupError(f"the server has no namespace with index {address.namespace}")
            self._uris[address.namespace] = namespaces[address.namespace]
            return address.namespace
        if known in namespaces:
            return namespaces.index(known)
        raise LookupError(f"namespace {address.namespace} was {known}, which the server no longer has")


def node_id(address: NodeAddress, namespace: int) -> ua.NodeId:
    """The library's form of an address whose namespace is resolved."""
    identifier = address.identifier
    if isinstance(identifier, int):
        return ua.NodeId(ua.Int32(identifier), ua.Int16(namespace))
    if isinstance(identifier, uuid.UUID):
        return ua.NodeId(ua.Guid(identifier.hex), ua.Int16(namespace), ua.NodeIdType.Guid)
    if isinstance(identifier, bytes):
        return ua.NodeId(ua.ByteString(identifier), ua.Int16(namespace), ua.NodeIdType.ByteString)
    return ua.NodeId(ua.String(identifier), ua.Int16(namespace), ua.NodeIdType.String)


class Items:
    """All tags of a source in one session."""

    def __init__(
        self,
        session: UaSession,
        options: OpcUaOptions,
        signals: dict[str, OpcUaSignal],
        memory: NamespaceMemory,
        port: Port,
    ) -> None:
        self._session = session
        self._options = options
        self._memory = memory
        self._port = port
        self._said: frozenset[str] = frozenset()
        self._batch = BATCH
        self.subscription = 0
        self.tags = [
            Tag(name, signal.node, parse_node(signal.node), signal.scale, signal.offset, signal.own, handle)
            for handle, (name, signal) in enumerate(signals.items())
        ]

    @property
    def alive(self) -> int:
        """How many tags are being monitored."""
        return sum(1 for tag in self.tags if tag.item is not None)

    async def subscribe_missing(self, namespaces: list[str]) -> None:
        """Make a monitored item for every tag that has none. What can not be made is named, and gets a bad signal."""
        wanted: list[tuple[Tag, ua.NodeId]] = []
        for tag in self.tags:
            if tag.item is None:
                try:
                    wanted.append((tag, node_id(tag.address, self._memory.index(tag.address, namespaces))))
                except LookupError as reason:
                    tag.fault = str(reason)
        start = 0
        while start < len(wanted):
            part = wanted[start : start + self._batch]
            try:
                results = await self._session.create_monitored_items(self._request(part))
            except ua.uaerrors.BadTooManyOperations:
                if len(part) == 1:
                    raise
                self._batch = max(1, len(part) // 2)
                continue
            for (tag, _), result in zip(part, results, strict=True):
                if result.StatusCode.is_good():
                    tag.item, tag.fault, tag.told = result.MonitoredItemId, "", ""
                else:
                    tag.fault = quality_of(result.StatusCode.value)[1]
            start += len(part)
        self._tell()

    async def forget(self, gone: set[int]) -> None:
        """Drop the monitored items of these tags (by handle), so that they are made again: their nodes went away."""
        tags = [self.tags[handle] for handle in gone if self.tags[handle].item is not None]
        if not tags:
            return
        parameters = ua.DeleteMonitoredItemsParameters(
            SubscriptionId=self.subscription, MonitoredItemIds=[tag.item for tag in tags]
        )
        await self._session.delete_monitored_items(parameters)
        for tag in tags:
            tag.item, tag.fault = None, "the node went away"
            # The server itself has just sent a bad value for it.
            tag.told = tag.fault

    def summary(self) -> str:
        """What can not be read and why, by name: the first twenty."""
        bad = [tag for tag in self.tags if tag.item is None]
        named = "; ".join(f"{tag.name} ({tag.text}): {tag.fault}" for tag in bad[:NAMED])
        more = f"; and {len(bad) - NAMED} more" if len(bad) > NAMED else ""
        return f"{len(bad)} of {len(self.tags)} signals can not be read: {named}{more}"

    def _tell(self) -> None:
        """Say what is newly bad or good again, and give each newly bad tag one signal of bad quality."""
        news = [tag for tag in self.tags if tag.item is None and tag.told != tag.fault]
        for tag in news:
            tag.told = tag.fault
        if news:
            self._port.signals([Signal(tag.name, None, Quality.BAD, tag.fault) for tag in news])
        bad = frozenset(tag.name for tag in self.tags if tag.item is None)
        if bad and bad != self._said:
            self._port.log("warning", f"{self.summary()}; they are asked for again every {self._options.retry_s:g} s")
        back = sorted(self._said - bad)
        if back:
            more = f" and {len(back) - NAMED} more" if len(back) > NAMED else ""
            self._port.log("info", f"can be read again: {', '.join(back[:NAMED])}{more}")
        self._said = bad

    def _request(self, part: list[tuple[Tag, ua.NodeId]]) -> ua.CreateMonitoredItemsParameters:
        options = self._options
        sampling = options.publish_ms if options.sampling_ms is None else options.sampling_ms
        # Twice what one publishing interval can hold, so that a notification that is a little late loses nothing.
        queue = max(options.queue, int(2 * options.publish_ms / sampling) + 1) if sampling > 0 else options.queue
        requests = []
        for tag, node in part:
            parameters = ua.MonitoringParameters(
                ClientHandle=ua.UInt32(tag.handle),
                SamplingInterval=sampling,
                QueueSize=ua.UInt32(queue),
                DiscardOldest=True,
            )
            requests.append(
                ua.MonitoredItemCreateRequest(
                    ItemToMonitor=ua.ReadValueId(NodeId=node, AttributeId=AttributeIds.Value),
                    MonitoringMode=ua.MonitoringMode.Reporting,
                    RequestedParameters=parameters,
                )
            )
        return ua.CreateMonitoredItemsParameters(
            SubscriptionId=self.subscription,
            TimestampsToReturn=ua.TimestampsToReturn.Both,
            ItemsToCreate=requests,
        )
