"""Samples of more than 8 bits: scaled by the range that the file holds."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from tlcore.data.images import check_image, decode_image

SIZE = (12, 18)
RANGES = {8: 8, 9: 10, 10: 10, 12: 12, 13: 14, 14: 14, 15: 16, 16: 16}


def samples(channels, bits, *, seed=0):
    shape = (*SIZE, channels)
    values = np.random.default_rng(seed).integers(0, 1 << bits, shape)
    values[0, 0] = (1 << bits) - 1
    return values.astype(np.uint16)


def png(values, *, key=None):
    """Return a PNG of 16 bits, which Pillow writes for grey only."""
    colour = {1: 0, 2: 4, 3: 2, 4: 6}[values.shape[-1]]

    def chunk(name, data):
        checksum = struct.pack(">I", zlib.crc32(name + data))
        return struct.pack(">I", len(data)) + name + data + checksum

    height, width = values.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 16, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    parts = [chunk(b"IHDR", header)]
    if key is not None:
        parts.append(chunk(b"tRNS", struct.pack(f">{len(key)}H", *key)))
    parts += [chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def tiff(values, *, order="<", photometric=2, planes=1, packed=False):
    """Return a TIFF of any type of sample; Pillow writes few of them."""
    height, width, channels = values.shape
    if planes == 2:
        values = np.moveaxis(values, -1, 0)
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    strips = np.array_split(np.frombuffer(data, "u1"), channels if planes == 2 else 1)
    strips = [zlib.compress(s.tobytes()) if packed else s.tobytes() for s in strips]
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    offsets = [8 + sum(map(len, strips[:i])) for i in range(len(strips))]
    tags = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [8 * values.itemsize] * channels),
        259: ("H", [8 if packed else 1]),
        262: ("H", [photometric]),
        273: ("I", offsets),
        277: ("H", [channels]),
        278: ("I", [height]),
        279: ("I", [len(strip) for strip in strips]),
        284: ("H", [planes]),
        339: ("H", [kind] * channels),
    }
    start = offsets[-1] + len(strips[-1])
    start += start % 2
    extra = start + 2 + 12 * len(tags) + 4
    entries, rest = [], b""
    for number, (code, numbers) in tags.items():
        packed_numbers = struct.pack(f"{order}{len(numbers)}{code}", *numbers)
        if len(packed_numbers) > 4:
            place = struct.pack(f"{order}I", extra + len(rest))
            rest += packed_numbers
        else:
            place = packed_numbers.ljust(4, b"\0")
        head = struct.pack(f"{order}HHI", number, {"H": 3, "I": 4}[code], len(numbers))
        entries.append(head + place)
    magic = b"II*\0" if order == "<" else b"MM\0*"
    head = magic + struct.pack(f"{order}I", start)
    body = head + b"".join(strips)
    index = struct.pack(f"{order}H", len(entries)) + b"".join(entries) + bytes(4)
    return body.ljust(start, b"\0") + index + rest


def expected(values, bits):
    colours = values[..., :3] if values.shape[-1] >= 3 else values[..., [0, 0, 0]]
    return (colours >> (RANGES[bits] - 8)).astype(np.uint8)


@pytest.mark.parametrize("bits", [8, 9, 10, 12, 13, 14, 15, 16])
@pytest.mark.parametrize(
    ("channels", "name"), [(1, "grey"), (2, "grey with alpha"), (3, "RGB"), (4, "RGBA")]
)
def test_a_png_of_16_bits_has_the_range_that_it_holds(channels, name, bits):
    values = samples(channels, bits)
    if channels in {2, 4}:
        values[..., -1] = 65535
    pixels, kind = decode_image(png(values), SIZE)
    np.testing.assert_array_equal(pixels, expected(values, bits))
    used = RANGES[bits]
    assert kind == ("16-bit" if used == 16 else f"{used}-of-16-bit") + f" {name}"
    assert pixels.max() >= 252 if bits == used else pixels.max() >= 127


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_tiff_of_16_bits_has_the_range_that_it_holds(channels, bits, packed, order):
    values = samples(channels, bits)
    photometric = 1 if channels == 1 else 2
    data = tiff(values, order=order, photometric=photometric, packed=packed)
    pixels, kind = decode_image(data, SIZE)
    np.testing.assert_array_equal(pixels, expected(values, bits))
    assert kind.startswith("16-bit" if bits == 16 else "12-of-16-bit")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("dtype", ["i2", "i4", "f4"])
def test_signed_and_floating_samples_are_scaled_alike(dtype, packed, order):
    values = samples(1, 12)
    data = tiff(values.astype(dtype), order=order, photometric=1, packed=packed)
    pixels, kind = decode_image(data, SIZE)
    np.testing.assert_array_equal(pixels, expected(values, 12))
    stored = {"i2": "12-of-16-bit grey", "i4": "12-of-32-bit grey"}
    assert kind == stored.get(dtype, "floating-point grey")


def test_floats_up_to_1_are_scaled_by_255():
    values = np.linspace(0, 1, 216, dtype=np.float32).reshape(*SIZE, 1)
    pixels, kind = decode_image(tiff(values, photometric=1), SIZE)
    np.testing.assert_array_equal(pixels[..., :1], np.rint(values * 255))
    assert kind == "floating-point grey"


def test_floats_a_little_beyond_1_are_white_and_the_others_not_black():
    values = np.linspace(0, 1.02, 216, dtype=np.float32).reshape(*SIZE, 1)
    pixels, _ = decode_image(tiff(values, photometric=1), SIZE)
    np.testing.assert_array_equal(pixels[..., :1], np.rint(values.clip(0, 1) * 255))


def test_where_0_is_white_the_image_is_not_a_negative():
    values = samples(1, 12)
    pixels, _ = decode_image(tiff(values, photometric=0), SIZE)
    np.testing.assert_array_equal(pixels, 255 - expected(values, 12))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (tiff(np.full((*SIZE, 1), np.nan, np.float32), photometric=1), "NaN or inf"),
        (tiff(np.full((*SIZE, 1), -1, np.int32), photometric=1), "samples below 0"),
        (tiff(np.full((*SIZE, 1), 1e12, np.float32), photometric=1), "beyond 32 bits"),
        (tiff(samples(3, 12), planes=2), "16 bits in separate planes"),
        (tiff(samples(3, 12), planes=2, packed=True), "16 bits in separate planes"),
    ],
)
def test_samples_without_a_meaning_are_bad(tmp_path, data, reason):
    path = tmp_path / "a.tif"
    path.write_bytes(data)
    found = check_image(str(path))
    assert reason in found.reason
    assert not found.reason.startswith("damaged")


@pytest.mark.parametrize("bits", [12, 16])
@pytest.mark.parametrize("channels", [1, 3])
def test_the_transparent_colour_is_compared_before_samples_lose_bits(channels, bits):
    values = samples(channels, bits)
    values[0, 1:3] = 7
    values[0, 2, 0] = 8  # the same in the upper 8 bits
    pixels, _ = decode_image(png(values, key=[7] * channels), SIZE)
    assert pixels[0, 1].tolist() == [255, 255, 255]
    assert pixels[0, 2].tolist() == [0, 0, 0]


def test_alpha_of_12_bits_is_opaque_at_its_highest():
    values = samples(4, 12)
    values[..., 3] = 4095
    pixels, _ = decode_image(png(values), SIZE)
    np.testing.assert_array_equal(pixels, expected(values, 12))


def test_pillow_agrees_where_it_reads_16_bits_too():
    values = samples(1, 12)
    stream = io.BytesIO()
    Image.fromarray(values[..., 0]).save(stream, "PNG")
    assert decode_image(stream.getvalue(), SIZE)[1] == "12-of-16-bit grey"
