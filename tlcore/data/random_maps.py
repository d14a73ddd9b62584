"""Random maps: whether a `tf.data` pipeline draws random numbers for its images.

Owns the search through the functions of a pipeline. It is a search, not a proof: Python
code in a pipeline cannot be seen, and whoever relies on it compares values as well.
"""

import re
from collections.abc import Iterator
from typing import Any

_RANDOM = re.compile(
    r"(Stateless)?(Random(Uniform|StandardNormal|Normal|Gamma|Crop|Binomial)|"
    r"TruncatedNormal|SampleDistortedBoundingBox|Multinomial|ParameterizedTruncated)"
    r".*|Stateful(Uniform|StandardNormal|TruncatedNormal|RandomBinomial).*|"
    r"RngReadAndSkip|RngSkip"
)
"""Operations that draw numbers. The order of a `shuffle` is no operation of a map."""


def random_operation(dataset: Any) -> str | None:
    """Return the name of a random operation in a dataset's functions, None if none.

    Args:
        dataset: a `tf.data.Dataset`; of anything else nothing is known.

    Example:
        >>> import tensorflow as tf
        >>> numbers = tf.data.Dataset.range(3)
        >>> random_operation(numbers.map(lambda x: x + 1).shuffle(3)) is None
        True
        >>> random_operation(numbers.map(lambda x: tf.random.uniform(())))
        'RandomUniform'
    """
    return next((op for op in operations(dataset) if _RANDOM.fullmatch(op)), None)


def operations(dataset: Any) -> Iterator[str]:
    """Yield the names of all operations in the functions of a dataset."""
    # TensorFlow has no public names for the functions and inputs of a dataset.
    for wrapped in getattr(dataset, "_functions", list)():
        graph = wrapped.function.graph.as_graph_def()
        yield from (node.op for node in graph.node)
        for function in graph.library.function:
            yield from (node.op for node in function.node_def)
    for parent in getattr(dataset, "_inputs", list)():
        yield from operations(parent)
