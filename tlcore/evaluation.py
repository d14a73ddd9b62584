"""Evaluation: loss and accuracy with their n and 95 % interval.

Owns `evaluate`, and the intervals of a proportion and of a mean. Nothing trains here;
what `evaluate` refuses is in `checks`.
"""

import copy
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.caching.data_feeds import read_whole
from tlcore.caching.feeds import AUTO, CacheOptions, cache_options
from tlcore.caching.redirection import CutModel
from tlcore.checks import check_data
from tlcore.data.contents import VALUE_RANGES
from tlcore.data.failures import as_raised
from tlcore.data.labels import class_indices
from tlcore.data.spec import Data, DataSpec
from tlcore.models import is_multi_label
from tlcore.terminal.progress import PassProgress

_Z_95 = NormalDist().inv_cdf(0.975)
"""97.5 % point of the standard normal distribution."""

_ROUNDING = 1e-3
"""How far a probability in half precision may be above 1."""


@dataclass(frozen=True)
class Estimate:
    """A value estimated from `n` examples, with its 95 % interval [low, high]."""

    value: float
    n: int
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4f} (n={self.n}, 95 % {self.low:.4f} to {self.high:.4f})"

    def as_dict(self) -> dict[str, float | int]:
        """Return the fields by name, for a JSON file."""
        return asdict(self)


def proportion(correct: int, n: int) -> Estimate:
    """Return correct / n with the 95 % interval of Wilson (1927).

    Unlike the normal interval it stays within [0, 1], and it keeps its coverage near
    both ends.

    Raises:
        ValueError: n is below 1, or `correct` is not from 0 to n.

    Example:
        >>> print(proportion(141, 150))
        0.9400 (n=150, 95 % 0.8899 to 0.9681)
    """
    if n < 1 or not 0 <= correct <= n:
        raise ValueError(
            "correct must be from 0 to n, and n at least 1. "
            f"Received: correct={correct}, n={n}."
        )
    # In closed form: importing SciPy's `binomtest`, which has it too, takes a second.
    p, square = correct / n, _Z_95**2
    center = (correct + square / 2) / (n + square)
    half = _Z_95 / (n + square) * math.sqrt(n * p * (1 - p) + square / 4)
    # Rounding alone can leave the value outside its interval at p = 0 and p = 1.
    return Estimate(
        p, n, max(0.0, min(p, center - half)), min(1.0, max(p, center + half))
    )


def mean(values: Sequence[float]) -> Estimate:
    """Return the mean with its normal 95 % interval, unbounded for one value.

    Raises:
        ValueError: there is no value.

    Example:
        >>> print(mean([1.0, 2.0, 3.0]))
        2.0000 (n=3, 95 % 0.8684 to 3.1316)
    """
    n = len(values)
    if not n:
        raise ValueError("A mean needs at least one value. Received: values=[].")
    value = math.fsum(values) / n
    if n == 1:
        return Estimate(value, n, -math.inf, math.inf)
    variance = math.fsum((x - value) ** 2 for x in values) / (n - 1)
    half = _Z_95 * math.sqrt(variance / n)
    return Estimate(value, n, value - half, value + half)


def evaluate(
    model: keras.Model,
    data: Data,
    *,
    cache: str | Path = AUTO,
    workers: int = 1,
    value_range: str = VALUE_RANGES[0],
    progress: PassProgress | None = None,
) -> dict[str, Estimate]:
    """Return loss and accuracy of a classifier over all of `data`.

    A compiled model is scored as Keras scores it: with its own loss (of logits too, and
    with label smoothing), and with the threshold of its accuracy. Penalties of
    regularizers are no part of the loss. Any other model gets the cross-entropy.

    Args:
        model: outputs (n, classes) or (n, 1): probabilities, or what its loss takes.
        data: images in [0, 255] with labels, in a form that `fit` takes. Sample
            weights are ignored: every image counts once.
        cache: as in `fit`.
        workers: as in `fit`.
        value_range: as in `fit`.
        progress: as in `fit`, called with "data"; None shows nothing.

    Returns:
        "loss", the mean loss of an image with its normal 95 % interval, and "accuracy"
        with Wilson's interval. Of a multi-label model "accuracy" is the share of an
        image's labels that are right, with its normal interval, and there are
        "accuracy of NAME", "precision of NAME" and "recall of NAME" for each class,
        with Wilson's; precision needs an image that was given the class, recall one
        that has it.

    Raises:
        ValueError: data and model disagree, there is no data, or the loss has no value
            for each image.
        FloatingPointError: the loss of an image is NaN or infinite.

    Example:
        >>> test = tl.image_folder("photos/test", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> scores = tl.evaluate(model, test)
        >>> sorted(scores), scores["accuracy"].n
        (['accuracy', 'loss'], 30)
    """
    options = cache_options(cache, None, workers, progress)
    return score(model, data, options, value_range=value_range).figures


