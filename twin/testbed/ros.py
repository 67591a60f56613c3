"""The robot's ROS 2 face: publishers, real action servers, and the program's action clients.

The only module of the stand-in that imports rclpy, and only when it is used. It is no part of dari's processes: like any
robot's driver it merely shares a DDS domain with them (docs/decisions).
"""

from __future__ import annotations

import array
import importlib.util
import os
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bridge.errors import MissingPackageError
from twin.testbed.cell import Reading
from twin.testbed.program import Stopped
from twin.testbed.robot import Outcome, Request, Skill

JOINT_NAMES = [f"panda_joint{i}" for i in range(1, 8)] + ["panda_finger_joint1", "panda_finger_joint2"]


def environment(domain: int) -> None:
    """Set what rclpy reads from the environment; before its first import.

    Raises:
        MissingPackageError: there is no rclpy here, neither from wheels nor from a sourced ROS 2.
    """
    os.environ["ROS_DOMAIN_ID"] = str(domain)
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    # The wheels leave the ament index out of the environment.
    prefixes = [p for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    if (Path(sys.prefix) / "share" / "ament_index").is_dir() and sys.prefix not in prefixes:
        os.environ["AMENT_PREFIX_PATH"] = os.pathsep.join([*prefixes, sys.prefix])
    for module in ("rclpy", "test_msgs"):
        if importlib.util.find_spec(module) is None:
            raise MissingPackageError(
                f"the stand-in speaks ROS 2 and needs the package {module}, which is not installed here",
                hint="pip install 'dari[ros2]' or source ROS 2; without both: --no-ros --link ipc:///tmp/standin",
            )


class RosFace:
    """A node for the driver and one for the program. `submit` takes requests to the robot."""

    def __init__(self, submit: Callable[[Request], None], stopping: threading.Event) -> None:
        import rclpy
        from geometry_msgs.msg import WrenchStamped
        from rclpy.action.client import ActionClient
        from rclpy.action.server import ActionServer
        from rclpy.executors import SingleThreadedExecutor
        from rclpy.qos import qos_profile_sensor_data
        from rclpy.signals import SignalHandlerOptions
        from sensor_msgs.msg import JointState
        from test_msgs.action import Fibonacci

        self._submit = submit
        self._stopping = stopping
        self._action = Fibonacci
        self._context = rclpy.Context()
        rclpy.init(
            args=["--ros-args", "--log-level", "WARN", "--disable-rosout-logs", "--disable-external-lib-logs"],
            context=self._context,
            signal_handler_options=SignalHandlerOptions.NO,
        )
        plain: dict[str, Any] = {
            "context": self._context,
            "start_parameter_services": False,
            "enable_rosout": False,
            "namespace": "/",
        }
        self._driver = rclpy.create_node("standin_driver", **plain)
        self._joints = self._driver.create_publisher(JointState, "/joint_states", 10)
        self._gripper = self._driver.create_publisher(JointState, "/gripper/state", 10)
        self._wrench = self._driver.create_publisher(WrenchStamped, "/wrench", qos_profile_sensor_data)
        self._joint_message = JointState(name=JOINT_NAMES)
        self._joint_message.header.frame_id = "panda_link0"
        self._gripper_message = JointState(name=["gripper_width"])
        self._wrench_message = WrenchStamped()
        self._wrench_message.header.frame_id = "panda_hand"
        self._servers = [
            ActionServer(self._driver, Fibonacci, f"/{skill.value}", self._executor_of(skill)) for skill in Skill
        ]
        self._executor = SingleThreadedExecutor(context=self._context)
        self._executor.add_node(self._driver)
        self._thread = threading.Thread(target=self._spin, name="actions", daemon=True)
        self._program = rclpy.create_node("standin_program", **plain)
        self._clients: dict[Skill, Any] = {
            skill: ActionClient(self._program, Fibonacci, f"/{skill.value}") for skill in Skill
        }
        self._client_executor = SingleThreadedExecutor(context=self._context)
        self._client_executor.add_node(self._program)

    def start(self) -> None:
        """Answer goals; returns when the program's clients have found their servers."""
        self._thread.start()
        for client in self._clients.values():
            if not client.wait_for_server(timeout_sec=20.0):
                raise RuntimeError("the stand-in's own action servers were not discovered within 20 s")

    # -- the driver -----------------------------------------------------------------------------------------------

    def publish(self, reading: Reading, stamp_ns: int) -> None:
        """Publish one tick."""
        seconds, rest = divmod(stamp_ns, 1_000_000_000)
        joints, gripper, wrench = self._joint_message, self._gripper_message, self._wrench_message
        for message in (joints, gripper, wrench):
            message.header.stamp.sec = seconds
            message.header.stamp.nanosec = rest
        joints.position = array.array("d", [*reading.position, *reading.finger_position])
        joints.velocity = array.array("d", [*reading.velocity, *reading.finger_velocity])
        joints.effort = array.array("d", [*reading.effort, *reading.finger_force])
        gripper.position = array.array("d", [reading.width])
        gripper.velocity = array.array("d", [reading.finger_velocity[0] + reading.finger_velocity[1]])
        gripper.effort = array.array("d", [reading.grip_force])
        force, torque = wrench.wrench.force, wrench.wrench.torque
        force.x, force.y, force.z, torque.x, torque.y, torque.z = reading.wrench
        self._joints.publish(joints)
        self._gripper.publish(gripper)
        self._wrench.publish(wrench)

    def goal(self, request: Request) -> None:
        """Nothing: the action server publishes the status of its goals itself."""

    def _executor_of(self, skill: Skill) -> Callable[[Any], Any]:
        def execute(goal: Any) -> Any:
            # Blocks the one thread of this executor, on purpose: the robot does one thing at a time, and a coroutine that
            # waits would keep rclpy's executor busy.
            request = Request(skill, int(goal.request.order))
            self._submit(request)
            outcome: Outcome = request.wait()
            if outcome.succeeded:
                goal.succeed()
            else:
                goal.abort()
            return self._action.Result()

        return execute

    def _spin(self) -> None:
        from rclpy.executors import ExternalShutdownException, ShutdownException

        try:
            self._executor.spin()
        except (ExternalShutdownException, ShutdownException):
            return

    # -- the program ----------------------------------------------------------------------------------------------

    def send(self, skill: Skill, order: int) -> bool:
        """See `Actions`."""
        goal = self._action.Goal(order=order)
        handle = self._await(self._clients[skill].send_goal_async(goal))
        if not handle.accepted:
            return False
        result = self._await(handle.get_result_async())
        return int(result.status) == 4  # action_msgs/msg/GoalStatus STATUS_SUCCEEDED

    def _await(self, future: Any) -> Any:
        while not future.done():
            if self._stopping.is_set():
                raise Stopped
            self._client_executor.spin_until_future_complete(future, timeout_sec=0.5)
        return future.result()

    def close(self) -> None:
        """Leave the domain. `stopping` is set and the program has ended."""
        self._executor.shutdown(timeout_sec=2.0)
        self._client_executor.shutdown(timeout_sec=2.0)
        self._thread.join(2.0)
        for client in self._clients.values():
            client.destroy()
        for server in self._servers:
            server.destroy()
        self._program.destroy_node()
        self._driver.destroy_node()
        self._context.try_shutdown()
