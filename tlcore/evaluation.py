"""Evaluation: loss and accuracy with their n and 95 % interval.

Owns `evaluate`, and the intervals of a proportion and of a mean. Nothing trains here;
what `evaluate` refuses is in `checks`.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import NormalDist
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from tlcore.caching.feeds import AUTO, Feed, cache_options, evaluation_feed
from tlcore.caching.redirection import CutModel
from tlcore.checks import Data, DataSpec, check_data
from tlcore.data.failures import as_raised
from tlcore.data.labels import class_indices
from tlcore.progress import PassProgress

_Z_95 = NormalDist().inv_cdf(0.975)
"""97.5 % point of the standard normal distribution."""


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


@as_raised()
def evaluate(
    model: keras.Model,
    data: Data,
    *,
    cache: str | Path = AUTO,
    workers: int = 1,
    progress: PassProgress | None = None,
) -> dict[str, Estimate]:
    """Return loss and accuracy of a classifier over all of `data`.

    Args:
        model: outputs probabilities, (n, classes) or (n, 1).
        data: an image folder or dataset of (images in [0, 255], labels). Sample
            weights in its batches are ignored: every image counts once.
        cache: as in `fit`.
        workers: as in `fit`.
        progress: as in `fit`, called with "data"; None shows nothing.

    Returns:
        "loss", the mean cross-entropy with its normal 95 % interval, and "accuracy"
        with Wilson's interval.

    Raises:
        ValueError: data and model disagree, or there is no data.
        FloatingPointError: the loss of an image is NaN or infinite.

    Example:
        >>> test = tl.image_folder("photos/test", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> scores = tl.evaluate(model, test)
        >>> sorted(scores), scores["accuracy"].n
        (['accuracy', 'loss'], 30)
    """
    spec = DataSpec.of(data, "data")
    check_data(model, spec)
    options = cache_options(cache, None, workers, progress)
    feed = Feed(spec.data, None, "")
    if spec.folder is not None:
        feed = evaluation_feed(model, spec.folder, options, "data")
    scorer = Scorer(model, feed.part)
    losses: list[float] = []
    correct = 0
    for inputs, labels, *_ in feed.data:  # *_ are sample weights
        probabilities, batch_losses = scorer.predict_on_batch((inputs, labels))
        truth = keras.ops.convert_to_numpy(labels)
        losses += batch_losses.tolist()
        correct += int(np.sum(class_indices(truth) == _predicted(probabilities)))
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
    return {"loss": mean(losses), "accuracy": proportion(correct, len(losses))}


class Scorer(CutModel):
    """Computes the probabilities and the loss (n,) of a batch in one graph.

    Given both in one graph, Keras computes the loss from the logits that the
    probabilities were computed from, as in `fit`. Given only probabilities, it clips
    them at 1e-7, and no loss exceeds 16.2.
    """

    def call(self, batch: Any, training: bool = False) -> tuple[Any, Any]:  # noqa: FBT001, FBT002
        """Return probabilities and losses of a batch (inputs, labels)."""
        inputs, labels = batch
        probabilities = super().call(inputs, training=training)
        if probabilities.shape[-1] == 1:
            loss = keras.losses.binary_crossentropy
        elif len(labels.shape) == 1:
            loss = keras.losses.sparse_categorical_crossentropy
        else:
            loss = keras.losses.categorical_crossentropy
        return probabilities, loss(labels, probabilities)


def _predicted(probabilities: NDArray[Any]) -> NDArray[Any]:
    if probabilities.shape[1] == 1:
        return (probabilities[:, 0] > 0.5).astype(int)
    return np.asarray(probabilities.argmax(axis=1))
