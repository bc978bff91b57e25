"""Weights from elsewhere in a backbone of this harness: renamed, and checked tensor by tensor.

The names are those of `frcore.backbones`, or arcface_torch's (its backbones/iresnet.py and
backbones/mobilefacenet.py), whose networks are the same up to these names.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from frcore.backbones import BACKBONES, build_backbone
from frcore.backbones.iresnet import IResNet, IResNet18, IResNet34, IResNet50, IResNet100
from frcore.backbones.mobilefacenet import MobileFaceNet
from frcore.errors import UserError
from frcore.files import sha256_of_file
from frcore.models.arcface_torch import iresnet_name, mobilefacenet_name
from frcore.models.state_dict import read_state_dict
from frcore.text import one_line, visible

PARALLEL = re.compile(r"^(module\.)+")
"""Put before names by DataParallel and DistributedDataParallel."""

COMPILED = "_orig_mod."
"""Put before the names of a compiled module, which may be a part."""

OUTER = ("", "backbone.", "model.", "net.", "encoder.")
"""What the network is called inside of a larger one, whose other tensors are left out."""

COUNTER = "num_batches_tracked"
"""Of batch norm: nothing is computed from it here, and old files have none."""

SHOWN = 3
"""Tensors that a message names of each kind."""

Renaming = Callable[[str], str]


def load_weights(
    path: str | Path, backbone: nn.Module, name: str, *, sha256: str | None = None
) -> None:
    """Put the weights in the file `path` into `backbone`.

    Args:
        path: a file that `frcore.models.state_dict` reads.
        backbone: where they go; float16 and bfloat16 are converted to its type.
        name: what messages call the backbone.
        sha256: of the file, if only this one will do.

    Raises:
        UserError: another file, or weights that are not those of this backbone.
    """
    path = Path(path)
    if not path.is_file():
        raise UserError(f"{path}, the weights of backbone '{name}', is not a file; put it there")
    if sha256 is not None and (found := sha256_of_file(path)) != sha256:
        raise UserError(
            f"{path}, the weights of backbone '{name}', has the sha256 {found}, but {sha256} is "
            "wanted; get the right file, or start again with this one"
        )
    own = fitting_weights(path, backbone, name)
    kept = {key: value for key, value in backbone.state_dict().items() if key not in own}
    backbone.load_state_dict({**kept, **own})


def fitting_weights(path: Path, backbone: nn.Module, name: str) -> dict[str, Tensor]:
    """The tensors of the file `path` by the names of `backbone`: all that it needs, no other.

    Raises:
        UserError: a tensor is missing, left over, of another shape or type, or not finite.
    """
    given = read_state_dict(path)
    expected = backbone.state_dict()
    found = _best(given, expected, backbone)
    problems = _problems(found, expected)
    if problems:
        first, *_ = given
        fits = next(_others(given), None)
        looks = f"they are those of {fits}" if fits else (
            f"the first is '{_shown(first)}' {_shape(given[first])}; exact networks are needed: "
            f"{', '.join(BACKBONES)} by frcore's names, the iresnets and mobilefacenet also by "
            "arcface_torch's"
        )  # fmt: skip
        raise UserError(
            f"{path} does not have the weights of backbone '{name}': {'; '.join(problems)}. The "
            f"file has {len(given):,} tensors, {looks}; name that network with its parameters, or "
            "give another file"
        )
    tensors = {own: tensor for own, (_, tensor) in found.names.items()}
    broken = [own for own, tensor in tensors.items() if not tensor.isfinite().all()]
    if broken:
        raise UserError(
            f"{path}: '{_shown(found.names[broken[0]][0])}' has values that are not finite, which "
            "nothing can be trained from; give another file"
        )
    return tensors


class _Named(NamedTuple):
    """Tensors by the backbone's names, each with its name in the file."""

    names: dict[str, tuple[str, Tensor]]
    twice: list[str]


def _best(
    given: Mapping[str, Tensor], expected: Mapping[str, Tensor], backbone: nn.Module
) -> _Named:
    """The reading of the file's names that finds most of the backbone's."""
    readings = [
        _named(given, outer, renaming) for outer in OUTER for renaming in _renamings(backbone)
    ]
    return max(readings, key=lambda one: len(one.names.keys() & expected.keys()))


def _renamings(backbone: nn.Module) -> list[Renaming]:
    """Ways to read a file's names as those of `backbone`."""
    found: list[Renaming] = [str]
    found += [iresnet_name] if isinstance(backbone, IResNet) else []
    return found + ([mobilefacenet_name] if isinstance(backbone, MobileFaceNet) else [])


