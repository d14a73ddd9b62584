"""Heat maps: which places of an image speak for a class.

Owns `heat_map`, Grad-CAM through the backbone within a model, and the picture of an
image under its map.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tlcore.arguments import require_one_of
from tlcore.backend import seam
from tlcore.data.images import read_picture
from tlcore.data.pixels import fitted
from tlcore.data.reading import DEFAULT, Reading
from tlcore.files import replacing
from tlcore.freezing import find_backbone

_BATCH_IMAGES = 32
_OPACITY = 0.5


def heat_map(
    model: keras.Model,
    images: "NDArray[Any] | Sequence[str | Path]",
    *,
    classes: int | Sequence[int] | None = None,
    layer: str | None = None,
    reading: Reading = DEFAULT,
) -> NDArray[np.float32]:
    """Return how much each place of an image speaks for a class, by Grad-CAM.

    The channels of a layer are weighed by the mean gradient of the class's logit with
    respect to them, summed, and cut off below 0 (Selvaraju et al., "Grad-CAM: Visual
    Explanations from Deep Networks via Gradient-based Localization", 2017). The map
    has the places of that layer, 7 x 7 in most backbones at 224 pixels, and is
    interpolated to the size of the image.

    Args:
        model: a functional classifier, such as one of `create_model`.
        images: (n, height, width, channels) in [0, 255], or image files.
        classes: the index of the class, one for all images or one for each; by default
            the class that the model predicts.
        layer: the layer of the backbone whose outputs are weighed; by default the last
            one whose outputs have places.
        reading: how files are read.

    Returns:
        (n, height, width) in [0, 1]; all 0 where nothing speaks for the class.

    Raises:
        ValueError: the outputs of the layer have no places, or it is not the only way
            from the images to the classes; there is no such class or layer; or a file
            cannot be read.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> files = tl.image_folder("photos/test", image_size=32).paths[:2]
        >>> tl.heat_map(model, files).shape
        (2, 32, 32)
    """
    if not isinstance(images, np.ndarray) and not hasattr(images, "ndim"):
        images = _read(model, images, reading)
    pixels = np.asarray(images, np.float32)
    if pixels.ndim != 4 or not len(pixels):
        raise ValueError(
            "images must be an array (n, height, width, channels) or image files. "
            f"Received: an array of shape {pixels.shape}. Write images[None] for one."
        )
    halves = _halves(model, layer)
    chosen = _classes(classes, len(pixels), halves)
    maps = [
        _maps(halves, pixels[start : start + _BATCH_IMAGES], chosen, start)
        for start in range(0, len(pixels), _BATCH_IMAGES)
    ]
    height, width = pixels.shape[1:3]
    sized = [_resized(each, (width, height)) for some in maps for each in some]
    return np.stack(sized)


def overlay(
    image: "NDArray[Any] | Image.Image", heat: NDArray[np.float32]
) -> Image.Image:
    """Return an image under its heat map, in the image's size.

    Args:
        image: RGB, (height, width, 3) in [0, 255], or an image of Pillow.
        heat: (height, width) in [0, 1], of any size.

    Example:
        >>> overlay(np.zeros((40, 60, 3)), np.ones((8, 8), np.float32)).size
        (60, 40)
    """
    import matplotlib as mpl

    if not isinstance(image, Image.Image):
        image = Image.fromarray(np.clip(np.rint(image), 0, 255).astype(np.uint8))
    sized = np.clip(_resized(heat, image.size), 0, 1)
    colours = mpl.colormaps["inferno"](sized)[..., :3] * 255
    drawn = Image.fromarray(np.rint(colours).astype(np.uint8))
    return Image.blend(image.convert("RGB"), drawn, _OPACITY)


def write_heat_maps(
    model: keras.Model,
    files: Mapping[str, Path],
    classes: Sequence[int] | None,
    *,
    reading: Reading = DEFAULT,
    layer: str | None = None,
) -> None:
    """Write images under their heat maps, each in the size that the model takes.

    Args:
        model: as in `heat_map`.
        files: by image file, where its picture is written; folders are created.
        classes: the class of each image; None is the one that the model predicts.
        reading: how files are read.
        layer: as in `heat_map`.

    Raises:
        ValueError: as `heat_map`.
        OSError: a picture cannot be written.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> file = tl.image_folder("photos/test", image_size=32).paths[0]
        >>> write_heat_maps(model, {file: Path("maps/first.png")}, [2])
        >>> with Image.open("maps/first.png") as drawn:
        ...     drawn.size
        (32, 32)
    """
    names = list(files)
    for start in range(0, len(names), _BATCH_IMAGES):
        some = names[start : start + _BATCH_IMAGES]
        wanted = None if classes is None else classes[start : start + len(some)]
        images = _read(model, some, reading)
        found = heat_map(model, images, classes=wanted, layer=layer)
        for name, image, heat in zip(some, images, found, strict=True):
            files[name].parent.mkdir(parents=True, exist_ok=True)
            with replacing(files[name]) as aside:
                overlay(image, heat).save(aside, format="PNG")


@dataclass(frozen=True)
class _Halves:
    """A model on both sides of the tensor that is weighed.

    Attributes:
        before: from images to the tensor, (n, rows, columns, channels).
        after: from the tensor to logits, (n, classes) or (n, 1).
        classes: the number of classes.
    """

    before: Callable[[Any], Any]
    after: Callable[[Any], Any]
    classes: int


def _halves(model: keras.Model, layer: str | None) -> _Halves:
    holder, network = find_backbone(model)
    outputs = model.output_shape[-1]
    if holder is model:  # a model of another origin: its own layers are the backbone
        tensor = _tensor_of(model, layer)
        before, after = _part(model.inputs[0], tensor, model), _logits(model, tensor)
        return _Halves(before, after, max(outputs, 2))
    rest = _logits(model, holder.output)
    if layer is None and len(holder.output.shape) == 4:
        before = _part(model.inputs[0], holder.output, model)
        return _Halves(before, rest, max(outputs, 2))
    if not hasattr(network, "layers"):
        raise _no_places(model, holder.output)
    tensor = _tensor_of(network, layer)
    into = _part(model.inputs[0], holder.input, model)
    first = _part(network.inputs[0], tensor, network)
    second = _part(tensor, network.outputs[0], network)
    return _Halves(
        lambda images: first(into(images)),
        lambda features: rest(second(features)),
        max(outputs, 2),
    )


def _tensor_of(network: keras.Model, layer: str | None) -> Any:
    """Return the output of a layer, by default of the last one that has places."""
    if layer is not None:
        names = [each.name for each in network.layers]
        require_one_of("layer", layer, names, subject=f"A layer of {network.name}")
        tensor = network.get_layer(layer).output
        if len(tensor.shape) != 4:
            raise _no_places(network, tensor)
        return tensor
    for each in reversed(network.layers):
        if len(getattr(each.output, "shape", ())) == 4:
            return each.output
    raise _no_places(network, network.outputs[0])


def _part(inputs: Any, outputs: Any, model: keras.Model) -> Callable[[Any], Any]:
    """Return the layers between two tensors of a functional model."""
    rule = (
        "A heat map needs a layer that all of the model goes through. Received: a "
        f"layer of {model.name!r} around which other layers lead. Name the output of a "
        "whole block."
    )
    try:
        part = keras.Model(inputs, outputs)
    except (ValueError, KeyError) as error:
        raise ValueError(rule) from error

    def run(tensor: Any) -> Any:
        try:
            return part(tensor, training=False)
        except KeyError as error:  # Keras up to 3.12 sees only here what is missing
            raise ValueError(rule) from error

    return run


def _logits(model: keras.Model, tensor: Any) -> Callable[[Any], Any]:
    """Return what leads from a tensor to the logits of a model."""
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    is_softmax = isinstance(last, keras.layers.Softmax)
    squashes = activation in {keras.activations.softmax, keras.activations.sigmoid}
    if not squashes and not is_softmax:
        return _part(tensor, model.outputs[0], model)
    before = _part(tensor, last.input, model)
    if not isinstance(last, keras.layers.Dense):  # an Activation by itself
        return before

    def logits(features: Any) -> Any:
        inputs = keras.ops.cast(before(features), "float32")
        found = keras.ops.matmul(inputs, last.kernel)
        return found if last.bias is None else found + last.bias

    return logits


def _classes(
    classes: int | Sequence[int] | None, count: int, halves: _Halves
) -> NDArray[np.int64] | None:
    if classes is None:
        return None
    chosen = np.asarray(classes)
    if not chosen.ndim:
        chosen = np.full(count, chosen)
    whole = chosen.dtype.kind in "iu" and chosen.shape == (count,)
    if not whole or chosen.min() < 0 or chosen.max() >= halves.classes:
        raise ValueError(
            f"classes must be an index from 0 to {halves.classes - 1}, one for all or "
            f"one for each of {count} images. Received: classes={classes!r}."
        )
    return chosen.astype(np.int64)


def _maps(
    halves: _Halves, images: NDArray[Any], chosen: NDArray[np.int64] | None, start: int
) -> NDArray[np.float32]:
    """Return the maps of a batch, each from 0 to 1, in the places of the layer."""
    features = halves.before(keras.ops.convert_to_tensor(images))
    scores = _by_class(halves.after(features))
    if chosen is None:
        indices = keras.ops.convert_to_numpy(scores).argmax(axis=1)
    else:
        indices = chosen[start : start + len(images)]
    wanted = keras.ops.one_hot(indices, halves.classes)
    slopes = seam.current().gradient(
        lambda tensor: keras.ops.multiply(_by_class(halves.after(tensor)), wanted),
        features,
    )
    values, slopes = (
        np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(x, "float32")))
        for x in (features, slopes)
    )
    weights = slopes.mean(axis=(1, 2), keepdims=True)
    maps = np.maximum((values * weights).sum(axis=-1), 0)
    highest = maps.max(axis=(1, 2), keepdims=True)
    return np.asarray(maps / np.where(highest > 0, highest, 1), np.float32)


def _by_class(logits: Any) -> Any:
    """Return a column per class: one sigmoid speaks against the first class."""
    if logits.shape[-1] > 1:
        return logits
    return keras.ops.concatenate([-logits, logits], axis=-1)


def _read(model: keras.Model, paths: Any, reading: Reading) -> NDArray[np.float32]:
    size = model.input_shape[1:3]
    found = [fitted(read_picture(path, reading), size, reading) for path in paths]
    if not found:
        raise ValueError("There must be images. Received: an empty list of files.")
    return np.stack([np.asarray(image, np.float32) for image in found])


def _resized(heat: NDArray[Any], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a map of another (width, height), interpolated."""
    image = Image.fromarray(np.asarray(heat, np.float32))
    return np.asarray(image.resize(size, Image.Resampling.BILINEAR), np.float32)


def _no_places(model: keras.Model, tensor: Any) -> ValueError:
    return ValueError(
        "A heat map needs outputs with places, (n, rows, columns, channels). Received: "
        f"{model.name!r}, whose outputs there are {tuple(tensor.shape)}. A SavedModel "
        "of feature vectors has none."
    )
