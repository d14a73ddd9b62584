"""Image files: what is found, what is bad, and which pixels come out."""

import hashlib
import io
import os
import subprocess
import sys
import threading
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tlcore.data import images
from tlcore.data.images import (
    check_image,
    check_images,
    decode_image,
    levels_of,
    read_checked_image,
    read_image,
)

HEIGHT, WIDTH = 12, 18
SIZE = (HEIGHT, WIDTH)


def picture(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def rgb(data):
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))


def with_alpha(mode="RGBA"):
    image = picture().convert(mode)
    ramp = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8)
    image.putalpha(Image.fromarray(ramp.reshape(HEIGHT, WIDTH)))
    return image


def palette():
    return picture().quantize(16)


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (encoded(picture()), "RGB"),
        (encoded(picture(), "BMP"), "RGB"),
        (encoded(picture(), "JPEG"), "RGB"),
        (encoded(picture(), "JPEG", progressive=True), "RGB"),
        (encoded(picture(), "WEBP"), "RGB"),
        (encoded(picture().convert("L")), "grey"),
        (encoded(picture().convert("L"), "JPEG"), "grey"),
        (encoded(picture().convert("L"), "BMP"), "grey"),
        (encoded(picture().convert("1")), "black and white"),
        (encoded(picture().convert("CMYK"), "JPEG"), "CMYK"),
        (encoded(palette()), "palette"),
        (encoded(palette(), "BMP"), "palette"),
        (encoded(palette(), "GIF"), "palette"),
        (encoded(picture(), "TIFF"), "RGB"),
        (encoded(picture(), "TIFF", compression="tiff_lzw"), "RGB"),
        (encoded(picture().convert("L"), "TIFF"), "grey"),
        (encoded(picture().convert("CMYK"), "TIFF"), "CMYK"),
        (encoded(picture(), "PPM"), "RGB"),
    ],
)
def test_every_format_and_mode_becomes_rgb(data, kind):
    pixels, found = decode_image(data, SIZE)
    assert found == kind
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, rgb(data))


@pytest.mark.parametrize("file_format", ["GIF", "WEBP", "PNG"])
def test_of_an_animation_the_first_frame_is_taken(file_format):
    options = {"lossless": True} if file_format == "WEBP" else {}
    frames = [Image.new("RGB", (18, 12), colour) for colour in ("red", "lime", "blue")]
    data = encoded(
        frames[0], file_format, save_all=True, append_images=frames[1:], **options
    )
    pixels, _ = decode_image(data, SIZE)
    assert (pixels == (255, 0, 0)).all()


