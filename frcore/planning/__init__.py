"""The predicted cost of a training step of the last layer: bytes, FLOPs, memory."""

from __future__ import annotations

from frcore.planning.devices import DEVICES, Device, get_device
from frcore.planning.step import BACKENDS, STATES, Part, Plan, State, Workload, plan_step

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
    "plan_step",
]  # fmt: skip
