"""Recipes: the ten of the tutorials, and what a user may change in one."""

import dataclasses

import pytest

from tlcore.runs.recipes import RECIPES, find_recipe


def test_there_are_these_ten():
    assert tuple(RECIPES) == (
        "model_0",
        "model_1",
        "model_2",
        "model_3",
        "model_4",
        "hub_resnet50_v2",
        "hub_efficientnet_b0",
        "hub_efficientnet_b4",
        "vgg16_features",
        "vgg16_augmented",
    )
    assert all(name == recipe.name for name, recipe in RECIPES.items())


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model_0", {"percent": 10, "augmentation": None, "fine_tune_epochs": 0}),
        ("model_1", {"percent": 1, "augmentation": "tutorial", "fine_tune_epochs": 0}),
        ("model_2", {"percent": 10, "augmentation": "tutorial"}),
        ("model_3", {"percent": 10, "fine_tune_epochs": 5, "last": 10}),
        ("model_4", {"percent": 100, "fine_tune_epochs": 5, "last": 10}),
        (
            "hub_efficientnet_b4",
            {"style": "sequential", "epochs": 15, "batch_size": 16},
        ),
        (
            "vgg16_features",
            {
                "image_size": 150,
                "head": "dense",
                "dropout": 0.5,
                "optimizer": "rmsprop",
                "learning_rate": 2e-5,
                "epochs": 30,
                "batch_size": 20,
                "augmentation": None,
                "binary": True,
            },
        ),
        (
            "vgg16_augmented",
            {
                "augmentation": "generator",
                "steps_per_epoch": 50,
                "batch_size": 32,
                "epochs": 30,
            },
        ),
    ],
)
def test_a_recipe_is_what_the_tutorial_says(name, expected):
    values = RECIPES[name].as_dict()
    assert {key: values[key] for key in expected} == expected


def test_the_same_but_for_the_images():
    changed = dataclasses.replace(RECIPES["model_3"], percent=100)
    fields = ("name", "title")
    same = {key: RECIPES["model_4"].as_dict()[key] for key in fields}
    assert dataclasses.replace(changed, **same) == RECIPES["model_4"]


def test_a_value_that_is_not_given_stays():
    recipe = find_recipe("model_3").changed(percent=50.0, epochs=None)
    assert (recipe.percent, recipe.epochs) == (50.0, 5)


def test_an_unknown_recipe_is_answered_with_the_valid_ones():
    with pytest.raises(
        ValueError, match=r"model_0.*Received: recipe='model3'.*mean 'm"
    ):
        find_recipe("model3")


def test_the_recipes_of_tf_hub_have_handles_and_can_be_given_others():
    names = [name for name in RECIPES if name.startswith("hub_")]
    assert len(names) == 3
    for name in names:
        recipe = find_recipe(name)
        assert recipe.from_hub
        assert recipe.backbone.startswith("https://www.kaggle.com/models/")
        assert recipe.changed(backbone="my/folder").from_hub
        assert recipe.weights == recipe.changed(backbone="my/folder").weights == "own"
        other = recipe.changed(backbone="vgg16")
        assert (other.from_hub, other.weights) == (False, "imagenet")
        with pytest.raises(
            ValueError, match=r"last must .* at least 0.*Received: last=-5"
        ):
            recipe.changed(last=-5)
        with pytest.raises(ValueError, match="brings its own weights.*weights='none'"):
            recipe.changed(weights="none")
    assert find_recipe("model_0").changed(backbone="my/folder").weights == "own"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbone": "vgg61"}, "must be one of the catalogue.*Received: backbone="),
        (
            {"image_size": 16},
            "image_size must .* at least 32 pixels for eff.*Received: image_size=16",
        ),
        ({"percent": 0.0}, "above 0 and at most 100.*Received: percent=0.0"),
        ({"percent": 100.5}, "above 0 and at most 100.*Received: percent=100.5"),
        ({"percent": float("nan")}, "above 0 and at most 100.*Received: percent=nan"),
        ({"epochs": 0}, "epochs must .* at least 1.*Received: epochs=0"),
        ({"precision": "float16"}, "precision must be one of.*mixed_bfloat16"),
        ({"batch_size": -1}, "batch_size must .* at least 1.*Received: batch_size=-1"),
        (
            {"fine_tune_epochs": -1},
            "fine_tune_epochs must .* at least 0.*Received: fine_tune_epochs=-1",
        ),
        ({"learning_rate": 0.0}, "positive number.*Received: learning_rate=0.0"),
        (
            {"last": -3},
            "at least 0 and at most 237, the layers of eff.*Received: last=-3",
        ),
        ({"last": 238}, "at most 237.*Received: last=238"),
        ({"optimizer": "adm"}, "optimizer must be one of.*Did you mean 'adam'"),
        ({"schedule": "cosin"}, "schedule must be one of.*Did you mean 'cosine'"),
        ({"warm_up": 5}, "at most 4, epochs of the shorter phase.*warm_up=5"),
        ({"schedule": "one_cycle", "warm_up": 1}, "one_cycle warms up by itself"),
        ({"weight_decay": -0.1}, "weight_decay must .* at least 0.*-0.1"),
        ({"label_smoothing": 1.0}, "at least 0 and below 1.*label_smoothing=1.0"),
        ({"class_weight": "even"}, "class_weight must be one of: balanced"),
    ],
)
def test_a_change_out_of_range_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        find_recipe("model_3").changed(**changes)


def test_its_names_are_those_of_optimizing():
    from tlcore.optimizing import compiling, schedules
    from tlcore.runs import recipes

    assert set(recipes.OPTIMIZERS) == set(compiling.OPTIMIZERS)
    assert recipes.SCHEDULES == schedules.SCHEDULES


def test_a_recipe_in_stages_has_a_phase_for_each():
    recipe = RECIPES["model_3"].changed(stages=(10, "all"), fine_tune_epochs=3)
    rates = [(x.name, x.epochs, x.last) for x in recipe.phases]
    assert rates == [
        ("feature_extraction", 5, 0),
        ("fine_tuning_last_10", 3, 10),
        ("fine_tuning_last_all", 3, "all"),
    ]
    assert [x.learning_rate for x in recipe.phases] == [1e-3, 1e-4, 1e-4]
    assert recipe.as_dict()["stages"] == [10, "all"]


@pytest.mark.parametrize(
    ("name", "changes", "match"),
    [
        ("model_3", {"stages": (10, 5)}, r"must unfreeze more layers.*\[10, 5\]"),
        ("model_3", {"stages": (10, 999)}, r"stages must be .*at most 237, the layers"),
        ("model_3", {"stages": ("most",)}, r"stages\[0\] must be a whole number"),
        ("hub_resnet50_v2", {"stages": (1, "all")}, r"one layer: leave stages out"),
        ("model_3", {"layer_rates": 0}, r"layer_rates must be above 0 and at most 1"),
        ("model_0", {"last": 5}, r"last=5 for model_0, which has no fine-tuning"),
        ("model_3", {"last": 5, "stages": (9,)}, r"last=5 for model_3, which has stag"),
        ("model_0", {"stages": (10,)}, r"stages is of fine-tuning: give the recipe"),
        ("model_0", {"layer_rates": 0.1}, r"layer_rates is of fine-tuning.*=0.1"),
        ("model_3", {"layer_rates": 1.5}, r"layer_rates must be above 0.*=1.5"),
    ],
)
def test_what_are_no_stages_or_rates_is_refused(name, changes, match):
    with pytest.raises(ValueError, match=match):
        RECIPES[name].changed(**changes)
