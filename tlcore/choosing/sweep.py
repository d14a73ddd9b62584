"""Sweep: which learning rate, dropout, weight decay and number of layers suit a recipe.

Owns `sweep`: heads of one backbone, trained together on features that are computed
once; the best of them fine-tuned, where that is asked for; the choice of one by the
validation images, what it is worth after that choice, and its only look at test.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tlcore.arguments import counted, require_positive, require_whole
from tlcore.choosing.recipe_rate import prepare_phase
from tlcore.runs.recipes import FEATURE_EXTRACTION, Phase, Recipe
from tlcore.runs.run_data import RunData, load_data
from tlcore.runs.runner import (
    RunOptions,
    check_options,
    fit_phase,
    phase_optimizer,
    seeded_model,
)
from tlcore.terminal.progress import STEPS, PassProgress

if TYPE_CHECKING:
    import keras

    from tlcore.caching.feeds import CacheOptions, Feed
    from tlcore.choosing.heads import Heads
    from tlcore.data.image_folder import ImageFolder
    from tlcore.evaluation import Estimate, Scores

LEARNING_RATES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
DROPOUTS = (0.0, 0.2, 0.5)
WEIGHT_DECAYS = (0.0, 0.1, 1.0)
"""What is swept by default: 54 heads."""
FINE_TUNE_EPOCHS = 5
"""Of `Grid.lasts`, where the recipe has none."""


@dataclass(frozen=True)
class Grid:
    """What is tried: every combination of these.

    Attributes:
        learning_rates: of feature extraction.
        dropouts: rates of the dropout before the last layer.
        weight_decays: of the optimizer.
        lasts: how many layers of the backbone the best head is fine-tuned with; each
            is tried with that head alone.
    """

    learning_rates: Sequence[float] = LEARNING_RATES
    dropouts: Sequence[float] = DROPOUTS
    weight_decays: Sequence[float] = WEIGHT_DECAYS
    lasts: Sequence[int] = ()

    def recipes(self, recipe: Recipe) -> tuple[Recipe, ...]:
        """Return the recipe with each combination, those of one dropout together.

        Raises:
            ValueError: a list is empty, has a value twice or one out of range.

        Example:
            >>> grid = Grid([1e-3, 1e-2], dropouts=[0.0, 0.5], weight_decays=[0.0])
            >>> found = grid.recipes(tl.RECIPES["model_0"])
            >>> [(x.dropout, x.learning_rate) for x in found]
            [(0.0, 0.001), (0.0, 0.01), (0.5, 0.001), (0.5, 0.01)]
        """
        for name, values in asdict(self).items():
            _check_values(name, values, may_be_empty=name == "lasts")
        for last in self.lasts:
            recipe.changed(last=last, fine_tune_epochs=1)  # refused before the heads
        heads = product(self.dropouts, self.weight_decays, self.learning_rates)
        common = replace(recipe, fine_tune_epochs=0, layer_rates=None)
        return tuple(
            common.changed(
                dropout=float(dropout),
                weight_decay=float(decay),
                learning_rate=float(rate),
            )
            for dropout, decay, rate in heads
        )


@dataclass(frozen=True)
class Candidate:
    """What was tried, and how it does on the validation images.

    Attributes:
        recipe: that a run would train it by, to the same figures.
        accuracy: of the last epoch; None if its loss was no number.
        loss: the same.
        worse: whether it is worse than the best one beyond chance; None for the best
            and for one that diverged.
    """

    recipe: Recipe
    accuracy: "Estimate | None"
    loss: "Estimate | None"
    worse: bool | None = None

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for a JSON file."""
        return {**asdict(self), "recipe": self.recipe.as_dict()}


