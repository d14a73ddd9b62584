"""Recipe rate: a search begins where the phase of a run would."""

import pytest

import tlcore as tl
from tlcore.choosing.recipe_rate import find_recipe_rate, phase_of, rate_for_run
from tlcore.runs.runner import RunOptions, run_recipe

RECIPE = tl.RECIPES["model_0"].changed(
    backbone="sample_net", image_size=32, percent=100.0, batch_size=4, epochs=1
)
LIMITS = {"lowest": 1e-9, "highest": 2e-9, "steps": 10}


@pytest.mark.matrix
@pytest.mark.parametrize(
    "changes",
    [{"label_smoothing": 0.2}, {"fine_tune_epochs": 1, "last": 2}],
    ids=["first", "fine-tuning"],
)
def test_the_first_losses_are_those_of_the_run(images, tmp_path, changes):
    # Where the rate changes nothing, the mean loss of an epoch is that of a search.
    recipe = RECIPE.changed(learning_rate=1e-2, **changes)
    phase = recipe.phases[-1]
    options = RunOptions(out=tmp_path, say=lambda line: None)
    search = find_recipe_rate(recipe, images, options, phase=phase.name, **LIMITS)
    assert list(tmp_path.iterdir()) == []
    rate = 1e-2 if phase.last else 1e-9
    run = run_recipe(recipe.changed(learning_rate=rate), images, options)
    sizes = [4, 4, 4, 4, 2]
    mean = sum(n * x for n, x in zip(sizes, search.losses, strict=False)) / 18
    # Fine-tuning has a rate in the run, of a thousandth: it falls a little.
    near = {"rel": 0.1} if phase.last else {"rel": 1e-5}
    assert mean == pytest.approx(run.document["history"]["loss"][-1], **near)


def test_a_rate_of_fine_tuning_is_a_tenth_of_that_of_the_recipe():
    recipe = tl.RECIPES["model_3"]
    first, fine = recipe.phases
    assert phase_of(recipe, "fine-tuning") == phase_of(recipe, "fine_tuning") == fine
    assert rate_for_run(first, 1e-3) == 1e-3
    again = recipe.changed(learning_rate=rate_for_run(fine, 2e-5))
    assert again.phases[1].learning_rate == pytest.approx(2e-5)


def test_a_phase_that_is_not_there_is_refused():
    message = "one of: feature-extraction. Received: phase='fine' for model_0; --fine"
    with pytest.raises(ValueError, match=message):
        phase_of(tl.RECIPES["model_0"], "fine")
