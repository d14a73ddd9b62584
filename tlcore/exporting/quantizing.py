"""Quantizing: a LiteRT model in 8 bits whose layers keep their mean outputs.

Owns the conversion to 8 bits, the correction of biases after it, and what is said of
both. A rounded kernel is off by a little, the same for every image: times the mean of
its input that shifts the mean of its output, most where a kernel has few weights, as a
depthwise one. The shift is calculated from the mean inputs of the calibration images
and taken off the bias (Nagel et al. 2019, "Data-Free Quantization Through Weight
Equalization and Bias Correction", section 4.2). It costs no byte and no time in use.
"""

import copy
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

_KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
"""Operations with a kernel and a bias: each gives kernel * input + bias."""
_EDGES = ("QUANTIZE", "DEQUANTIZE")


@dataclass(frozen=True)
class Quantized:
    """A LiteRT model in 8 bits.

    Attributes:
        content: of its file.
        corrected: the number of layers whose bias was corrected.
        uncorrected: the layers with a kernel in 8 bits whose bias was not, by name.
        in_float: the operations that are still calculated in floats, by name.
    """

    content: bytes
    corrected: int
    uncorrected: tuple[str, ...]
    in_float: tuple[str, ...]


@dataclass(frozen=True)
class _Layer:
    """An operation with a kernel: its kind, its output's name, and itself."""

    kind: str
    name: str
    operation: Any


def quantize(saved_model: Path, images: NDArray[Any]) -> Quantized:
    """Return a model in 8 bits, weights by channel, with corrected biases.

    Args:
        saved_model: the model, as a SavedModel.
        images: the calibration images, (n, height, width, 3): the ranges of what
            layers give are taken from them, and the mean inputs.
    """
    import tensorflow as tf

    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    floats = converter.convert()
    converter = tf.lite.TFLiteConverter.from_saved_model(str(saved_model))
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    # One image at a time, as the converter asks for them.
    converter.representative_dataset = lambda: ([row[None]] for row in images)
    return correct_biases(floats, converter.convert(), images)


def correct_biases(floats: bytes, int8: bytes, images: NDArray[Any]) -> Quantized:
    """Return a model in 8 bits whose layers have the mean outputs of one in floats.

    Args:
        floats: the LiteRT model in floats.
        int8: the same model in 8 bits.
        images: those that the means are taken over.
    """
    from tensorflow.lite.tools import flatbuffer_utils as files

    before, model = (
        files.convert_bytearray_to_object(bytearray(x)) for x in (floats, int8)
    )
    known = {(layer.kind, layer.name): layer for layer in _layers(before)}
    rounded = [x for x in _layers(model) if _kernel(model, x).dtype == np.int8]
    pairs = [(known.get((x.kind, x.name)), x) for x in rounded]
    means = _mean_inputs(floats, [x for x, _ in pairs if x is not None], images)
    uncorrected = []
    for layer, ours in pairs:
        if layer is None or not _in_8_bits(model, ours):
            uncorrected.append(f"{ours.kind} {ours.name}")
            continue
        error = _kernel(before, layer) - _dequantized(model, ours)
        options = layer.operation.builtinOptions
        shift = mean_output(layer.kind, options, error, means[layer.name])
        _shift_bias(model, ours, shift)
    return Quantized(
        bytes(files.convert_object_to_bytearray(model)),
        len(pairs) - len(uncorrected),
        tuple(uncorrected),
        tuple(_in_float(model)),
    )


def _layers(model: Any) -> Iterator[_Layer]:
    graph = model.subgraphs[0]
    for operation in graph.operators:
        kind = _kind(model, operation)
        # A kernel that is calculated has no buffer of its own.
        if kind in _KERNELS and _buffer(model, operation.inputs[1]).data is not None:
            yield _Layer(kind, _name(graph, operation), operation)


