"""Sweep: what is tried ends as by a run, one is chosen by validation, tested once."""

from dataclasses import replace

import pytest

import tlcore as tl
from tlcore import evaluation
from tlcore.choosing import sweep as sweeping
from tlcore.choosing.sweep import Grid
from tlcore.runs.runner import RunOptions, run_recipe

RECIPE = tl.RECIPES["model_0"].changed(
    backbone="sample_net", image_size=32, percent=100.0, epochs=3, batch_size=16
)
GRID = Grid([0.003, 0.03], dropouts=[0.0, 0.4], weight_decays=[0.0])


def quiet(**more):
    return RunOptions(say=lambda line: None, **more)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sweep")
    tl.write_sample_splits(folder, classes=3, per_class=12, size=32)
    return folder


@pytest.fixture(scope="module")
def found(data):
    return tl.sweep(RECIPE, data, quiet(), grid=GRID)


def test_every_combination_is_tried_and_the_best_comes_first(found):
    tried = {(x.recipe.learning_rate, x.recipe.dropout) for x in found.candidates}
    assert tried == {(0.003, 0.0), (0.03, 0.0), (0.003, 0.4), (0.03, 0.4)}
    values = [(-x.accuracy.value, x.loss.value) for x in found.candidates]
    assert values == sorted(values)
    assert found.best is found.candidates[0]
    assert found.best.worse is None
    assert {x.worse for x in found.candidates[1:]} <= {True, False}
    assert found.best.accuracy.n == found.corrected.n == found.test["accuracy"].n == 30
    assert found.corrected.value <= found.best.accuracy.value + 0.02


@pytest.mark.parametrize(
    "place", [0, *(pytest.param(i, marks=pytest.mark.matrix) for i in (1, 2, 3))]
)
def test_its_figures_are_those_of_a_run_of_its_recipe(found, data, tmp_path, place):
    one = found.candidates[place]
    run = run_recipe(one.recipe, data, quiet(out=tmp_path))
    final = run.document["final"]
    assert final["val_accuracy"]["value"] == one.accuracy.value
    assert final["val_loss"]["value"] == pytest.approx(one.loss.value, abs=1e-6)
    if place == 0:
        expected = found.test["loss"].value
        assert final["test_loss"]["value"] == pytest.approx(expected, abs=1e-6)
        assert final["test_accuracy"]["value"] == found.test["accuracy"].value


@pytest.mark.matrix
def test_fine_tuning_tries_the_best_head_with_more_layers(data, tmp_path):
    grid = Grid([0.03], dropouts=[0.0], weight_decays=[0.0], lasts=[2, 8])
    recipe = RECIPE.changed(fine_tune_epochs=2, layer_rates=0.1)
    found = tl.sweep(recipe, data, quiet(), grid=grid)
    assert {x.recipe.layer_rates for x in found.candidates} == {None, 0.1}
    tuned = [x for x in found.candidates if x.recipe.fine_tune_epochs]
    assert sorted(x.recipe.last for x in tuned) == [2, 8]
    assert len(found.candidates) == 3
    for one in tuned:
        run = run_recipe(one.recipe, data, quiet(out=tmp_path))
        final = run.document["final"]
        assert final["val_loss"]["value"] == one.loss.value


@pytest.mark.matrix
def test_views_of_augmented_images_are_swept_too(data, tmp_path):
    recipe = RECIPE.changed(augmentation="photometric")
    grid = Grid([0.01], dropouts=[0.0], weight_decays=[0.0])
    found = tl.sweep(recipe, data, quiet(views=2), grid=grid)
    run = run_recipe(found.best.recipe, data, quiet(out=tmp_path, views=2))
    loss = run.document["final"]["val_loss"]["value"]
    assert loss == pytest.approx(found.best.loss.value, abs=1e-6)


def test_test_is_looked_at_once(data, monkeypatch):
    looks = []

    def counting(model, images, *args, **options):
        looks.append(images)
        return scored(model, images, *args, **options)

    scored = evaluation.score
    monkeypatch.setattr(evaluation, "score", counting)
    tl.sweep(RECIPE.changed(epochs=1), data, quiet(), grid=GRID)
    assert [images.directory.name for images in looks] == ["test"]


@pytest.mark.matrix
def test_a_head_that_diverged_comes_last_without_figures(data):
    grid = Grid([3e38, 0.01], dropouts=[0.0], weight_decays=[0.0])
    recipe = RECIPE.changed(optimizer="sgd", epochs=2)
    found = tl.sweep(recipe, data, quiet(), grid=grid)
    good, bad = found.candidates
    assert (good.recipe.learning_rate, bad.recipe.learning_rate) == (0.01, 3e38)
    assert (bad.accuracy, bad.loss, bad.worse) == (None, None, None)
    everything = replace(grid, learning_rates=[3e38])
    with pytest.raises(ValueError, match=r"1 head, whose losses.*lower learning rates"):
        tl.sweep(recipe, data, quiet(), grid=everything)


