"""Why a board's clocks are where they are: NVML's bits and their names."""

from __future__ import annotations

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


def decode_clock_events(bits: int) -> tuple[str, ...]:
    """Names of the set bits; a bit newer than this table keeps its number.

    >>> decode_clock_events(0x24)
    ('sw_power_cap', 'sw_thermal_slowdown')
    """
    single = (1 << place for place in range(bits.bit_length()) if bits >> place & 1)
    return tuple(CLOCK_EVENTS.get(bit, f"unknown_0x{bit:x}") for bit in single)
