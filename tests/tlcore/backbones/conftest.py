"""What the tests of backbones share: images as users pass them."""

import numpy as np
import pytest


@pytest.fixture(scope="session")
def images():
    """Return four images in [0, 255] RGB."""
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3))
    return images.astype("float32")
