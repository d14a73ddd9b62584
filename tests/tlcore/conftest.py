"""What the tests share: a feature cache of their own, and modes of Keras."""

import pytest

from tlcore.feature_cache import FOLDER_VARIABLE


@pytest.fixture(scope="session", autouse=True)
def _feature_cache_of_its_own(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(FOLDER_VARIABLE, str(tmp_path_factory.mktemp("features")))
        yield


@pytest.fixture
def deterministic_operations():
    import tensorflow as tf
    from tensorflow.python.framework import config

    tf.config.experimental.enable_op_determinism()
    yield
    config.disable_op_determinism()


@pytest.fixture
def mixed_float16():
    import keras

    keras.config.set_dtype_policy("mixed_float16")
    yield
    keras.config.set_dtype_policy("float32")