def _in_8_bits(model: Any, layer: _Layer) -> bool:
    """Return whether a layer takes 8 bits, not only keeps its kernel in them."""
    return len(_scales(model, layer.operation.inputs[0])) == 1


def _kind(model: Any, operation: Any) -> str:
    from tensorflow.lite.tools import flatbuffer_utils as files

    return str(files.opcode_to_name(model, operation.opcodeIndex))


def _name(graph: Any, operation: Any) -> str:
    return str(graph.tensors[operation.outputs[0]].name.decode())


def _buffer(model: Any, tensor: int) -> Any:
    return model.buffers[model.subgraphs[0].tensors[tensor].buffer]


def _values(model: Any, tensor: int) -> NDArray[Any]:
    from tensorflow.lite.python import schema_py_generated as schema

    about = model.subgraphs[0].tensors[tensor]
    kinds = {
        schema.TensorType.FLOAT32: np.float32,
        schema.TensorType.INT8: np.int8,
        schema.TensorType.INT32: np.int32,
    }
    data = bytes(_buffer(model, tensor).data)
    return np.frombuffer(data, kinds[about.type]).reshape(about.shape)


def _kernel(model: Any, layer: _Layer) -> NDArray[Any]:
    return _values(model, layer.operation.inputs[1])


def _scales(model: Any, tensor: int) -> NDArray[np.float64]:
    about = model.subgraphs[0].tensors[tensor].quantization
    found = None if about is None else about.scale
    return np.asarray([] if found is None else found, np.float64)


def _dequantized(model: Any, layer: _Layer) -> NDArray[np.float64]:
    tensor = layer.operation.inputs[1]
    kernel = _kernel(model, layer)
    scales, shape = _scales(model, tensor), [1] * kernel.ndim
    axis = model.subgraphs[0].tensors[tensor].quantization.quantizedDimension
    shape[axis] = len(scales)
    return np.asarray(kernel * scales.reshape(shape))


