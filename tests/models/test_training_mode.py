"""Models that were exported as they stood in training: found by what they give, and refused."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from frcore.errors import UserError
from frcore.evaluation.embed import embed, embed_with
from frcore.models.networks import TorchScriptNetwork
from frcore.models.onnx_session import OnnxSession
from frcore.models.pixels import Network
from tests.models.making import (
    DIM,
    MEAN,
    SIZE,
    STD,
    Linear,
    expected,
    onnx_section,
    some_images,
    tiny_onnx,
    torchscript_section,
)

IMAGES = some_images(5)


def face_network(*end: nn.Module) -> nn.Module:
    """Convolution, normalisation, a projection, as a face backbone has them; with running values
    that are unlike those of a batch, as after a training."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.PReLU(8), nn.Flatten(), *end,
        nn.Linear(8 * (SIZE - 2) ** 2, DIM), nn.BatchNorm1d(DIM),
    )  # fmt: skip
    with torch.no_grad():
        for _ in range(20):
            network.train()(torch.randn(8, 3, SIZE, SIZE))
    return network


def traced(path: Path, module: nn.Module, example: Tensor | None = None) -> Network:
    """As people make it: `torch.jit.trace` of a module in whatever mode it is."""
    example = torch.randn(4, 3, SIZE, SIZE) if example is None else example
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the tracer, about exactly this
        torch.jit.trace(module, example, check_trace=False).save(str(path))
    return TorchScriptNetwork(torchscript_section(path))


def exported(path: Path, module: nn.Module) -> Network:
    training = torch.onnx.TrainingMode.PRESERVE
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.onnx.export(
            module, (torch.randn(4, 3, SIZE, SIZE),), str(path), training=training, dynamo=False,
            input_names=["image"], dynamic_axes={"image": {0: "n"}},
        )  # fmt: skip
    return OnnxSession(onnx_section(path))


def refusal(network: Callable[[np.ndarray], np.ndarray]) -> str:
    with pytest.raises(UserError) as caught:
        embed_with(network, IMAGES, flip="none", remedy="EXPORT AGAIN")
    return str(caught.value)


def test_batch_statistics_traced_into_torchscript_are_refused(tmp_path):
    network = traced(tmp_path / "m.pt", face_network().train())
    one, other = (network(np.stack([IMAGES[0], *rest])) for rest in (IMAGES[1:3], IMAGES[3:]))
    cosine = one[0] @ other[0] / np.linalg.norm(one[0]) / np.linalg.norm(other[0])
    assert cosine < 0.9, "otherwise there is nothing to refuse"
    message = refusal(network)
    assert "depends on the other images in its batch" in message
    assert message.endswith("EXPORT AGAIN")


def test_dropout_traced_into_torchscript_is_refused(tmp_path):
    network = face_network(nn.Dropout(0.1)).eval()
    network[4].train()  # dropout alone
    message = refusal(traced(tmp_path / "m.pt", network))
    assert "two different embeddings" in message
    assert message.endswith("EXPORT AGAIN")


def test_batch_statistics_in_an_onnx_graph_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"training mode \(BatchNormalization .*model\.eval\(\)"):
        exported(tmp_path / "m.onnx", face_network().train())


def test_batch_statistics_by_other_operators_are_refused(tmp_path):
    mean = helper.make_node("ReduceMean", ["image"], ["mean"], axes=[0], keepdims=1)
    subtract = helper.make_node("Sub", ["image", "mean"], ["centred"])
    path = tiny_onnx(tmp_path / "m.onnx", nodes=(mean, subtract), last="centred")
    assert "depends on the other images" in refusal(OnnxSession(onnx_section(path)))


def test_noise_in_an_onnx_graph_is_refused(tmp_path):
    noise = helper.make_node("RandomNormalLike", ["image"], ["noise"], scale=0.5)
    add = helper.make_node("Add", ["image", "noise"], ["noisy"])
    path = tiny_onnx(tmp_path / "m.onnx", nodes=(noise, add), last="noisy")
    assert "two different embeddings" in refusal(OnnxSession(onnx_section(path)))


