"""Class centres that insightface's trainer (`recognition/arcface_torch`) has saved, a file a rank.

`checkpoint_gpu_<rank>.pt` has them under "state_dict_softmax_fc", the older
`softmax_fc_gpu_<rank>.pt` is that dict itself. A rank holds ⌊C/G⌋ classes or one more, in the order
of the ranks, so that the files one after the other are the table, for any G.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from frcore.errors import UserError

NAMES = ("checkpoint_gpu_", "softmax_fc_gpu_")
"""Of the files before the rank; the first that a folder has is read."""


def insightface_centers(folder: Path | str) -> Iterator[Tensor]:
    """The centres (C_r, D) of each rank, in the order of the classes.

    >>> classifier.load_centers(insightface_centers("work_dirs/run"))  # doctest: +SKIP

    Args:
        folder: the `output` of a run.

    Raises:
        UserError: no such file, a rank's file is missing, or a file has no centres.
    """
    for path in _files(Path(folder)):
        yield _weight(path)


def _files(folder: Path) -> list[Path]:
    for name in NAMES:
        found = {
            int(match[1]): path
            for path in folder.glob(f"{name}*.pt")
            if (match := re.fullmatch(rf"{name}(\d+)\.pt", path.name))
        }
        if not found:
            continue
        if missing := sorted(set(range(max(found) + 1)) - set(found)):
            raise UserError(
                f"{folder} has {name}{max(found)}.pt but not {name}{missing[0]}.pt; each rank's "
                "file has classes of its own: copy the files of all ranks"
            )
        return [found[rank] for rank in sorted(found)]
    raise UserError(
        f"{folder} has none of {', '.join(f'{name}<rank>.pt' for name in NAMES)}; give the "
        "`output` folder of an insightface training with save_all_states"
    )


def _weight(path: Path) -> Tensor:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds of exceptions for a damaged file
        raise UserError(
            f"{path} cannot be read ({error}); needed is a file of torch.save with tensors and "
            "plain values alone"
        ) from error
    state = state.get("state_dict_softmax_fc", state) if isinstance(state, dict) else {}
    weight_CD = state.get("weight")
    if not isinstance(weight_CD, Tensor) or weight_CD.dim() != 2:
        raise UserError(
            f"{path} has no class centres; needed is a tensor 'weight' of two dimensions, in "
            "'state_dict_softmax_fc' or alone, as insightface's PartialFC saves it"
        )
    return weight_CD
