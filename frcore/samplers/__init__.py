"""The samplers: which rows (embeddings) and columns (class centres) the logit matrix has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frcore.components.catalogue import Catalogue

if TYPE_CHECKING:
    from frcore.samplers.base import Sampler

SAMPLERS: Catalogue[Sampler] = Catalogue(
    "sampler",
    {
        "full": "frcore.samplers.full:Full",
        "partial_fc": "frcore.samplers.partial_fc:PartialFC",
        "interclass_filter": "frcore.samplers.interclass_filter:InterclassFilter",
        "broadface": "frcore.samplers.broadface:BroadFace",
    },
    base="frcore.samplers.base:Sampler",
)


def build_sampler(name: str, **parameters: Any) -> Sampler:
    """Build the sampler `name`, for example `build_sampler("partial_fc", rate=0.1)`.

    Raises:
        UserError: no such sampler, no such parameter, or a value that it does not allow.
    """
    return SAMPLERS.build(name, **parameters)
