"""Samples to CDR and back: standard messages, and not a bit lost."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge import messages
from twin.cell import cell_path, load_cell
from twin.channels import ALL_JOINTS, GRIPPER_JOINT, JOINT_STATE, POSE_STAMPED, WRENCH_STAMPED, channel_specs
from twin.codec import Encoder, decode, encode_text
from twin.detectors import COMMAND, GRIPPER, JOINTS, WRENCH
from twin.engine import ARM_JOINTS
from twin.samples import JointSample, PoseSample, Sample, WrenchSample

SPECS = {spec.name: spec for spec in channel_specs(load_cell(cell_path("panda_belt")))}
numbers = st.floats(allow_nan=False)
stamps = st.integers(0, 2**31 * 10**9 - 1)


def numbered(count: int) -> st.SearchStrategy[tuple[float, ...]]:
    return st.tuples(*[numbers] * count)


def joints(names: tuple[str, ...]) -> st.SearchStrategy[Sample]:
    columns = numbered(len(names))
    return st.builds(JointSample, st.just(names), columns, columns, columns)


samples = st.one_of(
    st.tuples(st.just(JOINTS), joints(ALL_JOINTS)),
    st.tuples(st.just(GRIPPER), joints(GRIPPER_JOINT)),
    st.tuples(st.just(WRENCH), st.builds(WrenchSample, numbered(3), numbered(3))),
    st.tuples(st.just("part_pose"), st.builds(PoseSample, numbered(3), numbered(4))),
)


@given(samples, stamps)
def test_what_is_written_is_read_back_to_the_last_bit(named, stamp):
    name, sample = named
    spec = SPECS[name]
    assert decode(spec.type_name, Encoder(spec).encode(stamp, sample)) == (stamp, sample)


@given(numbered(6), stamps)
def test_the_template_writes_what_the_general_writer_writes(values, stamp):
    header = {"stamp": {"sec": stamp // 10**9, "nanosec": stamp % 10**9}, "frame_id": "twin/panda_hand"}
    xyz = [dict(zip("xyz", values[n : n + 3], strict=True)) for n in (0, 3)]
    message = messages.message(WRENCH_STAMPED, header=header, wrench={"force": xyz[0], "torque": xyz[1]})
    sample = WrenchSample(values[:3], values[3:])
    assert Encoder(SPECS[WRENCH]).encode(stamp, sample) == messages.serialize(WRENCH_STAMPED, message)


def test_a_pose_is_written_in_its_cameras_frame():
    payload = Encoder(SPECS["fixture/part_pose"]).encode(5, PoseSample((1.0, 2.0, 3.0), (0.0, 0.0, 0.0, 1.0)))
    assert messages.deserialize(POSE_STAMPED, payload).header.frame_id == "twin/fixture"


def test_set_points_carry_no_effort():
    sample = JointSample(ARM_JOINTS, (0.1,) * 7, (0.2,) * 7, ())
    assert decode(JOINT_STATE, Encoder(SPECS[COMMAND]).encode(7, sample)) == (7, sample)


@pytest.mark.parametrize("spec", SPECS.values(), ids=SPECS)
def test_every_frame_has_the_twins_prefix(spec):
    assert spec.frame.startswith("twin/")


def test_the_description_is_a_string_message():
    message = messages.deserialize("std_msgs/msg/String", encode_text("<robot/>"))
    assert message.data == "<robot/>"
