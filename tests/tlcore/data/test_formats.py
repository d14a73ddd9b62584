"""How files are recognized by their first bytes, and what to install for some."""

import importlib
import io

import pytest
from PIL import Image

from tlcore.data import formats
from tlcore.data.formats import (
    HEAD_BYTES,
    format_of,
    formats_of,
    left_out_note,
    missing_decoder,
)
from tlcore.data.images import check_image


def encoded(file_format, **options):
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(stream, file_format, **options)
    return stream.getvalue()[:HEAD_BYTES]


def iso(major, *compatible):
    size = 16 + 4 * len(compatible)
    box = size.to_bytes(4, "big") + b"ftyp" + major + bytes(4) + b"".join(compatible)
    return box + b"avif" * 20  # beyond the box: no brand


@pytest.mark.parametrize("name", ["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
def test_a_format_is_known_by_how_it_begins(name):
    assert format_of(encoded(name)) == name


def test_multi_picture_files_are_jpegs():
    assert format_of(encoded("MPO")) == "JPEG"


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (iso(b"heic", b"mif1", b"heic"), "HEIF"),
        (iso(b"mif1", b"heic"), "HEIF"),
        (iso(b"mif1", b"avif", b"miaf"), "AVIF"),
        (iso(b"avif"), "AVIF"),
        (iso(b"isom", b"mp42"), None),
        (b"MM\0*....", "TIFF"),
        (b"II+\0....", "TIFF"),
        (b"BM is also how a text may begin, of any length", None),
        (b"RIFF....AVI LIST", None),
        (b"P6 is a processor", None),
        (b"<svg>", None),
        (b"", None),
    ],
)
def test_brands_and_look_alikes(head, name):
    assert format_of(head[:HEAD_BYTES]) == name


@pytest.fixture
def without_decoders(monkeypatch):
    real = importlib.import_module

    def refuse(name):
        if name in {"pillow_heif", "PIL.AvifImagePlugin"}:
            raise ImportError(name)
        return real(name)

    monkeypatch.setattr(importlib, "import_module", refuse)
    formats._reads_avif.cache_clear()
    formats._reads_heif.cache_clear()
    yield
    formats._reads_avif.cache_clear()
    formats._reads_heif.cache_clear()


@pytest.mark.usefixtures("without_decoders")
@pytest.mark.parametrize(
    ("major", "suffix", "title", "install"),
    [
        (b"heic", ".heic", "a HEIC image", "pip install pillow-heif"),
        (b"avif", ".avif", "an AVIF image", "pip install -U pillow"),
    ],
)
def test_what_to_install_is_said(tmp_path, major, suffix, title, install):
    with pytest.raises(ValueError, match=f"{title}, which needs: {install}"):
        formats_of(iso(major))
    note = left_out_note({suffix: 12, ".txt": 1})
    assert note == f"left out: 12 {suffix} and 1 .txt ({install} to read {suffix})"
    path = tmp_path / "renamed.jpg"
    path.write_bytes(iso(major))
    assert check_image(str(path)).reason == f"{title}, which needs: {install}"


def test_formats_that_need_nothing_miss_nothing():
    assert missing_decoder("PNG") is None
    assert "JPEG" in formats_of(b"")


def test_a_note_names_the_commonest_suffixes_and_shows_no_control_characters():
    counts = {f".{i}": i for i in range(1, 9)}
    assert left_out_note(counts) == (
        "left out: 8 .8, 7 .7, 6 .6, 5 .5, 4 .4, 3 .3 and 3 others"
    )
    assert left_out_note({".\x1b[31m": 1}) == r"left out: 1 .\x1b[31m"
    assert left_out_note({"": 1}) == "left out: 1 without a suffix"
    assert left_out_note({}) == ""
