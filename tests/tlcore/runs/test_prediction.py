"""Prediction: labels with probabilities, from a model that is scripted."""

import shutil
from datetime import datetime

import keras
import numpy as np
import pytest
from PIL import Image

from tlcore.cli.main import main
from tlcore.data.reading import Reading
from tlcore.hub import handles, trust
from tlcore.hub.layer import HubLayer
from tlcore.predictions import predicting
from tlcore.runs import prediction
from tlcore.runs.prediction import Predictor, load_run_predictor
from tlcore.runs.run import Run, start_run


def classifier(*probabilities, size=8):
    """Return a model with these outputs for every image."""
    inputs = keras.Input((size, size, 3))
    zeros = keras.ops.zeros((3, len(probabilities)))
    pooled = keras.layers.GlobalAveragePooling2D()(inputs)
    outputs = keras.ops.matmul(pooled, zeros) + np.float32(probabilities)
    return keras.Model(inputs, outputs)


@pytest.fixture
def images(tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(3)]
    for path in paths:
        Image.new("RGB", (9, 7)).save(path)
    return paths


def test_the_most_probable_labels_come_first(images, monkeypatch):
    monkeypatch.setattr(predicting, "BATCH_IMAGES", 2)
    predictor = Predictor(classifier(0.25, 0.625, 0.125), ("a", "b", "c"))
    assert predictor.predict(images, top=2) == {
        str(path): [
            {"label": "b", "probability": 0.625},
            {"label": "a", "probability": 0.25},
        ]
        for path in images
    }


def test_a_single_sigmoid_stands_for_two_classes(images):
    predictor = Predictor(classifier(0.75), ("a", "b"))
    guesses = predictor.predict(images[:1])[str(images[0])]
    assert guesses == [
        {"label": "b", "probability": 0.75},
        {"label": "a", "probability": 0.25},
    ]


def test_a_top_below_one_is_refused(images):
    with pytest.raises(ValueError, match=r"top must .* at least 1.*Received: top=0"):
        Predictor(classifier(1.0), ("a", "b")).predict(images, top=0)


def test_all_images_that_cannot_be_read_are_named(images, tmp_path):
    for name in ("x.png", "y.png"):
        (tmp_path / name).write_text("no image")
    bad = [tmp_path / "x.png", images[0], tmp_path / "y.png"]
    with pytest.raises(ValueError, match=r"Received: .*x\.png \(.*y\.png \("):
        Predictor(classifier(1.0), ("a", "b")).predict(bad)


def test_labels_must_be_as_many_as_the_outputs(tmp_path):
    file = tmp_path / "labels.txt"
    file.write_text("a\nb\n\n")
    with pytest.raises(ValueError, match=r"label per class, 3.*Received: 2 labels"):
        prediction._labelled(classifier(0.5, 0.25, 0.25), ("x", "y", "z"), file)
    two = prediction._labelled(classifier(0.5), ("x", "y"), file)
    assert two.labels == ("a", "b")


def test_a_run_that_is_not_done_is_refused(start, tmp_path):
    run = start(tmp_path)
    message = r"must be done to predict.*Received: run=.*'running'.*again"
    with pytest.raises(ValueError, match=message):
        load_run_predictor(run.path)


def test_a_run_predicts_with_the_reading_that_it_trained_with(
    start, tmp_path, monkeypatch
):
    chosen = Reading.of(fit="pad", background="black", orientation="ignore")
    data = {"classes": ["a", "b"], "reading": chosen.as_dict()}
    run = start(tmp_path, data=data)
    (run.path / "model.keras").touch()
    monkeypatch.setattr(prediction, "load_model", lambda _: classifier(0.5, 0.5))
    with pytest.raises(
        ValueError, match=r"must be done.*status 'running'\. Go on with"
    ):
        load_run_predictor(run.path)  # its model may be that of fewer epochs
    run.finish("done")
    predictor = load_run_predictor(run.path)
    assert predictor.reading == chosen
    run.update(data={"classes": ["a", "b"]})  # as runs were written before
    assert load_run_predictor(run.path).reading == Reading()
    run.update(data={"classes": ["a", "b"], "reading": {"fit": "stretch"}})
    with pytest.raises(ValueError, match="run.json must be whole"):
        load_run_predictor(run.path)


def test_images_are_predicted_upright_and_in_their_proportions(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    upright = Image.new("RGB", (16, 8), "red")
    upright.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "a.png", exif=exif)
    seen = []

    def predict_on_batch(batch):
        seen.append(batch)
        return np.array([[0.5, 0.5]])

    model = classifier(0.5, 0.5, size=16)
    model.predict_on_batch = predict_on_batch
    reading = Reading.of(fit="pad", background="blue")
    Predictor(model, ("x", "y"), reading).predict([tmp_path / "a.png"], top=1)
    assert seen[0][0, 0, 8].tolist() == [0, 0, 255]
    assert seen[0][0, 8, 0].tolist() == [255, 0, 0]


class TestTrust:
    """A run of this machine opens what it was trained on, and nothing else."""

    @pytest.fixture
    def run(self, small_saved_model, tmp_path, monkeypatch):
        """Return a finished run whose model names a copy of a SavedModel."""
        folder = shutil.copytree(small_saved_model, tmp_path / "vector")
        run = start_run(
            tmp_path / "runs",
            "hub",
            {
                "recipe": {"name": "hub", "backbone": str(folder)},
                "data": {"classes": ["a", "b"]},
            },
            now=datetime(2026, 1, 2),
        )
        network = keras.Sequential(
            [keras.Input((32, 32, 3)), HubLayer(folder), keras.layers.Dense(2)]
        )
        network.save(run.path / "model.keras")
        run.finish("done")
        monkeypatch.setattr(trust, "_OPENED", {})
        return run

    def test_a_run_of_this_machine_needs_no_more_consent(self, run):
        assert load_run_predictor(run.path).labels == ("a", "b")

    def test_one_of_another_machine_does(self, run):
        run.update(process={"pid": 1, "host": "elsewhere"})
        with pytest.raises(ValueError, match=r"unless you trust it.*tlcore predict"):
            load_run_predictor(run.path)
        assert load_run_predictor(run.path, trust=True).labels == ("a", "b")
        folder = run.document["recipe"]["backbone"]
        assert load_run_predictor(run.path, trust=folder).labels == ("a", "b")

    def test_a_model_that_names_another_saved_model_does(self, run, tmp_path):
        run.update(recipe={"name": "hub", "backbone": str(tmp_path)})
        with pytest.raises(ValueError, match="unless you trust it"):
            load_run_predictor(run.path)

    def test_nothing_is_downloaded_silently(self, run, monkeypatch, tmp_path):
        url = "https://host/model.tar.gz"
        monkeypatch.setenv(handles.CACHE_VARIABLE, str(tmp_path / "cache"))
        consent = prediction._consent_of_run(
            Run(run.path, {**run.document, "recipe": {"backbone": url}})
        )
        assert consent.covers(url)
        assert (consent.download, consent.operations) == (False, False)

    def test_the_command_takes_consent(self, run, images, capsys):
        run.update(process={"pid": 1, "host": "elsewhere"})
        words = ["predict", str(images[0]), "--run", str(run.path)]
        codes = []
        for more in ([], ["--trust"]):
            with pytest.raises(SystemExit) as ended:
                main([*words, *more])
            codes.append(ended.value.code)
        assert codes == [2, 0]
        assert "unless you trust it" in capsys.readouterr().err