@pytest.mark.parametrize("file_format", ["BMP", "GIF", "JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 40), (40, 1)])
def test_images_one_pixel_high_or_wide_are_resized(file_format, shape):
    data = encoded(Image.new("RGB", shape, "white"), file_format)
    pixels, _ = decode_image(data, SIZE)
    assert pixels.shape == (HEIGHT, WIDTH, 3)
    assert pixels.min() >= 254


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK", "1"])
@pytest.mark.parametrize("size", [(5, 7), (12, 18), (30, 20)])
def test_pixels_are_those_of_keras_load_img_with_bilinear_resizing(
    tmp_path, mode, size
):
    import keras

    path = tmp_path / ("a.png" if mode == "1" else "a.jpg")
    picture().convert(mode).save(path)
    expected = keras.utils.load_img(path, target_size=size, interpolation="bilinear")
    np.testing.assert_array_equal(read_image(path, size), np.asarray(expected))


def test_shrinking_is_antialiased():
    checks = np.indices((64, 64)).sum(axis=0) % 2 * 255
    data = encoded(Image.fromarray(checks.astype(np.uint8)))
    pixels, _ = decode_image(data, (8, 8))
    assert abs(pixels.astype(int) - 128).max() < 20


JPEG = encoded(picture(), "JPEG")
PNG = encoded(picture())


# Of a kind that Pillow does not know: 32803, the mosaic of a sensor, instead of RGB.
MOSAIC = encoded(picture(), "TIFF").replace(
    b"\x06\1\3\0\1\0\0\0\2\0", b"\x06\1\3\0\1\0\0\0\x23\x80"
)


def flipped(data, index):
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


BAD = [
    ("empty.jpg", b"", "empty file"),
    ("text.jpg", b"<html>not found</html>", "not a JPEG, PNG, GIF, BMP, WebP, TIFF, "),
    ("head.jpg", JPEG[:10], "damaged"),
    ("half.jpg", JPEG[:-40], "damaged: image file is truncated"),
    ("half.png", PNG[: len(PNG) // 2], "damaged: "),
    ("tail.png", PNG[:-5], "damaged: "),
    ("pixel.png", flipped(PNG, len(PNG) // 2), "damaged: "),
    ("half.gif", encoded(picture(), "GIF")[:900], "damaged: image file is truncated"),
    ("half.bmp", encoded(picture(), "BMP")[:300], "damaged: image file is truncated"),
    ("half.webp", encoded(picture(), "WEBP")[:100], "damaged: "),
    ("half.tif", encoded(picture(), "TIFF")[:300], "damaged"),
    ("raw.tif", MOSAIC, "damaged, or a TIFF of a kind that cannot be read"),
]


@pytest.mark.parametrize(("name", "data", "reason"), BAD, ids=[b[0] for b in BAD])
def test_a_bad_file_is_found_with_its_reason(tmp_path, name, data, reason):
    path = tmp_path / name
    path.write_bytes(data)
    found = check_image(str(path))
    assert found.kind == ""
    assert found.digest == hashlib.sha256(data).hexdigest()
    assert found.reason.startswith(reason)


def test_a_file_that_cannot_be_read_is_bad(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    found = check_image(str(path))
    assert found.reason == "cannot be read: Permission denied"
    assert found.digest == ""


def test_a_file_that_is_gone_is_bad(tmp_path):
    found = check_image(str(tmp_path / "gone.png"))
    assert found.reason == "cannot be read: No such file or directory"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert check_image(str(tmp_path / "pipe.png")).reason == "not a file"


@pytest.mark.parametrize("limit", [HEIGHT * WIDTH - 1, HEIGHT * WIDTH // 3])
def test_a_decompression_bomb_by_pillows_limit_is_bad(tmp_path, monkeypatch, limit):
    (tmp_path / "bomb.png").write_bytes(PNG)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        (found,) = check_images([str(tmp_path / "bomb.png")])
    assert found.reason == "too large: over 89,478,485 pixels"


def test_a_decompression_bomb_is_bad_even_where_pillow_lets_it_pass(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(images, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(ValueError, match="too large: over 215 pixels"):
        decode_image(PNG, SIZE)


def test_reading_a_bad_file_says_which_and_why(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    message = r"a whole JPEG, .* file\. Received: path='.*a\.jpg' \(empty file\)\."
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "a.jpg", SIZE)


def test_an_image_is_read_again_while_its_bytes_are_the_same(tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)
    digest = check_image(str(path)).digest
    pixels = read_checked_image(str(path), digest, SIZE)
    np.testing.assert_array_equal(pixels, np.asarray(picture()))
    for data in (encoded(picture(1)), b"", PNG + b"\0"):
        path.write_bytes(data)
        message = r"must stay as it was .* Received: path='.*a\.png' \(its bytes have"
        with pytest.raises(ValueError, match=message):
            read_checked_image(str(path), digest, SIZE)
    path.unlink()
    with pytest.raises(ValueError, match=r"No such file.*\)\. Put the file back, or"):
        read_checked_image(str(path), digest, SIZE)


@pytest.mark.parametrize("file_format", ["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP"])
def test_whatever_is_damaged_a_file_is_good_or_bad_and_nothing_is_raised(
    tmp_path, file_format
):
    rng = np.random.default_rng(0)
    data = np.frombuffer(encoded(picture(), file_format), np.uint8)
    paths = [str(tmp_path / f"{i}.jpg") for i in range(40)]
    for path in paths:
        broken = data[: rng.integers(len(data) // 2, len(data) + 1)].copy()
        # Most of them in the header. Sizes stay small: a large one only takes long.
        places = rng.integers(0, min(len(broken), 90), 4)
        broken[places] = rng.integers(0, 8, 4)
        Path(path).write_bytes(broken.tobytes())
    found = check_images(paths)
    assert [image.path for image in found] == paths
    assert any(image.reason for image in found)
    assert all(bool(image.reason) != bool(image.kind) for image in found)


def test_damaged_exif_data_do_not_make_an_image_bad(tmp_path):
    path = tmp_path / "a.jpg"
    picture().save(path, exif=b"Exif\0\0II*\0garbage!!")
    (found,) = check_images([str(path)])
    assert (found.reason, found.treatments) == (None, ())


def test_files_are_checked_in_parallel_and_answered_in_order(tmp_path, monkeypatch):
    together = threading.Barrier(2, timeout=30)
    check = images.check_image

    def meet(path, reading):
        together.wait()
        return check(path, reading)

    monkeypatch.setattr(images, "check_image", meet)
    paths = [str(tmp_path / f"{i}.png") for i in range(4)]
    for i, path in enumerate(paths):
        picture(seed=i).save(path)
    found = check_images(paths)
    assert [image.path for image in found] == paths
    assert {image.reason for image in found} == {None}
    assert len({image.digest for image in found}) == 4


def test_more_files_than_are_handed_out_at_once_are_all_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_FILES_AT_ONCE", 3)
    paths = [str(tmp_path / f"{i}.png") for i in range(8)]
    assert [image.path for image in check_images(paths)] == paths


def test_neither_images_nor_image_folders_import_tensorflow():
    code = (
        "import sys, tlcore.data.image_folder\n"
        "sys.exit('tensorflow' in sys.modules or 'keras' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("low", "high", "levels"),
    [(0, 0, (0, 0)), (3, 10, (7, 10)), (0, 255, (255, 255)), (100, 120, (20, 120))],
)
def test_levels_say_whether_an_image_is_flat_or_dark(low, high, levels):
    pixels = np.full((9, 9, 3), low, np.uint8)
    pixels[8, 8, 1] = high
    assert levels_of(pixels) == levels


def test_a_plain_colour_is_flat(tmp_path):
    Image.new("RGB", (9, 9), "red").save(tmp_path / "a.png")
    assert check_image(str(tmp_path / "a.png")).levels == (0, 255)
    Image.linear_gradient("L").save(tmp_path / "b.png")
    assert check_image(str(tmp_path / "b.png")).levels[0] > 100


def test_single_bright_pixels_do_not_make_a_dark_image_bright(tmp_path):
    image = Image.new("RGB", (640, 320), (5, 5, 5))
    image.putpixel((100, 100), (255, 255, 255))
    image.save(tmp_path / "a.png")
    spread, high = check_image(str(tmp_path / "a.png")).levels
    assert spread < 16
    assert high < 16


def test_one_pixel_of_many_is_enough_not_to_be_flat():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[1, 1] = 12
    assert levels_of(pixels) == (12, 12)
