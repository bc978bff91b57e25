"""The papers' formulas written slowly, by the names of the heads.

A new head adds its class here: the contract tests refuse a head that is missing.
"""

from __future__ import annotations

from typing import Any

from tests.slow_heads.adacos import SlowAdaCos, SlowFixedAdaCos
from tests.slow_heads.base import SlowHead
from tests.slow_heads.binary import SlowSphereFace2, SlowUniFace
from tests.slow_heads.drawn import SlowElasticFace
from tests.slow_heads.mining import SlowCurricularFace, SlowMVSoftmax
from tests.slow_heads.multiplicative import SlowCombined, SlowSphereFace
from tests.slow_heads.norms import SlowAdaFace, SlowMagFace
from tests.slow_heads.plain import SlowArcFace, SlowCosFace, SlowNormFace, SlowSoftmax

SLOW_HEADS: dict[str, type[SlowHead]] = {
    "softmax": SlowSoftmax,
    "normface": SlowNormFace,
    "cosface": SlowCosFace,
    "arcface": SlowArcFace,
    "adacos_fixed": SlowFixedAdaCos,
    "adacos": SlowAdaCos,
    "magface": SlowMagFace,
    "adaface": SlowAdaFace,
    "elasticface": SlowElasticFace,
    "combined": SlowCombined,
    "sphereface": SlowSphereFace,
    "mv_softmax": SlowMVSoftmax,
    "curricularface": SlowCurricularFace,
    "sphereface2": SlowSphereFace2,
    "uniface": SlowUniFace,
}


def slow_head(name: str, num_classes: int, parameters: dict[str, Any]) -> SlowHead:
    """The slow twin of a registered head."""
    if name not in SLOW_HEADS:
        raise AssertionError(
            f"head '{name}' is registered but has no formula in tests/slow_heads: write the "
            "paper's equation there, slowly, and add a case to tests/contract_cases.py"
        )
    return SLOW_HEADS[name](num_classes, **parameters)
