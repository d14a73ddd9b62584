"""Names: what a misspelt one was probably meant to be.

Owns the hint that stands behind the list of valid names in an error. It knows none.
"""

from collections.abc import Iterable
from difflib import get_close_matches


def did_you_mean(name: object, valid: Iterable[str]) -> str:
    """Return " Did you mean 'x'?" for the valid name nearest to `name`, or nothing."""
    near = get_close_matches(str(name).lower(), list(valid), n=1)
    return f" Did you mean {near[0]!r}?" if near else ""