@dataclass(frozen=True)
class Sweep:
    """What was tried, the best first, and what the best is worth.

    Attributes:
        candidates: all that was tried; those that diverged come last.
        corrected: the accuracy of the best without what it owes to having been chosen
            on the validation images, as in `selection.corrected`.
        test: the figures of the best on the test images; None if there are none.
    """

    candidates: tuple[Candidate, ...]
    corrected: "Estimate"
    test: "dict[str, Estimate] | None"

    @property
    def best(self) -> Candidate:
        """Return the candidate that was chosen."""
        return self.candidates[0]

    def as_dict(self) -> dict[str, Any]:
        """Return the fields by name, for a JSON file."""
        test = self.test
        return {
            "candidates": [one.as_dict() for one in self.candidates],
            "corrected": self.corrected.as_dict(),
            "test": None if test is None else {k: v.as_dict() for k, v in test.items()},
        }


_Tried = tuple[Candidate, NDArray[np.bool_]]
"""A candidate, and which validation images it has right."""


def sweep(
    recipe: Recipe,
    data: str | Path,
    options: RunOptions | None = None,
    *,
    grid: Grid | None = None,
) -> Sweep:
    """Try many heads of a recipe, choose one by validation, and test that one once.

    The heads are trained together: the frozen layers run once per image, each batch is
    read once, and one step moves all heads. Each ends as a run of its recipe would,
    with the same figures. (With PyTorch not where it drops features: that draws other
    random numbers.) The best head is then fine-tuned with each number of layers in
    `grid.lasts`, as a run would, which makes further candidates.

    Args:
        recipe: what is common to all: backbone, images, epochs, optimizer, schedule.
            It has no augmentation, or `views`, and head "pool".
        data: as `run_recipe` takes it; with validation images.
        options: how a run would be run; nothing is written to `out`.
        grid: what is tried.

    Raises:
        ValueError: recipe, grid, data or options cannot be used, or all heads diverged.
        FloatingPointError: fine-tuning diverged.

    Example:
        >>> recipe = tl.RECIPES["model_0"].changed(
        ...     backbone="sample_net", image_size=32, percent=100.0, epochs=3
        ... )
        >>> grid = Grid([1e-3, 1e-2], dropouts=[0.0, 0.5], weight_decays=[0.0])
        >>> quiet = RunOptions(say=lambda line: None)
        >>> found = tl.sweep(recipe, "photos", quiet, grid=grid)
        >>> len(found.candidates), sorted(found.test)
        (4, ['accuracy', 'loss'])
    """
    options, grid = options or RunOptions(), grid or Grid()
    if recipe.stages:
        raise ValueError(
            "A sweep fine-tunes with so many layers of `lasts`. Received: "
            f"stages={list(recipe.stages)!r}. Leave stages out."
        )
    recipes = grid.recipes(recipe)
    if recipe.fine_tune_epochs and not grid.lasts:
        raise ValueError(
            "A sweep fine-tunes with `lasts`, and without them trains heads alone. "
            f"Received: fine_tune_epochs={recipe.fine_tune_epochs} of {recipe.name}. "
            "Add lasts (--lasts 10), or take fine_tune_epochs=0."
        )
    _check(recipes[0], options)
    folders = load_data(recipes[0], data, options)
    _check_validation(folders)
    model, heads, tried = _heads(recipes, folders, options)
    best = _ordered(tried)[0][0].recipe
    heads.lend(model, recipes.index(best))
    models = {best: model}
    for last in grid.lasts:
        tuned = best.changed(
            last=last,
            fine_tune_epochs=recipe.fine_tune_epochs or FINE_TUNE_EPOCHS,
            layer_rates=recipe.layer_rates,
        )
        models[tuned] = _fine_tuned(tuned, folders, options)
        tried.append(_scored(tuned, models[tuned], folders, options))
        options.say(f"last {last}: {tried[-1][0].accuracy}")
    return _chosen(tried, models, folders, options)


def _check_values(name: str, values: Any, *, may_be_empty: bool) -> None:
    given = None if isinstance(values, str | int | float) else list(values)
    if given is None or (not given and not may_be_empty):
        raise ValueError(
            f"{name} must be a list of numbers. Received: {name}={values!r}."
        )
    if len(set(given)) < len(given):
        raise ValueError(f"{name} must differ. Received: {name}={given!r}.")
    for value in given:
        if name == "lasts":
            require_whole("lasts", value, least=1)
        elif name == "learning_rates":
            require_positive("learning_rates", value)


