"""An honest stand-in for a testbed robot: a cell in a process of its own, which dari knows by its wires alone.

It shares no clock, parameter, controller or code with the twin: another simulation step, other masses, damping and gains,
inverse kinematics and motion law of its own. It speaks ROS 2 (`ros`) or, where no ROS 2 can be had, ZeroMQ (`link`), and its
cell has a PLC and sensors that are real servers on loopback (`plant`). What truly happened goes to a file that only tests
read. It runs with `python -m twin.testbed`, and is a peer of dari, not a part of it: only `link` is loaded by dari itself.
"""
