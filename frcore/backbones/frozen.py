"""Parts of a backbone that training leaves as they are."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn

from frcore.errors import UserError, or_rather

ALL = "all"


def frozen_modules(backbone: nn.Module, names: Iterable[str]) -> list[nn.Module]:
    """The modules of `backbone` with these names, such as "stages.0"; "all" is all of it.

    Raises:
        UserError: it has none of a name.
    """
    named = dict(backbone.named_modules())
    found = []
    for name in names:
        module = backbone if name == ALL else named.get(name)
        if module is None or not name:
            parts = [ALL, *(child for child, _ in backbone.named_children())]
            raise UserError(
                f"the backbone has no module '{name}' to freeze{or_rather(name, parts)}, or a "
                "module inside of these, such as stages.0"
            )
        found.append(module)
    return found


def freeze(backbone: nn.Module, names: Iterable[str]) -> None:
    """Keep these modules as they are: no gradients, batch norm and dropout in eval mode.

    In training mode batch norm would take the statistics of each batch, and keep them.

    Raises:
        UserError: there is no module of a name.
    """
    for module in frozen_modules(backbone, names):
        module.requires_grad_(False).eval()
