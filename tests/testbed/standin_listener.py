"""A plain ROS 2 client in a process of its own: subscribes, and prints what it got as one JSON object.

Called with a domain id and a number of actions' ends to wait for.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ["ROS_DOMAIN_ID"] = sys.argv[1]
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
if (Path(sys.prefix) / "share" / "ament_index").is_dir():
    os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join(
        [p for p in [os.environ.get("AMENT_PREFIX_PATH"), sys.prefix] if p]
    )

import rclpy
from action_msgs.msg import GoalStatusArray
from geometry_msgs.msg import WrenchStamped
from rclpy.executors import SingleThreadedExecutor
from rclpy.qos import DurabilityPolicy, QoSProfile, qos_profile_sensor_data
from sensor_msgs.msg import JointState

rclpy.init()
node = rclpy.create_node("standin_listener")
stamps: dict[str, list[list[int]]] = {}
names: dict[str, list[str]] = {}
sizes: dict[str, list[int]] = {}
statuses: dict[str, dict[str, list[int]]] = {"move": {}, "grasp": {}, "place": {}}


def take(topic: str) -> Any:
    def callback(message: Any, info: Any) -> None:
        stamp = message.header.stamp
        stamps.setdefault(topic, []).append([stamp.sec * 10**9 + stamp.nanosec, info["source_timestamp"]])
        if isinstance(message, JointState):
            names[topic] = list(message.name)
            sizes[topic] = [len(message.position), len(message.velocity), len(message.effort)]

    return callback


def status(action: str) -> Any:
    def callback(message: GoalStatusArray) -> None:
        for entry in message.status_list:
            seen = statuses[action].setdefault(bytes(entry.goal_info.goal_id.uuid).hex(), [])
            if not seen or seen[-1] != entry.status:
                seen.append(entry.status)

    return callback


node.create_subscription(JointState, "/joint_states", take("joint_states"), 1000)
node.create_subscription(JointState, "/gripper/state", take("gripper"), 1000)
node.create_subscription(WrenchStamped, "/wrench", take("wrench"), qos_profile_sensor_data)
latched = QoSProfile(depth=100, durability=DurabilityPolicy.TRANSIENT_LOCAL)
for action in statuses:
    node.create_subscription(GoalStatusArray, f"/{action}/_action/status", status(action), latched)
executor = SingleThreadedExecutor()
executor.add_node(node)
deadline = time.monotonic() + 90.0
wanted = int(sys.argv[2])


def ended(code: int) -> int:
    return sum(1 for goals in statuses.values() for seen in goals.values() if seen[-1] == code)


# Until so many goals have ended and at least one of them was aborted.
while time.monotonic() < deadline and (ended(4) + ended(6) < wanted or ended(6) < 1):
    executor.spin_once(timeout_sec=0.2)
print(json.dumps({"stamps": stamps, "names": names, "sizes": sizes, "statuses": statuses}))
sys.stdout.flush()
os._exit(0)
