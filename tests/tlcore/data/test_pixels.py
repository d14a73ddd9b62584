"""What is done to decoded images: upright, on a background, in the right size."""

import io

import numpy as np
import PIL
import pytest
from packaging.version import Version
from PIL import Image

from tlcore.data.formats import missing_decoder
from tlcore.data.images import check_image, decode_image, read_image, read_picture
from tlcore.data.reading import Reading

HEIGHT, WIDTH = 12, 18
SIZE = (HEIGHT, WIDTH)
TURNED = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a camera stores an image with each orientation."""


def picture(seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3))
    return Image.fromarray(pixels.astype(np.uint8))


def encoded(image, file_format="PNG", **options):
    stream = io.BytesIO()
    image.save(stream, file_format, **options)
    return stream.getvalue()


def stored(orientation, mode="RGB"):
    image = picture().convert(mode)
    turn = TURNED[orientation]
    return image if turn is None else image.transpose(turn)


def tagged(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def palette():
    return picture().quantize(16)


def with_alpha(mode="RGBA"):
    image = picture().convert(mode)
    ramp = np.linspace(0, 255, HEIGHT * WIDTH).astype(np.uint8)
    image.putalpha(Image.fromarray(ramp.reshape(HEIGHT, WIDTH)))
    return image


# Upright


LOSSLESS = [
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("WEBP", {"lossless": True}),
]


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(("file_format", "options"), LOSSLESS)
def test_an_image_that_was_stored_turned_is_upright(file_format, options, orientation):
    exif = tagged(orientation)
    data = encoded(stored(orientation), file_format, exif=exif, **options)
    pixels, _ = decode_image(data, SIZE)
    np.testing.assert_array_equal(pixels, np.asarray(picture()))


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize(
    ("file_format", "options"),
    [("JPEG", {"subsampling": 0}), ("AVIF", {"subsampling": "4:4:4"})],
)
def test_a_lossy_image_that_was_stored_turned_is_upright(
    file_format, options, orientation
):
    if missing_decoder(file_format):
        pytest.skip("needs Pillow 11.3")
    exif = tagged(orientation)
    data = encoded(stored(orientation), file_format, exif=exif, quality=100, **options)
    pixels, _ = decode_image(data, SIZE)
    assert abs(pixels.astype(int) - np.asarray(picture())).max() <= 4


@pytest.mark.parametrize("orientation", TURNED)
def test_heic_is_upright_where_it_can_be_read(tmp_path, orientation):
    heif = pytest.importorskip("pillow_heif")
    heif.register_heif_opener()
    large = stored(orientation).resize([8 * n for n in stored(orientation).size], 0)
    path = tmp_path / "a.photo"
    large.save(path, "HEIF", exif=tagged(orientation), quality=100)
    expected = np.asarray(picture().resize((8 * WIDTH, 8 * HEIGHT), 0))
    pixels = read_image(path, (8 * HEIGHT, 8 * WIDTH))
    assert abs(pixels.astype(int) - expected).mean() < 1
    turned = ("rotated",) if orientation != 1 else ()
    assert check_image(str(path)).treatments == turned


@pytest.mark.parametrize("mode", ["L", "RGBA", "I;16", "F", "1"])
@pytest.mark.parametrize("orientation", [5, 6])
def test_images_of_every_mode_are_turned(mode, orientation):
    grey = picture().convert("L")
    if mode == "I;16":
        samples = np.asarray(grey).astype(np.uint16) << 8 | 255
        image = Image.fromarray(samples)
    else:
        image = (grey if mode == "F" else picture()).convert(mode)
    turned = image.transpose(TURNED[orientation])
    data = encoded(turned, "TIFF", exif=tagged(orientation))
    expected, _ = decode_image(encoded(image, "TIFF"), SIZE)
    np.testing.assert_array_equal(decode_image(data, SIZE)[0], expected)


@pytest.mark.parametrize("orientation", [1, 2, 6, 7, 8])
@pytest.mark.parametrize(("file_format", "options"), LOSSLESS)
def test_the_old_reading_leaves_an_image_as_it_is_stored(
    file_format, options, orientation
):
    as_stored = stored(orientation)
    exif = tagged(orientation)
    data = encoded(as_stored, file_format, exif=exif, **options)
    size = (as_stored.height, as_stored.width)
    pixels, _ = decode_image(data, size, Reading(orientation="ignore"))
    np.testing.assert_array_equal(pixels, np.asarray(as_stored))


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_does_not_exist_is_none(tmp_path, orientation):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(picture(), exif=tagged(orientation)))
    assert check_image(str(path)).treatments == ()
    np.testing.assert_array_equal(read_image(path, SIZE), np.asarray(picture()))


@pytest.mark.skipif(
    Version(PIL.__version__) < Version("11"), reason="Pillow reads it from 11 on"
)
def test_an_orientation_in_xmp_counts_too():
    packet = b'<x:xmpmeta><rdf tiff:Orientation="6"/></x:xmpmeta>'
    data = encoded(stored(6), "WEBP", lossless=True, xmp=packet)
    np.testing.assert_array_equal(decode_image(data, SIZE)[0], np.asarray(picture()))


@pytest.mark.parametrize("reading", ["apply", "ignore"])
def test_what_is_turned_is_noted(tmp_path, reading):
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(stored(6), "JPEG", exif=tagged(6)))
    found = check_image(str(path), Reading(orientation=reading))
    assert found.treatments == (("rotated",) if reading == "apply" else ())


# On a background


TRANSPARENT = [
    (encoded(with_alpha()), "RGBA"),
    (encoded(with_alpha("LA")), "grey with alpha"),
    (encoded(palette(), transparency=3), "palette"),
    (encoded(palette(), transparency=bytes(range(0, 256, 16))), "palette"),
    (encoded(palette(), "GIF", transparency=3), "palette"),
    (encoded(with_alpha(), "WEBP", lossless=True, exact=True), "RGBA"),
    (encoded(with_alpha(), "TIFF"), "RGBA"),
]


@pytest.mark.parametrize("colour", [(255, 255, 255), (10, 200, 30)])
@pytest.mark.parametrize(("data", "kind"), TRANSPARENT)
def test_what_is_transparent_is_put_on_the_background(tmp_path, data, kind, colour):
    (tmp_path / "a").write_bytes(data)
    reading = Reading.of(background=colour)
    pixels, found = decode_image(data, SIZE, reading)
    with Image.open(io.BytesIO(data)) as image:
        layer = np.asarray(image.convert("RGBA")).astype(float)
    alpha = layer[..., 3:] / 255
    expected = layer[..., :3] * alpha + np.array(colour) * (1 - alpha)
    assert abs(pixels - expected).max() <= 1
    assert found == kind
    assert check_image(str(tmp_path / "a"), reading).treatments == ("composed",)


def test_shapes_that_only_alpha_knows_are_seen():
    shape = np.zeros((HEIGHT, WIDTH, 4), np.uint8)  # black, also where it is clear
    shape[3:9, 4:12, 3] = 255
    pixels, _ = decode_image(encoded(Image.fromarray(shape)), SIZE)
    np.testing.assert_array_equal(pixels[..., 0], 255 - shape[..., 3])


@pytest.mark.parametrize(
    ("image", "key"), [(picture(), (1, 2, 3)), (picture().convert("L"), 9)]
)
def test_one_colour_can_be_the_transparent_one(image, key):
    image.putpixel((2, 1), key)
    pixels, _ = decode_image(encoded(image, transparency=key), SIZE)
    assert pixels[1, 2].tolist() == [255, 255, 255]


def test_an_opaque_image_with_alpha_is_not_composed(tmp_path):
    path = tmp_path / "a.png"
    picture().convert("RGBA").save(path)
    found = check_image(str(path))
    assert (found.kind, found.treatments) == ("RGBA", ())
    np.testing.assert_array_equal(read_image(path, SIZE), np.asarray(picture()))


# Frames


@pytest.mark.parametrize("file_format", ["GIF", "PNG", "TIFF", "WEBP", "MPO"])
def test_of_several_frames_or_pages_it_is_noted_that_the_first_is_read(
    tmp_path, file_format
):
    path = tmp_path / "a"
    frames = [Image.new("RGB", (18, 12), colour) for colour in ("red", "blue")]
    frames[0].save(path, file_format, save_all=True, append_images=frames[1:])
    found = check_image(str(path))
    assert (found.reason, found.treatments) == (None, ("first frame",))
    assert read_image(path, SIZE)[0, 0, 2] < 10


def test_a_damaged_second_frame_does_not_matter(tmp_path):
    path = tmp_path / "a.gif"
    frames = [picture(seed) for seed in range(2)]
    data = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    path.write_bytes(data[: len(data) * 3 // 4])
    assert check_image(str(path)).reason is None


# Into the size


def bars():
    """Return an image of 40 x 10: red, then green in the middle half, then blue."""
    image = Image.new("RGB", (40, 10), "lime")
    image.paste("red", (0, 0, 10, 10))
    image.paste("blue", (30, 0, 40, 10))
    return image


def test_squash_keeps_everything_and_changes_the_proportions():
    pixels, _ = decode_image(encoded(bars()), (20, 20))
    assert pixels[10, 0].tolist() == [255, 0, 0]
    assert pixels[10, 19].tolist() == [0, 0, 255]


@pytest.mark.parametrize("image", [bars(), bars().transpose(TURNED[6])])
def test_crop_takes_the_middle(image):
    pixels, _ = decode_image(encoded(image), (20, 20), Reading(fit="crop"))
    assert (pixels == (0, 255, 0)).all()


def test_pad_keeps_everything_and_adds_a_border():
    reading = Reading.of(fit="pad", background=(9, 8, 7))
    pixels, _ = decode_image(encoded(bars()), (20, 40), reading)
    np.testing.assert_array_equal(pixels[5:15], np.asarray(bars()))
    assert (pixels[:5] == (9, 8, 7)).all()
    assert (pixels[15:] == (9, 8, 7)).all()


def test_white_is_the_border_unless_another_colour_is_asked_for():
    pixels, _ = decode_image(encoded(bars()), (40, 40), Reading(fit="pad"))
    assert (pixels[0] == 255).all()


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
@pytest.mark.parametrize("shape", [(1, 1), (1, 4000), (4000, 1), (12, 18), (24, 36)])
@pytest.mark.parametrize("size", [(12, 18), (1, 30), (30, 1)])
def test_every_proportion_has_a_size(fit, shape, size):
    data = encoded(Image.new("RGB", shape, "red"))
    pixels, _ = decode_image(data, size, Reading(fit=fit))
    assert pixels.shape == (*size, 3)
    assert (pixels == (255, 0, 0)).all(axis=-1).any()


@pytest.mark.parametrize("fit", ["squash", "crop", "pad"])
def test_of_the_right_proportions_every_fit_gives_the_same(fit):
    double = picture().resize((2 * WIDTH, 2 * HEIGHT))
    expected, _ = decode_image(encoded(double), SIZE)
    found, _ = decode_image(encoded(double), SIZE, Reading(fit=fit))
    np.testing.assert_array_equal(found, expected)


def test_read_image_takes_the_choices_by_name(tmp_path):
    path = tmp_path / "a.png"
    bars().save(path)
    padded = read_image(path, (40, 40), fit="pad", background="black")
    assert (padded[0] == 0).all()
    with pytest.raises(ValueError, match="squash, crop, pad"):
        read_image(path, SIZE, fit="stretch")


def test_a_thumbnail_is_upright_too(tmp_path):
    path = tmp_path / "a.jpg"
    large = stored(6).resize((1200, 1800))
    large.save(path, exif=tagged(6))
    assert read_picture(path).size == (1800, 1200)
    width, height = read_picture(path, about=200).size
    assert 200 <= height < width < 600