@pytest.mark.matrix
def test_without_test_images_there_are_no_figures_on_them(tmp_path):
    tl.write_sample_splits(tmp_path, classes=3, per_class=12, size=32)
    folder = tmp_path / "test"
    folder.rename(tmp_path.parent / f"{tmp_path.name}-away")
    found = tl.sweep(RECIPE.changed(epochs=1), tmp_path, quiet(), grid=GRID)
    assert found.test is None
    assert found.as_dict()["test"] is None


@pytest.mark.parametrize(
    ("grid", "match"),
    [
        (Grid([]), r"learning_rates must be a list of numbers.*\[\]"),
        (Grid(0.1), r"learning_rates must be a list of numbers.*0\.1"),
        (Grid([0.1, 0.1]), r"learning_rates must differ.*\[0\.1, 0\.1\]"),
        (Grid([0]), r"learning_rates must be a positive number"),
        (Grid([0.1], dropouts=[1.0]), r"dropout must be at least 0 and below 1"),
        (Grid([0.1], weight_decays=[-1]), r"weight_decay must be a number of at least"),
        (Grid([0.1], lasts=[0]), r"lasts must be a whole number of at least 1"),
        (Grid([0.1], lasts=[99]), r"last must be .* at most 31, the layers of"),
    ],
)
def test_what_is_no_grid_is_refused(data, grid, match):
    with pytest.raises(ValueError, match=match):
        tl.sweep(RECIPE, data, quiet(), grid=grid)


@pytest.mark.parametrize(
    ("changes", "options", "match"),
    [
        ({"head": "dense"}, {}, r"pooled features.*head='dense' of model_0"),
        ({"augmentation": "tutorial"}, {}, r"computed once.*which is random. Add view"),
        ({"stages": (4,), "fine_tune_epochs": 1}, {}, r"`lasts`.*stages=\[4\]. Leave"),
        ({"fine_tune_epochs": 2}, {}, r"heads alone.*fine_tune_epochs=2.*--lasts 10"),
        ({}, {"cache": "off"}, r"stored features.*cache=\"off\""),
        ({}, {"early_stopping": 2}, r"the same epochs.*early_stopping=2"),
    ],
)
def test_what_cannot_be_trained_on_features_is_refused(data, changes, options, match):
    with pytest.raises(ValueError, match=match):
        tl.sweep(RECIPE.changed(**changes), data, quiet(**options), grid=GRID)


def test_data_without_validation_images_is_refused(data, tmp_path):
    (tmp_path / "train").symlink_to(data / "train")
    (tmp_path / "test").symlink_to(data / "test")
    with pytest.raises(ValueError, match=r"validation images.*--split validation=20"):
        tl.sweep(RECIPE, tmp_path, quiet(), grid=GRID)


@pytest.mark.parametrize("which", ["training_feed", "evaluation_feed"])
def test_features_that_cannot_be_stored_are_refused(data, monkeypatch, which):
    from tlcore.caching import feeds

    whole = getattr(feeds, which)

    def uncached(*args, **options):
        return replace(whole(*args, **options), cached=False, sentence="end to end")

    monkeypatch.setattr(feeds, which, uncached)
    with pytest.raises(ValueError, match=r"images that are read end to end"):
        tl.sweep(RECIPE, data, quiet(), grid=GRID)


@pytest.mark.parametrize("lasts", [(), (4,)])
def test_the_picture_shows_all_of_it(found, tmp_path, lasts):
    shown = found
    if lasts:
        tuned = replace(
            found.best, recipe=found.best.recipe.changed(fine_tune_epochs=1)
        )
        shown = replace(found, candidates=(tuned, *found.candidates))
    figure = tl.plot_sweep(shown, path=tmp_path / "sweep.png")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
    assert len(figure.axes) == 1 + len(lasts)
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [f"dropout {x}, weight decay 0" for x in ("0", "0.4")]
    assert "corrected for the choice" in figure.get_suptitle()
    with pytest.raises(ValueError, match=r"path must end in one of"):
        tl.plot_sweep(shown, path=tmp_path / "sweep.txt")


def test_defaults_are_fifty_heads_and_more():
    heads = Grid().recipes(RECIPE)
    assert len(heads) == 54
    drops = [x.dropout for x in heads]
    assert drops == sorted(drops)
    assert (
        sweeping.LEARNING_RATES[0] < RECIPE.learning_rate < sweeping.LEARNING_RATES[-1]
    )
