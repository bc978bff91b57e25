"""Which code a study's components are, without importing it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from frcore import plan
from frcore.backbones import BACKBONES
from frcore.catalogue import Catalogue
from frcore.config import Component
from frcore.fingerprint import code_fingerprint
from frcore.heads import HEADS
from frcore.samplers import SAMPLERS


def _module(catalogue: Catalogue[Any], name: str) -> str:
    """The module behind a component's name, without importing it."""
    return catalogue.get(name, name).partition(":")[0]


def component_modules(
    *, backbone: Component | None = None, head: Component | None = None,
    sampler: Component | None = None,
) -> list[str]:  # fmt: skip
    """The modules that implement the given components, and what a sampler stands over."""
    modules = [_module(BACKBONES, backbone.name)] if backbone else []
    modules += [_module(HEADS, head.name)] if head else []
    while sampler is not None:
        modules.append(_module(SAMPLERS, sampler.name))
        over = sampler.parameters.get("over")
        sampler = Component.model_validate(over) if isinstance(over, str | Mapping) else None
    return modules


def run_code(spec: plan.RunSpec) -> str:
    """Fingerprint of all code that a run's result depends on; no other head's."""
    parts = component_modules(backbone=spec.backbone, head=spec.head, sampler=spec.sampler)
    return code_fingerprint(["frcore.training.run", *parts])
