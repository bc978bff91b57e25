"""Heads, samplers and batches drawn by hypothesis, over everything that is registered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from hypothesis import reject
from hypothesis import strategies as st
from torch import Tensor

from frcore.classifier import Classifier
from frcore.errors import UserError
from frcore.heads import HEADS, build_head
from frcore.samplers import SAMPLERS, build_sampler

LARGEST, SMALLEST = 1000.0, 1e-3
"""Where a schema has no limit of its own: a scale of 1e-300 says nothing about a head."""

DTYPES = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
NORMS = (0.0, 1e-20, 1e-3, 1.0, 30.0, 1e4)


def values(schema: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Values that a JSON schema allows."""
    if "anyOf" in schema:
        return st.one_of([values(option) for option in schema["anyOf"]])
    if "const" in schema:
        return st.just(schema["const"])
    if "enum" in schema:
        return st.sampled_from(schema["enum"])
    if schema["type"] == "null":
        return st.none()
    if schema["type"] == "boolean":
        return st.booleans()
    if schema["type"] == "integer":
        return st.integers(schema["minimum"], schema.get("maximum", 9))
    assert schema["type"] == "number", f"no values known for {schema}"
    open_low, open_high = "exclusiveMinimum" in schema, "exclusiveMaximum" in schema
    low = schema.get("exclusiveMinimum", schema.get("minimum", -LARGEST))
    high = schema.get("exclusiveMaximum", schema.get("maximum", LARGEST))
    return st.floats(
        low + SMALLEST if open_low else low,
        high - SMALLEST if open_high else high,
    )


@cache
def schemas(kind: str, name: str) -> dict[str, Any]:
    """JSON schemas of a component's parameters."""
    return {"head": HEADS, "sampler": SAMPLERS}[kind].properties(name)


@cache
def parameters(kind: str, name: str) -> st.SearchStrategy[dict[str, Any]]:
    """Any of a component's parameters; those with a default may be left out. Never `over`."""
    own = {k: v for k, v in schemas(kind, name).items() if k != "over"}
    required = {k: values(v) for k, v in own.items() if "default" not in v}
    optional = {k: values(v) for k, v in own.items() if "default" in v}
    return st.fixed_dictionaries(required, optional=optional)


@st.composite
def samplers(draw: st.DrawFn, above: tuple[str, ...] = ()) -> dict[str, Any]:
    """A sampler, over others where it can be, each kind once: `{"name": ..., "over": {...}}`."""
    names = [name for name in SAMPLERS if name not in above]
    name = draw(st.sampled_from(names))
    drawn = {"name": name, **draw(parameters("sampler", name))}
    if "over" in schemas("sampler", name):
        drawn["over"] = draw(samplers((*above, name)))
    return drawn


@dataclass(frozen=True)
class Drawn:
    """A last layer to build any number of times, and its batches.

    Attributes:
        batches: embeddings, in float64 but representable in `dtype`, and labels, per step.
        dtype: of the embeddings.
        center_dtype: of the centres.
    """

    head: str
    head_parameters: dict[str, Any]
    sampler: dict[str, Any]
    num_classes: int
    dim: int
    seed: int
    dtype: torch.dtype
    center_dtype: torch.dtype
    batches: list[tuple[Tensor, Tensor]]

    def classifier(self, sampler: dict[str, Any] | None = None) -> Classifier:
        """The layer from its seed, with another sampler if given."""
        head = build_head(self.head, num_classes=self.num_classes, **self.head_parameters)
        built = build_sampler(**(self.sampler if sampler is None else sampler))
        shape = self.num_classes, self.dim
        classifier = Classifier(*shape, head=head, sampler=built, seed=self.seed)
        return classifier.to(self.center_dtype)


@st.composite
def problems(
    draw: st.DrawFn, head: str, *, norms: tuple[float, ...] = NORMS, steps: int = 3
) -> Drawn:
    """A last layer with this head and batches of every kind; 32 or 64 bits for the centres."""
    num_classes, dim = draw(st.integers(1, 7)), draw(st.integers(1, 5))
    rows, seed = draw(st.integers(1, 5)), draw(st.integers(0, 2**31))
    center_dtype = draw(st.sampled_from((torch.float32, torch.float64)))
    dtype = draw(st.sampled_from(DTYPES))
    drawn = Drawn(
        head,
        draw(parameters("head", head)),
        draw(samplers()),
        num_classes,
        dim,
        seed,
        dtype,
        center_dtype,
        [],
    )
    try:
        centers = drawn.classifier().centers.detach().double()
    except UserError:  # parameters that exclude each other, or too few classes for the head
        reject()
    generator = torch.Generator().manual_seed(seed + 1)
    for _ in range(steps):
        labels = torch.tensor(
            draw(st.lists(st.integers(0, num_classes - 1), min_size=rows, max_size=rows))
        )
        x = torch.stack([draw(_row(centers, int(label), norms, generator)) for label in labels])
        drawn.batches.append((x.to(dtype).double(), labels))
    return drawn


@st.composite
def _row(
    draw: st.DrawFn,
    centers: Tensor,
    label: int,
    norms: tuple[float, ...],
    generator: torch.Generator,
) -> Tensor:
    """An embedding anywhere, at a centre (its own or another), or opposite to its own."""
    kind = draw(st.sampled_from(("anywhere", "own", "opposite", "other")))
    if kind == "anywhere":
        row = torch.randn(centers.shape[1], generator=generator, dtype=torch.float64)
    elif kind == "other":
        row = centers[draw(st.integers(0, len(centers) - 1))]
    else:
        row = centers[label] if kind == "own" else -centers[label]
    return row * (draw(st.sampled_from(norms)) / row.norm())
