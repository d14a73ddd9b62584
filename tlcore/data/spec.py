"""Spec: what a dataset contains, asked once.

Owns `DataSpec`: the shapes of images and labels, the number of batches and the class
names of an image folder, of arrays or of any dataset of batches, whose first batch it
looks at. Whether these fit a model is decided in `checks`.
"""

from dataclasses import dataclass
from typing import Any

from tlcore.arguments import require_one_of
from tlcore.data.arrays import are_arrays, image_arrays
from tlcore.data.batches import Batches
from tlcore.data.image_folder import ImageFolder
from tlcore.data.labels import balanced_weights

Data = Any
"""What is trained on or evaluated.

An `ImageFolder`; arrays, (images, labels) or (images, labels, weights), or what
`image_arrays` makes of them; a `tf.data.Dataset`, a `PyDataset` or another iterable
with a length, of batches of these.
"""


@dataclass(frozen=True, eq=False)
class DataSpec:
    """What a dataset contains. It is asked once; all checks read the answers.

    Attributes:
        data: the image folder or dataset itself.
        name: the argument it was passed as, such as "train".
        image_shape: (height, width, channels), None where a size is not fixed.
        label_shape: the shape of one label: () for an index, (columns,) otherwise.
        batches: number of batches, None where it is unknown or unbounded.
        unbounded: whether the data never ends.
        class_names: the names of the classes, None where they are unknown.
        source: reads the batches, None where images are known by their number.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32, batch_size=4)
        >>> spec = DataSpec.of(train, "train")
        >>> spec.image_shape, spec.label_shape, spec.batches
        ((32, 32, 3), (3,), 3)
    """

    data: Data
    name: str
    image_shape: tuple[int | None, ...]
    label_shape: tuple[int | None, ...]
    batches: int | None
    unbounded: bool = False
    class_names: tuple[str, ...] | None = None
    source: Batches | None = None

    @classmethod
    def of(cls, data: "Data | DataSpec", name: str) -> "DataSpec":
        """Return what `data` contains; a spec is returned as it is.

        Raises:
            ValueError: it is none of the kinds of `Data`.
        """
        # `feature_extract` needs the labels' shape to compile and hands its spec on to
        # `fit`: item 0 of a PyDataset may cost a download or a second of augmentation.
        if isinstance(data, DataSpec):
            return data
        if are_arrays(data):
            data = image_arrays(*data)
        if isinstance(data, ImageFolder):
            return cls(
                data,
                name,
                image_shape=(*data.image_size, _channels(data)),
                label_shape=_label_shape(data),
                batches=len(data),
                class_names=data.class_names or None,
            )
        source = Batches(data, name)
        return cls(
            data,
            name,
            image_shape=source.image_shape,
            label_shape=source.label_shape,
            batches=source.count,
            unbounded=source.unbounded,
            source=source,
        )

    @property
    def folder(self) -> ImageFolder | None:
        """Return the image folder or arrays, None if the data is a dataset."""
        return self.data if isinstance(self.data, ImageFolder) else None

    def class_weight(
        self, weights: dict[int, float] | str | None
    ) -> dict[int, float] | None:
        """Return factors of the loss by class, those of "balanced" from the labels.

        Raises:
            ValueError: it is another word, or the labels are not known.
        """
        if not isinstance(weights, str):
            return weights
        require_one_of("class_weight", weights, ("balanced",), also="a dict or ")
        folder = self.folder
        if folder is None:
            return balanced_weights(None, 0)
        return balanced_weights(folder.labels, folder.num_classes)

    def refuse_other_weights(self, *others: Any) -> None:
        """Refuse weights from elsewhere for data that has its own.

        Raises:
            ValueError: there are both. Keras would use one of them, or neither.
        """
        own = getattr(self.data, "weights", None)
        if self.source is not None:
            own = self.source.first().weights
        if own is not None and any(other is not None for other in others):
            raise ValueError(
                f"Data with weights of its own takes no others. Received: {self.name} "
                f"of type {type(self.data).__name__}, and sample_weight or "
                "class_weight. Multiply them into its weights."
            )


def _channels(folder: ImageFolder) -> int:
    images = getattr(folder, "images", None)
    return 3 if images is None else int(images.shape[-1])


def _label_shape(folder: ImageFolder) -> tuple[int, ...]:
    if folder.labels.ndim == 2:
        return (folder.labels.shape[1],)
    columns = {"categorical": folder.num_classes, "binary": 1}
    width = columns.get(folder.label_mode)
    return () if width is None or folder.labels.dtype.kind == "f" else (width,)
