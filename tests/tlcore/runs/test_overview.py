"""Overview: all of a run for its owner, nothing of the machine for anyone else."""

import json
from datetime import datetime

import pytest

from tlcore.runs.overview import hyperparameters, overview
from tlcore.runs.recipes import RECIPES
from tlcore.runs.run import start_run

COUNTS = {"total_params": 9, "trainable_params": 2}
RECIPE = {
    **RECIPES["model_3"].as_dict(),
    "backbone": "/home/someone/secret/vector",
    "weights": "/home/someone/secret/w.weights.h5",
    "steps_per_epoch": 7,
}
DOCUMENT = {
    "recipe": RECIPE,
    "seed": 3,
    "deterministic": False,
    "early_stopping": None,
    "selected_epoch": 0,
    "data": {
        "folder": "/home/someone/secret/photos",
        "classes": ["cat", "dog"],
        "validated_on": "test",
        "selected_on": None,
        "trained_on": 20,
        "shared_with_train": {"test": 2},
        "shared": {"train and test": 2, "validation and test": 4},
        "split": {
            "rule": "80/10/10",
            "seed": 3,
            "counts": {"train": 20, "test": 3},
            "file": "split.csv",
        },
        "splits": {
            "train": {
                "images": 20,
                "fingerprint": "f00",
                "converted": {"grey": 1, "CMYK": 2},
                "skipped": [["/home/someone/secret/a.jpg", "bad"]],
            }
        },
    },
    "weights": {"source": RECIPE["weights"], "fingerprint": "abc"},
    "phases": [
        {
            "name": "feature_extraction",
            "learning_rate": 0.01,
            "first_epoch": 0,
            "caching": "end to end, /home/someone/secret is full",
            "counts": COUNTS,
        }
    ],
    "versions": {"python": "3.11"},
    "machine": {"system": "Linux-6.1-secret", "devices": ["cpu:0"], "cores": 2},
    "ceiling": {"value": 0.5, "low": 0.4, "high": 0.6, "n": 4},
    "error": "OSError: /home/someone/secret",
}


@pytest.fixture
def run(tmp_path):
    run = start_run(tmp_path, "model_3", DOCUMENT, now=datetime(2026, 1, 2))
    run.write_history({"epoch": [0, 1], "loss": [2.0, None]})
    run.finish("failed", final={"val_loss": {"value": 1, "low": 0, "high": 2, "n": 4}})
    return run


def tables(run, *, public=False):
    return {s.title: s.rows for s in overview(run, public=public)}


def named(rows):
    return {row["name"]: row["value"] for row in rows}


def test_it_shows_everything(run):
    shown = tables(run)
    assert list(shown) == [
        *("Run", "Recipe", "Data", "Images", "Phases", "Final figures", "Epochs"),
        *("Versions", "Machine"),
    ]
    about = named(shown["Run"])
    assert about["status"] == "failed"
    assert about["selected epoch"] == 1
    assert about["error"] == DOCUMENT["error"]
    assert about["folder"] == str(run.path)
    data = named(shown["Data"])
    assert data["also in train"] == "2 of test"
    assert data["also in validation"] == "4 of test"
    assert data["divided by"] == "80/10/10, seed 3: train 20, test 3"
    assert named(shown["Data"])["folder"] == DOCUMENT["data"]["folder"]
    (images,) = shown["Images"]
    assert (images["converted"], images["skipped"]) == (3, 1)
    (phase,) = shown["Phases"]
    assert (phase["from epoch"], phase["trainable_params"]) == (1, 2)
    assert phase["data"] == DOCUMENT["phases"][0]["caching"]
    assert shown["Epochs"] == [{"epoch": 1, "loss": 2.0}, {"epoch": 2, "loss": None}]
    first, probe = shown["Final figures"]
    assert (first["figure"], first["value"], first["n"]) == ("val_loss", 1, 4)
    assert probe["figure"] == "linear probe"
    assert named(shown["Machine"])["devices"] == "cpu:0"


def test_it_says_what_was_changed_in_the_recipe(run):
    rows = {row["name"]: row for row in tables(run)["Recipe"]}
    assert rows["backbone"]["changed from"] == "efficientnet_b0"
    assert rows["steps_per_epoch"]["changed from"] == "none"
    assert rows["epochs"]["changed from"] == ""
    unknown = run.document["recipe"] | {"name": "of_old"}
    run.update(recipe=unknown)
    assert {row["changed from"] for row in tables(run)["Recipe"]} == {""}


def test_the_public_one_does_not_reveal_who_ran_it_or_where(run):
    public = json.dumps([s.rows for s in overview(run, public=True)])
    process = run.document["process"]
    for private in ("someone", "secret", "/home", str(run.path), process["host"]):
        assert private not in public
    about = named(tables(run, public=True)["Run"])
    assert about["error"] == "OSError"
    assert "process" not in about
    assert named(tables(run, public=True)["Data"])["weights"] == "w.weights.h5"
    assert named(tables(run, public=True)["Machine"])["system"] == "Linux"


def test_a_run_that_just_began_has_an_overview(tmp_path):
    recipe = {"recipe": {"name": "a", "backbone": "b"}}
    run = start_run(tmp_path, "a", recipe, now=datetime(2026, 1, 2))
    assert list(tables(run)) == ["Run", "Recipe"]


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipe": 3},
        {"recipe": {"name": ["a"]}},
        {"phases": [{"counts": {}}]},
        {"data": {"splits": {"train": 3}}},
        {"history": {"epoch": [0], "loss": []}},
        {"final": {"val_loss": {}}},
        {"machine": {"devices": 3}},
        {"process": None},
    ],
)
def test_a_document_of_another_form_is_refused(run, wrong):
    run.update(**wrong)
    with pytest.raises(
        ValueError, match=r"run\.json must be whole\. Received: .*Delete"
    ):
        overview(run, public=False)


def test_hyperparameters_are_what_was_asked_for(run):
    asked = hyperparameters(run.document)
    assert asked["recipe"] == "model_3"
    assert asked["weights"] == "w.weights.h5"
    assert asked["seed"] == 3
    assert asked["early_stopping"] is None
    assert "title" not in asked
    assert asked["backbone"] == "vector"
    for handle, public in (
        ("sample_net", "sample_net"),
        ("a/b/tensorFlow2/c/1", "a/b/tensorFlow2/c/1"),
        ("https://me:token@a.b:8/c/1?key=secret#x", "https://a.b:8/c/1"),
        ("../alice/mine", "mine"),
        ("~/secret/mine", "mine"),
        ("file:///home/alice/mine", "mine"),
    ):
        other = {**DOCUMENT, "recipe": {**RECIPE, "backbone": handle}}
        assert hyperparameters(other)["backbone"] == public
    relative = {**DOCUMENT, "recipe": {**RECIPE, "weights": "../alice/w.h5"}}
    assert hyperparameters(relative)["weights"] == "w.h5"
    windows = {**DOCUMENT, "recipe": {**RECIPE, "weights": r"C:\\Users\\me\\w.h5"}}
    assert hyperparameters(windows)["weights"] == "w.h5"


def test_figures_on_images_of_another_split_say_so(run):
    figure = {"value": 1, "low": 0, "high": 2, "n": 4, "split": "test"}
    also = {"also_in": {"train": 2, "validation": 1}}
    run.finish("done", final={"test_loss": {**figure, **also}, "val_loss": figure})
    rows = {s.title: s.rows for s in overview(run, public=True)}["Final figures"]
    assert [row["measured on"] for row in rows][:2] == [
        "test, 2 of them in train, 1 of them in validation",
        "test",
    ]
