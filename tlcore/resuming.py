"""Resuming: a training goes on from its state as if it had never been broken off.

Owns `save_state`, `load_state` and `resume`. When states are written and what they hold
is in the wing `checkpoints`; training is in `training`.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import keras

from tlcore.arguments import require_one_of, require_path
from tlcore.backend import seam
from tlcore.checkpoints import variables
from tlcore.checkpoints.callback_states import remember_all
from tlcore.checkpoints.conditions import Conditions
from tlcore.checkpoints.keeping import EPOCH, Keeping, steps_between
from tlcore.checkpoints.loop import Loop, last_loop
from tlcore.checkpoints.state_folder import SavedState, StateFolder
from tlcore.data.spec import Data
from tlcore.training import fit

ALLOWED = ("versions", "data", "weights")
"""What may have changed since, on request: the result is then another one."""


def save_state(model: keras.Model, path: str | Path, *, backbone: str = "file") -> Path:
    """Write the whole state of a model's training, for `resume` to go on from.

    `fit(state=path)` does it after every epoch; this does it now, after a fit.

    Args:
        model: a compiled model, after `feature_extract`, `fine_tune` or `fit`.
        path: a folder, which keeps its last two states.
        backbone: "file" writes the frozen weights beside the state, once; "hash" knows
            them by their sha256, so that a state has kilobytes instead of megabytes.

    Returns:
        The file of the state.

    Raises:
        ValueError: the model is not compiled, or an argument is not one of these.
        OSError: the state cannot be written.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> _ = tl.feature_extract(model, train, epochs=1, verbose=0)
        >>> tl.save_state(model, "state").name
        'epoch-000001-step-00000000.state'
    """
    require_one_of("backbone", backbone, ("file", "hash"))
    folder = StateFolder(require_path("path", path))
    if not model.compiled:
        raise ValueError(
            "A training has a state once its model is compiled. Received: "
            f"model={model.name!r}, not compiled. Train it first."
        )
    loop = last_loop(model)
    done = 0
    if getattr(model, "history", None) is not None and model.history.epoch:
        done = int(model.history.epoch[-1]) + 1
    if loop is None:
        if done:
            remember_all(model.history)
        loop = Loop(
            [model.history] if done else [],
            model,
            epochs=range(done),
            steps=None,
            within=False,
            verbose=0,
            keeping=None,
            conditions=Conditions(model),
            say=print,
        )
    if not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
    return loop.save(Keeping(folder, frozen=backbone == "file"), done)


def resume(
    model: keras.Model,
    path: str | Path,
    train: Data,
    validation: Data | None = None,
    *,
    epochs: int,
    fresh_optimizer: bool = False,
    allow_changed: str | Collection[str] = (),
    state_freq: str | int = EPOCH,
    **fit_options: Any,
) -> keras.callbacks.History:
    """Go on with a training that was broken off, as if it had not been.

    The weights, the optimizer, random numbers, the order of the images and what
    callbacks remember are those of the state; the bits that come out are those of a
    training without the break. New states are written to the same folder.

    Args:
        model: built as it was. If it is not compiled, it is frozen and compiled as it
            was.
        path: the folder that `fit(state=...)` or `save_state` wrote to. Of its states
            the newest whole one is taken.
        train: the images of the training.
        validation: the same, for validation.
        epochs: the index after the last epoch, as in `fit`; more than it was before
            makes the training longer.
        fresh_optimizer: go on with an optimizer without memory, which is needed if
            other weights train now.
        allow_changed: what may have changed since, though the result is then another
            one: "versions" (of the libraries, or the machine), "data" or "weights"
            (those kept with the state are taken), or several of them.
        state_freq: as in `fit`.
        fit_options: further arguments of `fit`, as they were, callbacks included.

    Returns:
        The history of all epochs, those before the break included.

    Raises:
        ValueError: there is no whole state, or something has changed that decides what
            comes out; the message names it.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> _ = tl.feature_extract(model, train, epochs=1, state="one", verbose=0)
        >>> again = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> history = tl.resume(again, "one", train, epochs=2, verbose=0)
        >>> history.epoch
        [0, 1]
    """
    names = {allow_changed} if isinstance(allow_changed, str) else set(allow_changed)
    for name in names:
        require_one_of("allow_changed", name, ALLOWED)
    folder = StateFolder(require_path("path", path))
    saved = folder.newest(fit_options.get("say") or print)
    if not model.compiled:
        _compile_as_it_was(model, saved)
    digest = saved.document["conditions"]["weights"]
    if "weights" in names and variables.frozen_digest(model) != digest:
        variables.set_frozen(model, folder.frozen(digest))
    keeping = Keeping(
        folder,
        every=steps_between(state_freq),
        resumed=saved,
        fresh_optimizer=fresh_optimizer,
        allowed=frozenset(names),
    )
    return fit(
        model,
        train,
        validation=validation,
        epochs=epochs,
        initial_epoch=saved.document["first_epoch"],
        state=keeping,
        **fit_options,
    )


def load_state(model: keras.Model, path: str | Path) -> None:
    """Give a model the weights of the newest state in a folder, to predict with.

    Args:
        model: built as it was; compiled or not, frozen or not.
        path: the folder that `fit(state=...)` or `save_state` wrote to.

    Raises:
        ValueError: there is no whole state, the model is another one, or its backbone
            has other weights and those of then were not kept.

    Example:
        >>> train = tl.image_folder("photos/train", image_size=32)
        >>> model = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> _ = tl.feature_extract(model, train, epochs=1, verbose=0)
        >>> path = tl.save_state(model, "head", backbone="hash")
        >>> again = tl.create_model("sample_net", 3, input_shape=(32, 32, 3))
        >>> tl.load_state(again, "head")
        >>> path.stat().st_size < 40_000  # the whole model has ten times as much
        True
    """
    folder = StateFolder(require_path("path", path))
    saved = folder.newest(print)
    digest = saved.document["conditions"]["weights"]
    before = variables.flags(model)
    # Which weights are frozen is part of what the digest is of.
    variables.set_flags(model, saved.document["flags"])
    try:
        if variables.frozen_digest(model) != digest:
            variables.set_frozen(model, folder.frozen(digest))
        variables.assign(model, saved.arrays, ["model"])
    finally:
        variables.set_flags(model, before)


def _compile_as_it_was(model: keras.Model, saved: SavedState) -> None:
    """Freeze and compile a model as that of a state."""
    variables.set_flags(model, saved.document["flags"])
    try:
        model.compile_from_config(saved.document["compile"])
    except Exception as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            "A model is compiled as it was only if Keras can write down how. Received: "
            f"{str(saved.path)!r}, from which it cannot: {reason}. Compile the model "
            "yourself, then resume."
        ) from error
    if seam.current().JIT:
        model._jit_compile = True  # noqa: SLF001 - as in `optimizing.compiling`
