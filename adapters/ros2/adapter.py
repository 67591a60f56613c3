"""The ROS 2 adapter: a guest in the graph that listens, and adds one silent node."""

from __future__ import annotations

import os
from typing import ClassVar

from adapters.ros2.environment import environment_domain, load_rclpy, make_context, make_node, missing_hint
from adapters.ros2.graph import Graph
from adapters.ros2.options import Ros2Options, faults
from bridge.adapter import Adapter, Options, Port, Requirement, SignalConfig, Source
from bridge.schema import Space


class Ros2Adapter(Adapter):
    """Listens to a ROS 2 graph: topics as raw CDR, the goals of actions as task events."""

    options_type: ClassVar[type[Options]] = Ros2Options
    signal_type: ClassVar[type[SignalConfig] | None] = None
    requirements: ClassVar[tuple[Requirement, ...]] = (Requirement("rclpy", "ros2", missing_hint()),)
    usual_space: ClassVar[Space | None] = Space.TESTBED
    summary: ClassVar[str] = "ROS 2 topics (CDR untouched) and the goals of actions, discovered as they appear"
    # A message in shared memory or over loopback takes some 0.1 ms, over a wired network below 1 ms.
    prior_delay_ns: ClassVar[int] = 2_000_000

    def __init__(self, source: Source, options: Options, signals: dict[str, SignalConfig]) -> None:
        super().__init__(source, options, signals)
        assert isinstance(options, Ros2Options)
        self.ros: Ros2Options = options

    def check(self) -> list[str]:
        """Faults of the options that types can not show; touches nothing."""
        return faults(self.ros)

    def run(self, port: Port) -> None:
        """Listen until `port.stopping` is set.

        Raises:
            MissingPackageError: rclpy is not here, or is for another Python.
            UsageError: there is no such domain.
        """
        load_rclpy()
        if self.ros.discovery is not None:
            os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = self.ros.discovery.upper()
        domain = environment_domain() if self.ros.domain is None else self.ros.domain
        context = make_context(domain)
        try:
            node = make_node(context, f"dari_{os.getpid()}")
            try:
                self._listen(Graph(node, port, self.ros, domain), port)
            finally:
                node.destroy_node()
        finally:
            context.try_shutdown()

    def _listen(self, graph: Graph, port: Port) -> None:
        graph.tap.start()
        try:
            while not port.stopping.is_set():
                graph.look()
                if graph.tap.error is not None:
                    raise graph.tap.error
                port.stopping.wait(self.ros.discover_ms / 1000)
        finally:
            graph.tap.stop()
            graph.close()
        if graph.tap.error is not None:
            raise graph.tap.error
