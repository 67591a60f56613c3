"""The options of the `mcap` sink in a site file."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from recorder.rosbag import Distribution


class McapOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where and how the log is written.

    `directory` is where logs go, relative to the site file's folder. `compression` is of chunks. A chunk is closed when it
    holds `chunk_kib` or is `flush_ms` old, and with `sync` it is then put on the disk itself, so that a loss of power costs
    no more than a killed process. `rosbag2` is the oldest ROS 2 that is to read the log's QoS: `humble` wants
    numbers where Jazzy and later want words. `attach` names files that are put into the log (URDFs, calibrations), relative
    to the site file's folder.
    """

    directory: str = "logs"
    compression: Literal["zstd", "lz4", "none"] = "zstd"
    chunk_kib: Annotated[int, Meta(ge=16, le=65536)] = 1024
    flush_ms: Annotated[int, Meta(ge=50, le=10_000)] = 500
    sync: bool = True
    rosbag2: Distribution = "jazzy"
    attach: tuple[str, ...] = ()
