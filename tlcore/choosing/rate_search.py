"""Rate search: a range test of the learning rate, which leaves no trace.

Owns `find_learning_rate`: a short training whose rate rises step by step, with the
features and the order of images that `fit` would have, and after which everything is as
it was. What the curve means is in `optimizing.rate_curve`, its picture in
`rate_picture`.
"""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import keras

from tlcore.caching.feeds import AUTO
from tlcore.checkpoints import variables
from tlcore.checkpoints.unchanged import same_random_numbers, unchanged
from tlcore.checks import check_flags, check_model
from tlcore.data.contents import VALUE_RANGES
from tlcore.data.failures import as_raised
from tlcore.data.spec import Data, DataSpec
from tlcore.optimizing.compiling import compile_phase, create_variables, new_optimizer
from tlcore.optimizing.rate_curve import (
    RateSearch,
    growing_rates,
    has_diverged,
    read_curve,
)
from tlcore.terminal.progress import STEPS, PassProgress, pass_progress
from tlcore.training import fit

LOWEST, HIGHEST, STEP_COUNT = 1e-7, 10.0, 100
"""The range of rates, that of fastai's `lr_find`, and its number of steps."""


@as_raised()
def find_learning_rate(
    model: keras.Model,
    train: Data,
    *,
    lowest: float = LOWEST,
    highest: float = HIGHEST,
    steps: int = STEP_COUNT,
    optimizer: str | keras.optimizers.Optimizer | None = None,
    loss: Any = None,
    class_weight: dict[int, float] | str | None = None,
    sample_weight: Sequence[float] | None = None,
    cache: str | Path = AUTO,
    views: int | None = None,
    workers: int = 1,
    say: Callable[[str], None] | None = None,
    progress: PassProgress | None = None,
    value_range: str = VALUE_RANGES[0],
    verbose: str | int = "auto",
) -> RateSearch:
    """Train with a learning rate that rises step by step; suggest one, change nothing.

    The rate grows by the same factor in each step, until all steps are done or the loss
    diverges. Then weights, optimizer, random numbers and how the model is compiled are
    put back: a `fit` after it ends with the same bits as without it. (An optimizer that
    had not begun is built, at its first values. A `tf.data.Dataset` or iterable that
    shuffles draws an order whenever it is read, so a search moves it on.)

    Args:
        model: compiled, it is trained with its own optimizer and loss. If it is not, it
            is compiled for the search as `feature_extract` does; what is unfrozen
            trains.
        train: as in `fit`. Its images come in the order of `fit`, again where they are
            fewer than the steps take.
        lowest: the rate of the first step.
        highest: the rate of the last step.
        steps: the number of steps.
        optimizer: for a model that is not compiled, as in `feature_extract`; "adam" by
            default.
        loss: for a model that is not compiled, as in `feature_extract`.
        class_weight: as in `fit`.
        sample_weight: as in `fit`.
        cache: as in `fit`, which finds the features of a folder that are stored here.
        views: as in `fit`.
        workers: as in `fit`.
        say: as in `fit`.
        progress: as in `fit`; called with "steps" too, and the number of steps.
        value_range: as in `fit`.
        verbose: 0 shows and prints nothing.

    Returns:
        The curve, and what it suggests, which is a tenth of the rate at which the
        smoothed loss is least, as in fastai's `lr_find`. Nothing is suggested, and
        `sentence` says why, where the loss does not fall beyond its noise, diverges
        from the start, or still falls at the highest rate.

    Raises:
        ValueError: a rate or count is out of range, the model's rate is a schedule, the
            model is compiled and gets another optimizer or loss, or `fit` refuses it.
        FloatingPointError: the loss of the first step is NaN or infinite: nothing has
            been trained by then.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32, batch_size=4)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> search = tl.find_learning_rate(model, train, steps=60, verbose=0)
        >>> len(search.losses) == len(search.rates) <= 60
        True
        >>> model.compiled
        False
    """
    rates = growing_rates(lowest, highest, steps)
    if model.compiled:
        _check_compiled(model, optimizer, loss)
    options: dict[str, Any] = {
        "class_weight": class_weight,
        "sample_weight": sample_weight,
        "cache": cache,
        "views": views,
        "workers": workers,
        "value_range": value_range,
        "say": say or partial(_say, verbose=verbose),
    }
    with ExitStack() as put_back:
        put_back.enter_context(same_random_numbers())
        spec = DataSpec.of(train, "train")
        if model.compiled:
            check_model(model)
            _create_variables(model, spec)
            put_back.enter_context(unchanged(model))
        else:
            check_flags(model)
            put_back.enter_context(unchanged(model))
            chosen = new_optimizer(optimizer or "adam", None, default=rates[0])
            compile_phase(model, spec, chosen, loss, ())
        inner = _rate_of(model.optimizer)
        report = put_back.enter_context(pass_progress(progress, show=bool(verbose)))
        rising = _RisingRate(rates, inner, report)
        options |= {"progress": report, **_extent(spec, len(rates))}
        _train(model, spec, rising, options)
    return read_curve(
        rates[: len(rising.losses)],
        rising.losses,
        steps=len(rates),
        diverged_at=rising.diverged_at,
    )


