"""Installed: which frameworks there are, and what to type where the chosen one is not.

Owns the sentence for a backend that is missing. Keras is installed without one, and
says only that a module is not found. Nothing is imported to find out.
"""

import json
import os
from importlib.util import find_spec
from pathlib import Path

MODULES = {"tensorflow": "tensorflow", "jax": "jax", "torch": "torch"}
"""The module of each backend."""


def chosen_backend() -> str:
    """Return the name of the backend that Keras will load.

    That is `KERAS_BACKEND`, or what the user's `keras.json` says, or "tensorflow".

    Example:
        >>> chosen_backend()
        'tensorflow'
    """
    named = os.environ.get("KERAS_BACKEND")
    if named:
        return named
    home = Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()
    try:
        configured = json.loads((home / "keras.json").read_text()).get("backend")
    except (OSError, ValueError, AttributeError):
        configured = None
    return configured if isinstance(configured, str) else "tensorflow"


def missing_backend() -> str | None:
    """Return what to say where the framework that Keras will ask for is missing.

    Example:
        >>> missing_backend() is None
        True
    """
    name = chosen_backend()
    module = MODULES.get(name)
    if module is None or find_spec(module) is not None:
        return None
    there = [other for other, x in MODULES.items() if find_spec(x) is not None]
    ways = [f"set KERAS_BACKEND={other}" for other in there]
    ways.append(f'pip install "tlcore[{name}]"')
    return (
        f"Keras needs the framework of its backend. Received: backend={name!r}, which "
        f"is not installed. Type: {', or '.join(ways)}."
    )
