"""The recorder: aligned MCAP logs that every robotics tool opens, and what reads, explains and replays them."""
