"""Model files: what load_model says of a file that Keras does not load, and keeps."""

import io
import json
import zipfile

import h5py
import keras
import numpy as np
import pytest

from tlcore.hub import model_files
from tlcore.models import load_model

X, Y = np.ones((8, 4), "float32"), np.ones((8, 2), "float32")


class Gain(keras.layers.Layer):
    """A layer that nobody registered."""

    def call(self, inputs):
        return 2 * inputs


@keras.saving.register_keras_serializable(package="shop")
class Registered(Gain):
    """A layer that was registered where the model was saved."""


def doubled(inputs):
    return 2 * inputs


def own_loss(y, p):
    return keras.ops.mean(keras.ops.square(y - p))


def saved(path, *layers, loss="mse"):
    model = keras.Sequential([keras.Input((4,)), *layers, keras.layers.Dense(2)])
    model.compile("adam", loss)
    model.train_on_batch(X, Y)  # so that the optimizer has its variables
    model.save(path)
    return model


def with_parts(path, **changes):
    """Replace or drop (None) members of a `.keras` file; "_" stands for "."."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    for name, data in changes.items():
        parts[name.replace("_", ".")] = data
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in parts.items():
            archive.writestr(name, data)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.keras"


@pytest.fixture
def unregistered():
    """Forget `Registered`, as in a process that never imported it."""
    registry = keras.saving.get_custom_objects()
    kept = registry.pop("shop>Registered")
    yield
    registry["shop>Registered"] = kept


class TestUnknown:
    def test_a_layer_that_is_not_registered_is_named_with_the_line_to_write(self, path):
        saved(path, Gain())
        sentence = (
            r"must be known to load it\. Received: path='.*model\.keras', with Gain "
            rf"\(of '{Gain.__module__}'\)\. Import .*"
            r"tl\.load_model\('.*', custom_objects=\{'Gain': Gain\}\)\.$"
        )
        with pytest.raises(ValueError, match=sentence):
            load_model(path)
        again = load_model(path, custom_objects={"Gain": Gain})
        assert again.count_params() == 10

    def test_all_of_them_are_named_losses_and_functions_too(self, path):
        saved(path, Gain(), keras.layers.Lambda(doubled), loss=own_loss)
        sentence = r"custom_objects=\{'Gain': Gain, 'doubled': doubled, 'own_loss': "
        with pytest.raises(ValueError, match=sentence):
            load_model(path)
        mine = {"Gain": Gain, "doubled": doubled, "own_loss": own_loss}
        assert load_model(path, custom_objects=mine).loss is own_loss

    @pytest.mark.usefixtures("unregistered")
    def test_a_registered_one_is_found_by_its_plain_name_as_well(self, path):
        registry = keras.saving.get_custom_objects()
        registry["shop>Registered"] = Registered
        saved(path, Registered())
        del registry["shop>Registered"]
        with pytest.raises(ValueError, match=r"custom_objects=\{'Registered': Reg"):
            load_model(path)
        assert load_model(path, custom_objects={"Registered": Registered})

    def test_what_is_known_is_not_named(self, path):
        saved(path, Registered(), keras.layers.Dropout(0.1))
        config = model_files.read_config(path)
        assert model_files.unknown_names(config, {}) == ()


class TestCode:
    def test_a_lambda_is_refused_with_what_safe_mode_guards(self, path):
        saved(path, keras.layers.Lambda(lambda x: x * 3, name="tripled"))
        sentence = (
            r"must not bring Python code along: Keras's safe_mode refuses to run what "
            r"the writer of a file put into it\. Received: path='.*', with code in "
            r"'tripled'\. .*write keras\.saving\.load_model\('.*', safe_mode=False\)"
        )
        with pytest.raises(ValueError, match=sentence):
            load_model(path)
        assert keras.saving.load_model(path, safe_mode=False)

    def test_a_saved_model_of_keras_is_refused_too(self, path, small_saved_model):
        layer = keras.layers.TFSMLayer(
            str(small_saved_model), call_endpoint="serving_default"
        )
        keras.Sequential([keras.Input((32, 32, 3)), layer]).save(path)
        with pytest.raises(ValueError, match=r"TFSMLayer.*Received: path=.*HubLayer"):
            load_model(path)


class TestDamage:
    def test_damaged_hdf5_in_a_whole_archive_is_refused(self, path):
        saved(path)
        with zipfile.ZipFile(path) as archive:
            whole = archive.read("model.weights.h5")
        for data in (b"", whole[:100], whole[: len(whole) // 2], b"\0" * len(whole)):
            with_parts(path, model_weights_h5=data)
            with pytest.raises(
                ValueError, match=r"a whole \.keras file.*Received: path=.*Save"
            ):
                load_model(path)

    @pytest.mark.parametrize(
        "config",
        [
            b"",
            b"{}",
            *(
                pytest.param(config, marks=pytest.mark.matrix)
                for config in (b"\xff", b"[]", b"3", b"null", b"[" * 100_000)
            ),
            b'{"class_name": "Sequential", "config": 3}',
            b'{"class_name": "Dense", "module": "keras.layers", "config": {}}',
            b'{"class_name": "get_file", "module": "keras.utils", "config": {}}',
            b'{"class_name": "HubLayer", "registered_name": "tlcore>HubLayer",'
            b' "module": "x", "config": {"handle": 5}}',
        ],
    )
    def test_a_configuration_of_something_else_is_refused(self, path, config):
        saved(path)
        with_parts(path, config_json=config)
        with pytest.raises(ValueError, match="Received: "):
            load_model(path)

    def test_a_weight_that_is_no_dataset_is_refused(self, path):
        saved(path)
        file = io.BytesIO()
        with h5py.File(file, "w") as weights:
            weights.create_group("layers/dense/vars/0")
        with_parts(path, model_weights_h5=file.getvalue())
        with pytest.raises(ValueError, match=r"a whole \.keras file.*Received: path="):
            load_model(path)


class TestPrecision:
    def trained(self, path):
        model = keras.Sequential(
            [
                keras.Input((4,)),
                keras.layers.Dense(8),
                keras.layers.Dense(2, dtype="float32"),
            ]
        )
        model.compile("adam", "mse")
        model.fit(X, Y, epochs=3, verbose=0)
        model.save(path)
        return model

    def assert_same_state(self, model, again):
        assert type(again.optimizer) is type(model.optimizer)
        state = [keras.ops.convert_to_numpy(v) for v in model.optimizer.variables]
        kept = [keras.ops.convert_to_numpy(v) for v in again.optimizer.variables]
        assert len(state) == len(kept) > 4
        for one, other in zip(state, kept, strict=True):
            np.testing.assert_array_equal(one, other)

    def test_the_optimizer_of_a_mixed_model_keeps_its_state_under_float32(self, path):
        keras.config.set_dtype_policy("mixed_float16")
        try:
            model = self.trained(path)
        finally:
            keras.config.set_dtype_policy("float32")
        again = load_model(path)
        self.assert_same_state(model, again)
        assert keras.config.dtype_policy().name == "float32"
        assert [x.compute_dtype for x in again.layers] == ["float16", "float32"]

    def test_that_of_a_float32_model_keeps_it_under_mixed_precision(
        self, path, mixed_float16
    ):
        keras.config.set_dtype_policy("float32")
        model = self.trained(path)
        keras.config.set_dtype_policy("mixed_float16")
        again = load_model(path)
        self.assert_same_state(model, again)
        assert keras.config.dtype_policy().name == "mixed_float16"

    def test_without_an_optimizer_the_policy_does_not_matter(self, path, mixed_float16):
        keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]).save(path)
        assert load_model(path).count_params() == 10

    def test_what_cannot_be_looked_into_changes_nothing(self, path):
        path.write_bytes(b"PK")
        assert model_files.read_config(path) is None
        with model_files.precision_of(path, {"compile_config": {"optimizer": "adam"}}):
            assert keras.config.dtype_policy().name == "float32"


def test_a_huge_configuration_is_not_read(path, monkeypatch):
    saved(path)
    monkeypatch.setattr(model_files, "_MOST_CONFIG_BYTES", 10)
    assert model_files.read_config(path) is None
    assert json.dumps(model_files.read_config(path)) == "null"
