"""ROS 2: taps a graph as a guest, bytes untouched, and plays logs back into one.

Import-light: rclpy is imported inside the functions that need it, so that `dari check` works where ROS 2 is missing.
"""

from adapters.ros2.adapter import Ros2Adapter
from adapters.ros2.options import Ros2Options
from bridge.goals import ActionMap

__all__ = ["ActionMap", "Ros2Adapter", "Ros2Options"]
