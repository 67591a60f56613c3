"""The closed vocabularies of the task event: spaces, states, verbs, codes, and what a link can say."""

from __future__ import annotations

from enum import Enum


class Word(str, Enum):
    """An enumeration whose members are the words that are written."""

    def __str__(self) -> str:
        return str(self.value)


class Space(Word):
    """Where an event came from. Data, never inferred from a topic name."""

    TWIN = "twin"
    TESTBED = "testbed"
    FIELD = "field"


class Origin(Word):
    """How the source knows: what a PLC rule infers must not pose as an observed fact."""

    OBSERVED = "observed"
    INFERRED = "inferred"
    ANNOTATED = "annotated"


class State(Word):
    """State of one attempt at a task; `bridge.schema.transitions` says which may follow which."""

    PENDING = "PENDING"
    READY = "READY"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    RECOVERING = "RECOVERING"
    CANCELING = "CANCELING"
    SUCCEEDED = "SUCCEEDED"
    CANCELED = "CANCELED"
    FAILED = "FAILED"
    SKIPPED = "SKIPPED"
    UNKNOWN = "UNKNOWN"


class Verb(Word):
    """The core verbs that recur in manufacturing, logistics and medicine.

    Another verb is a reverse-DNS name (`com.acme.insert`) beside a core `base_verb`, so that older readers degrade
    instead of failing.
    """

    GRASP = "grasp"
    RELEASE = "release"
    MOVE = "move"
    PLACE = "place"
    AVOID = "avoid"
    VERIFY = "verify"
    WAIT = "wait"


class FailureCode(Word):
    """`stage.mechanism` of a failure. `unknown` is legal; an invented cause is not."""

    PERCEPTION_MISS = "perception.miss"
    PERCEPTION_POSE_ERROR = "perception.pose_error"
    PLAN_INFEASIBLE = "plan.infeasible"
    GRASP_MISS = "grasp.miss"
    GRASP_SLIP = "grasp.slip"
    GRASP_WEAK = "grasp.weak"
    MOTION_COLLISION = "motion.collision"
    MOTION_TIMEOUT = "motion.timeout"
    MOTION_UNREACHABLE = "motion.unreachable"
    PLACE_MISALIGNED = "place.misaligned"
    PLACE_DROPPED = "place.dropped"
    PART_MISSING = "part.missing"
    PART_DEFECTIVE = "part.defective"
    PROCESS_OUT_OF_SPEC = "process.out_of_spec"
    COMMS_LOST = "comms.lost"
    SAFETY_STOP = "safety.stop"
    OPERATOR_ABORT = "operator.abort"
    UNKNOWN = "unknown"


class Severity(Word):
    """How much a failure hurts: `fault` ends the attempt, `critical` ends the job."""

    WARNING = "warning"
    FAULT = "fault"
    CRITICAL = "critical"


class Strategy(Word):
    """What a correction does."""

    RETRY = "retry"
    REPLAN = "replan"
    REPARAMETERISE = "reparameterise"
    REGRASP = "regrasp"
    REDETECT = "redetect"
    TELEOPERATE = "teleoperate"
    RESET = "reset"
    MANUAL = "manual"
    SKIP = "skip"


class Result(Word):
    """What came of a correction; known only when it ends."""

    REPAIRED = "repaired"
    PARTIAL = "partial"
    NONE = "none"


class DeciderKind(Word):
    """Who took a decision or made a correction."""

    RULE = "rule"
    PLANNER = "planner"
    POLICY = "policy"
    HUMAN = "human"
    PLC = "plc"


class Relation(Word):
    """What one event says of another."""

    CAUSED_BY = "caused_by"
    CORRECTS = "corrects"
    RETRIES = "retries"
    DERIVED_FROM = "derived_from"
    SIMULATES = "simulates"
    OBSERVES_SAME = "observes_same"


class HealthCode(Word):
    """What the pipeline says of itself."""

    GAP = "gap"
    LOSS = "loss"
    DUPLICATE = "duplicate"
    LATE = "late"
    CLOCK_STEP = "clock_step"
    SILENCE = "silence"
    BAD_QUALITY = "bad_quality"
    SHADOW_RESIDUAL = "shadow_residual"
    DROPPED = "dropped"
    REFUSED_PEER = "refused_peer"
    ILLEGAL_TRANSITION = "illegal_transition"
    RESTARTED = "restarted"
    CONNECTED = "connected"
    DISCONNECTED = "disconnected"
