"""Recipes: what to train, as named immutable values.

Owns the ten recipes of the tutorials and the checks of the values that a user changes
in one. It imports no framework and runs nothing (that is `runner`).
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from types import MappingProxyType
from typing import Any

from tlcore.arguments import ALL, require_one_of, require_positive, require_whole
from tlcore.backbones.catalogue import find_entry, is_hub_handle, is_preset_handle
from tlcore.hub.handles import KAGGLE
from tlcore.optimizing.stages import require_rising

IMAGENET, OWN = "imagenet", "own"
"""Weights: the default for a backbone of the catalogue; always for a SavedModel."""

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
"""The policies of Keras that a recipe may have."""

OPTIMIZERS = ("adam", "adamw", "rmsprop", "sgd")
SCHEDULES = ("constant", "cosine", "one_cycle")
"""The names that `optimizing` knows; here they load no framework."""

_WARM_UP = ", epochs of the shorter phase but its last; one_cycle warms up by itself"

TENTH = 0.1
"""The learning rate of fine-tuning, as a fraction of that of feature extraction."""


FEATURE_EXTRACTION = "feature_extraction"
FINE_TUNING = "fine_tuning"
"""The names of the phases; with stages, those of fine-tuning begin with the second."""


@dataclass(frozen=True)
class Phase:
    """A phase of a recipe.

    Attributes:
        name: what `run.json` and the files of the run call it.
        epochs: its epochs.
        learning_rate: its learning rate.
        last: how many layers of the backbone train, or "all"; 0 in feature extraction.
    """

    name: str
    epochs: int
    learning_rate: float
    last: int | str = 0


@dataclass(frozen=True)
class Recipe:
    """What to train, and how long.

    Attributes:
        name: of the recipe.
        title: what it shows, in one line.
        backbone: a name of the catalogue, the handle of a SavedModel, or a preset of
            KerasHub.
        weights: "imagenet", "none" or the path of a weights file; "own" for a
            SavedModel.
        image_size: height and width of the images, in pixels.
        style: "functional" or "sequential".
        augmentation: the name of an augmentation stack, or None.
        head: "pool" or "dense".
        dropout: rate of the dropout before the last layer.
        precision: the dtype policy: "float32", or "mixed_bfloat16" or "mixed_float16",
            where layers compute in 16 bits and keep weights and outputs in 32.
        binary: whether two classes get one sigmoid instead of two softmax outputs.
        percent: how many percent of the training images are used.
        batch_size: images per step.
        steps_per_epoch: steps; None is every image once.
        optimizer: its name: "adam", "adamw", "rmsprop" or "sgd".
        weight_decay: of the optimizer; None is its default, which is none but for
            "adamw".
        learning_rate: of feature extraction; fine-tuning uses a tenth of it.
        schedule: of the learning rate over a phase: "constant", "cosine" or
            "one_cycle".
        warm_up: epochs of each phase in which the learning rate rises from 0.
        label_smoothing: how much of each label goes to all classes alike.
        class_weight: "balanced" weighs each class the same; None each image.
        epochs: epochs of feature extraction.
        fine_tune_epochs: epochs of fine-tuning after them, with stages of each; 0 is no
            fine-tuning.
        last: layers of the backbone that fine-tuning unfreezes; for a SavedModel, all
            of it.
        stages: instead of `last`, the layers that each stage of fine-tuning unfreezes,
            each more than the one before; "all" at the end.
        layer_rates: the factor of the learning rate of fine-tuning at the lowest layer
            that trains, from which it rises to 1 at the head; None is 1 everywhere.
    """

    name: str
    title: str
    backbone: str = "efficientnet_b0"
    weights: str = IMAGENET
    image_size: int = 224
    style: str = "functional"
    augmentation: str | None = None
    head: str = "pool"
    dropout: float = 0.0
    precision: str = "float32"
    binary: bool = False
    percent: float = 100
    batch_size: int = 32
    steps_per_epoch: int | None = None
    optimizer: str = "adam"
    learning_rate: float = 1e-3
    schedule: str = "constant"
    warm_up: int = 0
    weight_decay: float | None = None
    label_smoothing: float = 0.0
    class_weight: str | None = None
    epochs: int = 5
    fine_tune_epochs: int = 0
    last: int = 10
    stages: tuple[int | str, ...] = ()
    layer_rates: float | None = None

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Return what is trained, in order.

        Example:
            >>> recipe = tl.RECIPES["model_3"].changed(stages=(10, "all"))
            >>> [phase.name for phase in recipe.phases]
            ['feature_extraction', 'fine_tuning_last_10', 'fine_tuning_last_all']
        """
        first = Phase(FEATURE_EXTRACTION, self.epochs, self.learning_rate)
        if not self.fine_tune_epochs:
            return (first,)
        epochs, rate = self.fine_tune_epochs, self.learning_rate * TENTH
        if not self.stages:
            return (first, Phase(FINE_TUNING, epochs, rate, self.last))
        stages = ((f"{FINE_TUNING}_last_{last}", last) for last in self.stages)
        return (first, *(Phase(name, epochs, rate, last) for name, last in stages))

    @property
    def from_hub(self) -> bool:
        """Return whether the backbone is a SavedModel."""
        return is_hub_handle(self.backbone)

    @property
    def brings_weights(self) -> bool:
        """Return whether the backbone is a SavedModel or a preset of KerasHub."""
        return self.from_hub or is_preset_handle(self.backbone)

    def as_dict(self) -> dict[str, object]:
        """Return the fields as a mapping, for a JSON file."""
        return {**asdict(self), "stages": list(self.stages)}

    def changed(self, **changes: object) -> "Recipe":
        """Return this recipe with some values changed; None keeps a value.

        Raises:
            ValueError: a value is out of range, or no backbone has that name.

        Example:
            >>> recipe = tl.RECIPES["model_3"].changed(backbone="vgg16", epochs=None)
            >>> recipe.backbone, recipe.epochs
            ('vgg16', 5)
            >>> tl.RECIPES["model_3"].changed(epochs=0)
            Traceback (most recent call last):
            ValueError: epochs must be a whole number of at least 1. Received: epochs=0.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        recipe = replace(self, **given)  # type: ignore[arg-type]
        text, rule = isinstance(recipe.backbone, str), "backbone must be text"
        _require(text, rule, "backbone", recipe.backbone)
        # "imagenet" of a SavedModel, or "own" of VGG16, would mean nothing.
        if recipe.brings_weights != self.brings_weights and "weights" not in given:
            recipe = replace(recipe, weights=OWN if recipe.brings_weights else IMAGENET)
        _check(recipe)
        if "last" in given and (recipe.stages or not recipe.fine_tune_epochs):
            instead = "stages" if recipe.stages else "no fine-tuning"
            raise ValueError(
                "last is the number of layers that fine-tuning unfreezes. Received: "
                f"last={recipe.last!r} for {recipe.name}, which has {instead}. Leave "
                "last out, or give it fine_tune_epochs and no stages."
            )
        return recipe


def find_recipe(name: str) -> Recipe:
    """Return the recipe of this name.

    Raises:
        ValueError: there is no such recipe.

    Example:
        >>> find_recipe("model_0").title
        'EfficientNetB0 frozen, 10 % of the images'
        >>> find_recipe("model0")
        Traceback (most recent call last):
        ValueError: A recipe must be one of: ... Did you mean 'model_0'?
    """
    require_one_of("recipe", name, RECIPES, subject="A recipe")
    return RECIPES[name]


def _check_backbone(recipe: Recipe) -> None:
    """Refuse what the backbone does not take."""
    if recipe.brings_weights:
        _require(
            recipe.weights == OWN,
            f"A {'SavedModel' if recipe.from_hub else 'preset'} brings its own "
            "weights: leave weights out",
            "weights",
            recipe.weights,
        )
        require_whole("last", recipe.last, least=0)
        _require(
            not (recipe.from_hub and recipe.stages),
            "A SavedModel is one layer: leave stages out",
            "stages",
            recipe.stages,
        )
        if recipe.stages:
            require_rising(recipe.stages)
    else:
        entry = find_entry(recipe.backbone)
        require_whole(
            "image_size",
            recipe.image_size,
            least=entry.contract.min_size,
            meaning=f" pixels for {entry.name}",
        )
        require_whole(
            "last",
            recipe.last,
            least=0,
            most=entry.manifest.layers,
            meaning=f", the layers of {entry.name}",
        )
        _check_stages(recipe.stages, entry.name, entry.manifest.layers)


def _check(recipe: Recipe) -> None:
    _check_backbone(recipe)
    _require(
        recipe.layer_rates is None
        or (_is_number(recipe.layer_rates) and 0 < recipe.layer_rates <= 1),
        "layer_rates must be above 0 and at most 1, the factor of the lowest layer",
        "layer_rates",
        recipe.layer_rates,
    )
    for name in ("stages", "layer_rates"):
        _require(
            recipe.fine_tune_epochs or not getattr(recipe, name),
            f"{name} is of fine-tuning: give the recipe fine_tune_epochs, or leave it "
            "out",
            name,
            getattr(recipe, name),
        )
    _require(
        _is_number(recipe.percent) and 0 < recipe.percent <= 100,
        "percent must be above 0 and at most 100",
        "percent",
        recipe.percent,
    )
    require_one_of("precision", recipe.precision, PRECISIONS)
    require_whole("batch_size", recipe.batch_size, least=1)
    require_whole("epochs", recipe.epochs, least=1)
    require_whole("fine_tune_epochs", recipe.fine_tune_epochs, least=0)
    require_positive("learning_rate", recipe.learning_rate)
    require_one_of("optimizer", recipe.optimizer, OPTIMIZERS)
    require_one_of("schedule", recipe.schedule, SCHEDULES)
    phases = [n for n in (recipe.epochs, recipe.fine_tune_epochs) if n]
    most = 0 if recipe.schedule == "one_cycle" else min(phases) - 1
    require_whole("warm_up", recipe.warm_up, least=0, most=most, meaning=_WARM_UP)
    _require(
        _is_number(recipe.dropout) and 0 <= recipe.dropout < 1,
        "dropout must be at least 0 and below 1",
        "dropout",
        recipe.dropout,
    )
    decay = recipe.weight_decay
    _require(
        decay is None or (_is_number(decay) and 0 <= decay < math.inf),
        "weight_decay must be a number of at least 0",
        "weight_decay",
        decay,
    )
    _require(
        _is_number(recipe.label_smoothing) and 0 <= recipe.label_smoothing < 1,
        "label_smoothing must be at least 0 and below 1",
        "label_smoothing",
        recipe.label_smoothing,
    )
    if recipe.class_weight is not None:
        require_one_of("class_weight", recipe.class_weight, ("balanced",))


def _check_stages(stages: Any, name: str, layers: int) -> None:
    """Refuse stages that do not unfreeze more and more layers of a backbone."""
    if not stages:
        return
    require_rising(stages)
    for last in stages:
        if last != ALL:
            meaning = f", the layers of {name}"
            require_whole("stages", last, least=1, most=layers, meaning=meaning)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _require(holds: object, rule: str, name: str, value: object) -> None:
    if not holds:
        raise ValueError(f"{rule}. Received: {name}={value!r}.")


_VGG16_FEATURES = Recipe(
    "vgg16_features",
    "VGG16's convolutional features frozen, a dense head, no augmentation",
    backbone="vgg16",
    image_size=150,
    head="dense",
    dropout=0.5,
    binary=True,
    batch_size=20,
    optimizer="rmsprop",
    learning_rate=2e-5,
    epochs=30,
)

_ALL = (
    Recipe("model_0", "EfficientNetB0 frozen, 10 % of the images", percent=10),
    Recipe(
        "model_1",
        "EfficientNetB0 frozen, augmentation, 1 % of the images",
        percent=1,
        augmentation="tutorial",
    ),
    Recipe(
        "model_2",
        "EfficientNetB0 frozen, augmentation, 10 % of the images",
        percent=10,
        augmentation="tutorial",
    ),
    Recipe(
        "model_3",
        "model_2, then its last 10 layers fine-tuned, 10 % of the images",
        percent=10,
        augmentation="tutorial",
        fine_tune_epochs=5,
    ),
    Recipe(
        "model_4",
        "model_2, then its last 10 layers fine-tuned, all images",
        augmentation="tutorial",
        fine_tune_epochs=5,
    ),
    *(
        Recipe(
            f"hub_{name}",
            f"{title} feature vector of TF Hub in a Sequential model, 10 %",
            backbone=f"{KAGGLE}{handle}",
            weights=OWN,
            percent=10,
            style="sequential",
            epochs=15,
            batch_size=16,
        )
        for name, title, handle in (
            (
                "resnet50_v2",
                "ResNet50V2",
                "google/resnet-v2/TensorFlow2/50-feature-vector/2",
            ),
            (
                "efficientnet_b0",
                "EfficientNetB0",
                "tensorflow/efficientnet/TensorFlow2/b0-feature-vector/1",
            ),
            (
                "efficientnet_b4",
                "EfficientNetB4",
                "tensorflow/efficientnet/TensorFlow2/b4-feature-vector/1",
            ),
        )
    ),
    _VGG16_FEATURES,
    replace(
        _VGG16_FEATURES,
        name="vgg16_augmented",
        title="VGG16 inside the model, the generator's augmentation, a dense head",
        augmentation="generator",
        batch_size=32,
        steps_per_epoch=50,
    ),
)

RECIPES: Mapping[str, Recipe] = MappingProxyType({r.name: r for r in _ALL})
"""All recipes by name, in the order of the tutorials."""