@dataclass(frozen=True, eq=False)
class Scores:
    """What a model made of every image of a dataset, in the order of the feed.

    Attributes:
        outputs: of the model, (n, columns).
        losses: of the images, (n,).
        truth: the class of each image, (n,), or whether it has each, (n, classes).
        threshold: the output above which a class is predicted.
        several: whether an image can have several classes.
        class_names: None where they are unknown.
    """

    outputs: NDArray[Any]
    losses: NDArray[np.float64]
    truth: NDArray[Any]
    threshold: float
    several: bool
    class_names: tuple[str, ...] | None

    @property
    def figures(self) -> dict[str, Estimate]:
        """Return what `evaluate` returns."""
        losses = mean(self.losses.tolist())
        hits = right_of(self.outputs, self.truth, self.threshold, multi=self.several)
        if not self.several:
            return {"loss": losses, "accuracy": proportion(int(hits.sum()), len(hits))}
        names = self.class_names or tuple(str(i) for i in range(hits.shape[1]))
        per_class = class_figures(hits, self.truth, names)
        return {"loss": losses, "accuracy": mean(hits.mean(axis=1)), **per_class}


@as_raised()
def score(
    model: keras.Model,
    data: Data,
    options: CacheOptions,
    *,
    value_range: str = VALUE_RANGES[0],
) -> Scores:
    """Return outputs, losses and truth of all of `data`, read once.

    Args:
        model: as in `evaluate`.
        data: as in `evaluate`; the images of a folder come sorted by class and path.
        options: the cache and workers.
        value_range: as in `fit`.

    Raises:
        ValueError: as `evaluate`.
        FloatingPointError: as `evaluate`.

    Example:
        >>> test = tl.image_folder("photos/test", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> score(model, test, CacheOptions()).outputs.shape
        (30, 3)
    """
    spec = DataSpec.of(data, "data")
    check_data(model, spec, value_range=value_range)
    losses: list[float] = []
    outputs: list[NDArray[Any]] = []
    truths: list[NDArray[Any]] = []
    with read_whole(model, spec, options) as feed:
        scorer = Scorer(model, feed.side)
        for inputs, labels, *_ in feed.data:  # *_ are sample weights
            some, batch_losses = scorer.predict_on_batch((inputs, labels))
            truth = keras.ops.convert_to_numpy(labels)
            losses += _per_image(batch_losses, len(truth))
            outputs.append(np.asarray(some))
            truths.append(truth)
            if not model.compiled:
                check_probabilities(model, outputs[-1])
    if not losses:
        raise ValueError(
            "There must be data to evaluate on. Received: a dataset without a batch."
        )
    if not np.isfinite(losses).all():
        raise FloatingPointError(
            "A model must return finite numbers to be evaluated. Received: "
            f"model={model.name!r}, whose loss is NaN or infinite on "
            f"{np.count_nonzero(~np.isfinite(losses))} of {len(losses)} images. "
            "Train it again with a lower learning rate."
        )
    several, labels = is_multi_label(model), np.concatenate(truths)
    return Scores(
        np.concatenate(outputs),
        np.array(losses),
        labels > 0.5 if several else class_indices(labels),
        decision_threshold(model),
        several,
        spec.class_names,
    )


def class_figures(
    right: NDArray[np.bool_], truths: NDArray[np.bool_], names: Sequence[str]
) -> dict[str, Estimate]:
    """Return accuracy, precision and recall of each class of multi-label data.

    Args:
        right: whether each output of each image is right, (n, classes).
        truths: whether each image has each class, (n, classes).
        names: of the classes.

    Example:
        >>> right = np.array([[True, False], [True, True]])
        >>> truths = np.array([[True, False], [False, True]])
        >>> {k: str(v)[:11] for k, v in class_figures(right, truths, "ab").items()}
        {'accuracy of a': '1.0000 (n=2', 'precision of a': '1.0000 (n=1', ...
    """
    figures = {}
    for name, hit, truth in zip(names, right.T, truths.T, strict=True):
        given = truth == hit  # what is right and true, or wrong and false, was given
        figures[f"accuracy of {name}"] = proportion(int(hit.sum()), len(hit))
        for what, among in (("precision", given), ("recall", truth)):
            if among.any():
                found = proportion(int((hit & truth)[among].sum()), int(among.sum()))
                figures[f"{what} of {name}"] = found
    return figures


