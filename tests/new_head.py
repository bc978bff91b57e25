"""Write the stubs of a new head: `make head NAME=my_face`.

Its file, its line in the catalogue, its formula written slowly for the tests, and its test file.
The stubs compute CosFace, so everything runs at once; replace the formula in all three. Then
`make generated` writes its documentation.
"""

from __future__ import annotations

import keyword
import sys
from pathlib import Path
from string import Template

from rich.console import Console

HEAD = Template('''"""$Class: TODO one line on what it does."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field
from torch import Tensor

from frcore.heads.base import FixedScaleHead, HeadBatch, Scale


class $Class(FixedScaleHead):
    """TODO the target's formula, s (cos θ_y − m) (TODO authors and year, arXiv number, equation).

    Args:
        num_classes: number of classes.
        margin: m; TODO whose value the default is.
        scale: s.
    """

    formula: ClassVar[tuple[str, str]] = ("s (c_y − m)", "s c_k")  # TODO target and other classes

    def __init__(
        self,
        num_classes: int,
        *,
        margin: Annotated[float, Field(ge=0, le=1)] = 0.35,
        scale: Scale = 64.0,
    ) -> None:
        super().__init__(num_classes, scale=scale)
        self.margin = float(margin)

    def target(self, cosine_N: Tensor, batch: HeadBatch) -> Tensor:
        """TODO the formula."""
        return cosine_N - self.margin
''')

SLOW = Template('''"""$Class, as the paper writes it."""

from __future__ import annotations

import torch
from torch import Tensor

from tests.slow_heads.base import SlowHead


class Slow$Class(SlowHead):
    scale_value = 64.0

    def __init__(self, num_classes: int, margin: float = 0.35, scale: float | None = None) -> None:
        super().__init__(num_classes, scale)
        self.margin = margin

    def target(self, theta: Tensor) -> Tensor:
        return torch.cos(theta) - self.margin  # TODO the paper's equation, slowly and obviously
''')

TEST = Template('''"""$name: what is special about it; the contract tests check its formula."""

from __future__ import annotations

import torch
from torch.testing import assert_close

from frcore.heads import build_head


def test_without_margin_the_target_is_the_cosine():
    # TODO the limits in which it equals another head, and the values that the paper prints.
    head = build_head("$name", num_classes=4, margin=0.0)
    cosine = torch.tensor([0.9, -0.2], dtype=torch.float64)
    assert_close(head.target(cosine, None), cosine)
''')


def write_stubs(name: str, root: Path) -> list[Path]:
    """Write the stubs of the head `name` into the checkout at `root`; nothing is overwritten.

    Raises:
        SystemExit: no name of a module, or one that is taken.
    """
    if not (name.isidentifier() and name.islower()) or keyword.iskeyword(name):
        raise SystemExit(f"'{name}' given; allowed is a name such as my_face: NAME=my_face")
    words = {"name": name, "Class": "".join(part.capitalize() for part in name.split("_"))}
    texts = {
        root / f"frcore/heads/{name}.py": HEAD,
        root / f"tests/slow_heads/{name}.py": SLOW,
        root / f"tests/heads/test_{name}.py": TEST,
    }
    taken = [path for path in texts if path.exists()]
    if taken:
        raise SystemExit(f"{taken[0]} exists already; give another NAME, or remove it")
    for path, text in texts.items():
        path.write_text(text.substitute(words), encoding="utf-8")
    place = "frcore.heads.{name}:{Class}".format(**words)
    slow = root / "tests/slow_heads/__init__.py"
    _insert(
        root / "frcore/heads/__init__.py", "    },\n    context", f'        "{name}": "{place}",\n'
    )
    _insert(slow, "}\n", f'    "{name}": Slow{words["Class"]},\n')
    text = slow.read_text(encoding="utf-8")
    after = [line for line in text.splitlines() if line.startswith("from tests.slow_heads.")]
    line = f"from tests.slow_heads.{name} import Slow{words['Class']}"
    _insert(slow, min((one for one in after if one > line), default="\nSLOW_HEADS"), line + "\n")
    return list(texts)


def _insert(path: Path, before: str, line: str) -> None:
    """Put `line` before the first `before` in a file."""
    text = path.read_text(encoding="utf-8")
    at = text.index(before)
    path.write_text(text[:at] + line + text[at:], encoding="utf-8")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit("make head NAME=my_face")
    console = Console()
    for written in write_stubs(sys.argv[1], Path(__file__).resolve().parents[1]):
        console.print(written)
    console.print('Fill in the TODOs, then: make generated, pytest tests/heads -m "not gpu"')
