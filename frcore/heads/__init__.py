"""The heads: how each cosine of the logit matrix is transformed. One head, one file."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from frcore.components.catalogue import Catalogue

if TYPE_CHECKING:
    from frcore.heads.base import Head

HEADS: Catalogue[Head] = Catalogue(
    "head",
    {
        "softmax": "frcore.heads.softmax:Softmax",
        "normface": "frcore.heads.normface:NormFace",
        "sphereface": "frcore.heads.sphereface:SphereFace",
        "cosface": "frcore.heads.cosface:CosFace",
        "arcface": "frcore.heads.arcface:ArcFace",
        "combined": "frcore.heads.combined:Combined",
        "adacos_fixed": "frcore.heads.adacos_fixed:FixedAdaCos",
        "adacos": "frcore.heads.adacos:AdaCos",
        "mv_softmax": "frcore.heads.mv_softmax:MVSoftmax",
        "curricularface": "frcore.heads.curricularface:CurricularFace",
        "magface": "frcore.heads.magface:MagFace",
        "adaface": "frcore.heads.adaface:AdaFace",
        "elasticface": "frcore.heads.elasticface:ElasticFace",
        "sphereface2": "frcore.heads.sphereface2:SphereFace2",
        "uniface": "frcore.heads.uniface:UniFace",
    },
    context=("num_classes",),
    base="frcore.heads.base:Head",
)


def build_head(name: str, *, num_classes: int, **parameters: Any) -> Head:
    """Build the head `name` for `num_classes` classes.

    >>> build_head("arcface", num_classes=10, margin=0.5, scale=64).scale_value
    64.0

    Raises:
        UserError: no such head, no such parameter, or a value that it does not allow.
    """
    return HEADS.build(name, num_classes=num_classes, **parameters)
