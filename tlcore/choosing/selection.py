"""Selection: what the best of many candidates is worth, after having been chosen.

The best of fifty on some images owes part of its accuracy to having been chosen on
them. Owns the estimate without that part, from which image each candidate has right,
and which candidates cannot be told apart from the best one.
"""

import math

import numpy as np
from numpy.typing import NDArray

from tlcore.evaluation import Estimate

RESAMPLES = 1000
SIGNIFICANCE = 0.05


def corrected(right: NDArray[np.bool_], *, seed: int = 0) -> Estimate:
    """Return the accuracy of the best candidate on images that did not choose it.

    The images are drawn with replacement, the candidate that is best on those drawn is
    chosen, and it is scored on the images that were not drawn; again and again. Source:
    "BBC-CV" of Tsamardinos, Greasidou and Borboudakis, "Bootstrapping the out-of-sample
    predictions for efficient and accurate cross-validation", Machine Learning, 2018.

    Args:
        right: whether each candidate has each image right, (images, candidates); of
            candidates that are equally often right the first is chosen.
        seed: of the drawing.

    Returns:
        The mean of the scores, with the interval that holds 95 % of them.

    Raises:
        ValueError: there is no candidate, or there are fewer than two images.

    Example:
        >>> right = np.array([[True, True], [True, False]] * 50)
        >>> corrected(right).value
        1.0
    """
    count, candidates = right.shape
    if count < 2 or not candidates:
        raise ValueError(
            "A choice is corrected by two images or more. Received: right of shape "
            f"{right.shape}."
        )
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    chosen = (drawn @ right).argmax(axis=1)
    left = drawn == 0
    sizes = left.sum(axis=1)
    hits = (left & right[:, chosen].T).sum(axis=1)
    scores = hits[sizes > 0] / sizes[sizes > 0]
    low, high = np.quantile(scores, [0.025, 0.975])
    return Estimate(float(scores.mean()), count, float(low), float(high))


def worse_than_best(
    best: NDArray[np.bool_], others: list[NDArray[np.bool_]]
) -> list[bool]:
    """Return which candidates have fewer images right than the best, beyond chance.

    Args:
        best: which images the best candidate has right, (images,).
        others: the same of each other candidate.

    Returns:
        For each, whether the test of `mcnemar` says so at 5 % divided by their number.
    """
    limit = SIGNIFICANCE / max(len(others), 1)
    return [mcnemar(best, right) < limit for right in others]


def mcnemar(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Return the two-sided p-value that both are right equally often.

    The exact test of McNemar (1947): of the images that one of the two has right and
    the other wrong, each is a fair coin.

    Example:
        >>> a, b = np.array([True] * 10), np.array([False] * 6 + [True] * 4)
        >>> mcnemar(a, b)
        0.03125
    """
    better, worse = int((first & ~second).sum()), int((second & ~first).sum())
    n, fewer = better + worse, min(better, worse)
    tail = sum(math.comb(n, k) for k in range(fewer + 1))
    return float(min(1.0, 2 * tail / 2**n))