def _check(recipe: Recipe, options: RunOptions) -> None:
    """Refuse what cannot be trained on features that are computed once."""
    check_options(recipe, options)
    if recipe.head != "pool":
        raise ValueError(
            "A sweep trains heads on pooled features. Received: "
            f"head={recipe.head!r} of {recipe.name}. Take a recipe with head='pool', "
            "such as model_0."
        )
    if recipe.augmentation is not None and options.views is None:
        raise ValueError(
            "A sweep trains on features that are computed once. Received: "
            f"augmentation={recipe.augmentation!r} of {recipe.name}, which is random. "
            "Add views, such as --views 4, or take a recipe without augmentation."
        )
    if options.cache == "off":
        raise ValueError(
            'A sweep trains on stored features. Received: cache="off". Leave cache '
            "out, or name a folder."
        )
    if options.early_stopping is not None:
        raise ValueError(
            "Heads that are trained together have the same epochs. Received: "
            f"early_stopping={options.early_stopping}. Leave it out."
        )


def _check_validation(folders: RunData) -> None:
    if folders.splits.validation is None:
        raise ValueError(
            "A sweep chooses by validation images, which then have no say about test. "
            "Received: data without them. Hold some out of train: --split "
            "validation=20."
        )


def _heads(
    recipes: Sequence[Recipe], folders: RunData, options: RunOptions
) -> "tuple[keras.Model, Heads, list[_Tried]]":
    """Train the heads; return the model whose frozen layers they share, and them."""
    from tlcore.caching.feeds import training_feed
    from tlcore.choosing.heads import Beginning, HeadOptions, train_heads
    from tlcore.data.spec import DataSpec

    # A model with dropout draws a seed more, so that its head begins with others.
    kinds = {recipe.dropout > 0: recipe for recipe in recipes}
    beginnings: dict[bool, Beginning] = {}
    for dropped, recipe in kinds.items():
        model = seeded_model(recipe, folders.train, options)
        beginnings[dropped] = Beginning.of(model)
    recipe, steps = recipes[0], recipes[0].steps_per_epoch or len(folders.train)
    prepare_phase(model, recipe, recipe.phases[0], folders.train, options)
    caching = _caching(options)
    feed = training_feed(model, folders.train, caching, range(recipe.epochs * steps))
    _require_cached(feed)
    options.say(f"train: {feed.sentence}")
    heads = train_heads(
        [HeadOptions(x.learning_rate, x.dropout, x.weight_decay) for x in recipes],
        beginnings,
        feed.data,
        _of_rate_one(recipe, len(folders.train)),
        epochs=recipe.epochs,
        steps=steps,
        smoothing=recipe.label_smoothing,
        class_weight=DataSpec.of(folders.train, "train").class_weight(
            recipe.class_weight
        ),
        callbacks=[_reporting(options.progress, recipe.epochs * steps)],
    )
    outputs, losses, truth = _validated(model, heads, folders.validation, caching)
    tried = [
        _candidate(recipe, outputs[:, i], losses[:, i], truth)
        for i, recipe in enumerate(recipes)
    ]
    return model, heads, tried


def _caching(options: RunOptions) -> "CacheOptions":
    from tlcore.caching.feeds import cache_options

    return cache_options(
        options.cache, options.views, options.workers, options.progress
    )


def _require_cached(feed: "Feed") -> None:
    if not feed.cached:
        raise ValueError(
            "A sweep trains on features that are computed once. Received: images that "
            f"are read {feed.sentence}."
        )


def _of_rate_one(recipe: Recipe, batches: int) -> "keras.optimizers.Optimizer":
    """Return the optimizer of all heads, whose rate is a factor of each one's."""
    phase = Phase(FEATURE_EXTRACTION, recipe.epochs, 1.0)
    return phase_optimizer(recipe, phase, batches)


