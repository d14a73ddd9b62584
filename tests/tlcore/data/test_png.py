"""Any image survives its PNG."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from tlcore.data.png import encode_png


@settings(max_examples=30, deadline=None)
@given(
    height=st.integers(1, 200), width=st.integers(1, 200), seed=st.integers(0, 2**32)
)
def test_any_image_survives_its_png(tmp_path_factory, height, width, seed):
    image = np.random.default_rng(seed).integers(
        0, 256, (height, width, 3), dtype=np.uint8
    )
    path = tmp_path_factory.mktemp("png") / "image.png"
    path.write_bytes(encode_png(image))
    with Image.open(path) as read:
        read.verify()
    with Image.open(path) as read:
        np.testing.assert_array_equal(np.asarray(read), image)


def test_the_pixels_are_stored_so_that_no_zlib_matters():
    image = np.zeros((2, 2, 3), np.uint8)
    # 8 of signature, 25 of header, 12 + 11 around 2 rows of 7 bytes, 12 of the end.
    assert len(encode_png(image)) == 8 + 25 + 12 + 11 + 14 + 12
