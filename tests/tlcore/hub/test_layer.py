"""HubLayer: in Keras 3 it computes what TF Hub's own layer computes in Keras 2."""

import shutil
from pathlib import Path

import keras
import numpy as np
import pytest

import tlcore as tl
from tlcore.hub import handles
from tlcore.hub.layer import HubLayer

pytestmark = pytest.mark.tensorflow

SHARED = Path(__file__).parents[2].parent / "shared"
MOBILENET = SHARED / "hub/mobilenet_v2_035_224_feature_vector"
needs_mobilenet = pytest.mark.skipif(
    not MOBILENET.is_dir(), reason="the SavedModel of MobileNetV2 is not here"
)
MODELS = ["small", pytest.param("mobilenet", marks=needs_mobilenet)]
RANDOM = np.random.default_rng(5)


@pytest.fixture
def folder(request, small_saved_model):
    return {"small": small_saved_model, "mobilenet": MOBILENET}[request.param]


def images_for(layer, count=6):
    _, *shape = layer.input_forms[0].shape
    return RANDOM.random((count, *shape), np.float32)


@pytest.fixture
def small(small_saved_model):
    return HubLayer(small_saved_model)


def arrays(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def moved(layer, before):
    pairs = zip(before, arrays(layer.weights), strict=True)
    return sum(not np.array_equal(a, b) for a, b in pairs)


def headed(layer, classes=3):
    """Return a Sequential model of Keras 3 around the layer."""
    shape = layer.input_forms[0].shape[1:]
    kernel = keras.initializers.GlorotUniform(seed=3)
    head = keras.layers.Dense(classes, activation="softmax", kernel_initializer=kernel)
    return keras.Sequential([keras.Input(shape), layer, head])


class TestComparedWithKerasLayer:
    """TF Hub's own layer under tf_keras, on the same SavedModel."""

    @pytest.mark.parametrize("folder", MODELS, indirect=True)
    def test_outputs_are_equal(self, folder):
        hub = handles._tensorflow_hub()
        ours, theirs = HubLayer(folder), hub.KerasLayer(str(folder))
        images = images_for(ours)
        for trainable, training in ((False, False), (False, True), (True, False)):
            ours.trainable = theirs.trainable = trainable
            np.testing.assert_allclose(
                ours(images, training=training),
                theirs(images, training=training),
                rtol=0,
                atol=1e-6,
            )
        if folder != MOBILENET:
            return  # its Dropout draws
        np.testing.assert_allclose(
            ours(images, training=True), theirs(images, training=True), atol=1e-6
        )
        statistics = {v.name.partition(":")[0]: v.numpy() for v in theirs.variables}
        for weight in ours.weights:
            there = statistics[weight.path.removeprefix(f"{ours.name}/")]
            np.testing.assert_allclose(weight, there, rtol=0, atol=1e-6)

    @needs_mobilenet
    @pytest.mark.matrix
    @pytest.mark.parametrize("trainable", [False, True])
    def test_three_training_steps_lose_the_same(self, trainable):
        import tf_keras

        hub = handles._tensorflow_hub()
        images = RANDOM.random((8, 224, 224, 3), np.float32)
        labels = np.eye(3, dtype=np.float32)[np.arange(8) % 3]
        layer = HubLayer(MOBILENET, trainable=trainable)
        before = arrays(layer.weights)
        ours = headed(layer)
        shape = {"input_shape": (224, 224, 3)}
        theirs = tf_keras.Sequential(
            [
                hub.KerasLayer(str(MOBILENET), trainable=trainable, **shape),
                tf_keras.layers.Dense(3, activation="softmax"),
            ]
        )
        theirs.layers[-1].set_weights(ours.layers[-1].get_weights())
        losses = []
        for model, library in ((ours, keras), (theirs, tf_keras)):
            model.compile(library.optimizers.SGD(0.01), loss="categorical_crossentropy")
            steps = []
            for _ in range(3):
                model.reset_metrics()  # Keras 3.12 gives the mean of all steps
                steps.append(float(model.train_on_batch(images, labels)))
            losses.append(steps)
        assert losses[0][0] != losses[0][2]
        np.testing.assert_allclose(*losses, rtol=0, atol=1e-5)
        assert moved(layer, before) == (260 if trainable else 0)


class TestFrozen:
    def test_nothing_of_it_changes_in_fit(self, small):
        model = headed(small)
        before = arrays(small.weights)
        model.compile("sgd", loss="categorical_crossentropy")
        model.fit(images_for(small), np.eye(3)[[0, 1, 2] * 2], epochs=2, verbose=0)
        assert moved(small, before) == 0

    def test_it_is_in_inference_mode_even_if_called_for_training(self, small):
        images = images_for(small)
        outputs = small(images, training=True)
        np.testing.assert_array_equal(outputs, small(images, training=False))
        small.trainable = True
        assert np.abs(small(images, training=True) - outputs).max() > 1e-3

    def test_it_adds_no_loss(self, small):
        small(images_for(small))
        assert small.losses == []

    def test_all_of_it_is_counted_as_frozen(self, small):
        model = headed(small)
        summary = tl.trainable_summary(model)
        assert summary.non_trainable_params == small.count_params() == 1_488
        assert summary.trainable_tensors == 2
        lines = []
        model.summary(print_fn=lines.append)
        assert "1,488" in "".join(lines)


class TestTrainable:
    def test_its_trainable_variables_and_statistics_move(self, small_saved_model):
        layer = HubLayer(small_saved_model, trainable=True)
        assert len(layer.trainable_weights) == 8
        assert len(layer.non_trainable_weights) == 4
        model = headed(layer)
        before = arrays(layer.weights)
        model.compile("sgd", loss="categorical_crossentropy")
        model.fit(images_for(layer), np.eye(3)[[0, 1, 2] * 2], verbose=0)
        assert moved(layer, before) == 12

    @needs_mobilenet
    @pytest.mark.matrix
    def test_of_mobilenet_156_tensors_train(self):
        layer = HubLayer(MOBILENET, trainable=True)
        assert len(layer.trainable_weights) == 156
        assert tl.trainable_summary(layer).trainable_params == 396_128

    def test_the_flag_can_be_set_later_and_back(self, small):
        for flag, count in ((True, 8), (False, 0), (True, 8)):
            small.trainable = flag
            assert len(small.trainable_weights) == count
            assert len(headed(small).trainable_weights) == count + 2

    def test_its_regularization_losses_are_added_once_a_call(self, small):
        small.trainable = True
        for _ in range(2):
            small(images_for(small))
            squares = np.square(small.weights[0].numpy()).sum()
            (loss,) = small.losses
            assert float(loss) == pytest.approx(0.01 * squares)

    def test_they_count_once_where_a_model_calls_it_twice(self, small):
        small.trainable = True
        images = keras.Input((32, 32, 3))
        both = keras.layers.Add()([small(images), small(images)])
        model = keras.Model(images, both)
        model(images_for(small))
        assert len(model.losses) == 1

    def test_the_losses_are_those_of_tf_hub(self, small_saved_model):
        hub = handles._tensorflow_hub()
        import tf_keras

        theirs = tf_keras.Sequential(
            [hub.KerasLayer(str(small_saved_model), trainable=True)]
        )
        ours = keras.Sequential([HubLayer(small_saved_model, trainable=True)])
        images = RANDOM.random((4, 32, 32, 3), np.float32)
        losses = []
        for model in (ours, theirs):
            model.compile("sgd", loss="mse")
            losses.append(model.test_on_batch(images, np.zeros((4, 16))))
        np.testing.assert_allclose(*losses, atol=1e-6)

    def test_what_lists_nothing_that_trains_is_not_made_trainable(
        self, text_saved_model
    ):
        with pytest.raises(ValueError, match="must list trainable variables.*Leave tr"):
            HubLayer(text_saved_model, trainable=True)

    def test_a_signature_cannot_be_trained(self, small_saved_model):
        with pytest.raises(ValueError, match="only does inference.*Leave one of them"):
            HubLayer(small_saved_model, trainable=True, signature="serving_default")
        layer = HubLayer(small_saved_model, signature="serving_default")
        layer.trainable = True  # as `model.trainable = True` sets it
        assert HubLayer.from_config(layer.get_config()).trainable_weights == []
        assert not layer.can_train
        assert layer.trainable_weights == []
        assert layer.count_params() == 1_488


class TestRoundTrips:
    @pytest.mark.parametrize("style", ["functional", "sequential"])
    def test_a_model_around_it_is_saved_and_loaded(self, small, style, tmp_path):
        model = headed(small)
        if style == "functional":
            inputs = keras.Input((32, 32, 3))
            model = keras.Model(inputs, keras.layers.Dense(2)(small(inputs)))
        small.trainable = True
        model.compile("sgd", loss="mse")
        images = images_for(small)
        model.fit(images, np.zeros((6, model.output_shape[-1])), verbose=0)
        model.save(tmp_path / "model.keras")
        again = tl.load_model(tmp_path / "model.keras", trust=True)
        np.testing.assert_array_equal(again(images), model(images))
        assert len(again.trainable_weights) == 10

    def test_weights_alone_are_saved_and_loaded(
        self, small, small_saved_model, tmp_path
    ):
        model, other = headed(small), headed(HubLayer(small_saved_model))
        small.weights[0].assign(small.weights[0] + 1)
        images = images_for(small)
        assert np.abs(model(images) - other(images)).max() > 0
        model.save_weights(tmp_path / "m.weights.h5")
        other.load_weights(tmp_path / "m.weights.h5")
        np.testing.assert_array_equal(model(images), other(images))

    def test_its_configuration_is_enough_to_make_it_again(self, small_saved_model):
        layer = HubLayer(
            small_saved_model, signature="serving_default", output_key="doubled"
        )
        again = HubLayer.from_config(layer.get_config())
        assert again.get_config() == layer.get_config()
        images = images_for(layer)
        np.testing.assert_array_equal(again(images), layer(images))

    def test_it_is_found_from_another_folder(self, small, tmp_path, monkeypatch):
        model = headed(small)
        model.save(tmp_path / "model.keras")
        monkeypatch.chdir(tmp_path)
        tl.load_model("model.keras", trust=small.handle)

    def test_a_model_whose_saved_model_is_gone_says_where_it_was(
        self, small_saved_model, tmp_path
    ):
        folder = shutil.copytree(small_saved_model, tmp_path / "m")
        headed(HubLayer(folder)).save(tmp_path / "model.keras")
        shutil.rmtree(folder)
        with pytest.raises(FileNotFoundError, match=f"Received: handle='{folder}'"):
            tl.load_model(tmp_path / "model.keras")

    @pytest.mark.matrix
    def test_a_model_around_it_is_exported(self, small, tmp_path):
        import tensorflow as tf

        model, images = headed(small), images_for(small)
        model.export(tmp_path / "served", verbose=False)
        served = tf.saved_model.load(str(tmp_path / "served"))
        np.testing.assert_allclose(served.serve(images), model(images), atol=1e-6)

    def test_another_saved_model_at_the_handle_is_refused(
        self, small_saved_model, tmp_path
    ):
        folder = shutil.copytree(small_saved_model, tmp_path / "m")
        config = HubLayer(folder).get_config()
        (folder / "assets").mkdir(exist_ok=True)
        (folder / "assets/words.txt").write_text("other")
        with pytest.raises(ValueError, match="the one that the layer was saved with"):
            HubLayer.from_config(config)


class TestOutputs:
    def test_a_signature_gives_its_outputs_by_name_or_one(self, small_saved_model):
        plain = HubLayer(small_saved_model)
        both = HubLayer(small_saved_model, signature="serving_default")
        one = HubLayer(
            small_saved_model, signature="serving_default", output_key="doubled"
        )
        images = images_for(plain)
        assert set(both(images)) == {"features", "doubled"}
        np.testing.assert_allclose(one(images), 2 * plain(images), rtol=1e-6)
        symbolic = both(keras.Input((32, 32, 3)))
        assert symbolic["doubled"].shape == (None, 16)

    def test_an_unknown_output_is_refused(self, small_saved_model):
        with pytest.raises(ValueError, match="output_key must be one of: none"):
            HubLayer(small_saved_model, output_key="doubled")

    @pytest.mark.matrix
    def test_what_comes_out_has_the_type_of_the_policy(
        self, small_saved_model, mixed_float16
    ):
        layer = HubLayer(small_saved_model)
        assert layer(images_for(layer)).dtype == "float16"
        assert {v.dtype for v in layer.weights} == {"float32"}
        with_head = headed(layer)
        layer.trainable = True
        with_head.compile("sgd", loss="categorical_crossentropy")
        with_head.fit(images_for(layer), np.eye(3)[[0, 1, 2] * 2], verbose=0)

    def test_the_shape_is_known_without_data(self, small):
        assert small.compute_output_shape((None, 32, 32, 3)) == (None, 16)
        assert small(keras.Input((32, 32, 3))).shape == (None, 16)


class TestInputs:
    def test_images_of_another_size_are_refused(self, small):
        for images in (np.zeros((1, 96, 96, 3)), keras.Input((96, 96, 3))):
            with pytest.raises(
                ValueError, match=r"\(n, 32, 32, 3\). Received: float.*96"
            ):
                small(images)

    def test_text_goes_into_a_text_model_and_nothing_else(self, text_saved_model):
        import tensorflow as tf

        layer = HubLayer(text_saved_model)
        assert layer(["a", "four"]).numpy().tolist() == [[1.0], [4.0]]
        words = keras.Input((), dtype="string")
        head = keras.layers.Dense(1, kernel_initializer="ones")
        model = keras.Model(words, head(layer(words)))
        model.compile("sgd", loss="mse")
        data = tf.data.Dataset.from_tensors((["a", "four"], [[1.0], [4.0]]))
        assert model.evaluate(data, verbose=0) == 0
        with pytest.raises(ValueError, match=r"takes: string of shape \(n\)"):
            layer(np.zeros(3))
        with pytest.raises(ValueError, match="must take images"):
            tl.create_model(text_saved_model, 3)

    def test_a_model_around_it_is_not_compiled_with_xla(self, small):
        model = headed(small)
        model.compile("sgd", "mse", jit_compile="auto")
        assert not model.jit_compile
        assert not small.supports_jit


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Generated images of 32 pixels, those trained on and those held out."""
    directory = tmp_path_factory.mktemp("images")
    tl.write_sample_images(directory, classes=3, per_class=12, size=32)
    images = tl.image_folder(directory, image_size=(32, 32), batch_size=8)
    return images.split_off(30)


class TestInCreateModel:
    def test_it_is_frozen_sees_unit_range_and_gets_a_head(self, small_saved_model):
        model = tl.create_model(small_saved_model, 3, augmentation="tutorial")
        names = [type(layer).__name__ for layer in model.layers[1:]]
        assert names == ["Augmentation", "Rescaling", "Backbone", "Dense"]
        summary = tl.trainable_summary(model)
        assert (summary.non_trainable_params, summary.trainable_tensors) == (1_488, 2)
        plain = tl.create_model(str(small_saved_model), 3, style="sequential")
        layer = plain.layers[-2].network
        pixels = np.full((2, 32, 32, 3), 51.0, np.float32)
        np.testing.assert_allclose(
            plain.layers[-2](plain.layers[0](pixels)), layer(pixels / 255), atol=1e-6
        )

    def test_an_address_is_asked_for_once_and_then_the_server_can_go(
        self, small_saved_model, tmp_path, server, monkeypatch
    ):
        monkeypatch.setenv(handles.CACHE_VARIABLE, str(tmp_path / "cache"))
        packed = shutil.make_archive(tmp_path / "m", "gztar", small_saved_model)
        url = server.serve("/small/1", Path(packed).read_bytes())
        first = tl.create_model(f"{url}?tf-hub-format=compressed", 3)
        server.stop()
        again = tl.create_model(f"{url}?tf-hub-format=compressed", 3)
        assert tl.frozen_fingerprint(again) == tl.frozen_fingerprint(first)
        assert len(server.asked) == 1

    @pytest.mark.parametrize("last", [1, 10])
    def test_any_last_unfreezes_all_of_it_and_freeze_brings_it_back(
        self, small_saved_model, last
    ):
        model = tl.create_model(small_saved_model, 3)
        plan = tl.unfreeze(model, last=last)
        assert (plan.layers, plan.last, plan.unfrozen[0].tensors) == (1, 1, 8)
        assert plan.counts.trainable_tensors == 10
        assert tl.freeze(model).counts.trainable_tensors == 2

    @pytest.mark.matrix
    def test_fine_tuning_moves_its_weights_and_not_its_statistics(
        self, small_saved_model, folders
    ):
        model = tl.create_model(small_saved_model, 3)
        train, held_out = folders
        first = tl.feature_extract(model, train, held_out, epochs=1, verbose=0)
        layer = model.layers[-2].network
        before = {w.path: np.array(w) for w in layer.weights}
        fine = tl.fine_tune(model, train, held_out, history=first, epochs=1, verbose=0)
        assert fine.epoch == [1]
        changed = {
            w.path for w in layer.weights if not np.array_equal(w, before[w.path])
        }
        assert changed == {w.path for w in layer.trainable_weights}
        assert len(changed) == 8

    @pytest.mark.matrix
    @pytest.mark.usefixtures("deterministic_operations")
    @pytest.mark.parametrize(
        "options",
        [
            pytest.param({}, marks=pytest.mark.matrix),
            {"dropout": 0.3, "head": "dense"},
        ],
    )
    def test_the_cached_vector_trains_to_the_same_bits(
        self, small_saved_model, folders, tmp_path, options
    ):
        train, held_out = folders
        results = []
        for cache in ("off", tmp_path):
            keras.utils.set_random_seed(3)
            model, lines = tl.create_model(small_saved_model, 3, **options), []
            history = tl.feature_extract(
                model,
                train,
                held_out,
                epochs=2,
                cache=cache,
                say=lines.append,
                verbose=0,
            )
            results.append((arrays(model.variables), history.history, lines[0]))
        assert results[1][2].count("cached at ") == 2
        for ours, theirs in zip(results[0][0], results[1][0], strict=True):
            np.testing.assert_array_equal(ours, theirs)
        assert results[0][1] == results[1][1]

    def test_another_graph_with_the_same_weights_has_another_fingerprint(
        self, small_saved_model, tmp_path
    ):
        from tlcore.splitting.split import split

        moved = shutil.copytree(small_saved_model, tmp_path / "moved")
        other = shutil.copytree(small_saved_model, tmp_path / "other")
        (other / "assets").mkdir(exist_ok=True)
        (other / "assets/words.txt").write_text("other")
        prints = [
            split(tl.create_model(folder, 3)).fingerprint
            for folder in (small_saved_model, moved, other)
        ]
        assert prints[0] == prints[1] != prints[2]

    def test_a_layer_with_a_signature_is_a_backbone_too(self, small_saved_model):
        layer = HubLayer(small_saved_model, signature="serving_default")
        with pytest.raises(
            ValueError, match="one output.*Received: .*features.*output_key="
        ):
            tl.create_model(layer, 3)
        layer = HubLayer(
            small_saved_model, signature="serving_default", output_key="features"
        )
        model = tl.create_model(layer, 3)
        assert tl.trainable_summary(model).non_trainable_params == 1_488
        with pytest.raises(ValueError, match="must list trainable variables"):
            tl.unfreeze(model)

    def test_what_cannot_be_done_with_one_is_refused(self, small_saved_model):
        with pytest.raises(ValueError, match=r"Received: input_shape=\(64, 64, 3\)"):
            tl.create_model(small_saved_model, 3, input_shape=(64, 64, 3))
        model = tl.create_model(small_saved_model, 3)
        with pytest.raises(
            ValueError, match="Received: batch_norm=False.*Leave batch_norm"
        ):
            tl.unfreeze(model, batch_norm=False)
        with pytest.raises(FileNotFoundError, match="no such folder or file"):
            tl.create_model("no/such", 3)

    def test_several_outputs_without_names_are_refused(self, tmp_path):
        import tensorflow as tf

        class Two(tf.train.Checkpoint):
            @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3])])
            def __call__(self, inputs):
                return [inputs, inputs]

        tf.saved_model.save(Two(), str(tmp_path))
        with pytest.raises(
            ValueError, match="must have one output.*Received: backbone"
        ):
            tl.create_model(tmp_path, 3)

    def test_features_of_another_form_are_refused(self, tmp_path):
        import tensorflow as tf

        class Sums(tf.train.Checkpoint):
            @tf.function(input_signature=[tf.TensorSpec([None, 4, 4, 3])])
            def __call__(self, inputs):
                return tf.reduce_sum(inputs, [1, 2, 3])

        tf.saved_model.save(Sums(), str(tmp_path))
        with pytest.raises(ValueError, match=r"must return \(n, features\).*\(None,\)"):
            tl.create_model(tmp_path, 3)

    @needs_mobilenet
    @pytest.mark.matrix
    @pytest.mark.skipif(
        not (SHARED / "data/pizza_steak_sushi").is_dir(),
        reason="the photographs are not here",
    )
    def test_mobilenet_learns_pizza_steak_and_sushi(self):
        data = SHARED / "data/pizza_steak_sushi"
        keras.utils.set_random_seed(42)
        train = tl.image_folder(data / "train")
        test = tl.image_folder(data / "test", shuffle=False)
        model = tl.create_model(str(MOBILENET), 3)
        tl.feature_extract(model, train, test, epochs=5, verbose=0)
        assert tl.evaluate(model, test)["accuracy"].value >= 0.92
        tl.unfreeze(model)
        assert tl.trainable_summary(model.layers[-2]).trainable_params == 396_128


def test_a_variable_of_text_is_not_a_weight(tmp_path):
    import tensorflow as tf

    class Named(tf.train.Checkpoint):
        @tf.function(input_signature=[tf.TensorSpec([None, 2])])
        def __call__(self, inputs):
            return inputs * self.scale

    module = Named()
    module.scale, module.title = tf.Variable(2.0), tf.Variable("text")
    module.variables = [module.scale, module.title]
    tf.saved_model.save(module, str(tmp_path / "m"))
    layer = HubLayer(tmp_path / "m")
    assert layer.count_params() == 1
    keras.Sequential([keras.Input((2,)), layer]).save(tmp_path / "m.keras")


def test_its_variables_are_the_saved_models_own_and_are_named_as_there(small):
    assert [w.path for w in small.weights][:2] == [
        f"{small.name}/conv_8/kernel",
        f"{small.name}/conv_8/bias",
    ]
    own = {id(variable) for variable in small._saved_model.variables}
    assert {id(weight.value) for weight in small.weights} == own


COUNTS = [
    pytest.param(
        *("efficientnet_b0", "normalization", 4_049_564, 4_062_374),
        marks=pytest.mark.matrix,
    ),
    pytest.param(
        "efficientnet_b4",
        "normalization",
        17_673_816,
        17_691_746,
        marks=pytest.mark.slow,
    ),
    pytest.param("resnet50_v2", None, 23_564_800, 23_585_290, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("name", "leave_out", "frozen", "total"), COUNTS)
def test_the_vectors_of_the_tutorials_have_their_counts(
    name, leave_out, frozen, total, tmp_path
):
    import tensorflow as tf

    network = tl.load_backbone(name, weights=None)
    start = network.layers[0]
    if leave_out is not None:
        # TF Hub's EfficientNets take [0, 1] and hold no Normalization.
        (start,) = (x for x in network.layers if x.name.startswith(leave_out))
    pooled = keras.layers.GlobalAveragePooling2D()(network.output)
    vector = keras.Model(start.output, pooled)

    # One trace only, where `export` needs three: tracing is what takes long.
    class Vector(tf.train.Checkpoint):
        @tf.function(input_signature=[tf.TensorSpec(vector.inputs[0].shape)])
        def __call__(self, inputs):
            return vector(inputs, training=False)

    module = Vector()
    module.variables = [v.value for v in vector.weights]
    tf.saved_model.save(module, str(tmp_path / name))
    model = tl.create_model(tmp_path / name, 10, style="sequential")
    summary = tl.trainable_summary(model)
    assert summary.non_trainable_params == frozen
    assert summary.total_params == total
    lines = []
    model.summary(print_fn=lines.append)
    assert f"{frozen:,}" in "".join(lines)
