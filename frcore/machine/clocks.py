"""Why a board's clocks are where they are: NVML's bits and their names."""

from __future__ import annotations

from collections.abc import Iterable

CLOCK_EVENTS = {
    0x1: "gpu_idle",
    0x2: "applications_clocks_setting",
    0x4: "sw_power_cap",
    0x8: "hw_slowdown",
    0x10: "sync_boost",
    0x20: "sw_thermal_slowdown",
    0x40: "hw_thermal_slowdown",
    0x80: "hw_power_brake_slowdown",
    0x100: "display_clock_setting",
}
"""Bits of nvmlDeviceGetCurrentClocksEventReasons, after nvml.h's nvmlClocksEventReason*."""

NOT_THROTTLING = frozenset({"gpu_idle"})
"""A board without work lowers its clocks; that slows nothing down."""

HARMLESS = NOT_THROTTLING | {
    "sw_power_cap",
    "applications_clocks_setting",
    "display_clock_setting",
    "sync_boost",
}
"""Events that repeating a measurement does not mend and that belong to how the board is set up.

Full load on a board at its power limit is `sw_power_cap` and nothing else; the others are settings.
"""


def decode_clock_events(bits: int) -> tuple[str, ...]:
    """Names of the set bits; a bit newer than this table keeps its number.

    >>> decode_clock_events(0x24)
    ('sw_power_cap', 'sw_thermal_slowdown')
    """
    single = (1 << place for place in range(bits.bit_length()) if bits >> place & 1)
    return tuple(CLOCK_EVENTS.get(bit, f"unknown_0x{bit:x}") for bit in single)


def disturbing(events: Iterable[str]) -> tuple[str, ...]:
    """The events after which a measurement is not what the board does when all is well.

    Heat, the power brake, the hardware's own slowdown, and any event that this table does not know.

    >>> disturbing(("sw_power_cap", "hw_thermal_slowdown", "gpu_idle"))
    ('hw_thermal_slowdown',)
    """
    return tuple(sorted(set(events) - HARMLESS))
