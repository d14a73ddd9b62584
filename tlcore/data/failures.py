"""Failures: errors of Python that come out of TensorFlow, as what they were.

Owns finding, in an error of TensorFlow, the error of the Python function that a dataset
called. TensorFlow wraps it: an image that was deleted while a model trains arrives as
an `InvalidArgumentError` of fifty lines, with the sentence about it somewhere inside.
"""

import builtins
import re
from collections.abc import Iterator
from contextlib import contextmanager

_RAISED = re.compile(r"^(\w+Error): (.+?)(?:\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)
"""The last line of a traceback, up to the empty line that TensorFlow puts behind."""


@contextmanager
def as_raised() -> Iterator[None]:
    """Raise what a dataset's Python function raised in place of TensorFlow's error.

    Raises:
        ValueError, OSError: with the sentence of the error inside.

    Example:
        >>> with as_raised():
        ...     raise ZeroDivisionError("not of TensorFlow: stays what it is")
        Traceback (most recent call last):
        ZeroDivisionError: not of TensorFlow: stays what it is
    """
    try:
        yield
    except Exception as error:
        found = raised_inside(error)
        if found is None:
            raise
        raise found from error


def raised_inside(error: Exception) -> ValueError | OSError | None:
    """Return the wrong input that a dataset's Python function found, or None."""
    if not type(error).__module__.startswith("tensorflow"):
        return None
    raised = _RAISED.findall(str(error))
    if not raised:
        return None
    name, sentence = raised[-1]
    kind = getattr(builtins, name, None)
    if isinstance(kind, type) and issubclass(kind, OSError):
        return kind(sentence)
    if isinstance(kind, type) and issubclass(kind, ValueError):
        return ValueError(sentence)  # UnicodeDecodeError takes other arguments
    return None
