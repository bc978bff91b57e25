"""Tensor names of arcface_torch's networks as those of `frcore.backbones`.

The networks are the same up to these names; arcface_torch's are in its backbones/iresnet.py and
backbones/mobilefacenet.py. A name that is not one of them stays as it is.
"""

from __future__ import annotations

import re

BLOCK = ("bn1", "conv1", "bn2", "prelu", "conv2", "bn3")
"""An iresnet's block, in order; the shortcut, where there is one, is `downsample`."""

OUTSIDE = {"conv1": "stem.0", "bn1": "stem.1", "prelu": "stem.2", "bn2": "norm"}
"""What an iresnet has outside of its blocks."""

STARTS = {"2": 2, "3": 3, "4": 7, "5": 8, "6": 14, "7": 15}
"""Layer of a mobilefacenet -> place in the trunk of its first block, or of its only one."""


def iresnet_name(name: str) -> str:
    """The name here of an iresnet's tensor.

    >>> iresnet_name("layer3.10.conv2.weight")
    'stages.2.10.body.4.weight'
    """
    inside = _IRESNET.fullmatch(name)
    if inside is None:
        first, _, rest = name.partition(".")
        return f"{OUTSIDE[first]}.{rest}" if first in OUTSIDE else name
    stage, at, part, rest = inside.groups()
    place = "shortcut" if part == "downsample" else f"body.{BLOCK.index(part)}"
    return f"stages.{int(stage) - 1}.{at}.{place}.{rest}"


_IRESNET = re.compile(rf"layer([1-4])\.([0-9]+)\.({'|'.join(BLOCK)}|downsample)\.(.+)")


def mobilefacenet_name(name: str) -> str:
    """The name here of a mobilefacenet's tensor.

    >>> mobilefacenet_name("layers.3.layers.2.layers.1.layers.0.weight")
    'trunk.5.body.1.0.weight'
    """
    block = _BLOCK.fullmatch(name)
    if block is not None:
        layer, at, part, rest = block.groups()
        return f"trunk.{STARTS[layer] + int(at or 0)}.body.{part}.{rest}"
    for theirs, ours in _MOBILEFACENET:
        if name.startswith(theirs):
            return ours + name.removeprefix(theirs)
    return name


_BLOCK = re.compile(r"layers\.([2-7])\.(?:layers\.([0-9]{1,3})\.)?layers\.([012])\.layers\.(.+)")

_MOBILEFACENET = (
    ("layers.0.layers.", "trunk.0."),
    ("layers.1.layers.", "trunk.1."),
    ("conv_sep.layers.", "trunk.17."),
    ("features.layers.0.layers.", "pool."),
    ("features.layers.2.", "fc."),
    ("features.layers.3.", "features."),
)
