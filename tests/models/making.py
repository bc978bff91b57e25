"""Tiny models as other people would hand them over: ONNX by `onnx`, TorchScript by torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from frcore.study.models import OnnxModel, TorchScriptModel

SIZE, DIM = 16, 8
MEAN, STD = (120.0, 110.0, 100.0), (50.0, 60.0, 70.0)


def weights(size: int = SIZE, dim: int = DIM) -> np.ndarray:
    """One linear layer over the pixels, (3 · size², dim)."""
    generator = np.random.default_rng(3)
    return generator.normal(size=(3 * size * size, dim)).astype(np.float32)


def some_images(count: int, size: int = SIZE) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def expected(images: np.ndarray, colour: str = "RGB", mean=MEAN, std=STD) -> np.ndarray:
    """What the models below give, pixel by pixel in double precision."""
    rows = []
    for image in images:
        channels = [image[:, :, channel].astype(np.float64) for channel in range(3)]
        if colour == "BGR":
            channels.reverse()
        values = [(one - m) / s for one, m, s in zip(channels, mean, std, strict=True)]
        rows.append(np.concatenate([one.ravel() for one in values]) @ weights(image.shape[0]))
    return np.array(rows)


def tiny_onnx(
    path: Path,
    *,
    batch: int | str = "n",
    layout: str = "NCHW",
    size: int = SIZE,
    outputs: tuple[str, ...] = ("embedding",),
    kind: int = TensorProto.FLOAT,
    nodes: tuple[Any, ...] = (),
    last: str = "image",
    domains: tuple[str, ...] = (),
    external: str | None = None,
    shape: list[Any] | None = None,
) -> Path:
    """A linear layer over the pixels; every output has it, the second one negated.

    Args:
        nodes: more of them, put in front.
        last: what of theirs the layer takes.
        external: where the weights are said to be; the file is written beside the model.
        shape: of the input, instead of the one that follows from the rest.
    """
    shape = shape or ([batch, 3, size, size] if layout == "NCHW" else [batch, size, size, 3])
    dtype = np.float16 if kind == TensorProto.FLOAT16 else np.float32
    weight = numpy_helper.from_array(weights(size).astype(dtype), "weight")
    graph_nodes = list(nodes)
    if layout == "NHWC":
        graph_nodes.append(helper.make_node("Transpose", [last], ["nchw"], perm=[0, 3, 1, 2]))
        last = "nchw"
    graph_nodes.append(helper.make_node("Flatten", [last], ["flat"]))
    graph_nodes.append(helper.make_node("MatMul", ["flat", "weight"], [outputs[0]]))
    graph_nodes += [helper.make_node("Neg", [outputs[0]], [name]) for name in outputs[1:]]
    graph = helper.make_graph(
        graph_nodes,
        "tiny",
        [helper.make_tensor_value_info("image", kind, shape)],
        [helper.make_tensor_value_info(name, kind, [shape[0], DIM]) for name in outputs],
        [weight],
    )
    opsets = [helper.make_opsetid("", 17), *(helper.make_opsetid(name, 1) for name in domains)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    if external is not None:
        (tensor,) = model.graph.initializer
        onnx.external_data_helper.set_external_data(tensor, external)
        file = Path(external).name
        (path.parent / file).write_bytes(tensor.raw_data)
        tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    return path


def onnx_section(path: Path, **changes: Any) -> OnnxModel:
    settings = {"label": "m", "kind": "onnx", "file": str(path), "colour": "RGB", "mean": MEAN,
                "std": STD}  # fmt: skip
    return OnnxModel.model_validate(settings | changes)


class Linear(nn.Module):
    """The same linear layer in torch."""

    def __init__(self, size: int = SIZE):
        super().__init__()
        self.weight = nn.Parameter(torch.from_numpy(weights(size)))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return image.flatten(1) @ self.weight


def tiny_torchscript(path: Path, module: nn.Module | None = None) -> Path:
    torch.jit.script(module or Linear()).save(str(path))
    return path


def torchscript_section(path: Path, **changes: Any) -> TorchScriptModel:
    settings = {"label": "m", "kind": "torchscript", "file": str(path), "colour": "RGB",
                "mean": MEAN, "std": STD}  # fmt: skip
    return TorchScriptModel.model_validate(settings | changes)