def test_a_backbone_that_ignores_eval_is_refused():
    class Careless(nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            return nn.functional.dropout(images.flatten(1), 0.2)

    with pytest.raises(UserError, match=r"two different embeddings.*check its `forward`"):
        embed(Careless().eval(), IMAGES, flip="none")


# torch exports a graph of halves on a GPU alone; see the test after this one.
@pytest.mark.fast_cases(1)
@pytest.mark.parametrize(
    ("make", "half"), [(traced, False), (traced, True), (exported, False)],
    ids=["torchscript", "torchscript of halves", "onnx"],
)  # fmt: skip
def test_models_in_eval_mode_are_taken_as_they_are(tmp_path, make, half):
    module = face_network(nn.Dropout(0.5)).eval()
    values = (torch.from_numpy(IMAGES) - torch.tensor(MEAN)) / torch.tensor(STD)
    with torch.no_grad():
        wanted = module(values.permute(0, 3, 1, 2)).numpy()
    if half:
        module = module.half()
    example = (torch.zeros(4, 3, SIZE, SIZE).half(),) if half else ()
    network = make(tmp_path / "m", module, *example)
    out = embed_with(network, IMAGES, flip="none", batch_size=2)
    np.testing.assert_allclose(out, wanted, rtol=2e-2 if half else 1e-4, atol=2e-2 * half + 1e-4)
    assert ("float16" in network.about) == half


def test_halves_in_an_onnx_graph(tmp_path):
    path = tiny_onnx(tmp_path / "m.onnx", kind=TensorProto.FLOAT16)
    out = embed_with(OnnxSession(onnx_section(path)), IMAGES, flip="none")
    np.testing.assert_allclose(out, expected(IMAGES), rtol=0.05, atol=0.5)


def test_weights_of_two_precisions_are_not_blamed_on_the_images(tmp_path):
    class Mixed(Linear):
        def __init__(self):
            super().__init__()
            self.first = nn.Linear(3 * SIZE * SIZE, 3 * SIZE * SIZE).half()

        def forward(self, image: Tensor) -> Tensor:
            return self.first(image.flatten(1)) @ self.weight

    path = tmp_path / "m.pt"
    torch.jit.script(Mixed()).save(str(path))
    message = refusal(TorchScriptNetwork(torchscript_section(path)))
    assert "one precision" in message
    assert "image.size" not in message


def test_a_graph_with_a_batch_of_one_in_a_constant_gets_one_image_at_a_time(tmp_path):
    shape = helper.make_node(
        "Constant", [], ["shape"],
        value=helper.make_tensor("t", TensorProto.INT64, [4], [1, 3, SIZE, SIZE]),
    )  # fmt: skip
    reshape = helper.make_node("Reshape", ["image", "shape"], ["fixed"])
    path = tiny_onnx(tmp_path / "m.onnx", nodes=(shape, reshape), last="fixed")
    network = OnnxSession(onnx_section(path))
    assert network.batch is None  # as the graph has it
    out = embed_with(network, IMAGES, flip="none", batch_size=3)
    np.testing.assert_allclose(out, expected(IMAGES), rtol=1e-4, atol=1e-3)
    assert "one image at a time" in network.about


def test_so_does_a_traced_graph(tmp_path):
    class View(Linear):
        def forward(self, image: Tensor) -> Tensor:
            return image.view(1, 3 * SIZE * SIZE) @ self.weight

    network = traced(tmp_path / "m.pt", View(), torch.zeros(1, 3, SIZE, SIZE))
    out = embed_with(network, IMAGES, flip="none", batch_size=3)
    np.testing.assert_allclose(out, expected(IMAGES), rtol=1e-4, atol=1e-3)
    assert "one image at a time" in network.about


def test_a_graph_that_takes_no_number_of_them_says_what_to_do(tmp_path):
    class View(Linear):
        def forward(self, image: Tensor) -> Tensor:
            return image.view(7, 3 * SIZE * SIZE) @ self.weight

    message = refusal(traced(tmp_path / "m.pt", View(), torch.zeros(7, 3, SIZE, SIZE)))
    assert "(4, 3, 16, 16)" in message
    assert "for any number of images" in message
