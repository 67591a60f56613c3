"""Which state of a task may follow which, and what other systems' states are in ours."""

from __future__ import annotations

from bridge.schema.enums import State

_P, _R, _RUN, _PAUSE, _REC = State.PENDING, State.READY, State.RUNNING, State.PAUSED, State.RECOVERING
_CANCELING, _OK, _CANCELED, _FAIL, _SKIP = (
    State.CANCELING,
    State.SUCCEEDED,
    State.CANCELED,
    State.FAILED,
    State.SKIPPED,
)

TERMINAL = frozenset({State.SUCCEEDED, State.FAILED, State.CANCELED, State.SKIPPED})

# UNKNOWN is left out: every live state may go there (the link is lost), and from there to any, marked inferred.
LEGAL: dict[State, frozenset[State]] = {
    _P: frozenset({_R, _CANCELED, _SKIP, _FAIL}),
    _R: frozenset({_RUN, _P, _CANCELING, _CANCELED, _SKIP, _FAIL}),
    _RUN: frozenset({_PAUSE, _REC, _CANCELING, _OK, _FAIL}),
    _PAUSE: frozenset({_RUN, _CANCELING, _FAIL}),
    _REC: frozenset({_RUN, _CANCELING, _FAIL}),
    _CANCELING: frozenset({_CANCELED, _OK, _FAIL}),
    **{state: frozenset() for state in TERMINAL},
}
FIRST = frozenset({State.PENDING, State.READY, State.UNKNOWN})


def legal(before: State, after: State) -> bool:
    """Whether `after` may follow `before`; a step to or from UNKNOWN is legal only where it is marked inferred."""
    if before is State.UNKNOWN:
        return True
    if after is State.UNKNOWN:
        return before not in TERMINAL
    return after in LEGAL[before]


# action_msgs/msg/GoalStatus; 0 is 'not set' and stands for nothing.
GOAL_STATUS: dict[int, State] = {1: _R, 2: _RUN, 3: _CANCELING, 4: _OK, 5: _CANCELED, 6: _FAIL}
# By name, since vendors number them differently. What PackML only passes through (Holding, Resetting) is left out.
PACKML: dict[str, State] = {
    "idle": _R,
    "starting": _RUN,
    "execute": _RUN,
    "completing": _RUN,
    "held": _PAUSE,
    "suspended": _PAUSE,
    "stopping": _CANCELING,
    "complete": _OK,
    "stopped": _CANCELED,
    "aborted": _FAIL,
}
JOB_ORDER: dict[str, State] = {
    "notallowedtostart": _P,
    "allowedtostart": _R,
    "running": _RUN,
    "interrupted": _PAUSE,
    "ended": _OK,
    "aborted": _FAIL,
}
VDA5050: dict[str, State] = {
    "waiting": _P,
    "initializing": _RUN,
    "running": _RUN,
    "paused": _PAUSE,
    "retriable": _REC,
    "finished": _OK,
    "failed": _FAIL,
}


def from_goal_status(status: int) -> State | None:
    """The state for a ROS 2 `action_msgs/msg/GoalStatus` number; None for one that has none."""
    return GOAL_STATUS.get(status)


def from_packml(name: str) -> State | None:
    """The state for a PackML state's name (`Execute`, `STATE_EXECUTE`); None for one that it only passes through."""
    word = _word(name)
    return PACKML.get(word) or PACKML.get(word.removeprefix("state"))


def from_job_order(name: str) -> State | None:
    """The state for an ISA-95 job order's state by OPC 10031-4 (`AllowedToStart`); None for one that it has not."""
    return JOB_ORDER.get(_word(name))


def from_vda5050(status: str) -> State | None:
    """The state for a VDA 5050 `actionStatus` (`RUNNING`); None for one that it has not."""
    return VDA5050.get(_word(status))


def _word(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())