def _named(given: Mapping[str, Tensor], outer: str, renaming: Renaming) -> _Named:
    names: dict[str, tuple[str, Tensor]] = {}
    twice = []
    for name, tensor in given.items():
        plain = PARALLEL.sub("", name.replace(COMPILED, ""))
        if plain.startswith(outer):
            own = renaming(plain.removeprefix(outer))
            twice += [name] if own in names else []
            names[own] = name, tensor
    return _Named(names, twice)


def _problems(found: _Named, expected: Mapping[str, Tensor]) -> list[str]:
    missing = [own for own in expected
               if own not in found.names and not own.endswith(COUNTER)]  # fmt: skip
    over = [name for own, (name, _) in found.names.items() if own not in expected]
    both = [(name, tensor, expected[own]) for own, (name, tensor) in found.names.items()
            if own in expected]  # fmt: skip
    shapes = [f"'{_shown(name)}' {_shape(tensor)} where {_shape(wanted)} is needed"
              for name, tensor, wanted in both if tensor.shape != wanted.shape]  # fmt: skip
    kinds = [f"'{_shown(name)}' {tensor.dtype}, {tensor.layout}, on {tensor.device.type}"
             for name, tensor, wanted in both if not _usable(tensor, wanted)]  # fmt: skip
    return [
        f"{len(which):,} {what}, {'the first ' if len(which) > SHOWN else ''}"
        f"{', '.join(shown[:SHOWN])}"
        for what, which, shown in (
            ("missing", missing, [f"'{name}'" for name in missing[:SHOWN]]),
            ("not expected", over, [f"'{_shown(name)}'" for name in over[:SHOWN]]),
            ("of another shape", shapes, shapes),
            ("that are no ordinary tensors of numbers", kinds, kinds),
            ("given twice", found.twice, [f"'{_shown(name)}'" for name in found.twice[:SHOWN]]),
        )
        if which
    ]


def _usable(tensor: Tensor, wanted: Tensor) -> bool:
    plain = tensor.layout == torch.strided and not tensor.is_quantized
    on_cpu = tensor.device.type == "cpu"
    return plain and on_cpu and tensor.is_floating_point() == wanted.is_floating_point()


def _shown(name: str) -> str:
    return one_line(visible(name), 80)


def _shape(tensor: Tensor) -> str:
    return one_line(str(tuple(tensor.shape)), 80)


def _others(given: Mapping[str, Tensor]) -> Iterator[str]:
    """The networks of the catalogue that the tensors are those of, with parameters."""
    for name, kind in FAMILY.items():
        readings = [_named(given, outer, renaming) for outer in OUTER
                    for renaming in (str, iresnet_name, mobilefacenet_name)]  # fmt: skip
        found = max(readings, key=lambda one: sum(own.startswith(PARTS) for own in one.names))
        size, dim = _size_and_dim(found, kind)
        if 16 <= size <= 512 and 1 <= dim <= 65_536:
            with torch.device("meta"):
                backbone = build_backbone(name, image_size=size, dim=dim)
            if not _problems(found, backbone.state_dict()):
                yield f"{name} with dim {dim} on images of {size} px"


FAMILY: Mapping[str, type[nn.Module]] = {
    "iresnet18": IResNet18,
    "iresnet34": IResNet34,
    "iresnet50": IResNet50,
    "iresnet100": IResNet100,
    "mobilefacenet": MobileFaceNet,
}
"""Networks that a file is compared to in order to say what it is."""

PARTS = ("stem.", "stages.", "trunk.", "pool.")
"""What their tensors are in."""


def _size_and_dim(found: _Named, kind: type[nn.Module]) -> tuple[int, int]:
    """Side of the image and length of the embedding, by the last layers; 0 if they do not say."""
    fc, pool = (found.names.get(name) for name in ("fc.weight", "pool.0.weight"))
    if fc is None or fc[1].dim() != 2:
        return 0, 0
    dim, inputs = fc[1].shape
    if issubclass(kind, IResNet):
        blocks = {tuple(own.split(".")[1:3]) for own in found.names if own.startswith("stages.")}
        return (16 * math.isqrt(inputs // 512) if len(blocks) == sum(kind.blocks) else 0), dim
    return (16 * pool[1].shape[-1] if pool is not None and pool[1].dim() else 0), dim
