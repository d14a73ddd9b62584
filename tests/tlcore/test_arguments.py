"""Names: hints for misspelt ones."""

import pytest

from tlcore.arguments import did_you_mean


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("vgg61", " Did you mean 'vgg16'?"),
        ("VGG16", " Did you mean 'vgg16'?"),
        (16, ""),
        ("qqqq", ""),
    ],
)
def test_the_nearest_valid_name_is_offered(name, hint):
    assert did_you_mean(name, ("vgg16", "xception")) == hint
