"""Files of older versions: they can still be read.

`written_before/` contains a model, a cache entry and a run, written with Keras 3.12 by
the last commit in which the package was one folder. The entry has the features of the
30 validation images of `write_sample_splits(classes=3, per_class=6, size=32)`.
"""

from pathlib import Path

import numpy as np

import tlcore as tl
from tlcore.caching.entry import read_features
from tlcore.runs.collection import compare_runs
from tlcore.runs.run import read_run
from tlcore.splitting.fingerprint import _relevant_config
from tlcore.splitting.split import split

FILES = Path(__file__).parent / "written_before"


def test_a_model_predicts_what_it_predicted():
    model = tl.load_model(FILES / "model.keras")
    images = (np.arange(2 * 32 * 32 * 3) % 255).reshape(2, 32, 32, 3).astype("float32")
    expected = np.load(FILES / "probabilities.npy")
    assert np.allclose(model.predict(images, verbose=0), expected, atol=1e-6)
    assert model.optimizer.iterations.numpy() == 6


def test_an_entry_of_the_cache_holds_the_features_of_its_images(tmp_path):
    (path,) = FILES.glob("*.features")
    features = read_features(path)
    assert features.key.name == path.stem

    tl.write_sample_splits(tmp_path / "data", classes=3, per_class=6, size=32)
    folder = tl.image_folder(
        tmp_path / "data" / "validation", image_size=(32, 32), shuffle=False
    )
    assert features.images == tuple(sorted(folder.digests))
    model = tl.load_model(FILES / "model.keras")
    prefix = split(model, training=False).prefix
    images = np.concatenate([batch for batch, _ in folder.dataset()])
    (expected,) = prefix([images], training=False)
    (rows,) = features.take(
        np.array([features.images.index(d) for d in folder.digests])
    )
    assert np.allclose(rows, expected, rtol=1e-4, atol=1e-4)


def test_a_layer_is_known_by_its_wing_so_that_old_entries_are_found():
    config = {"module": "tlcore.backbones.input_contract", "class_name": "Caffe"}
    known = _relevant_config(config, own=True)
    assert known == {"module": "tlcore.backbones", "class_name": "Caffe"}


def test_a_run_is_read_and_compared():
    run = read_run(FILES / "run")
    assert run.document["status"] == "done"
    (row,) = compare_runs([FILES / "run"])
    assert (row["backbone"], row["total_params"]) == ("sample_net", 110_515)
    assert set(row["final"]) >= {"val_accuracy", "test_accuracy"}
