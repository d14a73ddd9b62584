"""Arguments: checks of numbers, names and paths that a caller passes, with one wording.

Owns the errors for a wrong number, an unknown name and what is no path, and how counts
and lists of names are written in a message. What is valid is decided by the calling
module.
"""

import math
import os
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral, Real
from pathlib import Path

ALL = "all"
"""What a number of layers may be instead of the number of all."""


def is_whole(
    value: object, *, least: float = -math.inf, most: float = math.inf
) -> bool:
    """Return whether `value` is a whole number from `least` to `most`.

    True and False are not numbers here, although `bool` is a subclass of `int`.

    Example:
        >>> is_whole(3, least=1), is_whole(3.0), is_whole(True)
        (True, False, False)
    """
    number = isinstance(value, Integral) and not isinstance(value, bool)
    return number and least <= int(value) <= most  # type: ignore[call-overload]


def require_whole(
    name: str,
    value: object,
    *,
    least: float = -math.inf,
    most: float = math.inf,
    meaning: str = "",
) -> None:
    """Refuse a value that is not a whole number from `least` to `most`.

    Args:
        name: the name of the argument.
        value: what the caller passed.
        least: the smallest number allowed.
        most: the largest number allowed.
        meaning: follows the limits and says what the number is, such as
            ", the index of the first epoch".

    Raises:
        ValueError: the value is not a whole number, or out of range.

    Example:
        >>> require_whole("epochs", 0, least=1)
        Traceback (most recent call last):
        ValueError: epochs must be a whole number of at least 1. Received: epochs=0.
    """
    if is_whole(value, least=least, most=most):
        return
    limits = []
    if least > -math.inf:
        limits.append(f"at least {least:,}")
    if most < math.inf:
        limits.append(f"at most {most:,}")
    limit = f" of {' and '.join(limits)}" if limits else ""
    raise ValueError(
        f"{name} must be a whole number{limit}{meaning}. Received: {name}={value!r}."
    )


def require_positive(name: str, value: object) -> None:
    """Refuse a value that is not a finite number above 0.

    Args:
        name: of the argument.
        value: what the caller passed.

    Raises:
        ValueError: the value is not a number, not finite, or not above 0.

    Example:
        >>> require_positive("learning_rate", 0)
        Traceback (most recent call last):
        ValueError: learning_rate must be a positive number. Received: learning_rate=0.
    """
    try:
        positive = isinstance(value, Real) and 0 < float(value) < math.inf
    except OverflowError:  # a whole number beyond all floats
        positive = False
    if not positive:
        raise ValueError(
            f"{name} must be a positive number. Received: {name}={value!r}."
        )


def require_path(name: str, value: object) -> Path:
    """Return a path, which must be text or a `Path`, and name something.

    Raises:
        ValueError: it is something else, or no file can have that name.

    Example:
        >>> require_path("directory", "photos").name
        'photos'
        >>> require_path("directory", 3)
        Traceback (most recent call last):
        ValueError: directory must be a path, text or a Path. Received: directory=3. ...
    """
    if not isinstance(value, str | os.PathLike) or not str(value) or "\0" in str(value):
        raise ValueError(
            f"{name} must be a path, text or a Path. Received: {name}={value!r}. Write "
            f"{name}='folder/name', for example."
        )
    return Path(value)


def require_tensorflow(what: str) -> None:
    """Refuse a backend of Keras other than TensorFlow.

    Args:
        what: what needs it, with its verb: "A strategy needs".

    Raises:
        ValueError: Keras has another backend.
    """
    import keras  # late: names and numbers are checked without a framework

    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            f"{what} the TensorFlow backend. Received: backend={backend!r}. Set "
            "KERAS_BACKEND=tensorflow."
        )


def require_one_of(
    name: str,
    value: object,
    valid: Iterable[str],
    *,
    subject: str = "",
    also: str = "",
    where: str = "",
) -> None:
    """Refuse a name that is not one of the valid ones.

    Args:
        name: the name of the argument.
        value: what the caller passed.
        valid: the names that are allowed.
        subject: the subject of the sentence, such as "A recipe"; by default `name`.
        also: what is allowed apart from these, such as "None or ".
        where: follows the value, such as " for 'model.keras'".

    Raises:
        ValueError: the value is not one of them; the message lists them and suggests
            the nearest.

    Example:
        >>> require_one_of("head", "dens", ["pool", "dense"])
        Traceback (most recent call last):
        ValueError: head must be one of: pool, dense. Received: head='dens'. Did ...
    """
    names = list(valid)
    if value not in names:
        raise ValueError(
            f"{subject or name} must be {also}one of: {', '.join(names) or 'none'}. "
            f"Received: {name}={value!r}{where}.{did_you_mean(value, names)}"
        )


def did_you_mean(name: object, valid: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the nearest valid name, "" if none is near.

    Example:
        >>> did_you_mean("vgg61", ["vgg16", "xception"])
        " Did you mean 'vgg16'?"
    """
    near = get_close_matches(str(name).lower(), list(valid), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""


def counted(number: int, one: str, many: str = "") -> str:
    """Return a number with its noun.

    Example:
        >>> counted(1, "image"), counted(3, "class", "classes")
        ('1 image', '3 classes')
    """
    return f"{number} {one if number == 1 else many or one + 's'}"


def listed(names: Iterable[str]) -> str:
    """Return at least one name as a list in a sentence.

    Example:
        >>> listed(["train", "validation", "test"])
        'train, validation and test'
    """
    *some, last = names
    return f"{', '.join(some)} and {last}" if some else last


def few(names: list[str]) -> str:
    """Return the first three names and the number of the others."""
    shown = ", ".join(names[:3])
    return shown if len(names) <= 3 else f"{shown} and {len(names) - 3} more"
