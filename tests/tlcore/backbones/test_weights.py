"""Weights: files that fit, and files that do not."""

import keras
import numpy as np
import pytest

from tlcore.backbones.loading import load_backbone
from tlcore.backbones.weights import load_weights


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    network = load_backbone("sample_net", weights=None, input_shape=(32, 32, 3))
    path = tmp_path_factory.mktemp("weights") / "net.weights.h5"
    network.save_weights(path)
    return path, network


class TestWeights:
    def test_a_file_is_read_at_any_image_size(self, weights_file):
        path, network = weights_file
        other = load_backbone("sample_net", weights=path, input_shape=(64, 64, 3))
        for ours, theirs in zip(other.weights, network.weights, strict=True):
            np.testing.assert_array_equal(ours, theirs)

    @pytest.mark.parametrize(
        "name", ["mobilenet_v2_035", pytest.param("vgg16", marks=pytest.mark.matrix)]
    )
    def test_weights_of_another_architecture_are_refused(self, weights_file, name):
        path, _ = weights_file
        with pytest.raises(ValueError, match=r"numbers.*Received: weights=.*110,128"):
            load_backbone(name, weights=path)

    def test_a_file_of_as_many_numbers_but_other_shapes_is_refused(self, tmp_path):
        def net(first, second):
            layers = [keras.layers.Dense(n) for n in (first, second)]
            return keras.Sequential([keras.Input((4,)), *layers])

        one, other = net(3, 9), net(1, 23)
        assert one.count_params() == other.count_params() == 51
        path = tmp_path / "net.weights.h5"
        other.save_weights(path)
        with pytest.raises(ValueError, match=r"Received: weights='.*does not fit"):
            load_weights(one, path)

    def test_a_damaged_file_is_refused(self, tmp_path, weights_file):
        path = tmp_path / "half.weights.h5"
        path.write_bytes(weights_file[0].read_bytes()[:1000])
        with pytest.raises(ValueError, match=r"whole HDF5 file.*half\.weights.*again"):
            load_backbone("sample_net", weights=path)

    def test_a_file_of_another_form_is_refused(self, tmp_path):
        path = tmp_path / "weights.ckpt"
        path.touch()
        with pytest.raises(ValueError, match=r"must end in `\.weights\.h5`.*ckpt"):
            load_backbone("sample_net", weights=path)

    def test_a_missing_file_is_refused(self):
        with pytest.raises(FileNotFoundError, match="weights='imagenett'.*no such"):
            load_backbone("sample_net", weights="imagenett")
