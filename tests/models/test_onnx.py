"""ONNX models of strangers: what they give, and what is refused before anything runs."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper

from frcore.errors import UserError
from frcore.models.onnx_session import OnnxSession
from tests.models.making import SIZE, expected, onnx_section, some_images, tiny_onnx


def refusal(path: Path, images: np.ndarray | None = None, **changes) -> str:
    with pytest.raises(UserError) as caught:
        OnnxSession(onnx_section(path, **changes))(some_images(1) if images is None else images)
    return str(caught.value)


@pytest.mark.parametrize("batch", ["n", 1, 4])
@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize("colour", ["RGB", "BGR"])
def test_embeddings_are_those_of_the_formula(tmp_path, batch, layout, colour):
    path = tiny_onnx(tmp_path / "m.onnx", batch=batch, layout=layout)
    session = OnnxSession(onnx_section(path, colour=colour))
    images = some_images(6)  # no multiple of 4: the last batch is filled up
    out = session(images)
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected(images, colour), rtol=1e-4, atol=1e-3)
    np.testing.assert_array_equal(session(images), out)
    assert (session.size, session.batch) == (SIZE, None if batch == "n" else batch)
    assert colour in session.about
    assert layout in session.about


def test_one_mean_and_std_are_for_all_channels(tmp_path):
    session = OnnxSession(onnx_section(tiny_onnx(tmp_path / "m.onnx"), mean=127.5, std=128))
    images = some_images(2)
    values = expected(images, mean=[127.5] * 3, std=[128] * 3)
    np.testing.assert_allclose(session(images), values, rtol=1e-4, atol=1e-3)


def test_a_half_precision_model_is_fed_halves(tmp_path):
    session = OnnxSession(onnx_section(tiny_onnx(tmp_path / "m.onnx", kind=TensorProto.FLOAT16)))
    out = session(some_images(3))
    assert out.dtype == np.float32
    np.testing.assert_allclose(out, expected(some_images(3)), rtol=0.05, atol=0.5)


def test_a_free_side_takes_any_size(tmp_path):
    path = tiny_onnx(tmp_path / "m.onnx", shape=["n", 3, "h", "w"])
    session = OnnxSession(onnx_section(path))
    assert session.size is None
    np.testing.assert_allclose(session(some_images(2)), expected(some_images(2)), rtol=1e-3)


def test_of_two_outputs_one_must_be_named(tmp_path):
    path = tiny_onnx(tmp_path / "m.onnx", outputs=("embedding", "other"))
    message = refusal(path)
    assert "2 outputs" in message
    assert "'embedding'" in message
    assert "'other'" in message
    images = some_images(2)
    out = OnnxSession(onnx_section(path, output="other"))(images)
    np.testing.assert_allclose(out, -expected(images), rtol=1e-4, atol=1e-3)
    assert "has no output 'logits'" in refusal(path, output="logits")


def test_weights_in_a_file_beside_the_model_are_read(tmp_path):
    path = tiny_onnx(tmp_path / "m.onnx", external="m.data")
    session = OnnxSession(onnx_section(path))
    assert session.files == [path, tmp_path / "m.data"]
    np.testing.assert_allclose(session(some_images(2)), expected(some_images(2)), rtol=1e-3)


@pytest.mark.parametrize("place", ["../m.data", "inside/../../m.data", "ABSOLUTE", "link.data"])
def test_weights_elsewhere_are_refused(tmp_path, place):
    folder = tmp_path / "model"
    folder.mkdir()
    secret = tmp_path / "m.data"
    location = str(secret) if place == "ABSOLUTE" else place
    path = tiny_onnx(folder / "m.onnx", external=location)
    (folder / Path(location).name).replace(secret)
    (folder / "inside").mkdir()
    (folder / "link.data").symlink_to(secret)
    assert "not inside the model's folder" in refusal(path)


def test_weights_that_are_missing_are_named(tmp_path):
    path = tiny_onnx(tmp_path / "m.onnx", external="m.data")
    (tmp_path / "m.data").unlink()
    assert "has no such file" in refusal(path)


def test_operators_of_somebody_elses_library_are_refused(tmp_path):
    node = helper.make_node("Run", ["image"], ["x"], domain="evil.ops")
    path = tiny_onnx(tmp_path / "m.onnx", nodes=(node,), domains=("evil.ops",))
    message = refusal(path)
    assert "evil.ops::Run" in message
    assert "custom operators" in message


def test_an_operator_is_found_inside_a_branch(tmp_path):
    inner = helper.make_node("EPContext", ["image"], ["inner"], domain="com.microsoft")
    output = helper.make_tensor_value_info("inner", TensorProto.FLOAT, None)
    branch = helper.make_graph([inner], "branch", [], [output])
    condition = helper.make_node("Constant", [], ["yes"], value=helper.make_tensor(
        "t", TensorProto.BOOL, [], [True]))  # fmt: skip
    node = helper.make_node("If", ["yes"], ["x"], then_branch=branch, else_branch=branch)
    path = tiny_onnx(tmp_path / "m.onnx", nodes=(condition, node), domains=("com.microsoft",))
    assert "com.microsoft::EPContext" in refusal(path)


class Trap:
    def __reduce__(self):
        return (Path.touch, (Path("trapped"),))


@pytest.mark.parametrize(
    "content",
    [b"", b"garbage" * 100, b"\x08\x07", pickle.dumps(Trap()), b"\x00" * 64, b"ORTM" * 9],
    ids=["empty", "garbage", "no graph", "pickle", "zeros", "ort"],
)
def test_other_files_are_refused(tmp_path, monkeypatch, content):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "m.onnx"
    path.write_bytes(content)
    assert str(path) in refusal(path)
    assert not Path("trapped").exists()


def test_a_file_cut_short_is_refused(tmp_path):
    path = tiny_onnx(tmp_path / "m.onnx")
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refusal(path)


def test_images_of_another_size_are_refused(tmp_path):
    message = refusal(tiny_onnx(tmp_path / "m.onnx"), some_images(1, 24))
    assert "takes images of 16 pixels, but the benchmark has 24" in message
    assert "image.size: 16" in message


@pytest.mark.parametrize(
    ("shape", "expected_part"),
    [
        (["n", 3 * SIZE * SIZE], "rank 4"),
        (["n", 1, 3 * SIZE, SIZE], "colour images"),
        (["n", 3, SIZE, SIZE + 1], "square"),
    ],
)
def test_inputs_that_are_no_square_colour_images_are_refused(tmp_path, shape, expected_part):
    assert expected_part in refusal(tiny_onnx(tmp_path / "m.onnx", shape=shape))


def test_an_output_that_is_no_embedding_is_refused(tmp_path):
    node = helper.make_node("Relu", ["image"], ["map"])
    graph = helper.make_graph(
        [node], "g", [helper.make_tensor_value_info("image", 1, ["n", 3, SIZE, SIZE])],
        [helper.make_tensor_value_info("map", 1, None)],
    )  # fmt: skip
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    assert "output of shape (1, 3, 16, 16)" in refusal(path)
