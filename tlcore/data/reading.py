"""Reading: how an image file becomes pixels, as a value.

Owns the choices (how it is fitted into the size of the model's input, what is behind
transparent pixels, whether it is turned upright) and the version of the decoder. Both
are part of the fingerprint of a folder and of the key of cached features.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import PIL
from PIL import ImageColor

from tlcore.arguments import is_whole, require_one_of

VERSION = 2
"""Of the decoder, one more whenever the same file may give other pixels.

1: orientation ignored, alpha dropped, the upper 8 of 16 bits. 2: as in `pixels`.
"""

FITS = ("squash", "crop", "pad")
"""Change the proportions; cut off the edges; or add a border of the background."""

ORIENTATIONS = ("apply", "ignore")
"""Turn an image upright as its EXIF data say; or leave it as it is stored."""

_WHITE = (255, 255, 255)


@dataclass(frozen=True)
class Reading:
    """How image files are read. `Reading.of` checks the values.

    Attributes:
        fit: "squash", "crop" or "pad".
        background: the colour behind transparent pixels and of the border, as red,
            green and blue in [0, 255].
        orientation: "apply" or "ignore".
    """

    fit: str = "squash"
    background: tuple[int, int, int] = _WHITE
    orientation: str = "apply"

    @classmethod
    def of(
        cls,
        *,
        fit: str = "squash",
        background: str | Sequence[int] = "white",
        orientation: str = "apply",
    ) -> "Reading":
        """Return a reading.

        Args:
            fit: how the size is reached. "squash" changes the proportions, "crop" cuts
                a part out of the middle, "pad" adds a border.
            background: the colour behind transparent pixels and of the border: a name
                ("white"), "#rrggbb" or (red, green, blue) in [0, 255].
            orientation: "apply" turns images upright as their EXIF data say, "ignore"
                leaves them as they are stored.

        Raises:
            ValueError: a value is not one of these.

        Example:
            >>> Reading.of(fit="pad", background="black").background
            (0, 0, 0)
            >>> Reading.of(fit="stretch")
            Traceback (most recent call last):
            ValueError: fit must be one of: squash, crop, pad. Received: fit='stretch'.
        """
        require_one_of("fit", fit, FITS)
        require_one_of("orientation", orientation, ORIENTATIONS)
        return cls(fit, _colour(background), orientation)

    @classmethod
    def recorded(cls, document: Mapping[str, Any]) -> "Reading":
        """Return the reading that `as_dict` wrote, the default one for an empty dict.

        Raises:
            ValueError: the document holds something else.
        """
        names = ("fit", "background", "orientation")
        return cls.of(**{name: document[name] for name in names if name in document})

    @property
    def colour(self) -> str:
        """Return the background for people.

        Example:
            >>> Reading().colour, Reading(background=(1, 2, 3)).colour
            ('white', 'rgb(1, 2, 3)')
        """
        names = {_WHITE: "white", (0, 0, 0): "black"}
        return names.get(self.background) or "rgb({}, {}, {})".format(*self.background)

    def as_dict(self) -> dict[str, Any]:
        """Return the choices and the version, for a JSON file and for fingerprints.

        Example:
            >>> Reading(fit="crop").as_dict()["fit"]
            'crop'
        """
        return {
            "version": VERSION,
            "fit": self.fit,
            "background": list(self.background),
            "orientation": self.orientation,
        }

    def bits(self) -> dict[str, Any]:
        """Return all that the bits of a decoded image depend on, besides its file.

        Pillow brings the decoders; another major version may bring others.
        """
        return {**self.as_dict(), "pillow": PIL.__version__.partition(".")[0]}


DEFAULT = Reading()
"""What is read unless something else is asked for."""


def _colour(background: str | Sequence[int]) -> tuple[int, int, int]:
    values: Sequence[object] = ()
    if not isinstance(background, str):
        values = background if isinstance(background, Sequence) else ()
    else:
        with suppress(ValueError):
            values = ImageColor.getrgb(background)
    if len(values) != 3 or not all(is_whole(v, least=0, most=255) for v in values):
        raise ValueError(
            'background must be the name of a colour, "#rrggbb", or red, green and '
            f"blue in 0 to 255. Received: background={background!r}. Write "
            'background="white".'
        )
    red, green, blue = (int(str(value)) for value in values)
    return red, green, blue
