"""The predicted cost of a training step of the last layer: bytes, FLOPs, memory."""

from __future__ import annotations

from frcore.planning.devices import DEVICES, Device, get_device
from frcore.planning.step import Part, Plan, memory_of, plan_step
from frcore.planning.workload import BACKENDS, STATES, State, Workload

__all__ = [
    "BACKENDS",
    "DEVICES",
    "STATES",
    "Device",
    "Part",
    "Plan",
    "State",
    "Workload",
    "get_device",
    "memory_of",
    "plan_step",
]  # fmt: skip
