"""Targets: the forms a model is exported to, how each is written and how it is run.

Owns the packages that each needs. Every target takes images as the model does, (n,
height, width, 3) float32 in [0, 255], and returns its outputs.
"""

import importlib.util
import shutil
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import require_one_of
from tlcore.exporting.quantizing import Quantized, quantize

Run = Callable[[NDArray[Any]], NDArray[Any]]
"""What an exported model is: a function from images to outputs."""


@dataclass(frozen=True)
class Target:
    """A form that a model is exported to.

    Attributes:
        name: of the target.
        file: the name of its file or folder.
        packages: what must be installed, the name to import and the one to install.
        imports: what a program that runs it imports.
        runs_by: how it runs it, from `images` to `outputs`.
    """

    name: str
    file: str
    packages: Mapping[str, str]
    imports: str
    runs_by: str

    def check_installed(self) -> None:
        """Refuse a target whose packages are missing.

        Raises:
            ValueError: the message has the line that installs them.
        """
        missing = [
            package
            for module, package in self.packages.items()
            if importlib.util.find_spec(module) is None
        ]
        if missing:
            raise ValueError(
                f"An export to {self.name} needs packages that are not installed. "
                f"Received: to={self.name!r}. Run: pip install {' '.join(missing)}"
            )


SAVED_MODEL = Target(
    "savedmodel",
    "saved_model",
    {"tensorflow": "tensorflow"},
    "import tensorflow as tf",
    'model = tf.saved_model.load("saved_model")\noutputs = model.serve(images)',
)
ONNX = Target(
    "onnx",
    "model.onnx",
    {
        "tensorflow": "tensorflow",
        "onnx": "onnx",
        "tf2onnx": "tf2onnx",
        "onnxruntime": "onnxruntime",
    },
    "import onnxruntime",
    'model = onnxruntime.InferenceSession("model.onnx")\n'
    "(name,) = (x.name for x in model.get_inputs())\n"
    "(outputs,) = model.run(None, {name: images})",
)
LITERT = Target(
    "litert",
    "model.tflite",
    {"tensorflow": "tensorflow", "ai_edge_litert": "ai-edge-litert"},
    "from ai_edge_litert.interpreter import Interpreter",
    'model = Interpreter("model.tflite")\n'
    "(taken,), (given,) = model.get_input_details(), model.get_output_details()\n"
    'model.resize_tensor_input(taken["index"], images.shape)\n'
    "model.allocate_tensors()\n"
    'model.set_tensor(taken["index"], images)\n'
    "model.invoke()\n"
    'outputs = model.get_tensor(given["index"])',
)
TARGETS = {target.name: target for target in (SAVED_MODEL, ONNX, LITERT)}


def find_target(name: str) -> Target:
    """Return the target of this name.

    Raises:
        ValueError: there is no such target.

    Example:
        >>> find_target("onnx").file
        'model.onnx'
    """
    require_one_of("to", name, TARGETS)
    return TARGETS[name]


def write(
    target: Target,
    model: keras.Model,
    folder: Path,
    *,
    int8: NDArray[Any] | None = None,
) -> tuple[Path, Quantized | None]:
    """Write a model into a folder; return its file, and how it was quantized.

    Args:
        target: the form.
        model: from images in [0, 255] to outputs.
        folder: where to.
        int8: calibration images, by which a LiteRT model is quantized to 8 bits; None
            keeps floats.

    Raises:
        ValueError: Keras has another backend than TensorFlow, or the target lacks an
            operation of the model.
    """
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "Models are exported with Keras's TensorFlow backend. Received: "
            f"backend={keras.backend.backend()!r}. A run of any backend is exported "
            "with KERAS_BACKEND=tensorflow."
        )
    path, quantized = folder / target.file, None
    writers = {"savedmodel": _write_saved_model, "onnx": _write_onnx}
    try:
        with warnings.catch_warnings():
            # The converters warn of NumPy's names and of their own successors.
            warnings.simplefilter("ignore")
            if target.name in writers:
                writers[target.name](model, path)
            else:
                quantized = _write_litert(model, path, int8)
    except Exception as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise ValueError(
            f"The model cannot be exported to {target.name}. Received: "
            f"model={model.name!r}; the converter says: {lines[0]}. Choose another "
            "target, or a model without that operation."
        ) from error
    return path, quantized


def load(target: Target, path: Path) -> Run:
    """Return an exported model as a function from images to outputs.

    Args:
        target: the form.
        path: its file or folder.
    """
    runners = {"savedmodel": _run_saved_model, "onnx": _run_onnx, "litert": _run_litert}
    return runners[target.name](path)


def _write_saved_model(model: keras.Model, path: Path) -> None:
    model.export(path, verbose=False)


def _write_onnx(model: keras.Model, path: Path) -> None:
    # Keras exports only what was called, and loading calls nothing.
    model(np.zeros((1, *model.input_shape[1:]), np.float32), training=False)
    model.export(path, format="onnx", verbose=False)


def _write_litert(
    model: keras.Model, path: Path, int8: NDArray[Any] | None
) -> Quantized | None:
    import tensorflow as tf

    aside = path.parent / SAVED_MODEL.file
    _write_saved_model(model, aside)
    quantized = None if int8 is None else quantize(aside, int8)
    if quantized is None:
        converter = tf.lite.TFLiteConverter.from_saved_model(str(aside))
        path.write_bytes(converter.convert())
    else:
        path.write_bytes(quantized.content)
    shutil.rmtree(aside)
    return quantized


def _run_saved_model(path: Path) -> Run:
    import tensorflow as tf

    loaded = tf.saved_model.load(str(path))
    return lambda images: np.asarray(loaded.serve(images))


def _run_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (name,) = (taken.name for taken in session.get_inputs())

    def run(images: NDArray[Any]) -> NDArray[Any]:
        (found,) = session.run(None, {name: images})
        return np.asarray(found)

    return run


def _run_litert(path: Path) -> Run:
    from ai_edge_litert.interpreter import Interpreter

    model = Interpreter(str(path))
    (taken,), (given,) = model.get_input_details(), model.get_output_details()

    def run(images: NDArray[Any]) -> NDArray[Any]:
        model.resize_tensor_input(taken["index"], images.shape)
        model.allocate_tensors()
        model.set_tensor(taken["index"], images)
        model.invoke()
        return np.array(model.get_tensor(given["index"]))

    return run