def _reporting(progress: PassProgress | None, total: int) -> Any:
    """Return a callback that reports the steps that are done."""
    import keras

    done = iter(range(1, total + 1))

    def on_train_batch_end(batch: int, logs: Any) -> None:  # noqa: ARG001
        if progress is not None:
            progress(STEPS, next(done), total)

    return keras.callbacks.LambdaCallback(on_train_batch_end=on_train_batch_end)


def _validated(
    model: "keras.Model", heads: "Heads", images: "ImageFolder", caching: "CacheOptions"
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.int64]]:
    """Return outputs (n, heads, outputs), losses (n, heads) and truth (n,)."""
    import keras

    from tlcore.caching.feeds import evaluation_feed
    from tlcore.data.labels import class_indices

    outputs, losses, truth = [], [], []
    feed = evaluation_feed(model, images, caching, "validation")
    _require_cached(feed)
    for features, labels in feed.data:
        found = heads(features)
        outputs.append(keras.ops.convert_to_numpy(found))
        losses.append(keras.ops.convert_to_numpy(heads.losses_of(labels, found)))
        truth.append(keras.ops.convert_to_numpy(labels))
    classes = class_indices(np.concatenate(truth))
    return np.concatenate(outputs), np.concatenate(losses), classes


def _candidate(
    recipe: Recipe,
    outputs: NDArray[Any],
    losses: NDArray[Any],
    truth: NDArray[np.int64],
) -> _Tried:
    from tlcore.evaluation import mean, proportion, right_of

    if not np.isfinite(losses).all():
        return Candidate(recipe, None, None), np.zeros(len(truth), np.bool_)
    right = right_of(outputs, truth, 0.5, multi=False)
    accuracy = proportion(int(right.sum()), len(right))
    return Candidate(recipe, accuracy, mean(losses.tolist())), right


def _fine_tuned(recipe: Recipe, folders: RunData, options: RunOptions) -> "keras.Model":
    """Return a model that was trained as by a run of a recipe."""
    model = seeded_model(recipe, folders.train, options)
    history = None
    for phase in recipe.phases:
        history = fit_phase(
            model, recipe, phase, (folders.train,), options, history=history
        )
    return model


def _scored(
    recipe: Recipe, model: "keras.Model", folders: RunData, options: RunOptions
) -> _Tried:
    found = _score(model, folders.validation, options)
    return _candidate(recipe, found.outputs, found.losses, found.truth)


def _score(
    model: "keras.Model", images: "ImageFolder", options: RunOptions
) -> "Scores":
    """Return what a model makes of images as they are, without views."""
    from tlcore.evaluation import score

    return score(model, images, replace(_caching(options), views=None))


def _ordered(tried: Sequence[_Tried]) -> list[_Tried]:
    """Return the best first: the most accurate, and of these that of the least loss.

    Raises:
        ValueError: all diverged.
    """
    good = [one for one in tried if one[0].loss is not None]
    if not good:
        raise ValueError(
            "A head must have been trained to be chosen. Received: "
            f"{counted(len(tried), 'head')}, whose losses are all NaN or infinite. "
            "Try lower learning rates."
        )
    return sorted(good, key=lambda one: (-one[0].accuracy.value, one[0].loss.value))  # type: ignore[union-attr]


def _chosen(
    tried: Sequence[_Tried],
    models: "Mapping[Recipe, keras.Model]",
    folders: RunData,
    options: RunOptions,
) -> Sweep:
    """Return what was tried in order, and test the best."""
    from tlcore.choosing.selection import corrected, worse_than_best

    (best, right), *others = _ordered(tried)
    worse = worse_than_best(right, [each for _, each in others])
    rest = [replace(one, worse=w) for (one, _), w in zip(others, worse, strict=True)]
    diverged = [one for one, _ in tried if one.loss is None]
    table = np.stack([right, *(each for _, each in others)], axis=1)
    test = None
    if folders.splits.test is not None:
        test = _score(models[best.recipe], folders.splits.test, options).figures
    return Sweep((best, *rest, *diverged), corrected(table, seed=options.seed), test)
