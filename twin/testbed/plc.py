"""The cell's controller on the shop floor: it reads the robot's wires at every bus cycle and keeps the tags that it serves.

Pure logic, no server: `scan` is called with one image of the inputs and says which tags changed.
"""

from __future__ import annotations

import math

import msgspec

PULSE_S = 0.2
"""How long a pulse tag stays on, so that a reader that samples sees it too."""

TagValue = bool | int | float


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """The wires from the robot's cell, once a bus cycle: counters of what began and ended, switches, analogue values.

    `fault` is the robot's own word for why its last skill ended badly, empty while all is well. Units: belt m/s, power W,
    vibration m/s2, weight kg. `monotonic_ns` is the host's clock, for the truth file alone.
    """

    monotonic_ns: int
    serial: int
    started: int
    done: int
    retried: int
    abandoned: int
    grip_output: bool
    grip_ok: bool
    part_present: bool
    fault: str
    belt: float
    power: float
    vibration: float
    weight: float


ALARMS = {"nothing gripped": 11, "grip lost": 12, "following error": 31, "unreachable": 32, "nothing held": 13}
ALARM_NO_PART = 21
ALARM_OTHER = 90
ALARM_ABANDONED = 40


class Plc:
    """The program of the PLC: pulses, latched alarms, and slow analogue values with a dead band."""

    def __init__(self) -> None:
        self.tags: dict[str, TagValue] = {
            "Cell.CycleStart": False,
            "Cell.CycleDone": False,
            "Cell.CycleActive": False,
            "Cell.Retry": False,
            "Cell.Abandoned": False,
            "Cell.GripOutput": False,
            "Cell.GripOk": False,
            "Cell.Gripped": False,
            "Cell.PartPresent": False,
            "Cell.AlarmCode": 0,
            "Cell.Serial": 0,
            "Belt.Speed": 0.0,
            "Motor.Temperature": 31.0,
        }
        self.energy_j = 0.0
        self._temperature = 31.0
        self._last: Image | None = None
        self._pulses: dict[str, float] = {}
        self._fault = ""
        self._slow = 0.0

    def scan(self, image: Image, now: float) -> dict[str, TagValue]:
        """One bus cycle at `now` (s, any monotonic clock); returns the tags that changed, in the order of the program."""
        last, self._last = self._last, image
        wanted: dict[str, TagValue] = {"Cell.Serial": image.serial}
        if last is not None:
            elapsed = (image.monotonic_ns - last.monotonic_ns) * 1e-9
            self.energy_j += image.power * elapsed
            warm = 24.0 + 0.11 * image.power
            self._temperature += (warm - self._temperature) * (1.0 - math.exp(-elapsed / 40.0))
            edges = {
                "Cell.CycleStart": image.started > last.started,
                "Cell.CycleDone": image.done > last.done,
                "Cell.Retry": image.retried > last.retried,
                "Cell.Abandoned": image.abandoned > last.abandoned,
            }
            for tag, edge in edges.items():
                # A pulse comes one bus cycle after what it announces (the serial number, the alarm's reset), so that whoever
                # acts on the pulse finds that in place.
                wanted[tag] = now < self._pulses.get(tag, 0.0)
                if edge:
                    self._pulses[tag] = now + PULSE_S
            wanted["Cell.AlarmCode"] = self._alarm(image, edges)
        wanted["Cell.CycleActive"] = image.started > image.done + image.abandoned
        wanted["Cell.PartPresent"] = image.part_present
        # An output is written after the inputs were read, so a grip that is let go shows the output first.
        wanted["Cell.GripOutput"] = image.grip_output
        wanted["Cell.GripOk"] = image.grip_ok
        # Latched by the switch, released with the output: while it is on, the switch must be on too, or the part was lost.
        wanted["Cell.Gripped"] = image.grip_output and (image.grip_ok or bool(self.tags["Cell.Gripped"]))
        if now >= self._slow:
            self._slow = now + 0.1
            if abs(image.belt - float(self.tags["Belt.Speed"])) > 0.002 or (image.belt == 0.0) != (
                self.tags["Belt.Speed"] == 0.0
            ):
                wanted["Belt.Speed"] = image.belt
            if abs(self._temperature - float(self.tags["Motor.Temperature"])) > 0.05:
                wanted["Motor.Temperature"] = round(self._temperature, 2)
        changed = {tag: value for tag, value in wanted.items() if self.tags[tag] != value}
        self.tags.update(changed)
        return changed

    def _alarm(self, image: Image, edges: dict[str, bool]) -> int:
        """The alarm is latched when the robot reports a fault, and reset by a retry or a new cycle."""
        before, self._fault = self._fault, image.fault
        if edges["Cell.Abandoned"]:
            return ALARM_ABANDONED
        if image.fault and image.fault != before:
            if image.fault == "nothing gripped" and not image.part_present:
                return ALARM_NO_PART
            return ALARMS.get(image.fault, ALARM_OTHER)
        if edges["Cell.Retry"] or edges["Cell.CycleStart"]:
            return 0
        return int(self.tags["Cell.AlarmCode"])

    @property
    def temperature(self) -> float:
        """Temperature of the drive's motor, degrees Celsius."""
        return self._temperature