def _mean_inputs(
    floats: bytes, layers: list[_Layer], images: NDArray[Any]
) -> dict[str, NDArray[np.float64]]:
    """Return the mean over the images of the input of each layer, by its name."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    model = Interpreter(
        model_content=floats,
        # Delegates calculate several layers at once and keep nothing between them.
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
        experimental_preserve_all_tensors=True,
    )
    model.allocate_tensors()
    (taken,) = model.get_input_details()
    tensors = {layer.name: int(layer.operation.inputs[0]) for layer in layers}
    sums: dict[int, Any] = dict.fromkeys(tensors.values(), 0.0)
    for image in images:
        model.set_tensor(taken["index"], image[None])
        model.invoke()
        for tensor, so_far in sums.items():
            sums[tensor] = so_far + model.get_tensor(tensor).astype(np.float64)
    return {name: sums[tensor] / len(images) for name, tensor in tensors.items()}


def mean_output(
    kind: str, options: Any, kernel: NDArray[Any], inputs: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the mean of a layer's output by channel, without its bias.

    A layer is linear, so that the mean of the images may stand for them.

    Args:
        kind: "CONV_2D", "DEPTHWISE_CONV_2D" or "FULLY_CONNECTED".
        options: its strides, dilations and padding, as LiteRT names them.
        kernel: its weights, in the order of LiteRT.
        inputs: what it takes, or the mean of that.
    """
    if kind == "FULLY_CONNECTED":  # kernel: (outputs, inputs)
        return np.asarray(kernel @ inputs.reshape(-1, kernel.shape[1]).mean(axis=0))
    seen = _mean_patch(options, kernel.shape[1:3], inputs)
    channels = inputs.shape[-1]
    if kind == "DEPTHWISE_CONV_2D":  # kernel: (1, rows, columns, outputs)
        each = np.repeat(seen, kernel.shape[-1] // channels, axis=-1)
        return np.asarray((kernel[0] * each).sum(axis=(0, 1)))
    # kernel: (outputs, rows, columns, inputs of a group)
    groups = channels // kernel.shape[-1]
    parts = kernel.reshape(groups, -1, *kernel.shape[1:])
    seen = seen.reshape(*seen.shape[:2], groups, -1)
    return np.asarray(np.einsum("gorci,rcgi->go", parts, seen).reshape(-1))


def _mean_patch(
    options: Any, size: tuple[int, ...], inputs: NDArray[Any]
) -> NDArray[np.float64]:
    """Return the mean input that each place of a kernel sees, by channel."""
    strides = options.strideH, options.strideW
    dilations = options.dilationHFactor, options.dilationWFactor
    steps, padding = [], [(0, 0)]
    for axis in (0, 1):
        stride, length = strides[axis], inputs.shape[1 + axis]
        reach = (size[axis] - 1) * dilations[axis] + 1
        if options.padding == 0:  # SAME: zeros around, the odd one behind
            count = math.ceil(length / stride)
            zeros = max((count - 1) * stride + reach - length, 0)
        else:  # VALID
            count, zeros = (length - reach) // stride + 1, 0
        padding.append((zeros // 2, zeros - zeros // 2))
        starts = (place * dilations[axis] for place in range(size[axis]))
        steps.append([slice(x, x + (count - 1) * stride + 1, stride) for x in starts])
    padded = np.pad(inputs, [*padding, (0, 0)])
    return np.array(
        [
            [padded[:, down, along].mean(axis=(0, 1, 2)) for along in steps[1]]
            for down in steps[0]
        ]
    )


def _shift_bias(model: Any, layer: _Layer, shift: NDArray[np.float64]) -> None:
    taken, kernel, *_ = layer.operation.inputs
    scales = _scales(model, taken) * _scales(model, kernel)
    steps = np.round(shift / scales).astype(np.int32)
    tensor = _own_bias(model, layer, scales, len(shift))
    data = (_values(model, tensor) + steps).astype(np.int32).tobytes()
    _buffer(model, tensor).data = np.frombuffer(data, np.uint8)


def _own_bias(
    model: Any, layer: _Layer, scales: NDArray[np.float64], channels: int
) -> int:
    """Return the bias of a layer, with a buffer that is no other's.

    Layers without one get one; of equal biases the converter may keep only one.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    graph, inputs = model.subgraphs[0], [int(x) for x in layer.operation.inputs]
    if len(inputs) > 2 and inputs[2] >= 0:
        old = graph.tensors[inputs[2]]
        readers = Counter(int(x) for o in graph.operators for x in o.inputs)
        buffers = Counter(tensor.buffer for tensor in graph.tensors)
        if readers[inputs[2]] == buffers[old.buffer] == 1:
            return inputs[2]
        bias, data = copy.deepcopy(old), _buffer(model, inputs[2]).data
    else:
        bias = schema.TensorT()
        bias.name = f"{layer.name}/bias".encode()
        bias.shape = np.array([channels], np.int32)
        bias.type = schema.TensorType.INT32
        bias.quantization = schema.QuantizationParametersT()
        bias.quantization.scale = scales.astype(np.float32)
        bias.quantization.zeroPoint = np.zeros(len(scales), np.int64)
        data = np.zeros(channels * 4, np.uint8)
    buffer = schema.BufferT()
    buffer.data = data
    model.buffers.append(buffer)
    bias.buffer = len(model.buffers) - 1
    graph.tensors.append(bias)
    layer.operation.inputs = [*inputs[:2], len(graph.tensors) - 1]
    return len(graph.tensors) - 1


def _in_float(model: Any) -> Iterator[str]:
    from tensorflow.lite.python import schema_py_generated as schema

    graph = model.subgraphs[0]
    for operation in graph.operators:
        kind = _kind(model, operation)
        kinds = {graph.tensors[output].type for output in operation.outputs}
        if kind not in _EDGES and schema.TensorType.FLOAT32 in kinds:
            yield f"{kind} {_name(graph, operation)}"
