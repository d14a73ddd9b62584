"""Which files of a folder are images, and what is counted as left out."""

import io
import os
import sys
import types

import pytest
from PIL import Image

from tlcore.data import finding, formats
from tlcore.data.finding import find_images, is_image


def encoded(file_format):
    stream = io.BytesIO()
    Image.new("RGB", (8, 6), "red").save(stream, file_format)
    return stream.getvalue()


def write(folder, **files):
    for name, data in files.items():
        (folder / name.replace("__", ".")).write_bytes(data)


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(40)


@pytest.fixture
def no_heif(monkeypatch):
    """Be without pillow-heif, installed or not."""
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    formats._reads_heif.cache_clear()
    yield
    formats._reads_heif.cache_clear()


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", True),
        ("A.JPEG", True),
        ("a.Png", True),
        ("a.gif", True),
        ("a.bmp", True),
        ("a.WEBP", True),
        ("a.jfif", True),
        ("a.tif", True),
        ("a.HEIC", True),
        (".a.jpg", False),
        ("a.txt", False),
        ("jpg", False),
        ("a.jpg.part", False),
        ("Thumbs.db", False),
    ],
)
def test_an_image_is_known_by_its_suffix(name, expected):
    assert is_image(name) is expected


def test_images_are_found_at_any_depth_and_sorted_by_their_path(tmp_path):
    for name in ("b.png", "a/z.JPG", "a/c/d.gif", "a.png", ".hidden/e.png", "f.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    found = find_images(tmp_path)
    assert found.images == ["a.png", "a/c/d.gif", "a/z.JPG", "b.png"]
    assert found.left_out == {".txt": 1}


def test_a_class_of_jpegs_and_tiffs_under_the_names_that_people_give_them(tmp_path):
    for i in range(6):
        write(tmp_path, **{f"{i}__jpg": encoded("JPEG")})
    for i in range(14):
        write(tmp_path, **{f"{i}__tif": encoded("TIFF")})
    for i in range(8):
        write(tmp_path, **{f"{i}__jfif": encoded("JPEG")})
    found = find_images(tmp_path)
    assert len(found.images) == 28
    assert found.left_out == {}


@pytest.mark.parametrize(
    "name", ["a.photo", "a", "a.JPG_", "a.jpg~", "a.jpeg.1", "Dr. No", "a.txt"]
)
@pytest.mark.parametrize("file_format", ["JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF"])
def test_of_a_file_with_another_name_the_content_decides(tmp_path, name, file_format):
    (tmp_path / name).write_bytes(encoded(file_format))
    assert find_images(tmp_path).images == [name]


def test_what_is_no_image_is_counted_by_suffix_in_lower_case(tmp_path):
    write(
        tmp_path, a__txt=b"x", b__TXT=b"", c__csv=b"BM, Berlin and more words", d=b"x"
    )
    write(tmp_path, e__mp4=b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(40))
    write(tmp_path, f__wav=b"RIFF....WAVEfmt ")
    found = find_images(tmp_path)
    assert found.images == []
    assert found.left_out == {"": 1, ".csv": 1, ".mp4": 1, ".txt": 2, ".wav": 1}


def test_what_systems_leave_in_folders_is_not_counted(tmp_path):
    for name in (".DS_Store", "._a.jpg", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_bytes(b"x")
    assert find_images(tmp_path) == finding.Found([], {})


def test_raw_files_of_cameras_are_left_out_although_they_begin_like_tiffs(tmp_path):
    for name in ("a.NEF", "b.cr2", "c.dng"):
        (tmp_path / name).write_bytes(encoded("TIFF"))
    found = find_images(tmp_path)
    assert found.images == []
    assert found.left_out == {".cr2": 1, ".dng": 1, ".nef": 1}


@pytest.mark.usefixtures("no_heif")
def test_heic_is_left_out_without_its_decoder_under_any_name(tmp_path):
    write(tmp_path, a__heic=HEIC, b__HEIF=HEIC, c__photo=HEIC, d=b"x")
    found = find_images(tmp_path)
    assert found.images == []
    assert found.left_out == {"": 1, ".heic": 3}


def test_heic_is_an_image_with_its_decoder(tmp_path, monkeypatch):
    plugin = types.ModuleType("pillow_heif")
    plugin.register_heif_opener = lambda: None
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    formats._reads_heif.cache_clear()
    write(tmp_path, a__heic=HEIC, c__photo=HEIC)
    assert find_images(tmp_path).images == ["a.heic", "c.photo"]
    formats._reads_heif.cache_clear()


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.photo")
    assert find_images(tmp_path).left_out == {".photo": 1}


def test_a_file_of_a_known_suffix_is_not_opened(tmp_path, monkeypatch):
    write(tmp_path, a__jpg=b"", b__tif=b"")
    monkeypatch.setattr(finding, "_format_of_file", None)
    assert find_images(tmp_path).images == ["a.jpg", "b.tif"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    try:
        (folder / "link").symlink_to(tmp_path / "elsewhere")
        (folder / "self").symlink_to(folder)
        (folder / "above").symlink_to(tmp_path)
        (folder / "broken").symlink_to(tmp_path / "nowhere")
    except OSError:
        pytest.skip("needs symbolic links")
    found = find_images(folder)
    assert found.images == ["link/a.png"]
    assert found.left_out == {"": 1}
