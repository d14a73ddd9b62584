"""Figures: what all figures of this package have in common.

Owns the palette, the sizes, and how a figure is created and saved: with Agg and without
pyplot, so that plotting works without a display and in threads. A PNG holds neither a
date nor the name of a program, so that the same input gives the same bytes. What a
figure shows is in `learning_curves` and `image_grid`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from numpy.typing import NDArray

from tlcore.files import replacing

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# Okabe & Ito, "Color Universal Design" (2008), distinguishable with any colour vision;
# without their yellow, which is too pale on white.
BLUE, VERMILLION, GREEN, ORANGE, SKY, PURPLE, BLACK = PALETTE = (
    "#0072B2",
    "#D55E00",
    "#009E73",
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
)
GREY = "#666666"

DPI = 100
WIDTH_INCHES = 10.0
TITLE_ROW_INCHES = 0.18
GAP_INCHES = 0.08

Values = Sequence[Any] | NDArray[Any]


def new_figure(
    height: float,
    *,
    width: float = WIDTH_INCHES,
    layout: Literal["constrained"] | None = "constrained",
) -> Figure:
    """Return an empty white figure of `width` by `height` inches, drawn by Agg."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    # Not pyplot: it keeps every figure alive until closed, is not thread-safe, and may
    # look for a display.
    figure = Figure((width, height), DPI, facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def add_title(figure: Figure, title: str | None) -> None:
    """Write a title above a figure, wrapped to its width; None writes none."""
    if title is not None:
        width = int(figure.get_figwidth() * 10)
        figure.suptitle(wrapped(title, width), fontsize=12, parse_math=False)


def wrapped(text: str, width: int) -> str:
    """Return text wrapped into lines of at most `width` characters.

    Example:
        >>> print(wrapped("validation accuracy", 12))
        validation
        accuracy
    """
    # Python decodes a file name that is not valid UTF-8 with surrogates (PEP 383);
    # matplotlib cannot draw them.
    text = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    return textwrap.fill(text, max(width, 8)) or text


def checked_path(path: str | Path | None) -> Path | None:
    """Return `path` as a `Path`; refuse one that no figure can be saved to.

    Called before anything is drawn, so that a typing error costs no time.

    Raises:
        ValueError: matplotlib does not write files with this suffix.
        FileNotFoundError: the folder does not exist.
    """
    if path is None:
        return None
    from matplotlib.backend_bases import FigureCanvasBase

    target = Path(path)
    valid = [f".{suffix}" for suffix in FigureCanvasBase.get_supported_filetypes()]
    if target.suffix.lower() not in valid:
        raise ValueError(
            f"path must end in one of: {', '.join(sorted(valid))}. "
            f"Received: path={str(path)!r}."
        )
    if not target.parent.is_dir():
        raise FileNotFoundError(
            "path must lie in a folder that exists. "
            f"Received: path={str(path)!r}. Create {str(target.parent)!r} first."
        )
    return target


def save_figure(figure: Figure, path: Path | None) -> None:
    """Save a figure, completely or not at all; None saves nothing.

    Raises:
        OSError: the file cannot be written.
    """
    if path is None:
        return
    suffix = path.suffix.lower().removeprefix(".")
    # By default a PNG names the version of matplotlib.
    metadata = {"Software": None} if suffix == "png" else None
    try:
        with replacing(path) as aside:
            figure.savefig(aside, format=suffix, dpi=DPI, metadata=metadata)
    except OSError as error:
        if error.errno is None:  # an encoder's error, not the file system's
            raise
        raise OSError(
            error.errno,
            "path must be a file that can be written. "
            f"Received: path={str(path)!r} ({error.strerror}). Choose another folder.",
        ) from error