def _check_compiled(model: keras.Model, optimizer: Any, loss: Any) -> None:
    for name, value in (("optimizer", optimizer), ("loss", loss)):
        if value is not None:
            raise ValueError(
                f"A compiled model is searched with its own {name}. Received: "
                f"{name}={value!r} for model={model.name!r}, which is compiled. Leave "
                f"{name} out, or compile the model with it."
            )
    _rate_of(model.optimizer)


def _create_variables(model: keras.Model, spec: DataSpec) -> None:
    """Create what a first step would, so that there are values to be put back."""
    if not model.optimizer.built:
        sums = variables.sums(model)
        create_variables(model, spec)
        variables.assign(model, sums, ["metrics"])


def _rate_of(optimizer: Any) -> Any:
    """Return the variable that holds the learning rate of an optimizer.

    Raises:
        ValueError: its rate is a schedule, or another function of the step.
    """
    # Mixed precision wraps the optimizer in a LossScaleOptimizer.
    inner = getattr(optimizer, "inner_optimizer", optimizer)
    if not isinstance(inner.learning_rate, keras.Variable):
        raise ValueError(
            "The search sets the learning rate of each step, so it must be a number. "
            f"Received: optimizer={inner.name!r}, whose rate is a schedule. Compile "
            "with a number, search, and make the schedule with what is suggested."
        )
    return inner.learning_rate


def _train(
    model: keras.Model, spec: DataSpec, rising: "_RisingRate", options: dict[str, Any]
) -> None:
    """Run the steps; a loss that is no number ends them, as one that diverges does.

    Raises:
        FloatingPointError: it is that of the first step.
    """
    # A rate for each step, and a callback between every two.
    model.steps_per_execution = 1
    # Compiled anew: what was compiled before may hold random numbers of its own.
    model.train_function = None
    try:
        fit(model, spec, callbacks=[rising], verbose=0, **options)
    except FloatingPointError as error:
        if not rising.losses:
            raise FloatingPointError(
                "The loss must be a finite number before anything is trained. "
                "Received: a loss that is NaN or infinite in the first step, at "
                f"learning_rate={rising.rates[0]:g}. The rate has no part in it: look "
                "for NaN in the weights, and for labels and images out of range."
            ) from error
        rising.diverged_at = rising.rate


def _extent(spec: DataSpec, steps: int) -> dict[str, int]:
    """Return the epochs of a `fit` that reaches a number of steps, or goes beyond."""
    # A folder is read as one stream, epoch after epoch. Other data is read again in
    # each epoch, without which its features would not be kept.
    if spec.folder is not None or spec.unbounded:
        return {"epochs": 1, "steps_per_epoch": steps}
    return {"epochs": -(-steps // (spec.batches or 1))}


class _RisingRate(keras.callbacks.Callback):
    """Sets the rate before each step, keeps its loss, and ends the training.

    Attributes:
        rates: of the steps.
        losses: of the steps so far.
        diverged_at: the rate at which the loss diverged, None if it did not.
    """

    def __init__(
        self, rates: Sequence[float], variable: Any, report: PassProgress | None
    ) -> None:
        super().__init__()
        self.rates, self.losses = rates, list[float]()
        self.diverged_at: float | None = None
        self._variable, self._report = variable, report

    @property
    def rate(self) -> float:
        """Return the rate of the last step that was begun."""
        return self.rates[min(len(self.losses), len(self.rates) - 1)]

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Set the rate, and have the loss be that of this step alone."""
        # JAX's steps hold variables apart from the model, and take them over again.
        if hasattr(self.model, "jax_state_sync"):
            self.model.jax_state_sync()
        self._variable.assign(self.rate)
        self.model.reset_metrics()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:  # noqa: ARG002
        """Keep the loss, and end the training if it diverges."""
        self.losses.append(float(logs["loss"]))
        done, total = len(self.losses), len(self.rates)
        if has_diverged(self.losses, total):
            self.diverged_at = self.rates[done - 1]
        if self._report is not None:
            self._report(STEPS, done, total)
        if done == total or self.diverged_at is not None:
            self.model.stop_training = True


def _say(line: str, *, verbose: str | int) -> None:
    if verbose:
        print(line)  # noqa: T201 - to standard output, as `fit` does
