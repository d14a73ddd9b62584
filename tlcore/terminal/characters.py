"""Characters: text of others as it is shown on a terminal.

Owns which characters a terminal must not get: those that move its cursor, change its
colours or its title, or reorder what is read. They stand in class names, file names and
documents of anyone, and are shown as they are written in a Python string. Everything
that the command prints goes through `visible`.
"""

import re

_STEERING = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # the escape character and its like
    "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"  # the order of reading
    "\u2028\u2029"  # line and paragraph
    "\u200b\u2060-\u2065\u206a-\u206f\ufeff\ufff9-\ufffb"  # nothing to be seen
    "\ud800-\udfff]"  # bytes of a file name that is not UTF-8
)


def visible(text: object, *, lines: bool = False) -> str:
    r"""Return text with control characters shown instead of sent.

    Args:
        text: anything; its `str` is taken.
        lines: whether line ends stay as they are.

    Example:
        >>> print(visible("a\x1b[31mred\u202e.png"))
        a\x1b[31mred\u202e.png
        >>> print(visible("one\ntwo"))
        one\ntwo
        >>> print(visible("one\ntwo", lines=True))
        one
        two
    """

    def shown(match: re.Match[str]) -> str:
        if lines and match[0] == "\n":
            return "\n"
        return match[0].encode("unicode_escape").decode("ascii")

    return _STEERING.sub(shown, str(text))
