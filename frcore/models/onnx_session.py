"""An ONNX model as a function from images to embeddings, by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from frcore.errors import UserError, first_line
from frcore.models.onnx_file import read_onnx
from frcore.models.pixels import AGAIN, Layout, Network, Pixels
from frcore.study.models import OnnxModel

INPUT_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class OnnxSession(Network):
    """An ONNX model, by onnxruntime.

    Args:
        model: file, colour order, mean and std.
        device: 'cuda' runs on the GPU where onnxruntime was built for it, else on the CPU.
        threads: of the CPU.

    Raises:
        UserError: the file is refused by `read_onnx`, or has not one image input and one output of
            embeddings.
    """

    def __init__(self, model: OnnxModel, *, device: str = "cpu", threads: int = 1):
        self.path = Path(model.file)
        content, beside = read_onnx(self.path)
        self.files = [self.path, *beside]
        # What was checked is what runs; only tensors in other files need the path.
        self._session = _session(self.path if beside else content, self.path, device, threads)
        self._input, shape = _image_input(self._session, self.path)
        layout, self.size = _layout(shape, self.path)
        self.batch = shape[0] if isinstance(shape[0], int) and shape[0] > 0 else None
        self._output = _output(self._session, model.output, self.path)
        self._pixels = Pixels(model, layout)
        provider = self._session.get_providers()[0].removesuffix("ExecutionProvider")
        self.about = f"{self._pixels}, {layout}; onnxruntime on {provider}"

    def _prepared(self, images: NDArray[np.uint8]) -> NDArray[np.floating]:
        return self._pixels(images).astype(INPUT_TYPES[self._input.type], copy=False)

    def _run(self, values: NDArray[np.floating]) -> NDArray[np.floating]:
        try:
            (out,) = self._session.run([self._output.name], {self._input.name: values})
        except Exception as error:  # onnxruntime has its own exception for each failure
            raise UserError(
                f"{self.path} cannot be run on images of shape {values.shape}: "
                f"{first_line(error)}; {AGAIN}"
            ) from error
        return np.asarray(out)


def _session(source: Path | bytes, path: Path, device: str, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.use_deterministic_compute = True
    options.log_severity_level = 4  # errors are raised
    options.add_session_config_entry("session.load_model_format", "ONNX")
    # Otherwise waiting threads spin, and take cores from other jobs.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    wanted = ["CUDAExecutionProvider"] if device.startswith("cuda") else []
    there = set(onnxruntime.get_available_providers())
    providers = [name for name in (*wanted, "CPUExecutionProvider") if name in there]
    try:
        return onnxruntime.InferenceSession(
            source if isinstance(source, bytes) else str(source), options, providers=providers
        )
    except Exception as error:  # as above
        raise UserError(
            f"{path} cannot be loaded by onnxruntime {onnxruntime.__version__}: "
            f"{first_line(error)}; export the model again, with an older opset if this one is "
            "not known"
        ) from error


def _image_input(session: Any, path: Path) -> tuple[Any, list[Any]]:
    """The only input and its shape (4 entries, an int or something else where it is free)."""
    inputs = session.get_inputs()
    described = ", ".join(f"{one.name} {one.type} {one.shape}" for one in inputs) or "none"
    if len(inputs) != 1 or len(inputs[0].shape) != 4 or inputs[0].type not in INPUT_TYPES:
        raise UserError(
            f"{path} has the inputs {described}; allowed is exactly one, of images: rank 4, float "
            "or float16: export the model with the image as its only input"
        )
    return inputs[0], list(inputs[0].shape)


def _layout(shape: list[Any], path: Path) -> tuple[Layout, int | None]:
    """Where the three channels are, and the side of the square images; None where it is free."""
    layout: Layout
    if shape[1] == 3:
        layout, sides = "NCHW", shape[2:]
    elif shape[3] == 3:
        layout, sides = "NHWC", shape[1:3]
    else:
        raise UserError(
            f"{path} has an input of shape {shape}; allowed are (batch, 3, side, side) and "
            "(batch, side, side, 3), of colour images: export the model with one of these"
        )
    fixed = {side for side in sides if isinstance(side, int) and side > 0}
    if len(fixed) > 1:
        raise UserError(
            f"{path} has an input of shape {shape}; faces here are square: export the model for "
            "square images"
        )
    return layout, next(iter(fixed), None)


def _output(session: Any, name: str | None, path: Path) -> Any:
    outputs = {one.name: one for one in session.get_outputs()}
    if name is None and len(outputs) == 1:
        return next(iter(outputs.values()))
    if name not in outputs:
        given = f"has no output '{name}'" if name else f"has {len(outputs)} outputs"
        described = ", ".join(f"'{one.name}' {one.shape}" for one in outputs.values())
        raise UserError(
            f"{path} {given}; there are {described}: set `output:` of the model to the one that "
            "is the embedding"
        )
    return outputs[name]