class Scorer(CutModel):
    """Computes the outputs and the loss (n,) of a batch in one graph.

    Given both in one graph, Keras computes the loss from the logits that the
    probabilities were computed from, as in `fit`. Given only probabilities, it clips
    them at 1e-7, and no loss exceeds 16.2.
    """

    def call(self, batch: Any, training: bool = False) -> tuple[Any, Any]:  # noqa: FBT001, FBT002
        """Return outputs and losses of a batch (inputs, labels)."""
        inputs, labels = batch
        outputs = super().call(inputs, training=training)
        if outputs.shape[-1] == 1 and len(labels.shape) == 1:
            labels = keras.ops.expand_dims(labels, -1)
        return outputs, image_losses(self.whole, labels, outputs)


def image_losses(model: keras.Model, labels: Any, outputs: Any) -> Any:
    """Return the loss of each image: the one that the model is compiled with.

    Args:
        model: the model; not compiled, it gets the cross-entropy that fits its labels.
        labels: (n,) or (n, columns).
        outputs: (n, columns).
    """
    loss = _compiled_loss(model)
    if loss is None:
        if outputs.shape[-1] == 1 or is_multi_label(model):
            loss = keras.losses.binary_crossentropy
        elif len(labels.shape) == 1:
            loss = keras.losses.sparse_categorical_crossentropy
        else:
            loss = keras.losses.categorical_crossentropy
    if not isinstance(loss, keras.losses.Loss):
        return loss(labels, outputs)
    each = copy.copy(loss)
    each.reduction = "none"
    return each(labels, outputs)


def decision_threshold(model: keras.Model) -> float:
    """Return the output above which a class is predicted, as Keras's accuracy has it.

    That is the threshold of the model's `BinaryAccuracy`. "accuracy" is one of 0.5,
    also for logits; a model without either is asked at a probability of 0.5.
    """
    metrics = list(_compiled_metrics(model))
    for metric in metrics:
        if isinstance(metric, keras.metrics.BinaryAccuracy):
            return float(metric.get_config()["threshold"])
    named = {metric for metric in metrics if isinstance(metric, str)}
    return 0.0 if gives_logits(model) and not {"accuracy", "acc"} & named else 0.5


def gives_logits(model: keras.Model) -> bool:
    """Return whether a model's loss takes its outputs as logits.

    Example:
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> model.compile(loss=keras.losses.CategoricalCrossentropy(from_logits=True))
        >>> gives_logits(model)
        True
    """
    return bool(getattr(_compiled_loss(model), "from_logits", False))


def check_probabilities(model: keras.Model, outputs: NDArray[Any]) -> None:
    """Refuse outputs that are no probabilities of a model whose loss is not known.

    Raises:
        ValueError: one is below 0 or above 1.
    """
    low, high = outputs.min(initial=0), outputs.max(initial=0)
    if low < 0 or high > 1 + _ROUNDING:
        raise ValueError(
            "A model that is not compiled must return probabilities to be scored. "
            f"Received: model={model.name!r} with outputs from {low:.4g} to {high:.4g},"
            " as logits are. Compile it with its loss, such as "
            "keras.losses.SparseCategoricalCrossentropy(from_logits=True)."
        )


def _compiled_metrics(model: keras.Model) -> Iterator[Any]:
    """Yield the names and metrics that a model is compiled with."""
    # The public configuration is a serialized one, which warns of a loss of one's own.
    compiled = getattr(model, "_compile_metrics", None) if model.compiled else None
    for name in ("_user_metrics", "_user_weighted_metrics"):
        yield from keras.tree.flatten(getattr(compiled, name, None) or [])


def _compiled_loss(model: keras.Model) -> Any:
    """Return the loss object or function of a model, None where Keras chooses it."""
    loss = model.loss if model.compiled else None
    if isinstance(loss, dict):
        loss = list(loss.values())
    if isinstance(loss, list | tuple):
        (loss,) = loss
    if isinstance(loss, str):
        by_labels = loss.lower() in {"crossentropy", "ce"}
        loss = None if by_labels else keras.losses.get(loss)
    return loss


def _per_image(losses: NDArray[Any], count: int) -> list[float]:
    array = np.asarray(losses)
    if not array.ndim or len(array) != count:
        raise ValueError(
            "A loss must have a value for each image to be reported with an interval. "
            f"Received: a loss of shape {array.shape} for {count} images. Return one "
            "value per image from it, or use model.evaluate."
        )
    return [float(x) for x in array.reshape(count, -1).mean(axis=1)]


def right_of(
    outputs: NDArray[Any], truth: NDArray[Any], threshold: float, *, multi: bool
) -> NDArray[np.bool_]:
    """Return whether the prediction for each image, or each of its labels, is right."""
    if multi:
        return np.asarray((outputs > threshold) == truth)
    if outputs.shape[1] == 1:
        return np.asarray((outputs[:, 0] > threshold) == truth)
    return np.asarray(outputs.argmax(axis=1) == truth)
