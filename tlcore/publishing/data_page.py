"""Data page: what is wrong with a data folder as one HTML file, with pictures.

Owns the contents of the page, with the template `data_page.html.j2`, and the pictures
in it. The page loads nothing from elsewhere and contains no script. Its paths start in
the data folder, whose place it does not reveal.
"""

import base64
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tlcore import __version__
from tlcore.data.data_check import DataReport
from tlcore.data.images import read_picture
from tlcore.data.inspection import Finding
from tlcore.files import write_text
from tlcore.terminal.characters import visible

PICTURE_PIXELS = 160
"""The longest side of a picture."""
MOST_GROUPS = 60
"""The most files, or groups of copies, of a finding that are shown."""
_MOST_COPIES = 6


@dataclass(frozen=True)
class _Shown:
    """A file of a finding, and its picture as a data URL; "" if it cannot be read."""

    path: str
    picture: str


def write_data_page(path: str | Path, report: DataReport) -> None:
    """Write the page of a report, whole or not at all.

    Args:
        path: the HTML file; its folder must exist.
        report: what `check_data` returned.

    Raises:
        OSError: the file cannot be written.

    Example:
        >>> write_data_page("data.html", tl.check_data("photos"))
        >>> "nothing is wrong" in Path("data.html").read_text()
        True
    """
    write_text(path, render(report))


def render(report: DataReport) -> str:
    """Return the HTML page of a report.

    Example:
        >>> page = render(tl.check_data("photos"))
        >>> "<h1>photos</h1>" in page, "<script" in page
        (True, False)
    """
    import jinja2  # late: other commands need no templates

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("tlcore.publishing", ""),
        autoescape=True,  # names of files and classes are anyone's text
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: visible(value) if isinstance(value, str) else value,
    )
    return environment.get_template("data_page.html.j2").render(
        title=Path(report.data).name or report.directory.resolve().name,
        report=report,
        findings=[(f, list(_groups(report, f))) for f in report.findings],
        hidden=[max(0, len(f.groups) - MOST_GROUPS) for f in report.findings],
        version=__version__,
    )


def _groups(
    report: DataReport, finding: Finding
) -> Iterator[tuple[list[_Shown], int, str]]:
    """Yield the files of each group, how many more there are, and the reason."""
    reasons = finding.reasons or ("",) * len(finding.groups)
    for group, reason in list(zip(finding.groups, reasons, strict=True))[:MOST_GROUPS]:
        files = [
            _Shown(report.relative(path), "" if reason else _picture(path))
            for path in group[:_MOST_COPIES]
        ]
        yield files, max(0, len(group) - _MOST_COPIES), reason


def _picture(path: str) -> str:
    """Return an image as a data URL, upright, scaled down and without metadata."""
    from PIL import Image

    try:
        picture = read_picture(path, about=2 * PICTURE_PIXELS)
    except ValueError:
        return ""  # changed since the check
    picture.thumbnail((PICTURE_PIXELS, PICTURE_PIXELS))
    # Pasting copies pixels only: where a photograph was taken stays behind.
    plain = Image.new("RGB", picture.size)
    plain.paste(picture)
    file = io.BytesIO()
    plain.save(file, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(file.getvalue()).decode()}"
