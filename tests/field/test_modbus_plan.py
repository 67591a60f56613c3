"""Blocks: every signal is read once, within the protocol's limits, and a refused block always gets smaller."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.modbus.config import BIT_TABLES, REGISTERS, ModbusOptions, ModbusSignal
from adapters.modbus.plan import Block, plan, split

TYPES = sorted(REGISTERS)


@st.composite
def any_signal(draw: st.DrawFn) -> ModbusSignal:
    """A signal that `check` would let pass."""
    table = draw(st.sampled_from(["holding", "input", "coil", "discrete"]))
    unit_id = draw(st.sampled_from([None, 1, 2]))
    if table in BIT_TABLES:
        return ModbusSignal(table=table, address=draw(st.integers(0, 65535)), unit_id=unit_id)
    kind = draw(st.sampled_from(TYPES))
    # Few addresses, so that signals lie side by side and over one another.
    address = draw(st.one_of(st.integers(0, 400), st.integers(65000, 65536 - REGISTERS[kind])))
    return ModbusSignal(table=table, address=address, type=kind, unit_id=unit_id)


signal_sets = st.dictionaries(st.text("abc", min_size=1, max_size=6), any_signal(), min_size=1, max_size=60)
gaps = st.integers(0, 124)


def limits_hold(block: Block) -> bool:
    """Whether the block is a legal request that covers its signals."""
    limit = 2000 if block.table in BIT_TABLES else 125
    inside = all(block.start <= r.start and r.start + r.count <= block.start + block.count for r in block.readings)
    return inside and 1 <= block.count <= limit and block.start + block.count <= 65536


@given(signal_sets, gaps)
def test_every_signal_is_in_exactly_one_legal_block(signals: dict[str, ModbusSignal], gap: int) -> None:
    blocks = plan(signals, ModbusOptions(host="x", join_gap=gap))
    assert sorted(reading.tag for block in blocks for reading in block.readings) == sorted(signals)
    assert all(limits_hold(block) for block in blocks)
    for block in blocks:
        for reading in block.readings:
            signal = signals[reading.tag]
            assert (block.unit_id, block.table) == (signal.unit_id or 1, signal.table)
            assert reading.start == signal.address


@given(signal_sets, gaps)
def test_splitting_ends_at_single_signals_and_loses_none(signals: dict[str, ModbusSignal], gap: int) -> None:
    todo = plan(signals, ModbusOptions(host="x", join_gap=gap))
    seen: list[str] = []
    rounds = 0
    while todo:
        rounds += 1
        assert rounds < 1000
        block = todo.pop()
        assert limits_hold(block)
        if len(block.readings) == 1:
            seen.append(block.readings[0].tag)
            continue
        parts = split(block)
        assert len(parts) > 1
        todo.extend(parts)
    assert sorted(seen) == sorted(signals)


def test_gaps_are_joined_up_to_the_limit_asked_for() -> None:
    signals = {"a": ModbusSignal(address=0), "b": ModbusSignal(address=9)}
    assert [(b.start, b.count) for b in plan(signals, ModbusOptions(host="x", join_gap=8))] == [(0, 10)]
    assert [(b.start, b.count) for b in plan(signals, ModbusOptions(host="x", join_gap=7))] == [(0, 1), (9, 1)]
