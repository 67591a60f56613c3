"""A ROS 2 robot for the tests, in a process of its own: does what it is told, a JSON object a line on standard input.

Run with the domain id as its argument; answers each line with one JSON object.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
from typing import Any

from rclpy.action import ActionClient, ActionServer, CancelResponse
from rclpy.callback_groups import ReentrantCallbackGroup
from rclpy.context import Context
from rclpy.duration import Duration
from rclpy.executors import MultiThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.serialization import serialize_message
from test_msgs.action import Fibonacci

SUCCEED, ABORT, UNTIL_CANCELED = 1, 2, 3


def class_of(type_name: str) -> Any:
    package, kind, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.{kind}"), name)


def profile(order: dict[str, Any]) -> QoSProfile:
    return QoSProfile(
        depth=order.get("depth", 1000),
        reliability=ReliabilityPolicy.RELIABLE if order.get("reliable", True) else ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if order.get("latched") else DurabilityPolicy.VOLATILE,
    )


class Peer:
    def __init__(self, domain: int) -> None:
        self.context = Context()
        self.context.init(args=[], domain_id=domain, initialize_logging=False)
        self.node = Node("robot", context=self.context, use_global_arguments=False, enable_rosout=False)
        self.publishers: dict[str, tuple[Any, Any]] = {}
        self.received: dict[str, list[str]] = {}
        self.goals: list[Any] = []
        self.clients: dict[str, ActionClient] = {}
        self.servers: list[ActionServer] = []
        self.counter = 0
        self.executor = MultiThreadedExecutor(4, context=self.context)
        self.executor.add_node(self.node)
        self.ending = threading.Event()
        self.spinning = threading.Thread(target=self.executor.spin, daemon=True)
        self.spinning.start()

    def do_publisher(self, order: dict[str, Any]) -> Any:
        cls = class_of(order["type"])
        self.publishers[order.get("as", order["topic"])] = (
            cls,
            self.node.create_publisher(cls, order["topic"], profile(order)),
        )
        return True

    def do_destroy(self, order: dict[str, Any]) -> Any:
        return self.node.destroy_publisher(self.publishers.pop(order["topic"])[1])

    def do_publish(self, order: dict[str, Any]) -> Any:
        """Publish `count` messages, `period_s` apart; answers with the bytes (hex) and the header stamps."""
        cls, publisher = self.publishers[order["topic"]]
        sent = []
        for _ in range(order.get("count", 1)):
            message = cls()
            self.counter += 1
            if hasattr(message, "header"):
                now = time.time_ns() + order.get("skew_ns", 0)
                message.header.stamp.sec, message.header.stamp.nanosec = divmod(now, 1_000_000_000)
                message.header.frame_id = f"frame {self.counter}"
            if hasattr(message, "name"):
                message.name = ["one", "two"]
                message.position = [self.counter * 0.5, -1.25]
            if hasattr(message, "data"):
                message.data = f"message {self.counter}"
            data = serialize_message(message)
            publisher.publish(data)
            if order.get("answer", True):
                sent.append(data.hex())
            if order.get("period_s"):
                time.sleep(order["period_s"])
        return sent

    def do_matched(self, order: dict[str, Any]) -> Any:
        return self.publishers[order["topic"]][1].get_subscription_count()

    def do_acknowledged(self, order: dict[str, Any]) -> Any:
        return self.publishers[order["topic"]][1].wait_for_all_acked(Duration(seconds=20))

    def do_subscribe(self, order: dict[str, Any]) -> Any:
        kept = self.received.setdefault(order["topic"], [])
        self.node.create_subscription(
            class_of(order["type"]), order["topic"], lambda data: kept.append(data.hex()), profile(order), raw=True
        )
        return True

    def do_received(self, order: dict[str, Any]) -> Any:
        return self.received[order["topic"]]

    def do_serve(self, order: dict[str, Any]) -> Any:
        """Serve a Fibonacci action: order 1 succeeds, 2 aborts, 3 runs until it is canceled."""

        def execute(goal: Any) -> Any:
            if goal.request.order == ABORT:
                goal.abort()
            elif goal.request.order == SUCCEED:
                goal.succeed()
            else:
                deadline = time.monotonic() + 60
                while not goal.is_cancel_requested and time.monotonic() < deadline:
                    if self.ending.wait(0.01):
                        goal.abort()
                        return Fibonacci.Result()
                goal.canceled()
            return Fibonacci.Result()

        self.servers.append(
            ActionServer(
                self.node,
                Fibonacci,
                order["name"],
                execute,
                cancel_callback=lambda _: CancelResponse.ACCEPT,
                callback_group=ReentrantCallbackGroup(),
            )
        )
        self.clients[order["name"]] = ActionClient(self.node, Fibonacci, order["name"])
        return self.clients[order["name"]].wait_for_server(20)

    def do_goal(self, order: dict[str, Any]) -> Any:
        """Send a goal; answers with its id once it is accepted."""
        future = self.clients[order["name"]].send_goal_async(Fibonacci.Goal(order=order["order"]))
        goal = self._await(future)
        self.goals.append(goal)
        return bytes(goal.goal_id.uuid).hex()

    def do_end(self, order: dict[str, Any]) -> Any:
        """Wait for the last goal's end; answers with its status."""
        return self._await(self.goals[-1].get_result_async()).status

    def do_cancel(self, order: dict[str, Any]) -> Any:
        self._await(self.goals[-1].cancel_goal_async())
        return True

    def do_stop_serving(self, order: dict[str, Any]) -> Any:
        for server in self.servers:
            server.destroy()
        return True

    @staticmethod
    def _await(future: Any) -> Any:
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        if not done.wait(30):
            raise TimeoutError("the action did not answer")
        return future.result()


def main() -> None:
    peer = Peer(int(sys.argv[1]))
    print(json.dumps({"answer": "ready"}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        try:
            answer = {"answer": getattr(peer, f"do_{order['do']}")(order)}
        except Exception as error:
            answer = {"error": repr(error)}
        print(json.dumps(answer), flush=True)
    # A process that ends without a word leaves shared memory behind, and is missed only when its lease runs out.
    peer.ending.set()
    peer.executor.shutdown(5)
    peer.spinning.join(5)
    peer.node.destroy_node()
    peer.context.try_shutdown()
    # DDS is gone; what Python would still tear down of the executor's threads is of no interest.
    os._exit(0)


if __name__ == "__main__":
    main()
