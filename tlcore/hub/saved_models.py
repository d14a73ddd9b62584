"""SavedModels: what can be called of one, with what, and what comes out.

Owns loading a SavedModel of TensorFlow 2 from a folder and reading off it how it is
called: itself, as TF Hub's reusable form has it, or by a signature. Every input is
checked here, because TensorFlow answers a wrong one with a page of candidates. It
knows nothing of layers (that is `hub`).
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from tlcore.arguments import require_one_of

TEXT = "string"
_TRAINING = "training"


@dataclass(frozen=True)
class Form:
    """What one input of a SavedModel is.

    Attributes:
        shape: the batch first, None where a size is free; None instead is any shape.
        dtype: its type by name, such as "float32" or "string".
    """

    shape: tuple[int | None, ...] | None
    dtype: str

    def __str__(self) -> str:
        if self.shape is None:
            return f"{self.dtype} of any shape"
        sizes = ["any" if n is None else str(n) for n in self.shape]
        if self.shape and self.shape[0] is None:
            sizes[0] = "n"
        return f"{self.dtype} of shape ({', '.join(sizes)})"

    def takes(self, tensor: Any) -> bool:
        """Tell whether a tensor has this form; numbers are converted without loss."""
        given = _form_of(tensor)
        if (self.dtype == TEXT) != (given.dtype == TEXT):
            return False
        if "float" in given.dtype and "int" in self.dtype:
            return False  # images in [0, 1] would all become 0
        if self.shape is None or given.shape is None:
            return True
        pairs = zip(self.shape, given.shape, strict=False)
        fits = all(None in pair or pair[0] == pair[1] for pair in pairs)
        return fits and len(self.shape) == len(given.shape)


@dataclass(frozen=True, eq=False)
class Entry:
    """What is called of a SavedModel.

    Attributes:
        function: itself, or a signature.
        handle: where it is from, for errors.
        forms: what its input can be: a `Form` each, or a structure of them where it
            takes several tensors; none where it does not say.
        names: of the inputs, where they go in by name.
        outputs: the names of the outputs, none where they have none.
        modes: the values of `training` it was saved for, None where it takes none.
        variables: what it reads.
        ranked: whether the number of dimensions of every output is known.
    """

    function: Callable[..., Any]
    handle: str
    forms: tuple[Any, ...]
    names: tuple[str, ...]
    outputs: tuple[str, ...]
    modes: frozenset[bool] | None
    variables: tuple[Any, ...]
    ranked: bool

    def check_inputs(self, inputs: Any) -> Any:
        """Return the form of `inputs`, None where there is none to go by.

        Raises:
            ValueError: they are none that it takes.
        """
        for form in self.forms:
            if _fits(form, inputs):
                return form
        if not self.forms:
            return None
        given = keras.tree.map_structure(lambda x: str(_form_of(x)), inputs)
        wanted = " or ".join(dict.fromkeys(_described(form) for form in self.forms))
        raise ValueError(
            f"Inputs must be what the SavedModel takes: {wanted}. Received: "
            f"{_described(given)}, for {self.handle!r}. Resize or convert them, or "
            "take another variation of the model."
        )

    def check_output(self, key: str | None) -> None:
        """Refuse the name of an output that there is not.

        Raises:
            ValueError: no output has this name.
        """
        if key is not None:
            where = f" for {self.handle!r}"
            require_one_of("output_key", key, self.outputs, where=where)

    def check_shapes(self) -> None:
        """Refuse outputs of which not even the number of dimensions is known.

        Raises:
            ValueError: there is one; a model cannot be built around it.
        """
        if not self.ranked:
            raise ValueError(
                "The outputs of a SavedModel must have a known number of dimensions "
                f"for a model around it. Received: handle={self.handle!r}, whose have "
                "none. Call the layer on tensors, or have it saved with shapes."
            )

    def run(self, inputs: Any, *, training: bool) -> Any:
        """Return what it makes of inputs, called for training or for inference.

        Raises:
            ValueError: it was not saved for that.
        """
        options = {}
        if self.modes is not None:
            options[_TRAINING] = training
            if training and self.modes == {False}:
                raise ValueError(
                    "A SavedModel must be saved for training to be called for it. "
                    f"Received: handle={self.handle!r}, saved for inference alone. "
                    "Freeze it, or let tlcore.create_model put it into a model, where "
                    "it is in inference mode."
                )
        form = self.check_inputs(inputs)
        if form is not None:
            inputs = keras.tree.map_structure_up_to(form, _converted, form, inputs)
        if not self.names:
            return self.function(inputs, **options)
        named = inputs if isinstance(inputs, Mapping) else {self.names[0]: inputs}
        return self.function(**named)


def load(folder: Path, handle: str) -> Any:
    """Return the SavedModel in a folder, as TensorFlow restores it.

    Args:
        folder: as `tlcore.hub.handles.resolve` returns it.
        handle: what led there, for errors.

    Raises:
        ValueError: it cannot be loaded, or the Keras backend is not TensorFlow.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise ValueError(
            "A SavedModel needs the TensorFlow backend of Keras. "
            f"Received: backend={backend!r}. Set KERAS_BACKEND=tensorflow."
        )
    import tensorflow as tf

    try:
        return tf.saved_model.load(str(folder))
    except (OSError, ValueError, KeyError, tf.errors.OpError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise ValueError(
            f"A SavedModel must be whole. Received: handle={handle!r}, which cannot be "
            f"loaded from {str(folder)!r}: {reason} Copy or download it again; text "
            "models may need `import tensorflow_text` first."
        ) from error


def find_entry(model: Any, signature: str | None, handle: str) -> Entry:
    """Return what is called of a loaded SavedModel: a signature, None is itself.

    Raises:
        ValueError: there is no such signature, it cannot be called itself, or not for
            inference.
    """
    signatures = getattr(model, "signatures", {})
    known = ", ".join(signatures) or "none"
    if signature is None:
        if not callable(model):
            raise ValueError(
                "A SavedModel must be callable, as TF Hub's reusable form has it, or "
                f"be called by a signature. Received: handle={handle!r}, with the "
                f"signatures: {known}. Choose one: "
                f"HubLayer(handle, signature={next(iter(signatures), '...')!r})."
            )
        return _own_entry(model, handle)
    require_one_of("signature", signature, signatures, where=f" for {handle!r}")
    return _signature_entry(signatures[signature], handle)


def _own_entry(model: Any, handle: str) -> Entry:
    function = model.__call__
    concrete = list(getattr(function, "concrete_functions", ()))
    _check_callable(function, concrete, handle)
    parameters = list(inspect.signature(function).parameters)
    bound = [_bound(parameters, x.structured_input_signature) for x in concrete]
    modes = None
    if _TRAINING in parameters:
        told = {x.get(_TRAINING) for x in bound}
        # A tensor stands for both.
        either = any(not isinstance(x, bool) for x in told)
        modes = frozenset() if either else frozenset(map(bool, told))
        if modes == {True}:
            raise ValueError(
                "A SavedModel must be saved for inference. Received: "
                f"handle={handle!r}, saved for training alone. Take another variation "
                "of the model, or have it saved with training=False too."
            )
    return Entry(
        model,
        handle,
        forms=_distinct(_specified(x.get(parameters[0])) for x in bound),
        names=(),
        outputs=_output_names(concrete),
        modes=modes,
        variables=_read_by(concrete),
        ranked=_ranked(concrete),
    )


def _signature_entry(function: Any, handle: str) -> Entry:
    inputs = _specified(function.structured_input_signature[1])
    forms = [inputs]
    if len(inputs) == 1:
        forms = [*inputs.values(), inputs]
    return Entry(
        function,
        handle,
        forms=tuple(forms),
        names=tuple(inputs),
        outputs=_output_names([function]),
        modes=None,
        variables=_read_by([function]),
        ranked=_ranked([function]),
    )


def _check_callable(function: Any, concrete: Iterable[Any], handle: str) -> None:
    """Refuse what cannot be called on one input, or says nothing of its outputs."""
    parameters = inspect.signature(function).parameters.values()
    needed = [
        x.name for x in parameters if x.default is x.empty and x.name != _TRAINING
    ]
    why = None
    if not concrete:
        why = "saved without having been called"
    elif len(needed) > 1 or not parameters:
        why = f"called with {', '.join(needed) or 'nothing'}"
    elif any(x.structured_outputs is None for x in concrete):
        why = "which gives nothing"
    if why is not None:
        raise ValueError(
            "A SavedModel must be callable on one input, a tensor or a structure of "
            f"some. Received: handle={handle!r}, {why}. Call it by a signature: "
            "HubLayer(handle, signature=...)."
        )


def _bound(parameters: Iterable[str], saved: Any) -> dict[str, Any]:
    """Return what a concrete function was saved for, by parameter."""
    arguments, named = saved
    return {**dict(zip(parameters, arguments, strict=False)), **named}


def _specified(spec: Any) -> Any:
    """Return the forms in place of a structure of tensor specifications."""

    def form(item: Any) -> Form:
        shape = None if item.shape.rank is None else tuple(item.shape)
        return Form(shape, item.dtype.name)

    return keras.tree.map_structure(form, spec)


def _distinct(forms: Iterable[Any]) -> tuple[Any, ...]:
    found: list[Any] = []
    for form in forms:
        if form not in found:
            found.append(form)
    return tuple(found)


def _output_names(concrete: Iterable[Any]) -> tuple[str, ...]:
    outputs = next((x.structured_outputs for x in concrete), None)
    return tuple(sorted(outputs)) if isinstance(outputs, Mapping) else ()


def _ranked(concrete: Iterable[Any]) -> bool:
    outputs = [keras.tree.flatten(x.structured_outputs) for x in concrete]
    shapes = [getattr(spec, "shape", None) for specs in outputs for spec in specs]
    return all(shape is None or shape.rank is not None for shape in shapes)


def _read_by(concrete: Iterable[Any]) -> tuple[Any, ...]:
    found = {id(v): v for function in concrete for v in function.variables}
    return tuple(found.values())


def _fits(form: Any, inputs: Any) -> bool:
    try:
        keras.tree.assert_same_structure(form, inputs)
    except (ValueError, TypeError):
        return False
    pairs = zip(keras.tree.flatten(form), keras.tree.flatten(inputs), strict=True)
    return all(one.takes(tensor) for one, tensor in pairs)


def _form_of(tensor: Any) -> Form:
    """Return the form of a tensor, symbolic or not, or of an array."""
    if not hasattr(tensor, "dtype"):
        tensor = np.asarray(tensor)
    if tensor.shape is None or getattr(tensor.shape, "rank", 0) is None:
        return Form(None, _type_name(tensor.dtype))
    return Form(tuple(tensor.shape), _type_name(tensor.dtype))


def _type_name(dtype: Any) -> str:
    if getattr(dtype, "kind", "") in {"O", "S", "U"}:
        return TEXT
    return str(getattr(dtype, "name", dtype))


def _converted(form: Form, tensor: Any) -> Any:
    return tensor if form.dtype == TEXT else keras.ops.cast(tensor, form.dtype)


def _described(forms: Any) -> str:
    if isinstance(forms, Mapping):
        named = sorted(forms.items())
        return ", ".join(f"{name}: {_described(form)}" for name, form in named)
    if isinstance(forms, list | tuple):
        return ", ".join(map(_described, forms))
    return str(forms)
