"""Image files: what is found, what is bad, and which pixels come out."""

import hashlib
import io
import os
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from PIL import Image

from tlcore.data import images
from tlcore.data.images import (
    check_image,
    check_images,
    decode_image,
    find_images,
    is_image,
    levels_of,
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
    ],
)
def test_every_format_and_mode_becomes_rgb(data, kind):
    pixels, found = decode_image(data, SIZE)
    assert found == kind
    assert pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, rgb(data))


@pytest.mark.parametrize(
    ("data", "kind", "opaque"),
    [
        (encoded(with_alpha()), "RGBA", picture()),
        (encoded(with_alpha("LA")), "grey with alpha", picture().convert("L")),
        (encoded(palette(), transparency=3), "palette", palette()),
        (encoded(palette(), transparency=bytes(range(16))), "palette", palette()),
        (encoded(palette(), "GIF", transparency=3), "palette", palette()),
        (encoded(picture().convert("L"), transparency=9), "grey", picture()),
        (encoded(picture(), transparency=(1, 2, 3)), "RGB", picture()),
        (encoded(with_alpha(), "WEBP", lossless=True, exact=True), "RGBA", picture()),
    ],
)
def test_alpha_is_dropped_and_not_composited(data, kind, opaque):
    pixels, found = decode_image(data, SIZE)
    assert found == kind
    if found.startswith("grey"):
        opaque = opaque.convert("L")
    np.testing.assert_array_equal(pixels, np.asarray(opaque.convert("RGB")))


def test_sixteen_bits_of_grey_become_the_upper_eight():
    values = np.arange(HEIGHT * WIDTH, dtype=np.uint16).reshape(HEIGHT, WIDTH) * 300
    pixels, kind = decode_image(encoded(Image.fromarray(values)), SIZE)
    assert kind == "16-bit grey"
    np.testing.assert_array_equal(pixels, np.stack([values >> 8] * 3, axis=-1))


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


def test_exif_orientation_is_ignored():
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by 90 degrees
    plain, turned = encoded(picture(), "JPEG"), encoded(picture(), "JPEG", exif=exif)
    assert plain != turned
    np.testing.assert_array_equal(
        decode_image(turned, SIZE)[0], decode_image(plain, SIZE)[0]
    )


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


def flipped(data, index):
    return data[:index] + bytes([data[index] ^ 1]) + data[index + 1 :]


BAD = [
    ("empty.jpg", b"", "empty file"),
    ("text.jpg", b"<html>not found</html>", "not a JPEG, PNG, GIF, BMP or WebP image"),
    ("head.jpg", JPEG[:10], "damaged: "),
    ("half.jpg", JPEG[:-40], "damaged: image file is truncated"),
    ("half.png", PNG[: len(PNG) // 2], "damaged: "),
    ("tail.png", PNG[:-5], "damaged: "),
    ("pixel.png", flipped(PNG, len(PNG) // 2), "damaged: "),
    ("half.gif", encoded(picture(), "GIF")[:900], "damaged: image file is truncated"),
    ("half.bmp", encoded(picture(), "BMP")[:300], "damaged: image file is truncated"),
    ("half.webp", encoded(picture(), "WEBP")[:100], "damaged: "),
    ("other.jpg", encoded(picture(), "TIFF"), "not a JPEG"),
]


@pytest.mark.parametrize(("name", "data", "reason"), BAD, ids=[b[0] for b in BAD])
def test_a_bad_file_is_found_with_its_reason(tmp_path, name, data, reason):
    path = tmp_path / name
    path.write_bytes(data)
    found = check_image(str(path), SIZE)
    assert found.kind == ""
    assert found.digest == hashlib.sha256(data).hexdigest()
    assert found.reason.startswith(reason)


def test_a_file_that_cannot_be_read_is_bad(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(PNG)

    def refuse(self):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr("pathlib.Path.read_bytes", refuse)
    found = check_image(str(path), SIZE)
    assert found.reason == "cannot be read: Permission denied"
    assert found.digest == ""


def test_a_file_that_is_gone_is_bad(tmp_path):
    found = check_image(str(tmp_path / "gone.png"), SIZE)
    assert found.reason == "cannot be read: No such file or directory"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    assert check_image(str(tmp_path / "pipe.png"), SIZE).reason == "not a file"


@pytest.mark.parametrize("limit", [HEIGHT * WIDTH - 1, HEIGHT * WIDTH // 3])
def test_a_decompression_bomb_by_pillows_limit_is_bad(tmp_path, monkeypatch, limit):
    (tmp_path / "bomb.png").write_bytes(PNG)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", limit)
    with warnings.catch_warnings():
        warnings.simplefilter("default")
        (found,) = check_images([str(tmp_path / "bomb.png")], SIZE)
    assert found.reason == "too large: over 89,478,485 pixels"


def test_a_decompression_bomb_is_bad_even_where_pillow_lets_it_pass(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    monkeypatch.setattr(images, "MAX_PIXELS", HEIGHT * WIDTH - 1)
    with pytest.raises(ValueError, match="too large: over 215 pixels"):
        decode_image(PNG, SIZE)


def test_reading_a_bad_file_says_which_and_why(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"")
    message = r"must be a whole JPEG, .* Received: '.*a\.jpg' \(empty file\)\."
    with pytest.raises(ValueError, match=message):
        read_image(tmp_path / "a.jpg", SIZE)


def test_files_are_checked_in_parallel_and_answered_in_order(tmp_path, monkeypatch):
    together = threading.Barrier(2, timeout=30)
    check = images.check_image

    def meet(path, image_size):
        together.wait()
        return check(path, image_size)

    monkeypatch.setattr(images, "check_image", meet)
    paths = [str(tmp_path / f"{i}.png") for i in range(4)]
    for i, path in enumerate(paths):
        picture(seed=i).save(path)
    found = check_images(paths, SIZE)
    assert [image.path for image in found] == paths
    assert {image.reason for image in found} == {None}
    assert len({image.digest for image in found}) == 4


def test_more_files_than_are_handed_out_at_once_are_all_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "_FILES_AT_ONCE", 3)
    paths = [str(tmp_path / f"{i}.png") for i in range(8)]
    assert [image.path for image in check_images(paths, SIZE)] == paths


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.jpg", True),
        ("A.JPEG", True),
        ("a.Png", True),
        ("a.gif", True),
        ("a.bmp", True),
        ("a.WEBP", True),
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
    assert find_images(tmp_path) == ["a.png", "a/c/d.gif", "a/z.JPG", "b.png"]


def test_links_are_followed_but_not_in_circles(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").touch()
    folder = tmp_path / "folder"
    folder.mkdir()
    try:
        (folder / "link").symlink_to(tmp_path / "elsewhere")
        (folder / "self").symlink_to(folder)
        (folder / "above").symlink_to(tmp_path)
    except OSError:
        pytest.skip("needs symbolic links")
    assert find_images(folder) == ["link/a.png"]


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
    assert check_image(str(tmp_path / "a.png"), (8, 8)).levels == (0, 255)
    Image.linear_gradient("L").save(tmp_path / "b.png")
    assert check_image(str(tmp_path / "b.png"), (8, 8)).levels[0] > 100


def test_one_pixel_of_many_is_enough_not_to_be_flat():
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[1, 1] = 12
    assert levels_of(pixels) == (12, 12)
